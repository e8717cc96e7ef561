
/*
 * Copyright (C) zltunnel authors
 */

/* What a link is, and what it has carried. */


#ifndef ZLT_LINK_STATE_H_INCLUDED
#define ZLT_LINK_STATE_H_INCLUDED


#include <stdint.h>

#include "service.h"
#include "types.h"


/* what a link is at the moment */

typedef enum {
    ZLT_LINK_PENDING = 0,      /* nothing was tried yet */
    ZLT_LINK_CONNECTING,       /* until all services are answered */
    ZLT_LINK_CONNECTED,        /* authenticated and registered */
    ZLT_LINK_DISCONNECTED,     /* was connected: lost, or stopped */
    ZLT_LINK_FAILED            /* the last attempt, or all its services */
} zlt_link_state_e;


typedef struct {
    unsigned         open;             /* connections, and UDP sessions */
    unsigned         sessions;         /* .. the latter */
    uint64_t         total;
    uint64_t         bytes_in;         /* to the services */
    uint64_t         bytes_out;
    zlt_udp_count_t  udp;              /* .. of which this is a part */
    zlt_udp_count_t  all;              /* with the sessions of access */
} zlt_link_totals_t;


void zlt_link_state_set(zlt_link_t *l, zlt_link_state_e state);
extern const char *const  zlt_link_state_names[];

/* What the next state will be explained by; "" once it is connected. */
void zlt_link_state_reason(zlt_link_t *l, const char *reason);

/* A heartbeat was answered after so many microseconds. */
void zlt_link_state_latency(zlt_link_t *l, uint64_t us);
void zlt_link_state_totals(const zlt_link_t *l, zlt_link_totals_t *t);

/* What a link has carried that goes counts with another one of its name. */
void zlt_link_state_inherit(zlt_link_t *to, const zlt_link_t *from);

/* 0 if its server is one of protocol version 1, which carries nothing. */
int zlt_link_state_carries(const zlt_link_t *l);

/* Adds what was counted. */
void zlt_link_state_udp(zlt_udp_count_t *to, const zlt_udp_count_t *c);

/* A service goes; its counts of datagrams stay. */
void zlt_link_state_fold(zlt_link_t *l, const zlt_service_t *s);


#endif /* ZLT_LINK_STATE_H_INCLUDED */
