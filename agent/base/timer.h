
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Timeouts of connections: coarse, to the second, a few different durations,
 * many of each.  A list for each duration is in the order of expiry by
 * itself, so that starting and stopping is a matter of two pointers, and a
 * timer costs 32 bytes where libuv's takes 150.
 */


#ifndef ZLT_TIMER_H_INCLUDED
#define ZLT_TIMER_H_INCLUDED


#include <stdint.h>

#include "types.h"
#include "zlt_list.h"


typedef struct zlt_timer_s  zlt_timer_t;

typedef void (*zlt_timer_pt)(zlt_timer_t *timer);


struct zlt_timer_s {
    zlt_list_t    link;
    zlt_timer_pt  handler;
    uint32_t      due;         /* in seconds of zlt_timer_tick() */
};


void zlt_timer_init(zlt_timer_t *timer);

/* Starts, or starts anew.  The duration is at least "seconds" and less than
   a second more. */
void zlt_timer_start(zlt_timer_t *timer, unsigned seconds,
    zlt_timer_pt handler);
void zlt_timer_stop(zlt_timer_t *timer);

/* To be called each second: calls the handlers of those that are due. */
void zlt_timer_tick(void);


#endif /* ZLT_TIMER_H_INCLUDED */
