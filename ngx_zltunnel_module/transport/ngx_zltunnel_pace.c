
/*
 * Copyright (C) zltunnel authors
 */

/*
 * How fast bytes may move.
 *
 * A direction has up to two limits: of the token, shared by all of its
 * connections in all workers; and one of its own, or of a visitor's token.
 * It reserves a portion with each of them before it reads, and reads no more
 * than that.  When the portion's time has not come it waits, and is not read:
 * its sender is slowed down by TCP.  What it does not need it gives back.
 *
 * Datagrams do not wait.  Those of one service in a worker have one portion
 * after the other, and what comes between them is dropped.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_pace.h"

#include "zlt_pace.h"


#define ngx_zltunnel_pace_now()  ((uint64_t) ngx_current_msec * 1000000)


static void ngx_zltunnel_pace_reserve(ngx_zltunnel_pace_t **by,
    ngx_zltunnel_portion_t *portion, size_t n);
static uint64_t *ngx_zltunnel_pace_clock(ngx_zltunnel_pace_t *pace,
    uint64_t *rate);
static size_t ngx_zltunnel_pace_size(ngx_zltunnel_pace_t **by);


size_t
ngx_zltunnel_pace_ask(ngx_zltunnel_pace_t **by, ngx_zltunnel_portion_t *portion)
{
    if (portion->left == 0) {
        ngx_zltunnel_pace_reserve(by, portion, ngx_zltunnel_pace_size(by));
    }

    return ngx_zltunnel_pace_waits(portion) ? 0 : portion->left;
}


ngx_uint_t
ngx_zltunnel_pace_waits(ngx_zltunnel_portion_t *portion)
{
    if (portion->waits
        && (ngx_msec_int_t) (portion->due - ngx_current_msec) <= 0)
    {
        portion->waits = 0;
    }

    return portion->waits;
}


static void
ngx_zltunnel_pace_reserve(ngx_zltunnel_pace_t **by,
    ngx_zltunnel_portion_t *portion, size_t n)
{
    uint64_t     now, at, due, rate, *clock;
    ngx_uint_t   i;

    now = ngx_zltunnel_pace_now();
    due = now;

    for (i = 0; i < NGX_ZLTUNNEL_PACES; i++) {

        if (!ngx_zltunnel_pace_set(by[i])) {
            continue;
        }

        clock = ngx_zltunnel_pace_clock(by[i], &rate);
        at = zlt_pace_reserve(clock, rate, n, now);

        due = ngx_max(due, at);
    }

    portion->left += n;

    if (due > now) {
        portion->waits = 1;
        portion->due = ngx_current_msec + (due - now + 999999) / 1000000;
    }
}


static uint64_t *
ngx_zltunnel_pace_clock(ngx_zltunnel_pace_t *pace, uint64_t *rate)
{
    uint64_t  *clock;

    *rate = pace->rate;

    if (pace->find == NULL) {
        return &pace->clock;
    }

    clock = pace->find(pace);

    if (clock == NULL) {

        /* each worker has a part of it */

        *rate = ngx_max(pace->rate / ngx_max(pace->parts, 1), 1);
        clock = &pace->clock;
    }

    return clock;
}


static size_t
ngx_zltunnel_pace_size(ngx_zltunnel_pace_t **by)
{
    size_t       n, least;
    uint64_t     now, rate, *clock;
    ngx_uint_t   i;

    now = ngx_zltunnel_pace_now();
    least = ZLT_PACE_MOST;

    for (i = 0; i < NGX_ZLTUNNEL_PACES; i++) {

        if (ngx_zltunnel_pace_set(by[i])) {
            clock = ngx_zltunnel_pace_clock(by[i], &rate);
            n = zlt_pace_portion(clock, rate, now);
            least = ngx_min(least, n);
        }
    }

    return least;
}


void
ngx_zltunnel_pace_back(ngx_zltunnel_pace_t **by,
    ngx_zltunnel_portion_t *portion)
{
    uint64_t     rate, *clock;
    ngx_uint_t   i;

    for (i = 0; portion->left && i < NGX_ZLTUNNEL_PACES; i++) {

        if (ngx_zltunnel_pace_set(by[i])) {
            clock = ngx_zltunnel_pace_clock(by[i], &rate);
            zlt_pace_give_back(clock, rate, portion->left);
        }
    }

    portion->left = 0;
    portion->waits = 0;
}


void
ngx_zltunnel_pace_spend(ngx_zltunnel_pace_t **by, size_t n)
{
    ngx_zltunnel_portion_t  spent;

    ngx_memzero(&spent, sizeof(ngx_zltunnel_portion_t));

    if (n) {
        ngx_zltunnel_pace_reserve(by, &spent, n);
    }
}


ngx_uint_t
ngx_zltunnel_pace_rescale(ngx_zltunnel_portion_t *portion, uint64_t old,
    uint64_t rate)
{
    uint64_t  now, due;

    if (!ngx_zltunnel_pace_waits(portion)) {
        return 0;
    }

    now = ngx_zltunnel_pace_now();
    due = now + (uint64_t) (portion->due - ngx_current_msec) * 1000000;

    due = zlt_pace_rescale(due, old, rate, now);

    portion->due = ngx_current_msec + (due - now + 999999) / 1000000;

    return 1;
}


ngx_uint_t
ngx_zltunnel_pace_datagram(ngx_zltunnel_pace_t **by,
    ngx_zltunnel_portion_t *portion, size_t n)
{
    size_t  size;

    if (ngx_zltunnel_pace_waits(portion)) {
        return 0;
    }

    if (portion->left < n) {
        size = ngx_zltunnel_pace_size(by);
        ngx_zltunnel_pace_reserve(by, portion, ngx_max(size, n));

        if (portion->waits) {
            return 0;
        }
    }

    portion->left -= n;

    return 1;
}
