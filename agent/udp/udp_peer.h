
/*
 * Copyright (C) zltunnel authors
 */


#ifndef ZLT_UDP_PEER_H_INCLUDED
#define ZLT_UDP_PEER_H_INCLUDED


#include <stddef.h>

#include "types.h"
#include "udp_queue.h"


typedef struct zlt_udp_peer_s  zlt_udp_peer_t;


/* a session, as the channel sees it */

struct zlt_udp_peer_s {
    zlt_udp_t           *udp;
    zlt_udp_peer_t      *next;         /* of its bucket */
    zlt_list_t           link;         /* udp->peers */
    zlt_list_t           stage;        /* udp->staged */

    zlt_udp_flow_t       to_local;     /* to the service, or the client */
    zlt_udp_flow_t       to_server;

    uint64_t            *in;           /* counters: datagrams that came, */
    uint64_t            *bytes_in;     /* .. their bytes, */
    uint64_t            *failed;       /* .. and what is lost otherwise */
    uint32_t             number;
    uint16_t             first;        /* staged datagrams, by index */
    uint16_t             last;
    unsigned             ready:1;      /* there is where to send to */
    unsigned             closed:1;
};


int zlt_udp_peer_init(zlt_udp_t *u);

/* Drops all of them. */
void zlt_udp_peer_free_all(zlt_udp_t *u);

/* NULL: there is none of that number. */
zlt_udp_peer_t *zlt_udp_peer_find(zlt_udp_t *u, uint32_t number);
void zlt_udp_peer_add(zlt_udp_t *u, zlt_udp_peer_t *p, uint32_t number);

/* With what waits for it. */
void zlt_udp_peer_remove(zlt_udp_peer_t *p);

/*
 * A datagram from the server.  Only noted: the data must stay until
 * zlt_udp_peer_deliver_all(), which sends all that was noted, by session.
 */
void zlt_udp_peer_stage(zlt_udp_peer_t *p, const uint8_t *data, size_t len);
void zlt_udp_peer_deliver_all(zlt_udp_t *u);

/* One that cannot be sent now. */
void zlt_udp_peer_hold(zlt_udp_peer_t *p, const uint8_t *data, size_t len);


#endif /* ZLT_UDP_PEER_H_INCLUDED */
