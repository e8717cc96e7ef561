
/*
 * Copyright (C) zltunnel authors
 */

/*
 * How many bytes may come on a lane: docs/protocol.md, "Lanes".
 *
 * Each direction of a lane has a window: so many bytes may be under way, or
 * wait at their receiver.  The receiver gives credit for what was read, and
 * makes the window larger, up to four times what was read within a round trip,
 * so that it is never what the throughput is bound by.  One that is not read
 * stays as it is.  What all windows promise together is bounded, for a
 * channel and for a process.  Plain C11: no I/O, no allocation.
 */


#ifndef ZLT_WINDOW_H_INCLUDED
#define ZLT_WINDOW_H_INCLUDED


#include "zlt_types.h"


#define ZLT_WINDOW_FIRST    65536                /* bytes, of a new lane */
#define ZLT_WINDOW_LANE     (4 * 1024 * 1024)    /* of one lane, at most */
#define ZLT_WINDOW_CHANNEL  (16 * 1024 * 1024)   /* of a channel's lanes, in
                                                    addition to the first */
#define ZLT_WINDOW_PROCESS  (64 * 1024 * 1024)   /* .. of a process's */
#define ZLT_WINDOW_MOST     (16 * 1024 * 1024)   /* that a peer may give */


/* what windows have grown by, together, and may; "of" is a larger one, or
   NULL */

typedef struct zlt_window_share_s  zlt_window_share_t;

struct zlt_window_share_s {
    size_t               used;
    size_t               most;
    zlt_window_share_t  *of;
};


/* the receiver's view */

typedef struct {
    uint32_t             size;
    uint32_t             open;     /* of that, may come yet */
    uint32_t             kept;     /* .. has come, and was not read */
    uint32_t             read;     /* in this round trip */
    uint32_t             since;    /* ms, when it began */
    zlt_window_share_t  *share;    /* NULL: the lane is over */
} zlt_window_t;


void zlt_window_start(zlt_window_t *w, zlt_window_share_t *share);

/* So many bytes have come: 0, or -1 if that is more than was allowed. */
int zlt_window_came(zlt_window_t *w, size_t n);

/* So many were read.  now and rtt, the channel's round trip, in ms. */
void zlt_window_read(zlt_window_t *w, size_t n, uint32_t now, uint32_t rtt);

/* The credit that is to be given now, or 0; and that it was given. */
uint32_t zlt_window_due(const zlt_window_t *w);
void zlt_window_given(zlt_window_t *w, uint32_t credit);

/* The lane is over: what it had is free for others. */
void zlt_window_end(zlt_window_t *w);

/* The sender's view: adds credit to what may be sent.  0, or -1 if it is more
   than may be given. */
int zlt_window_add(uint32_t *left, uint32_t credit);


#endif /* ZLT_WINDOW_H_INCLUDED */
