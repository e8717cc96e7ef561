
/*
 * Copyright (C) zltunnel authors
 */

/* Private to channel.c and visit*.c: channels that a visitor opens. */


#ifndef ZLT_VISIT_H_INCLUDED
#define ZLT_VISIT_H_INCLUDED


#include "access.h"
#include "http.h"


/* The other side of the channel is a local client, or clients of UDP. */

struct zlt_visit_s {
    zlt_list_t           link;         /* access->visits */
    zlt_access_t        *access;
    zlt_channel_t       *channel;
    zlt_visits_t        *udp;          /* whose channel it is, or NULL */
    uint32_t             early;        /* bytes sent before ConnectAck */
    uint8_t              busy;         /* refusals for a while */
    unsigned             waiting:1;    /* the channel is not on its way */
    char                 client[ZLT_ADDR_TEXT];
};


/* channel.c */

/* A channel without a connection yet; NULL without memory. */
zlt_channel_t *zlt_channel_visit(zlt_agent_t *a, zlt_visit_t *v);

/* Puts it on its way: 0 or -1. */
int zlt_channel_visit_open(zlt_channel_t *ch);

/* Closes what there is of the way to the server; opens it again at once. */
void zlt_channel_visit_shut(zlt_channel_t *ch);
void zlt_channel_anew(zlt_channel_t *ch, const char *why);

void zlt_channel_expired(zlt_timer_t *timer);

ssize_t zlt_channel_fill(zlt_channel_t *ch, size_t *len);
int zlt_channel_write(zlt_channel_t *ch, const uint8_t *data, size_t len);
int zlt_channel_flush(zlt_channel_t *ch);
void zlt_channel_free(zlt_channel_t *ch);


/* visit.c */

/* With a channel that is not on its way yet; NULL without memory.  udp: that
   it is for, or NULL. */
zlt_visit_t *zlt_visit_create(zlt_access_t *x, const char *client,
    zlt_visits_t *udp);

/* Once a minute. */
void zlt_visit_complain(zlt_access_t *x, const char *why);

/* told by the channel */

void zlt_visit_opened(zlt_channel_t *ch, const uint8_t *data, size_t len);

/* It could not be opened; answer is NULL if there was none. */
void zlt_visit_failed(zlt_channel_t *ch, const zlt_http_answer_t *answer,
    const char *why);
void zlt_visit_expired(zlt_channel_t *ch);
void zlt_visit_freed(zlt_channel_t *ch);


/* visit_udp.c, told by visit.c */

void zlt_visits_opened(zlt_channel_t *ch, const uint8_t *data, size_t len);
void zlt_visits_lost(zlt_visits_t *v, const char *why);
void zlt_visits_gone(zlt_visits_t *v);


#endif /* ZLT_VISIT_H_INCLUDED */
