
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A data channel with lanes.
 *
 * What counts is how many messages a system call moves.  All that is written
 * to lanes in one turn of the event loop is sent at its end, in one piece,
 * ngx_zltunnel_shared_out.c; all that has come is read at once and given out,
 * ngx_zltunnel_shared_in.c, and handlers are called when that is done.
 *
 * The first connection that may have a lane makes a shared channel of an idle
 * one; it stays so.  It takes no more lanes when the agent retires it, or when
 * the tunnel has another epoch, and is closed with the last one.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_shared.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_channel_answer.h"
#include "ngx_zltunnel_heartbeat.h"
#include "ngx_zltunnel_lane.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_shared_in.h"
#include "ngx_zltunnel_shared_out.h"
#include "ngx_zltunnel_transport.h"
#include "ngx_zltunnel_worker.h"

#include "zlt_msg.h"


#define NGX_ZLTUNNEL_SHARED_READ     65536     /* bytes of one read */
#define NGX_ZLTUNNEL_SHARED_LEAST    20480     /* room, for a new lane's first
                                                  bytes */
#define NGX_ZLTUNNEL_SHARED_RTT      500       /* ms, for which a round trip is
                                                  taken to be the same */
#define NGX_ZLTUNNEL_SHARED_NUMBERS  0xfffff000


static ngx_zltunnel_shared_t *ngx_zltunnel_shared_create(
    ngx_zltunnel_peer_t *peer, ngx_zltunnel_channel_t *channel);
static ngx_int_t ngx_zltunnel_shared_start(ngx_zltunnel_shared_t *shared,
    ngx_zltunnel_channel_t *channel);
static void ngx_zltunnel_shared_retire(ngx_zltunnel_shared_t *shared);
static ngx_uint_t ngx_zltunnel_shared_last(ngx_zltunnel_shared_t *shared);
static void ngx_zltunnel_shared_read_handler(ngx_event_t *ev);
static void ngx_zltunnel_shared_write_handler(ngx_event_t *ev);
static void ngx_zltunnel_shared_flush_handler(ngx_event_t *ev);
static void ngx_zltunnel_shared_flush(ngx_zltunnel_shared_t *shared);
static void ngx_zltunnel_shared_watch(ngx_zltunnel_shared_t *shared);
static void ngx_zltunnel_shared_timer_handler(ngx_event_t *ev);
static void ngx_zltunnel_shared_cut(ngx_zltunnel_link_t *link);
static void ngx_zltunnel_shared_end(ngx_zltunnel_shared_t *shared);


static ngx_queue_t  ngx_zltunnel_shareds;
static ngx_uint_t   ngx_zltunnel_shareds_ready;

static zlt_window_share_t  ngx_zltunnel_shared_windows = {
    0, ZLT_WINDOW_PROCESS, NULL
};


ngx_zltunnel_shared_t *
ngx_zltunnel_shared_get(ngx_zltunnel_peer_t *peer,
    ngx_zltunnel_channel_t *channel)
{
    ngx_zltunnel_shared_t  *shared;

    shared = peer->shared;

    if (shared == NULL) {
        return ngx_exiting ? NULL : ngx_zltunnel_shared_create(peer, channel);
    }

    /* where large messages wait, an idle channel is better, if there is one */

    if (channel || shared->silent
        || (ngx_zltunnel_shared_waited(shared) && peer->nidle)
        || ngx_zltunnel_shared_out_left(shared, 0) < NGX_ZLTUNNEL_SHARED_LEAST)
    {
        return NULL;
    }

    if (shared->number >= NGX_ZLTUNNEL_SHARED_NUMBERS) {
        ngx_zltunnel_shared_drop(peer, (uint64_t) -1);
        return NULL;
    }

    return shared;
}


static ngx_zltunnel_shared_t *
ngx_zltunnel_shared_create(ngx_zltunnel_peer_t *peer,
    ngx_zltunnel_channel_t *channel)
{
    ngx_connection_t        *c;
    ngx_zltunnel_shared_t   *shared;
    ngx_zltunnel_channel_t  *popped;

    shared = ngx_calloc(sizeof(ngx_zltunnel_shared_t), ngx_cycle->log);
    if (shared == NULL) {
        return NULL;
    }

    /* so that the peer stays */

    ngx_zltunnel_peer_link(peer, &shared->link);

    popped = NULL;

    if (channel == NULL) {
        popped = ngx_zltunnel_channel_pop(peer, NGX_ZLTUNNEL_FOR_LANES);
        channel = popped;
    }

    if (channel == NULL
        || ngx_zltunnel_shared_start(shared, channel) != NGX_OK)
    {
        if (popped) {
            ngx_zltunnel_channel_close(popped);
        }

        ngx_zltunnel_peer_unlink(&shared->link);
        ngx_free(shared);
        return NULL;
    }

    shared->link.cut = ngx_zltunnel_shared_cut;

    peer->shared = shared;

    c = channel->end.connection;

    if (c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_events);
    }

    if (peer->turns) {
        peer->turns(peer);
    }

    return shared;
}


ngx_zltunnel_shared_t *
ngx_zltunnel_shared_accept(ngx_zltunnel_channel_t *channel,
    const ngx_zltunnel_shared_ops_t *ops, const u_char *data, size_t len)
{
    ngx_zltunnel_budget_t   budget;
    ngx_zltunnel_shared_t  *shared;

    shared = ngx_calloc(sizeof(ngx_zltunnel_shared_t), ngx_cycle->log);
    if (shared == NULL) {
        ngx_zltunnel_channel_close(channel);
        return NULL;
    }

    shared->ops = ops;

    if (ngx_zltunnel_shared_start(shared, channel) != NGX_OK) {
        ngx_free(shared);
        ngx_zltunnel_channel_close(channel);
        return NULL;
    }

    ngx_memzero(&budget, sizeof(ngx_zltunnel_budget_t));

    if (ngx_zltunnel_shared_in_take(shared, data, len, &budget) != NGX_OK) {
        ngx_zltunnel_shared_failed(shared);
        return NULL;
    }

    ngx_post_event(channel->end.connection->read, &ngx_posted_events);

    return shared;
}


/* NGX_ERROR: there is no memory, and all is as it was */

static ngx_int_t
ngx_zltunnel_shared_start(ngx_zltunnel_shared_t *shared,
    ngx_zltunnel_channel_t *channel)
{
    ngx_connection_t  *c;

    if (!ngx_zltunnel_shareds_ready) {
        ngx_queue_init(&ngx_zltunnel_shareds);
        ngx_zltunnel_shareds_ready = 1;
    }

    c = channel->end.connection;

    if (channel->answer.len) {
        shared->out = ngx_zltunnel_buffer_get(ngx_cycle->log);
        if (shared->out == NULL) {
            return NGX_ERROR;
        }
    }

    ngx_zltunnel_channel_state(channel, NGX_ZLTUNNEL_CHANNEL_SHARED);

    shared->channel = channel;
    shared->share.most = ZLT_WINDOW_CHANNEL;
    shared->share.of = &ngx_zltunnel_shared_windows;

    ngx_rbtree_init(&shared->lanes, &shared->sentinel,
                    ngx_rbtree_insert_value);
    ngx_queue_init(&shared->waiting);
    ngx_queue_insert_tail(&ngx_zltunnel_shareds, &shared->queue);

    shared->flush.handler = ngx_zltunnel_shared_flush_handler;
    shared->flush.data = shared;
    shared->flush.log = c->log;

    shared->timer.handler = ngx_zltunnel_shared_timer_handler;
    shared->timer.data = shared;
    shared->timer.log = c->log;
    shared->timer.cancelable = 1;

    ngx_zltunnel_shared_watch(shared);

    c->data = shared;
    c->read->handler = ngx_zltunnel_shared_read_handler;
    c->write->handler = ngx_zltunnel_shared_write_handler;

    /* the 101, or the end marker of the last connection */

    if (channel->answer.len) {
        ngx_memcpy(ngx_zltunnel_shared_out_room(shared, channel->answer.len),
                   channel->answer.data, channel->answer.len);

        ngx_zltunnel_channel_answer_drop(channel);
    }

    ngx_zltunnel_socket_keepalive(c, 0);
    ngx_zltunnel_socket_prompt(c);

    return NGX_OK;
}


ngx_msec_t
ngx_zltunnel_shared_rtt(ngx_zltunnel_shared_t *shared)
{
    if (shared->channel
        && (shared->rtt == 0
            || ngx_current_msec - shared->rtt_since
               >= NGX_ZLTUNNEL_SHARED_RTT))
    {
        shared->rtt = ngx_zltunnel_socket_rtt(shared->channel->end.connection);
        shared->rtt_since = ngx_current_msec;

        if (shared->least == 0 || shared->least > shared->rtt) {
            shared->least = shared->rtt;
        }
    }

    return shared->rtt;
}


ngx_msec_t
ngx_zltunnel_shared_least_rtt(ngx_zltunnel_shared_t *shared)
{
    (void) ngx_zltunnel_shared_rtt(shared);

    return shared->least;
}


void
ngx_zltunnel_shared_drop(ngx_zltunnel_peer_t *peer, uint64_t epoch)
{
    ngx_zltunnel_shared_t  *shared;

    shared = peer->shared;

    if (shared == NULL || shared->channel->epoch >= epoch) {
        return;
    }

    ngx_zltunnel_shared_retire(shared);

    if (shared->nlanes == 0) {
        ngx_zltunnel_shared_end(shared);
    }
}


static void
ngx_zltunnel_shared_retire(ngx_zltunnel_shared_t *shared)
{
    if (!shared->retired && shared->ops == NULL) {
        shared->link.peer->shared = NULL;
    }

    shared->retired = 1;
}


/* 1: it is ours to close: one may have been opened before the other side knows
   that there are to be none */

static ngx_uint_t
ngx_zltunnel_shared_last(ngx_zltunnel_shared_t *shared)
{
    return shared->retired && shared->nlanes == 0 && shared->ops == NULL;
}


ngx_int_t
ngx_zltunnel_shared_decline(ngx_zltunnel_shared_t *shared, uint32_t number)
{
    if (ngx_zltunnel_shared_out_decline(shared, number) != NGX_OK) {
        return NGX_ERROR;
    }

    if (!shared->retired && ngx_zltunnel_shared_out_retire(shared) == NGX_OK) {
        ngx_zltunnel_shared_retire(shared);
    }

    return NGX_OK;
}


void
ngx_zltunnel_shared_quit(void)
{
    ngx_queue_t            *q, *next;
    ngx_zltunnel_shared_t  *shared;

    if (!ngx_zltunnel_shareds_ready) {
        return;
    }

    for (q = ngx_queue_head(&ngx_zltunnel_shareds);
         q != ngx_queue_sentinel(&ngx_zltunnel_shareds);
         q = next)
    {
        next = ngx_queue_next(q);
        shared = ngx_queue_data(q, ngx_zltunnel_shared_t, queue);

        if (shared->ops == NULL || shared->retired) {
            continue;
        }

        if (ngx_zltunnel_shared_out_retire(shared) != NGX_OK) {
            ngx_zltunnel_shared_failed(shared);
            continue;
        }

        ngx_zltunnel_shared_retire(shared);

        /* the worker waits until the other side has closed it */

        shared->timer.cancelable = 0;
    }
}


void
ngx_zltunnel_shared_release(ngx_zltunnel_shared_t *shared)
{
    if (--shared->nlanes) {
        return;
    }

    if (shared->channel == NULL) {
        ngx_free(shared);

    } else if (ngx_zltunnel_shared_last(shared)) {
        ngx_zltunnel_shared_end(shared);
    }
}


static void
ngx_zltunnel_shared_read_handler(ngx_event_t *ev)
{
    ssize_t                 n;
    ngx_connection_t       *c;
    ngx_zltunnel_budget_t   budget;
    ngx_zltunnel_shared_t  *shared;

    static u_char  buf[NGX_ZLTUNNEL_SHARED_READ];

    c = ev->data;
    shared = c->data;

    if (c->close) {
        ngx_zltunnel_shared_failed(shared);
        return;
    }

    ngx_memzero(&budget, sizeof(ngx_zltunnel_budget_t));

    do {
        n = ngx_zltunnel_end_pull(&shared->channel->end, buf, sizeof(buf));

        if (n == NGX_AGAIN) {
            break;
        }

        if (n <= 0) {
            ngx_zltunnel_shared_failed(shared);
            return;
        }

        shared->silent = 0;

        if (ngx_zltunnel_heartbeat_heard(&shared->beat,
                                         shared->channel->registry))
        {
            ngx_add_timer(&shared->timer,
                          ngx_zltunnel_heartbeat_left(&shared->beat));
        }

        switch (ngx_zltunnel_shared_in_take(shared, buf, n, &budget)) {

        case NGX_ERROR:
            ngx_zltunnel_shared_failed(shared);
            return;

        case NGX_DONE:
            ngx_zltunnel_shared_retire(shared);
        }

    } while (ev->ready && !ngx_zltunnel_budget_spent(&budget));

    if (ev->ready) {
        ngx_zltunnel_budget_post(ev);
    }

    if (ngx_handle_read_event(ev, 0) != NGX_OK) {
        ngx_zltunnel_shared_failed(shared);
        return;
    }

    if (ngx_zltunnel_shared_last(shared)) {
        ngx_zltunnel_shared_end(shared);
    }
}


static void
ngx_zltunnel_shared_write_handler(ngx_event_t *ev)
{
    ngx_connection_t  *c;

    c = ev->data;

    if (c->read->ready) {
        /* TLS had to write in order to read */
        ngx_post_event(c->read, &ngx_posted_events);
    }

    ngx_zltunnel_shared_flush(c->data);
}


static void
ngx_zltunnel_shared_flush_handler(ngx_event_t *ev)
{
    ngx_zltunnel_shared_flush(ev->data);
}


static void
ngx_zltunnel_shared_flush(ngx_zltunnel_shared_t *shared)
{
    ngx_queue_t          *q, *last;
    ngx_zltunnel_lane_t  *lane;

    if (ngx_zltunnel_shared_out_flush(shared) != NGX_OK) {
        ngx_zltunnel_shared_failed(shared);
        return;
    }

    if (shared->out) {
        return;
    }

    /* one that gives credit may find no room again, and waits anew */

    last = ngx_queue_last(&shared->waiting);

    while (!ngx_queue_empty(&shared->waiting)) {
        q = ngx_queue_head(&shared->waiting);
        lane = ngx_queue_data(q, ngx_zltunnel_lane_t, turn);

        ngx_queue_remove(q);
        lane->waits = 0;

        ngx_zltunnel_lane_writable(lane);

        if (q == last) {
            break;
        }
    }
}


void
ngx_zltunnel_shared_silent(ngx_zltunnel_shared_t *shared)
{
    if (shared->channel == NULL) {
        return;
    }

    shared->silent = 1;
    shared->beat.unheard = 1;

    if (!shared->beat.asked) {
        ngx_add_timer(&shared->timer, 1);
    }
}


/*
 * Many wait for what does not come if the channel was dropped on the way.  So a
 * sign of life is asked for as soon as there is none for some seconds, while
 * something is sent; and as on an idle channel else.
 */

static void
ngx_zltunnel_shared_watch(ngx_zltunnel_shared_t *shared)
{
    ngx_zltunnel_registry_t  *registry;

    registry = shared->channel->registry;

    ngx_zltunnel_heartbeat_start(&shared->beat, registry);
    shared->beat.quiet = ngx_zltunnel_heartbeat_quiet(registry);

    ngx_add_timer(&shared->timer, ngx_zltunnel_heartbeat_left(&shared->beat));
}


static void
ngx_zltunnel_shared_timer_handler(ngx_event_t *ev)
{
    ngx_zltunnel_shared_t  *shared;

    shared = ev->data;

    switch (ngx_zltunnel_heartbeat_tick(&shared->beat,
                                        shared->channel->registry))
    {

    case NGX_ZLTUNNEL_HEARTBEAT_DEAD:
        ngx_log_error(NGX_LOG_INFO, ev->log, 0,
                      "shared data channel did not answer a heartbeat");
        ngx_zltunnel_shared_failed(shared);
        return;

    case NGX_ZLTUNNEL_HEARTBEAT_ASK:
        if (ngx_zltunnel_shared_out_heartbeat(shared, ZLT_HEARTBEAT, 0)
            != NGX_OK)
        {
            ngx_zltunnel_shared_failed(shared);
            return;
        }

        break;

    default: /* NGX_ZLTUNNEL_HEARTBEAT_WAIT */
        break;
    }

    ngx_add_timer(ev, ngx_zltunnel_heartbeat_left(&shared->beat));
}


/* the token is gone */

static void
ngx_zltunnel_shared_cut(ngx_zltunnel_link_t *link)
{
    ngx_zltunnel_shared_t  *shared;

    shared = (ngx_zltunnel_shared_t *)
                 ((u_char *) link - offsetof(ngx_zltunnel_shared_t, link));

    ngx_zltunnel_shared_failed(shared);
}


/* its lanes are reset */

void
ngx_zltunnel_shared_failed(ngx_zltunnel_shared_t *shared)
{
    ngx_rbtree_node_t  *node;

    if (shared->lanes.root != &shared->sentinel) {

        for (node = ngx_rbtree_min(shared->lanes.root, &shared->sentinel);
             node;
             node = ngx_rbtree_next(&shared->lanes, node))
        {
            ngx_zltunnel_lane_ended((ngx_zltunnel_lane_t *) node);
        }
    }

    ngx_zltunnel_end_abort(&shared->channel->end);
    ngx_zltunnel_shared_end(shared);
}


/* Closes the channel; without lanes nothing is left. */

static void
ngx_zltunnel_shared_end(ngx_zltunnel_shared_t *shared)
{
    ngx_zltunnel_shared_retire(shared);

    if (shared->ops) {
        shared->ops->closed(shared);
    }

    ngx_zltunnel_peer_unlink(&shared->link);
    ngx_queue_remove(&shared->queue);

    if (shared->timer.timer_set) {
        ngx_del_timer(&shared->timer);
    }

    if (shared->flush.posted) {
        ngx_delete_posted_event(&shared->flush);
    }

    if (shared->out) {
        ngx_zltunnel_buffer_put(shared->out);
        shared->out = NULL;
    }

    ngx_zltunnel_channel_close(shared->channel);
    shared->channel = NULL;

    if (shared->nlanes == 0) {
        ngx_free(shared);
    }
}


void
ngx_zltunnel_shared_exit(void)
{
    ngx_queue_t  *q;

    if (!ngx_zltunnel_shareds_ready) {
        return;
    }

    while (!ngx_queue_empty(&ngx_zltunnel_shareds)) {
        q = ngx_queue_head(&ngx_zltunnel_shareds);

        ngx_zltunnel_shared_failed(
                              ngx_queue_data(q, ngx_zltunnel_shared_t, queue));
    }
}
