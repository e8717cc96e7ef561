
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Datagrams that wait, by session.
 *
 * A queue holds at most ZLT_UDP_QUEUE bytes, none of them for longer than
 * ZLT_UDP_AGE: late UDP is worse than lost UDP.  Sessions are served in turn.
 * In a full queue the oldest datagram goes, of a session that holds more than
 * its share: one that floods loses its own.
 */


#ifndef ZLT_UDP_QUEUE_H_INCLUDED
#define ZLT_UDP_QUEUE_H_INCLUDED


#include <stdint.h>

#include "zlt_list.h"


#define ZLT_UDP_QUEUE  (256 * 1024)    /* bytes, a channel and direction */
#define ZLT_UDP_AGE    100             /* ms */


typedef struct zlt_udp_item_s  zlt_udp_item_t;

struct zlt_udp_item_s {
    zlt_udp_item_t   *next;
    uint64_t          since;           /* ms */
    uint32_t          len;
    uint8_t           data[];
};


/* one session's part of a queue */

typedef struct {
    zlt_list_t        link;            /* those that have something */
    zlt_udp_item_t   *first;
    zlt_udp_item_t  **last;
    size_t            bytes;
    uint64_t         *full;            /* counters of what was dropped */
    uint64_t         *late;
} zlt_udp_flow_t;


typedef struct {
    zlt_list_t        flows;           /* the next to be served first */
    unsigned          nflows;
    size_t            bytes;
} zlt_udp_queue_t;


void zlt_udp_queue_init(zlt_udp_queue_t *q);
void zlt_udp_queue_flow_init(zlt_udp_flow_t *f, uint64_t *full,
    uint64_t *late);

#define zlt_udp_queue_empty(q)  ((q)->nflows == 0)
#define zlt_udp_queue_flow_empty(f)   ((f)->first == NULL)

/* Room for len bytes, to be filled and put; NULL without memory. */
zlt_udp_item_t *zlt_udp_queue_item_alloc(size_t len);

/* Appends, and drops what is too much; the queue takes the item over. */
void zlt_udp_queue_put(zlt_udp_queue_t *q, zlt_udp_flow_t *f,
    zlt_udp_item_t *item, uint64_t now);

/* Puts back, in front, what was taken and could not be sent. */
void zlt_udp_queue_unget(zlt_udp_queue_t *q, zlt_udp_flow_t *f,
    zlt_udp_item_t *item);

/* The next of that session that is not late, to be freed; NULL: none. */
zlt_udp_item_t *zlt_udp_queue_get(zlt_udp_queue_t *q, zlt_udp_flow_t *f,
    uint64_t now);

/* The session whose turn it is, NULL: the queue is empty; it is the last one
   afterwards. */
zlt_udp_flow_t *zlt_udp_queue_turn(zlt_udp_queue_t *q);

/* Frees all of a session's. */
void zlt_udp_queue_purge(zlt_udp_queue_t *q, zlt_udp_flow_t *f);


#endif /* ZLT_UDP_QUEUE_H_INCLUDED */
