
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Datagrams that wait for room, by session.
 *
 * A queue holds at most ZLT_QUEUE_BYTES, and none of them for longer than
 * ZLT_QUEUE_AGE: late UDP is worse than lost UDP.  Sessions are served in turn.
 * In a full queue the oldest datagram goes, of a session that has its share or
 * more, and of the one that adds if it has: who floods loses its own.
 *
 * The functions that give and take memory are the user's, and so is the clock.
 * Plain C11: no I/O.
 */


#ifndef ZLT_QUEUE_H_INCLUDED
#define ZLT_QUEUE_H_INCLUDED


#include "zlt_list.h"
#include "zlt_types.h"


#define ZLT_QUEUE_BYTES  (256 * 1024)
#define ZLT_QUEUE_AGE    100           /* ms */
#define ZLT_QUEUE_FIRST  1000          /* .. while there is no channel */


/* a datagram */

typedef struct zlt_queue_item_s  zlt_queue_item_t;

struct zlt_queue_item_s {
    zlt_queue_item_t   *next;
    uint64_t            since;         /* ms */
    uint32_t            len;
    uint8_t             data[];
};


/* a session's part of a queue */

typedef struct {
    zlt_list_t          link;          /* those that have something */
    zlt_queue_item_t   *first;
    zlt_queue_item_t  **last;
    size_t              bytes;
} zlt_queue_flow_t;


typedef enum {
    ZLT_QUEUE_FULL,
    ZLT_QUEUE_LATE,
    ZLT_QUEUE_GONE                     /* with its session */
} zlt_queue_drop_e;


typedef struct {
    void  *(*alloc)(size_t size);      /* NULL: there is none */

    /* Counts the item, and frees it. */
    void   (*drop)(zlt_queue_flow_t *f, zlt_queue_item_t *item,
                   zlt_queue_drop_e why);
} zlt_queue_ops_t;


typedef struct {
    const zlt_queue_ops_t  *ops;
    zlt_list_t          flows;         /* the next to be served first */
    zlt_list_t         *payer;         /* whose share is looked at next */
    unsigned            nflows;
    size_t              bytes;
    uint64_t            opened;        /* ms, when the channel came, or 0 */
} zlt_queue_t;


void zlt_queue_init(zlt_queue_t *q, const zlt_queue_ops_t *ops);
void zlt_queue_flow_init(zlt_queue_flow_t *f);

#define zlt_queue_empty(q)       ((q)->nflows == 0)
#define zlt_queue_flow_empty(f)  ((f)->first == NULL)

/*
 * Appends a copy, and drops what is too much; "beside" bytes that left the
 * queue and still wait count, too.  0, or -1 without memory.
 */
int zlt_queue_put(zlt_queue_t *q, zlt_queue_flow_t *f, const uint8_t *data,
    size_t len, size_t beside, uint64_t now);

/* Puts back, in front, what was taken and could not be sent. */
void zlt_queue_unget(zlt_queue_t *q, zlt_queue_flow_t *f,
    zlt_queue_item_t *item);

/* The next that is not late, which is the caller's from then on, of that
   session, or of the one whose turn it is; NULL: none. */
zlt_queue_item_t *zlt_queue_get(zlt_queue_t *q, zlt_queue_flow_t *f,
    uint64_t now);
zlt_queue_item_t *zlt_queue_next(zlt_queue_t *q, zlt_queue_flow_t **f,
    uint64_t now);

/* There is a channel: what waited for it was given ZLT_QUEUE_FIRST. */
void zlt_queue_opened(zlt_queue_t *q, uint64_t now);

/* Drops all of a session's. */
void zlt_queue_purge(zlt_queue_t *q, zlt_queue_flow_t *f);


#endif /* ZLT_QUEUE_H_INCLUDED */
