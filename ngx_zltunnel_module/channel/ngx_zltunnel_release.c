
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What becomes of a channel when the connection that it carried is over.
 *
 * If the bytes of the connection came as messages to the end, in both
 * directions, it is idle again, in the worker that has used it.  Where our end
 * came first, what the agent had sent before it knew is read and discarded,
 * for a while; else the channel is closed, and the connection reset by that if
 * it has not ended well.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_release.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_channel_answer.h"
#include "ngx_zltunnel_channel_io.h"
#include "ngx_zltunnel_dial.h"
#include "ngx_zltunnel_lane.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_transport.h"
#include "ngx_zltunnel_worker.h"

#include "zlt_frames.h"
#include "zlt_msg.h"


#define NGX_ZLTUNNEL_CHANNEL_DRAIN      5000    /* ms, until it is idle again */
#define NGX_ZLTUNNEL_CHANNEL_WASTE      (1024 * 1024)   /* bytes */


static ngx_int_t ngx_zltunnel_channel_finish(ngx_zltunnel_channel_t *channel,
    ngx_uint_t reset);
static void ngx_zltunnel_channel_finish_last(
    ngx_zltunnel_channel_t *channel);
static ngx_int_t ngx_zltunnel_channel_hold_end(
    ngx_zltunnel_channel_t *channel, ngx_uint_t reset);
static void ngx_zltunnel_channel_drain_handler(ngx_event_t *ev);
static void ngx_zltunnel_channel_drain(ngx_zltunnel_channel_t *channel);


void
ngx_zltunnel_release(ngx_zltunnel_channel_t *channel, ngx_uint_t reset,
    ngx_zltunnel_sh_counter_t **counter)
{
    if (ngx_zltunnel_channel_finish(channel, reset) != NGX_OK) {

        if (reset) {
            ngx_zltunnel_end_abort(&channel->end);
        }

        ngx_zltunnel_channel_close(channel);
        return;
    }

    if (zlt_frames_over(channel->end.frames)) {
        ngx_zltunnel_release_idle(channel, counter);
        return;
    }

    ngx_zltunnel_channel_state(channel, NGX_ZLTUNNEL_CHANNEL_DRAINING);

    channel->drained = 0;

    channel->end.connection->data = channel;
    channel->end.connection->read->handler = ngx_zltunnel_channel_drain_handler;
    channel->end.connection->write->handler =
                                            ngx_zltunnel_channel_drain_handler;

    ngx_add_timer(&channel->timer, NGX_ZLTUNNEL_CHANNEL_DRAIN);

    ngx_zltunnel_channel_drain(channel);
}


/*
 * Sees to it that our direction ends with a message, at least as soon as it
 * can be sent.  NGX_DECLINED: the connection was to the channel's end.
 */

static ngx_int_t
ngx_zltunnel_channel_finish(ngx_zltunnel_channel_t *channel, ngx_uint_t reset)
{
    ngx_connection_t    *c;
    zlt_frames_t        *frames;
    ngx_zltunnel_end_t  *end;

    end = &channel->end;
    frames = end->frames;
    c = end->connection;

    if (c->close || c->read->error || c->write->error) {
        return NGX_DECLINED;
    }

    if (ngx_zltunnel_end_raw_in(end) || ngx_zltunnel_end_raw_out(end)
        || (ngx_exiting && !end->ops->shared))
    {
        if (!reset) {
            ngx_zltunnel_channel_finish_last(channel);
        }

        return NGX_DECLINED;
    }

    if (frames->out.end == ZLT_FRAMES_OPEN) {

        if (!zlt_frames_whole(&frames->out)) {
            return NGX_DECLINED;
        }

        /* nothing is held on a channel that has something to send already, nor
           where the next connection is not to go */

        if (frames->in.end != ZLT_FRAMES_OPEN && !ngx_zltunnel_end_kept(end)
            && !end->ops->shared)
        {
            return ngx_zltunnel_channel_hold_end(channel, reset);
        }

        if (ngx_zltunnel_framed_end(end, reset ? ZLT_FRAMES_RESET
                                               : ZLT_FRAMES_EOF)
            == NGX_ERROR)
        {
            return NGX_DECLINED;
        }

        return NGX_OK;
    }

    /* there is no message for a reset after an end */

    if (reset && frames->out.end == ZLT_FRAMES_EOF
        && frames->in.end != ZLT_FRAMES_RESET)
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/* The channel will be closed: the relay has left the last end to us. */

static void
ngx_zltunnel_channel_finish_last(ngx_zltunnel_channel_t *channel)
{
    ngx_zltunnel_end_t  *end;

    end = &channel->end;

    if (!ngx_zltunnel_end_raw_out(end)) {
        (void) ngx_zltunnel_framed_end(end, ZLT_FRAMES_EOF);
    }

    if (end->ops->raw) {
        ngx_zltunnel_socket_linger(end->connection, 0);
    }
}


static ngx_int_t
ngx_zltunnel_channel_hold_end(ngx_zltunnel_channel_t *channel,
    ngx_uint_t reset)
{
    size_t             len;
    ngx_str_t          answer;
    zlt_frames_out_t  *out;

    out = &channel->frames.out;

    zlt_frames_end(out, reset ? ZLT_FRAMES_RESET : ZLT_FRAMES_EOF);

    len = zlt_frames_pending(out);

    answer.data = ngx_alloc(len, channel->end.connection->log);
    if (answer.data == NULL) {
        return NGX_DECLINED;
    }

    answer.len = len;
    ngx_memcpy(answer.data, out->head + out->pos, len);

    (void) zlt_frames_sent(out, len);

    ngx_zltunnel_channel_answer_hold(channel, &answer);

    return NGX_OK;
}


static void
ngx_zltunnel_channel_drain_handler(ngx_event_t *ev)
{
    ngx_connection_t        *c;
    ngx_zltunnel_channel_t  *channel;

    c = ev->data;
    channel = c->data;

    if (c->close) {
        ngx_zltunnel_end_abort(&channel->end);
        ngx_zltunnel_channel_close(channel);
        return;
    }

    ngx_zltunnel_channel_drain(channel);
}


static void
ngx_zltunnel_channel_drain(ngx_zltunnel_channel_t *channel)
{
    ssize_t                 n;
    zlt_frames_t           *frames;
    ngx_connection_t       *c;
    ngx_zltunnel_end_t     *end;
    ngx_zltunnel_budget_t   budget;

    static u_char  buf[NGX_ZLTUNNEL_EARLY_SIZE];

    end = &channel->end;
    c = end->connection;
    frames = end->frames;

    if (ngx_zltunnel_framed_flush(end) == NGX_ERROR) {
        goto failed;
    }

    ngx_memzero(&budget, sizeof(ngx_zltunnel_budget_t));

    while (frames->in.end == ZLT_FRAMES_OPEN) {

        if (ngx_zltunnel_budget_spent(&budget)) {
            ngx_zltunnel_budget_post(c->read);
            break;
        }

        n = ngx_zltunnel_end_recv(end, buf, sizeof(buf));

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR && frames->in.end == ZLT_FRAMES_OPEN) {
            goto failed;
        }

        if (n > 0) {
            channel->drained += n;
            budget.bytes += n;
        }

        if (channel->drained > NGX_ZLTUNNEL_CHANNEL_WASTE) {
            goto failed;
        }
    }

    if (ngx_zltunnel_end_raw_in(end)) {
        goto failed;
    }

    if (zlt_frames_over(frames)) {
        ngx_zltunnel_release_idle(channel, NULL);
        return;
    }

    if (ngx_handle_read_event(c->read, 0) != NGX_OK
        || ngx_handle_write_event(c->write, 0) != NGX_OK)
    {
        goto failed;
    }

    return;

failed:

    ngx_zltunnel_end_abort(end);
    ngx_zltunnel_channel_close(channel);
}


void
ngx_zltunnel_release_idle(ngx_zltunnel_channel_t *channel,
    ngx_zltunnel_sh_counter_t **counter)
{
    u_char                      token[32], text[NGX_ZLTUNNEL_TOKEN_NAME];
    ngx_str_t                   name;
    ngx_uint_t                  wanted, used, waited, retired;
    ngx_connection_t           *c;
    ngx_zltunnel_end_t         *end;
    ngx_zltunnel_peer_t        *peer;
    ngx_zltunnel_registry_t    *registry;
    ngx_zltunnel_sh_tunnel_t   *tunnel;

    registry = channel->registry;
    end = &channel->end;
    c = end->connection;

    if (end->ops->shared) {
        ngx_zltunnel_lane_over(end);
        ngx_zltunnel_channel_close(channel);
        return;
    }

    used = (end->frames != NULL);

    /* the agent has said so with its end */

    retired = (end->nrest && end->rest[0] == ZLT_RETIRE);

    channel->fresh = 0;
    channel->have = 0;
    channel->used = 0;

    end->frames = NULL;
    end->eof = 0;
    end->shut = 0;

    wanted = 0;
    name.len = 0;
    name.data = text;

    /* one that somebody waits for will not be idle for long */

    peer = ngx_zltunnel_peer_find(registry, channel->tunnel_id);
    waited = peer && !ngx_queue_empty(&peer->waiting);

    ngx_zltunnel_zone_lock(registry);

    if (counter && *counter) {
        ngx_zltunnel_counter_put(registry, *counter);
        *counter = NULL;
    }

    tunnel = ngx_zltunnel_tunnel_find(registry->sh, channel->tunnel_id);

    if (tunnel && tunnel->epoch == channel->epoch && !ngx_exiting
        && !retired
        && registry->slot != NGX_ZLTUNNEL_NO_SLOT
        && (waited
            || ngx_zltunnel_tunnel_nidle(registry->sh, tunnel)
               < registry->max_idle_channels))
    {
        wanted = 1;

        ngx_zltunnel_tunnel_idle(registry, tunnel, 1);
        ngx_zltunnel_slot(registry->sh, registry->slot)->reused += used;

        ngx_memcpy(token, tunnel->token, 32);
        name.len = tunnel->name_len;
        ngx_memcpy(text, tunnel->name, name.len);
    }

    ngx_zltunnel_zone_unlock(registry);

    if (!wanted) {
        ngx_zltunnel_channel_close(channel);
        return;
    }

    /* nothing can fail here: the frame's own buffer is larger */

    (void) ngx_zltunnel_channel_io_unread(channel, end->rest, end->nrest);
    end->nrest = 0;

    c->data = channel;

    if (ngx_zltunnel_channel_list(channel, token, &name) == NGX_OK
        && (c->read->ready || channel->have))
    {
        /* in a turn of its own: the caller may be within a handler of it */

        ngx_post_event(c->read, &ngx_posted_events);
    }
}
