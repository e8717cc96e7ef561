
/*
 * Copyright (C) zltunnel authors
 */


#ifndef ZLT_UDP_PEER_H_INCLUDED
#define ZLT_UDP_PEER_H_INCLUDED


#include <stddef.h>

#include "service.h"
#include "types.h"
#include "zlt_queue.h"


typedef struct zlt_udp_peer_s  zlt_udp_peer_t;


/* a session, as the channel sees it */

struct zlt_udp_peer_s {
    zlt_udp_t           *udp;
    zlt_udp_peer_t      *next;         /* of its bucket */
    zlt_list_t           link;         /* udp->peers */
    zlt_list_t           stage;        /* udp->staged */

    zlt_queue_flow_t     to_local;     /* to the service, or the client */
    zlt_queue_flow_t     to_server;

    zlt_udp_count_t     *count;
    uint64_t            *bytes_in;     /* .. but for these */
    uint32_t             number;
    uint16_t             first;        /* staged datagrams, by index */
    uint16_t             last;
    unsigned             ready:1;      /* there is where to send to */
    unsigned             closed:1;
};


/* 0, or -1 without memory. */
int zlt_udp_peer_init_all(zlt_udp_t *u);

/* Drops all of them. */
void zlt_udp_peer_free_all(zlt_udp_t *u);

/* Of a session that has no number yet. */
void zlt_udp_peer_init(zlt_udp_peer_t *p, zlt_udp_count_t *count,
    uint64_t *bytes_in);

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

/* The same of the other direction: in a queue of zlt_udp_peer_to_server, in
   front of which "beside" bytes wait. */
void zlt_udp_peer_wait(zlt_udp_peer_t *p, zlt_queue_t *q, const uint8_t *data,
    size_t len, size_t beside);

extern const zlt_queue_ops_t  zlt_udp_peer_to_server;


#endif /* ZLT_UDP_PEER_H_INCLUDED */
