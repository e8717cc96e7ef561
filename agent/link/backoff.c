
/*
 * Copyright (C) zltunnel authors
 */

/*
 * When a link is tried again, and at which of its servers.
 *
 * Reconnecting: random(0, min(cap, base * 2^n)), so that many agents of one
 * server do not return in step.  When one is lost that had been healthy for
 * 10 s, the first attempt comes within 200 ms, and n begins anew; it counts as
 * one what the server asked to move on, at a reload.  For one that had been
 * healthy for less n is so small that nobody waits for longer than that: a
 * server that is started a few times in a row is one that works.
 *
 * Where there are several servers the one in use is kept as long as it can be
 * reached.  Otherwise each of the others is tried, in their order, within
 * 200 ms after the failure of the one before, and the wait comes after the
 * round.  A server that is back waits for the next failure: to move a tunnel
 * costs its clients more than the place where it is.  So it is with addresses
 * of one server that no other link has.
 */


#include "backoff.h"
#include "conf.h"
#include "http.h"
#include "io.h"
#include "link.h"
#include "log.h"
#include "random.h"
#include "tls.h"
#include "via.h"


#define ZLT_BACKOFF_QUICK        200     /* ms, the first retry */
#define ZLT_BACKOFF_SOUND        10000   /* ms up that earn it, and end the
                                            backoff */
#define ZLT_BACKOFF_IN_USE       5000    /* ms */
#define ZLT_BACKOFF_LEAST        2000    /* ms, whatever the server says, but
                                            after a channel that was sound */
#define ZLT_BACKOFF_SEEKS        3       /* dials at once, .. */
#define ZLT_BACKOFF_SEEK         800     /* .. ms between them, at most; then
                                            ever more, up to */
#define ZLT_BACKOFF_SEEK_MOST    36000
#define ZLT_BACKOFF_MOVES        32      /* at once, and one more each .. */
#define ZLT_BACKOFF_MOVE         2000    /* .. ms */


static int zlt_backoff_next_server(zlt_link_t *l, zlt_down_e how,
    uint64_t healthy);
static void zlt_backoff_switch(zlt_link_t *l, unsigned server);
static int zlt_backoff_moves(zlt_link_t *l);
static uint32_t zlt_backoff_told(uint32_t retry_after, uint64_t healthy);
static uint32_t zlt_backoff_random(zlt_link_t *l, uint64_t healthy);


/* How long to wait for the next attempt, in ms. */

uint32_t
zlt_backoff_delay(zlt_link_t *l, zlt_down_e how, uint32_t retry_after,
    uint64_t healthy)
{
    uint32_t  delay;

    if (retry_after > ZLT_RETRY_MAX) {
        retry_after = ZLT_RETRY_MAX;
    }

    healthy += l->carried;
    l->carried = 0;

    if (zlt_backoff_next_server(l, how, healthy)) {
        return zlt_random_below(ZLT_BACKOFF_QUICK);
    }

    switch (how) {

    case ZLT_DOWN_RECONNECT:

        if (!zlt_backoff_moves(l)) {
            delay = zlt_backoff_random(l, 0);
            return retry_after > delay ? retry_after : delay;
        }

        l->carried = healthy;
        return retry_after;

    case ZLT_DOWN_REFUSED:

        /* slowly, but for the first time: the server follows its token
           file with a delay, and this token may just have been added */

        delay = l->refused ? l->owner.conf->max_reconnect_interval
                           : l->owner.conf->reconnect_interval;
        l->refused = 1;

        return retry_after > delay ? retry_after : delay;

    case ZLT_DOWN_IN_USE:
        return retry_after ? zlt_backoff_told(retry_after, healthy)
                           : ZLT_BACKOFF_IN_USE;

    case ZLT_DOWN_DOUBLE:

        /* a balancer, which leads elsewhere the next time, or never */

        return zlt_backoff_seek(l->doubles++);

    case ZLT_DOWN_CLOSED:
        return 0;

    default:

        /* not so at a reload: then it is the same network */

        zlt_transport_anew(&l->owner.transport);

        delay = zlt_backoff_random(l, healthy);

        if (retry_after) {
            /* not all of them at the same moment */
            delay = zlt_backoff_told(retry_after, healthy)
                    + zlt_random_below(retry_after / 4 + 1);
        }

        return delay;
    }
}


/* A node that starts is found soon after, and one that is gone costs the others
   little. */

uint32_t
zlt_backoff_seek(unsigned tries)
{
    uint32_t  most;

    most = ZLT_BACKOFF_SEEK;

    for ( /* void */ ; tries >= ZLT_BACKOFF_SEEKS
                       && most < ZLT_BACKOFF_SEEK_MOST; tries--)
    {
        most += most / 2;
    }

    if (most > ZLT_BACKOFF_SEEK_MOST) {
        most = ZLT_BACKOFF_SEEK_MOST;
    }

    return most - most / 3 + zlt_random_below(most / 3 + 1);
}


/* 1 if there is a server, or an address of it, that was not tried yet in this round. */

static int
zlt_backoff_next_server(zlt_link_t *l, zlt_down_e how, uint64_t healthy)
{
    unsigned  n;

    n = l->owner.conf->nservers;

    if (how != ZLT_DOWN_LOST && (how != ZLT_DOWN_REFUSED || n < 2)) {
        return 0;
    }

    if (healthy >= ZLT_BACKOFF_SOUND) {
        l->tried = 0;

        if (how == ZLT_DOWN_LOST) {
            /* what broke may be the connection only */
            return 0;
        }
    }

    if (n > 1) {
        zlt_backoff_switch(l, (l->owner.conf->current + 1) % n);

    } else {
        n = l->ops->elsewhere(l);
    }

    if (++l->tried < n) {
        return 1;
    }

    l->tried = 0;

    return 0;
}


/* It may be the same one by another address, so the resume key and the pool
   are kept until AuthOk tells. */

static void
zlt_backoff_switch(zlt_link_t *l, unsigned server)
{
    char          error[ZLT_CONF_ERROR_SIZE];
    unsigned      former;
    zlt_tls_t    *tls;
    zlt_proxy_t   via;

    via = l->owner.conf->via;
    former = l->owner.conf->current;

    zlt_conf_use(l->owner.conf, server);

    if (zlt_link_way(l->owner.conf, &tls, error) == -1) {
        zlt_log_link(l->owner.label, ZLT_LOG_ERROR, "the server %s cannot be "
                     "tried: %s", l->owner.conf->server, error);
        zlt_conf_use(l->owner.conf, former);
        l->owner.conf->via = via;
        zlt_proxy_wipe(&via);
        return;
    }

    zlt_proxy_wipe(&via);

    zlt_tls_destroy(l->owner.tls);
    l->owner.tls = tls;

    zlt_transport_init(&l->owner.transport, zlt_conf_transport(l->owner.conf),
                       l->owner.label);

    l->rtt = 0;
    l->srtt = 0;

    zlt_log_link(l->owner.label, ZLT_LOG_INFO, "the next server is %s",
                 l->owner.conf->server);
}


/* 1 if the server may have it move at once: nobody reloads so often that he
   may not. */

static int
zlt_backoff_moves(zlt_link_t *l)
{
    uint64_t  n;

    n = (zlt_io_now() - l->moved_at) / ZLT_BACKOFF_MOVE;

    l->moved_at += n * ZLT_BACKOFF_MOVE;
    l->moves = l->moves > n ? l->moves - (unsigned) n : 0;

    if (l->moves == ZLT_BACKOFF_MOVES) {
        return 0;
    }

    l->moves++;

    return 1;
}


static uint32_t
zlt_backoff_told(uint32_t retry_after, uint64_t healthy)
{
    if (healthy >= ZLT_BACKOFF_SOUND) {
        return retry_after;
    }

    return retry_after < ZLT_BACKOFF_LEAST ? ZLT_BACKOFF_LEAST : retry_after;
}


static uint32_t
zlt_backoff_random(zlt_link_t *l, uint64_t healthy)
{
    unsigned           i;
    uint64_t           most;
    const zlt_conf_t  *conf;

    conf = l->owner.conf;

    if (healthy >= ZLT_BACKOFF_SOUND) {
        l->attempts = 0;
        return zlt_random_below(ZLT_BACKOFF_QUICK);
    }

    most = conf->reconnect_interval;

    for (i = 0; i < l->attempts && most < conf->max_reconnect_interval; i++) {

        if (healthy >= conf->reconnect_interval && most * 2 > healthy) {
            break;
        }

        most *= 2;
    }

    l->attempts = i + 1;

    if (most > conf->max_reconnect_interval) {
        most = conf->max_reconnect_interval;
    }

    return zlt_random_below((uint32_t) most + 1);
}
