
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What both sides keep of a lane: bytes that have come and were not read, how
 * many more may come, and how many may be sent.  What comes is taken always, and
 * no more may come than credit was given for, so nobody waits for anybody.
 * Plain C11: no I/O.
 */


#ifndef ZLT_LANEBOX_H_INCLUDED
#define ZLT_LANEBOX_H_INCLUDED


#include "zlt_inbox.h"
#include "zlt_window.h"


typedef struct {
    zlt_inbox_t          in;           /* received */
    zlt_window_t         window;       /* of what comes */
    uint32_t             credit;       /* bytes that may be sent */
    const zlt_memory_t  *memory;

    unsigned             ended:1;      /* by the other side, or with the
                                          channel */
    unsigned             broken:1;     /* by us: the other side is told when
                                          it is closed */
} zlt_lanebox_t;


void zlt_lanebox_start(zlt_lanebox_t *box, const zlt_memory_t *memory,
    zlt_window_share_t *share);

/* Bytes have come: 1 if there is something to read for it, be it that it is
   broken for want of memory; 0: it was over; -1: more than was allowed. */
int zlt_lanebox_came(zlt_lanebox_t *box, const uint8_t *data, size_t len);

/* Takes up to size bytes out: how many; 0, there are none yet; -1, it is over.
   now and rtt as for zlt_window_read(). */
ssize_t zlt_lanebox_take(zlt_lanebox_t *box, uint8_t *buf, size_t size,
    uint32_t now, uint32_t rtt);

#define zlt_lanebox_over(box)      ((box)->ended || (box)->broken)
#define zlt_lanebox_readable(box)  ((box)->in.len || zlt_lanebox_over(box))

/* The credit that is to be given now, or 0; zlt_window_given() says that it was. */
#define zlt_lanebox_due(box)                                                  \
    ((box)->ended ? 0 : zlt_window_due(&(box)->window))

/* How many of size bytes may go in one message; and how many of these fit into
   room bytes, header and all.  zlt_lanebox_sent() says how many went. */
size_t zlt_lanebox_may(const zlt_lanebox_t *box, size_t size);
size_t zlt_lanebox_fit(size_t size, size_t room);
#define zlt_lanebox_sent(box, n)  ((box)->credit -= (uint32_t) (n))

/* The other side lets it send so much more: 0, or -1 if that is too much. */
int zlt_lanebox_credit(zlt_lanebox_t *box, uint32_t credit);

/* It is broken by us: what has come is of no use. */
void zlt_lanebox_break(zlt_lanebox_t *box);

/* It is closed. */
void zlt_lanebox_end(zlt_lanebox_t *box);


#endif /* ZLT_LANEBOX_H_INCLUDED */
