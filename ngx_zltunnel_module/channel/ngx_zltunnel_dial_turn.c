
/*
 * Copyright (C) zltunnel authors
 */

/*
 * How many channels an agent is asked for at once.
 *
 * A thousand clients may come in the same moment.  If the agent were asked for
 * as many channels at once, they would not fit into the queue of the socket
 * where agents connect, and each that finds it full comes a second later.  So
 * a number of dials are under way, and the others wait in the order in which
 * they came, in the worker that has their clients.  One that waits takes the
 * place of one that has got its channel, or a channel that has become idle
 * meanwhile: many short connections need few channels.  Its timeout begins when
 * it is its turn, and waiting is given up only when others get nothing either.
 *
 * Those that may have a lane need one channel together.  Where the worker has
 * no shared one yet the first of them asks, and the others wait: an agent that
 * uses a channel opens another that is idle, and that is shared by all.  If
 * none comes, as many more ask as have got one for themselves, and one; after
 * a second all do.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_dial_turn.h"
#include "ngx_zltunnel_dial.h"
#include "ngx_zltunnel_dial_search.h"
#include "ngx_zltunnel_dial_connect.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_worker.h"


/* of one tunnel, in all workers: less than nginx's queue of 511 */

#define NGX_ZLTUNNEL_DIAL_TURNS    384
#define NGX_ZLTUNNEL_DIAL_LEAST    32      /* in each */
#define NGX_ZLTUNNEL_DIAL_FEW      4       /* .. that has few connections */

#define NGX_ZLTUNNEL_DIAL_FIRST    1000    /* ms for the first lane */


static ngx_uint_t ngx_zltunnel_dial_turn_most(void);
static ngx_uint_t ngx_zltunnel_dial_turn_first(ngx_zltunnel_dial_t *dial);
static ngx_msec_t ngx_zltunnel_dial_turn_wait(ngx_zltunnel_dial_t *dial);
static void ngx_zltunnel_dial_turn_handler(ngx_event_t *ev);
static void ngx_zltunnel_dial_turn_peer(ngx_zltunnel_peer_t *peer);
static ngx_zltunnel_dial_t *ngx_zltunnel_dial_turn_head(
    ngx_zltunnel_peer_t *peer, ngx_zltunnel_channel_t **channel);


/* what is idle would not do */
#define ngx_zltunnel_dial_turn_fresh(dial)                                    \
    ((dial)->entry == NGX_ZLTUNNEL_DIAL_ANNOUNCED || (dial)->silent)


static ngx_queue_t       ngx_zltunnel_dial_turn_peers;
static ngx_event_t       ngx_zltunnel_dial_turn_event;
static ngx_connection_t  ngx_zltunnel_dial_turn_dummy;


ngx_int_t
ngx_zltunnel_dial_turn_take(ngx_zltunnel_dial_t *dial)
{
    ngx_msec_t            wait;
    ngx_zltunnel_peer_t  *peer;

    if (dial->asking) {
        return NGX_OK;
    }

    peer = dial->link.peer;
    peer->turns = ngx_zltunnel_dial_turn_next;

    if (peer->nasking >= ngx_zltunnel_dial_turn_most()) {
        return NGX_AGAIN;
    }

    wait = ngx_zltunnel_dial_turn_wait(dial);

    if (wait) {
        ngx_add_timer(&dial->timer, ngx_min(wait,
                                            ngx_zltunnel_dial_left(dial)));
        return NGX_AGAIN;
    }

    dial->asking = 1;
    peer->nasking++;

    if (ngx_zltunnel_dial_turn_first(dial)) {
        dial->asking = 2;

        if (peer->nfirst == 0 && ngx_queue_empty(&peer->waiting)) {
            peer->first = ngx_current_msec;
            peer->ngot = 0;
        }

        peer->nfirst++;
    }

    return NGX_OK;
}


/* 1: a channel that others share with it would do, and there is none yet */

static ngx_uint_t
ngx_zltunnel_dial_turn_first(ngx_zltunnel_dial_t *dial)
{
    return dial->lanes && dial->link.peer->shared == NULL
           && dial->asked[0] == NULL && dial->asked[1] == NULL;
}


/* ms, for which it does not ask, since others have; or 0 */

static ngx_msec_t
ngx_zltunnel_dial_turn_wait(ngx_zltunnel_dial_t *dial)
{
    ngx_msec_t            elapsed;
    ngx_zltunnel_peer_t  *peer;

    peer = dial->link.peer;

    if (!ngx_zltunnel_dial_turn_first(dial) || peer->nfirst <= peer->ngot) {
        return 0;
    }

    elapsed = ngx_current_msec - peer->first;

    return elapsed < NGX_ZLTUNNEL_DIAL_FIRST
           ? NGX_ZLTUNNEL_DIAL_FIRST - elapsed : 0;
}


static ngx_uint_t
ngx_zltunnel_dial_turn_most(void)
{
    ngx_uint_t        n, others;
    ngx_core_conf_t  *ccf;

    ccf = (ngx_core_conf_t *) ngx_get_conf(ngx_cycle->conf_ctx,
                                           ngx_core_module);

    n = ngx_max(ccf->worker_processes, 1);

    /* the channels may all come to one worker, which has not more for them */

    others = ngx_zltunnel_room_others() / n;

    return ngx_max(ngx_min(ngx_max(NGX_ZLTUNNEL_DIAL_TURNS / n,
                                   NGX_ZLTUNNEL_DIAL_LEAST),
                           others),
                   NGX_ZLTUNNEL_DIAL_FEW);
}


void
ngx_zltunnel_dial_turn_over(ngx_zltunnel_dial_t *dial, ngx_uint_t served)
{
    ngx_zltunnel_peer_t  *peer;

    peer = dial->link.peer;

    if (served) {
        peer->served = ngx_current_msec;
    }

    if (dial->asking) {

        if (dial->asking == 2) {
            peer->nfirst--;
            peer->ngot += served;
        }

        dial->asking = 0;
        peer->nasking--;

        ngx_zltunnel_dial_turn_next(peer);
    }
}


ngx_msec_t
ngx_zltunnel_dial_turn_left(ngx_zltunnel_dial_t *dial)
{
    ngx_msec_t  elapsed;

    if (dial->state != NGX_ZLTUNNEL_DIAL_QUEUED
        || dial->link.peer->served == 0)
    {
        return 0;
    }

    elapsed = ngx_current_msec - dial->link.peer->served;

    return elapsed < dial->timeout ? dial->timeout - elapsed : 0;
}


void
ngx_zltunnel_dial_turn_next(ngx_zltunnel_peer_t *peer)
{
    if (peer->due || ngx_queue_empty(&peer->waiting)) {
        return;
    }

    if (ngx_zltunnel_dial_turn_event.handler == NULL) {
        ngx_queue_init(&ngx_zltunnel_dial_turn_peers);

        ngx_zltunnel_dial_turn_dummy.fd = (ngx_socket_t) -1;
        ngx_zltunnel_dial_turn_event.data = &ngx_zltunnel_dial_turn_dummy;
        ngx_zltunnel_dial_turn_event.log = ngx_cycle->log;
        ngx_zltunnel_dial_turn_event.handler = ngx_zltunnel_dial_turn_handler;
    }

    peer->due = 1;
    ngx_queue_insert_tail(&ngx_zltunnel_dial_turn_peers, &peer->turn);

    ngx_post_event(&ngx_zltunnel_dial_turn_event, &ngx_posted_events);
}


static void
ngx_zltunnel_dial_turn_handler(ngx_event_t *ev)
{
    ngx_queue_t          *q;
    ngx_zltunnel_peer_t  *peer;

    while (!ngx_queue_empty(&ngx_zltunnel_dial_turn_peers)) {
        q = ngx_queue_head(&ngx_zltunnel_dial_turn_peers);
        ngx_queue_remove(q);

        peer = ngx_queue_data(q, ngx_zltunnel_peer_t, turn);
        peer->due = 0;

        ngx_zltunnel_dial_turn_peer(peer);
    }
}


static void
ngx_zltunnel_dial_turn_peer(ngx_zltunnel_peer_t *peer)
{
    ngx_zltunnel_dial_t     *dial;
    ngx_zltunnel_link_t      guard;
    ngx_zltunnel_channel_t  *channel;

    ngx_zltunnel_peer_link(peer, &guard);

    for ( ;; ) {
        dial = ngx_zltunnel_dial_turn_head(peer, &channel);

        if (dial == NULL) {
            break;
        }

        dial->since = ngx_current_msec;

        if (channel) {
            ngx_zltunnel_dial_connect(dial, channel, NGX_ZLTUNNEL_LOCAL);

        } else {
            ngx_zltunnel_dial_search(dial,
                                   ngx_zltunnel_dial_turn_fresh(dial));
        }
    }

    ngx_zltunnel_peer_unlink(&guard);
}


/* the first whose turn it is, with a channel that is here, or NULL */

static ngx_zltunnel_dial_t *
ngx_zltunnel_dial_turn_head(ngx_zltunnel_peer_t *peer,
    ngx_zltunnel_channel_t **channel)
{
    ngx_uint_t            most;
    ngx_queue_t          *q;
    ngx_zltunnel_dial_t  *dial;

    most = ngx_zltunnel_dial_turn_most();

    for (q = ngx_queue_head(&peer->waiting);
         q != ngx_queue_sentinel(&peer->waiting);
         q = ngx_queue_next(q))
    {
        dial = ngx_queue_data(q, ngx_zltunnel_dial_t, turn);
        *channel = NULL;

        if (!ngx_zltunnel_dial_turn_fresh(dial)
            && (peer->nidle || peer->shared))
        {
            *channel = ngx_zltunnel_dial_search_local(dial);
        }

        if (*channel) {
            return dial;
        }

        if (peer->nasking >= most) {
            return NULL;
        }

        if (ngx_zltunnel_dial_turn_wait(dial) == 0) {
            return dial;
        }
    }

    return NULL;
}
