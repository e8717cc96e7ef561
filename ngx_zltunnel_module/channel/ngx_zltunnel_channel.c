
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Data channels while they are framed.
 *
 * An idle channel waits in its peer's list, kept alive by heartbeats.  To
 * carry a connection it leaves the list: it belongs to a dial until
 * ConnectAck, and to a relay from then on.  If the bytes of the connection
 * came as messages to the end, in both directions, it is idle again after
 * that, in the worker that has used it.  Where our end came first, what the
 * agent had sent before it knew is read and discarded.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_channel_answer.h"
#include "ngx_zltunnel_channel_io.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_heartbeat.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_transport.h"
#include "ngx_zltunnel_worker.h"

#include "zlt_msg.h"


static void ngx_zltunnel_channel_idle_out(ngx_zltunnel_registry_t *registry,
    u_char *tunnel_id);
static void ngx_zltunnel_channel_idle_handler(ngx_event_t *ev);
static void ngx_zltunnel_channel_timer_handler(ngx_event_t *ev);
static void ngx_zltunnel_channel_write_handler(ngx_event_t *ev);
static ngx_zltunnel_channel_t *ngx_zltunnel_channel_newest(
    ngx_zltunnel_peer_t *peer, ngx_zltunnel_channel_for_e what);
static ngx_uint_t ngx_zltunnel_channel_bridge_for(
    ngx_zltunnel_channel_t *channel, ngx_zltunnel_channel_for_e what);
static void ngx_zltunnel_channel_unlist(ngx_zltunnel_channel_t *channel);
static void ngx_zltunnel_channel_remove(ngx_zltunnel_channel_t *channel);


static ngx_queue_t  ngx_zltunnel_channels;
static ngx_uint_t   ngx_zltunnel_channels_ready;


/* an idle channel that the registry has counted already; NGX_ERROR: it had to
   be closed */

ngx_int_t
ngx_zltunnel_channel_list(ngx_zltunnel_channel_t *channel, u_char *token,
    ngx_str_t *name)
{
    ngx_connection_t     *c;
    ngx_zltunnel_peer_t  *peer;

    peer = ngx_zltunnel_peer_get(channel->registry, channel->tunnel_id, token,
                                 name);

    if (peer == NULL) {
        ngx_zltunnel_channel_idle_out(channel->registry, channel->tunnel_id);
        ngx_zltunnel_channel_close(channel);
        return NGX_ERROR;
    }

    ngx_zltunnel_channel_state(channel, NGX_ZLTUNNEL_CHANNEL_IDLE);

    channel->peer = peer;

    if (channel->end.ops->bridged) {
        /* what passes costs another worker as much: those of this one first */
        ngx_queue_insert_tail(&peer->idle, &channel->queue);

    } else {
        ngx_queue_insert_head(&peer->idle, &channel->queue);
    }

    peer->nidle++;
    peer->registry->nidle++;

    c = channel->end.connection;

    c->read->handler = ngx_zltunnel_channel_idle_handler;
    c->write->handler = ngx_zltunnel_channel_write_handler;

    ngx_zltunnel_heartbeat_start(&channel->beat, channel->registry);
    ngx_add_timer(&channel->timer, ngx_zltunnel_heartbeat_left(&channel->beat));

    if (peer->turns) {
        peer->turns(peer);
    }

    return NGX_OK;
}


/* one idle channel less of that tunnel in this worker */

static void
ngx_zltunnel_channel_idle_out(ngx_zltunnel_registry_t *registry,
    u_char *tunnel_id)
{
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    ngx_zltunnel_zone_lock(registry);

    tunnel = ngx_zltunnel_tunnel_find(registry->sh, tunnel_id);

    if (tunnel) {
        ngx_zltunnel_tunnel_idle(registry, tunnel, -1);
    }

    ngx_zltunnel_zone_unlock(registry);
}


ngx_zltunnel_channel_t *
ngx_zltunnel_channel_create(ngx_zltunnel_registry_t *registry,
    ngx_connection_t *c, const ngx_zltunnel_end_ops_t *ops)
{
    ngx_zltunnel_channel_t  *channel;

    channel = ngx_calloc(sizeof(ngx_zltunnel_channel_t), c->log);
    if (channel == NULL) {
        return NULL;
    }

    if (!ngx_zltunnel_channels_ready) {
        ngx_queue_init(&ngx_zltunnel_channels);
        ngx_zltunnel_channels_ready = 1;
    }

    ngx_zltunnel_end_init(&channel->end, c, ops);

    channel->registry = registry;
    channel->frame = channel->small;
    channel->size = sizeof(channel->small);

    channel->timer.handler = ngx_zltunnel_channel_timer_handler;
    channel->timer.data = channel;
    channel->timer.log = c->log;
    channel->timer.cancelable = 1;

    ngx_queue_insert_tail(&ngx_zltunnel_channels, &channel->all);

    /* of the worker's connections a lane has none */

    if (!channel->end.ops->shared) {
        registry->nchannels++;
    }

    /* not to be closed when the worker begins to exit */
    c->idle = 0;

    c->data = channel;
    c->log->data = NULL;
    c->log->handler = NULL;

    return channel;
}


ngx_zltunnel_channel_t *
ngx_zltunnel_channel_pop(ngx_zltunnel_peer_t *peer,
    ngx_zltunnel_channel_for_e what)
{
    ngx_zltunnel_channel_t  *channel;

    channel = ngx_zltunnel_channel_newest(peer, what);

    if (channel) {
        ngx_zltunnel_channel_unlist(channel);
    }

    return channel;
}


ngx_zltunnel_channel_t *
ngx_zltunnel_channel_take(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel, ngx_zltunnel_channel_for_e what)
{
    ngx_zltunnel_peer_t     *peer;
    ngx_zltunnel_channel_t  *channel;

    peer = ngx_zltunnel_peer_find(registry, tunnel->id);

    channel = peer ? ngx_zltunnel_channel_newest(peer, what) : NULL;

    if (channel) {
        ngx_zltunnel_channel_remove(channel);
        ngx_zltunnel_tunnel_idle(registry, tunnel, -1);
    }

    return channel;
}


/* the newest is the least likely to have been dropped on the way */

static ngx_zltunnel_channel_t *
ngx_zltunnel_channel_newest(ngx_zltunnel_peer_t *peer,
    ngx_zltunnel_channel_for_e what)
{
    ngx_queue_t             *q;
    ngx_zltunnel_channel_t  *channel;

    for (q = ngx_queue_head(&peer->idle);
         q != ngx_queue_sentinel(&peer->idle);
         q = ngx_queue_next(q))
    {
        channel = ngx_queue_data(q, ngx_zltunnel_channel_t, queue);

        if (channel->have == channel->used
            && (!channel->end.ops->bridged
                || ngx_zltunnel_channel_bridge_for(channel, what)))
        {
            return channel;
        }
    }

    return NULL;
}


/*
 * Its other worker finds out when the agent is dead, and was told once how long
 * that may take.  For lanes the round trip is to be known, which is that
 * worker's, too.
 */

static ngx_uint_t
ngx_zltunnel_channel_bridge_for(ngx_zltunnel_channel_t *channel,
    ngx_zltunnel_channel_for_e what)
{
    return channel->requests ? what == NGX_ZLTUNNEL_FOR_REQUESTS
                             : what == NGX_ZLTUNNEL_FOR_BYTES;
}


static void
ngx_zltunnel_channel_unlist(ngx_zltunnel_channel_t *channel)
{
    ngx_zltunnel_peer_t  *peer;

    peer = channel->peer;

    if (peer == NULL) {
        return;
    }

    ngx_zltunnel_channel_remove(channel);
    ngx_zltunnel_channel_idle_out(channel->registry, peer->id);
    ngx_zltunnel_peer_release(peer);
}


/* here only, not in the registry */

static void
ngx_zltunnel_channel_remove(ngx_zltunnel_channel_t *channel)
{
    ngx_zltunnel_peer_t  *peer;

    peer = channel->peer;

    ngx_zltunnel_channel_state(channel, NGX_ZLTUNNEL_CHANNEL_TAKEN);

    channel->peer = NULL;
    ngx_queue_remove(&channel->queue);
    peer->nidle--;
    peer->registry->nidle--;
}


void
ngx_zltunnel_channel_close(ngx_zltunnel_channel_t *channel)
{
    ngx_zltunnel_channel_unlist(channel);

    /* our end of the last connection, if that was to go with the next one */

    if (channel->end.connection) {
        (void) ngx_zltunnel_channel_answer_flush(channel);
    }

    ngx_zltunnel_channel_answer_drop(channel);

    ngx_zltunnel_channel_state(channel, NGX_ZLTUNNEL_CHANNEL_CLOSED);

    ngx_queue_remove(&channel->all);

    if (!channel->end.ops->shared) {
        channel->registry->nchannels--;
    }

    ngx_zltunnel_end_close(&channel->end);

    if (channel->frame != channel->small) {
        ngx_free(channel->frame);
    }

    ngx_free(channel);
}


ngx_int_t
ngx_zltunnel_channel_evict(ngx_zltunnel_registry_t *registry)
{
    ngx_queue_t             *q;
    ngx_zltunnel_channel_t  *channel;

    if (!ngx_zltunnel_channels_ready) {
        return NGX_DECLINED;
    }

    for (q = ngx_queue_head(&ngx_zltunnel_channels);
         q != ngx_queue_sentinel(&ngx_zltunnel_channels);
         q = ngx_queue_next(q))
    {
        channel = ngx_queue_data(q, ngx_zltunnel_channel_t, all);

        if (registry && channel->registry != registry) {
            continue;
        }

        if (channel->bridge && ngx_zltunnel_bridge_idle(channel->bridge)) {
            ngx_zltunnel_bridge_retire(channel->bridge);
            return NGX_OK;
        }

        if (channel->peer) {
            ngx_zltunnel_channel_close(channel);
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


void
ngx_zltunnel_channel_exit(void)
{
    ngx_queue_t             *q;
    ngx_zltunnel_channel_t  *channel;

    if (!ngx_zltunnel_channels_ready) {
        return;
    }

    while (!ngx_queue_empty(&ngx_zltunnel_channels)) {
        q = ngx_queue_head(&ngx_zltunnel_channels);
        channel = ngx_queue_data(q, ngx_zltunnel_channel_t, all);

        if (channel->end.lent) {

            /* its connection is the upstream code's */

            ngx_queue_remove(q);
            ngx_queue_init(q);
            continue;
        }

        if (channel->bridge) {
            ngx_zltunnel_bridge_close(channel->bridge);
            continue;
        }

        ngx_zltunnel_channel_close(channel);
    }
}


static void
ngx_zltunnel_channel_idle_handler(ngx_event_t *ev)
{
    ngx_int_t                rc;
    zlt_msg_t                m;
    ngx_connection_t        *c;
    ngx_zltunnel_budget_t    budget;
    ngx_zltunnel_channel_t  *channel;

    c = ev->data;
    channel = c->data;

    if (c->close) {
        ngx_zltunnel_channel_close(channel);
        return;
    }

    ngx_memzero(&budget, sizeof(ngx_zltunnel_budget_t));

    for ( ;; ) {
        rc = ngx_zltunnel_channel_io_read(channel, &m, &budget);

        if (rc == NGX_AGAIN) {
            return;
        }

        if (rc != NGX_OK) {
            ngx_zltunnel_channel_close(channel);
            return;
        }

        switch (m.type) {

        case ZLT_HEARTBEAT_ACK:
            if (ngx_zltunnel_heartbeat_heard(&channel->beat,
                                             channel->registry))
            {
                ngx_add_timer(&channel->timer,
                              ngx_zltunnel_heartbeat_left(&channel->beat));
            }

            break;

        case ZLT_HEARTBEAT:
            m.type = ZLT_HEARTBEAT_ACK;

            if (ngx_zltunnel_channel_io_write(channel, &m) != NGX_OK) {
                ngx_zltunnel_channel_close(channel);
                return;
            }

            break;

        case ZLT_RETIRE:
            ngx_zltunnel_channel_close(channel);
            return;

        default:
            ngx_log_error(NGX_LOG_INFO, c->log, 0,
                          "unexpected %s on an idle data channel",
                          zlt_msg_name(m.type));
            ngx_zltunnel_channel_close(channel);
            return;
        }
    }
}


static void
ngx_zltunnel_channel_timer_handler(ngx_event_t *ev)
{
    zlt_msg_t                m;
    ngx_time_t              *tp;
    ngx_zltunnel_channel_t  *channel;

    channel = ev->data;

    if (channel->state == NGX_ZLTUNNEL_CHANNEL_DRAINING) {
        ngx_log_error(NGX_LOG_INFO, channel->end.connection->log, 0,
                      "agent did not end a connection");
        ngx_zltunnel_end_abort(&channel->end);
        ngx_zltunnel_channel_close(channel);
        return;
    }

    switch (ngx_zltunnel_heartbeat_tick(&channel->beat, channel->registry)) {

    case NGX_ZLTUNNEL_HEARTBEAT_DEAD:
        ngx_log_error(NGX_LOG_INFO, channel->end.connection->log, 0,
                      "idle data channel did not answer a heartbeat");
        ngx_zltunnel_channel_close(channel);
        return;

    case NGX_ZLTUNNEL_HEARTBEAT_ASK:

        if (channel->end.ops->bridged) {

            /* nobody has needed it here for a while: it is the other worker's
               again, as the agent has it */

            ngx_zltunnel_channel_close(channel);
            return;
        }

        tp = ngx_timeofday();

        ngx_memzero(&m, sizeof(zlt_msg_t));
        m.type = ZLT_HEARTBEAT;
        m.timestamp = (uint64_t) tp->sec * 1000 + tp->msec;

        if (ngx_zltunnel_channel_io_write(channel, &m) != NGX_OK) {
            ngx_zltunnel_channel_close(channel);
            return;
        }

        break;

    default: /* NGX_ZLTUNNEL_HEARTBEAT_WAIT */
        break;
    }

    ngx_add_timer(ev, ngx_zltunnel_heartbeat_left(&channel->beat));
}


static void
ngx_zltunnel_channel_write_handler(ngx_event_t *ev)
{
    ngx_connection_t        *c;
    ngx_zltunnel_channel_t  *channel;

    c = ev->data;
    channel = c->data;

    /* an error is found by reading */

    (void) ngx_zltunnel_end_flush(&channel->end);
}
