
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
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_dial_turn.h"
#include "ngx_zltunnel_dial.h"
#include "ngx_zltunnel_dial_connect.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_worker.h"


/* of one tunnel, in all workers: less than nginx's queue of 511 */

#define NGX_ZLTUNNEL_DIAL_TURNS    384
#define NGX_ZLTUNNEL_DIAL_LEAST    32      /* in each */
#define NGX_ZLTUNNEL_DIAL_FEW      4       /* .. that has few connections */


static ngx_uint_t ngx_zltunnel_dial_turn_most(void);
static void ngx_zltunnel_dial_turn_handler(ngx_event_t *ev);
static void ngx_zltunnel_dial_turn_peer(ngx_zltunnel_peer_t *peer);


static ngx_queue_t       ngx_zltunnel_dial_turn_peers;
static ngx_event_t       ngx_zltunnel_dial_turn_event;
static ngx_connection_t  ngx_zltunnel_dial_turn_dummy;


ngx_int_t
ngx_zltunnel_dial_turn_take(ngx_zltunnel_dial_t *dial)
{
    ngx_zltunnel_peer_t  *peer;

    if (dial->asking) {
        return NGX_OK;
    }

    peer = dial->link.peer;

    if (peer->nasking >= ngx_zltunnel_dial_turn_most()) {
        return NGX_AGAIN;
    }

    dial->asking = 1;
    peer->nasking++;

    return NGX_OK;
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


ngx_uint_t
ngx_zltunnel_dial_turn_waited(ngx_zltunnel_peer_t *peer)
{
    return !ngx_queue_empty(&peer->waiting);
}


void
ngx_zltunnel_dial_turn_next(ngx_zltunnel_peer_t *peer)
{
    if (peer->due || !ngx_zltunnel_dial_turn_waited(peer)) {
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
    ngx_uint_t               fresh;
    ngx_queue_t             *q;
    ngx_zltunnel_dial_t     *dial;
    ngx_zltunnel_link_t      guard;
    ngx_zltunnel_channel_t  *channel;

    ngx_zltunnel_peer_link(peer, &guard);

    while (ngx_zltunnel_dial_turn_waited(peer)) {
        q = ngx_queue_head(&peer->waiting);
        dial = ngx_queue_data(q, ngx_zltunnel_dial_t, turn);

        fresh = dial->entry == NGX_ZLTUNNEL_DIAL_ANNOUNCED || dial->silent;
        channel = fresh ? NULL : ngx_zltunnel_dial_local(dial);

        if (channel == NULL
            && peer->nasking >= ngx_zltunnel_dial_turn_most())
        {
            break;
        }

        dial->since = ngx_current_msec;

        if (channel) {
            ngx_zltunnel_dial_connect(dial, channel, NGX_ZLTUNNEL_LOCAL);

        } else {
            ngx_zltunnel_dial_next(dial, fresh);
        }
    }

    ngx_zltunnel_peer_unlink(&guard);
}
