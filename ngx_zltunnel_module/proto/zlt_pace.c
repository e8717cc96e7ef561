
/*
 * Copyright (C) zltunnel authors
 */


#include "zlt_pace.h"


#define ZLT_PACE_SECOND   1000000000ULL     /* ns */
#define ZLT_PACE_PART     256               /* of a second, in a portion */


static uint64_t zlt_pace_cost(uint64_t rate, size_t n);


uint64_t
zlt_pace_reserve(uint64_t *clock, uint64_t rate, size_t n, uint64_t now)
{
    uint64_t  old, at, next;

    old = __atomic_load_n(clock, __ATOMIC_RELAXED);

    do {
        at = old;

        if (at + ZLT_PACE_BURST < now) {
            at = now - ZLT_PACE_BURST;
        }

        if (at > now + ZLT_PACE_AHEAD) {
            at = now + ZLT_PACE_AHEAD;
        }

        next = at + zlt_pace_cost(rate, n);

    } while (!__atomic_compare_exchange_n(clock, &old, next, 0,
                                          __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));

    return at;
}


void
zlt_pace_give_back(uint64_t *clock, uint64_t rate, size_t n)
{
    uint64_t  old, next, cost;

    /* it may be another clock than the one it was reserved with, and the rate
       another: it must not become one that is far ahead */

    old = __atomic_load_n(clock, __ATOMIC_RELAXED);
    cost = zlt_pace_cost(rate, n);

    do {
        next = (old > cost) ? old - cost : 0;

    } while (!__atomic_compare_exchange_n(clock, &old, next, 0,
                                          __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
}


uint64_t
zlt_pace_rescale(uint64_t at, uint64_t old, uint64_t rate, uint64_t now)
{
    double  ahead;

    if (at <= now || old == 0) {
        return at;
    }

    if (rate == 0) {
        return now;
    }

    ahead = (double) (at - now) * (double) old / (double) rate;

    return now + (ahead < (double) ZLT_PACE_AHEAD ? (uint64_t) ahead
                                                  : ZLT_PACE_AHEAD);
}


void
zlt_pace_change(uint64_t *clock, uint64_t old, uint64_t rate, uint64_t now)
{
    uint64_t  at, next;

    at = __atomic_load_n(clock, __ATOMIC_RELAXED);

    do {
        next = zlt_pace_rescale(at, old, rate, now);

    } while (!__atomic_compare_exchange_n(clock, &at, next, 0,
                                          __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
}


size_t
zlt_pace_portion(const uint64_t *clock, uint64_t rate, uint64_t now)
{
    size_t    least;
    uint64_t  at, n;

    at = __atomic_load_n(clock, __ATOMIC_RELAXED);

    least = (at > now + ZLT_PACE_BURST) ? ZLT_PACE_CROWDED : ZLT_PACE_LEAST;
    n = rate / ZLT_PACE_PART;

    if (n < least) {
        n = least;
    }

    if (n > rate) {
        n = rate;
    }

    return n < ZLT_PACE_MOST ? n : ZLT_PACE_MOST;
}


/* ns; n is at most 2^32 */

static uint64_t
zlt_pace_cost(uint64_t rate, size_t n)
{
    return n * ZLT_PACE_SECOND / rate;
}
