
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Frames on data channels: how they are read, and sent.
 *
 * The answer to a channel's request, the 101, waits for a millisecond: where many
 * connections come, the newest idle channel is taken within that time, and
 * its 101 goes in one packet with Connect.  So does the end marker of the last
 * connection, if the agent's has come before ours.
 *
 * A frame is read with never a byte more: what follows ConnectAck is the
 * service's, and goes wherever the descriptor goes.  Only a dial that relays
 * is greedy: its descriptor stays, so what there is can be read at once.  So
 * it is on a framed channel.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_channel_io.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_dial.h"
#include "ngx_zltunnel_dial_ask.h"
#include "ngx_zltunnel_transport.h"

#include "zlt_proto.h"
#include "zlt_types.h"


#define NGX_ZLTUNNEL_CHANNEL_HOLD       1       /* ms, for the 101 */
#define NGX_ZLTUNNEL_ACK_SIZE           (ZLT_HEADER_SIZE + ZLT_ID_SIZE)


static void ngx_zltunnel_channel_held_handler(ngx_event_t *ev);
static ssize_t ngx_zltunnel_channel_recv(ngx_zltunnel_channel_t *channel,
    size_t need);
static ngx_int_t ngx_zltunnel_channel_grow(ngx_zltunnel_channel_t *channel,
    size_t size);


static ngx_queue_t       ngx_zltunnel_channels_held;
static ngx_event_t       ngx_zltunnel_channel_held_event;
static ngx_connection_t  ngx_zltunnel_channel_held_dummy;


/*
 * What is to go on an idle channel with the next Connect: the 101 of a new
 * one, or our end marker if the agent's has come before, since nobody waits
 * for it.
 */

void
ngx_zltunnel_channel_hold(ngx_zltunnel_channel_t *channel, ngx_str_t *answer)
{
    ngx_event_t  *ev;

    if (ngx_zltunnel_channels_held.prev == NULL) {
        ngx_queue_init(&ngx_zltunnel_channels_held);
    }

    channel->answer = *answer;
    ngx_queue_insert_tail(&ngx_zltunnel_channels_held, &channel->held);

    ev = &ngx_zltunnel_channel_held_event;

    if (!ev->timer_set) {
        ngx_zltunnel_channel_held_dummy.fd = (ngx_socket_t) -1;

        ev->handler = ngx_zltunnel_channel_held_handler;
        ev->data = &ngx_zltunnel_channel_held_dummy;
        ev->log = ngx_cycle->log;
        ev->cancelable = 1;

        ngx_add_timer(ev, NGX_ZLTUNNEL_CHANNEL_HOLD);
    }
}


static void
ngx_zltunnel_channel_held_handler(ngx_event_t *ev)
{
    ngx_queue_t             *q;
    ngx_zltunnel_channel_t  *channel;

    while (!ngx_queue_empty(&ngx_zltunnel_channels_held)) {
        q = ngx_queue_head(&ngx_zltunnel_channels_held);
        channel = ngx_queue_data(q, ngx_zltunnel_channel_t, held);

        if (ngx_zltunnel_channel_flush(channel) == NGX_OK) {
            continue;
        }

        if (channel->dial) {
            ngx_zltunnel_channel_answered(channel);
            ngx_zltunnel_dial_dead(channel->dial, channel, channel->fresh);

        } else {
            ngx_zltunnel_channel_close(channel);
        }
    }
}


ngx_int_t
ngx_zltunnel_channel_flush(ngx_zltunnel_channel_t *channel)
{
    ssize_t  n;

    if (channel->answer.data == NULL) {
        return NGX_OK;
    }

    n = ngx_zltunnel_end_write(&channel->end, channel->answer.data,
                               channel->answer.len);

    /* the first bytes on the connection, so they fit, or it is dead */

    if (n != (ssize_t) channel->answer.len) {
        return NGX_ERROR;
    }

    ngx_zltunnel_channel_answered(channel);

    return NGX_OK;
}


void
ngx_zltunnel_channel_answered(ngx_zltunnel_channel_t *channel)
{
    if (channel->answer.data) {
        ngx_queue_remove(&channel->held);
        ngx_free(channel->answer.data);
        ngx_str_null(&channel->answer);
    }
}


ngx_int_t
ngx_zltunnel_channel_unread(ngx_zltunnel_channel_t *channel, u_char *data,
    size_t len)
{
    if (len == 0) {
        return NGX_OK;
    }

    if (len > ZLT_HEADER_SIZE + ZLT_MAX_CHANNEL_FRAME) {
        return NGX_ERROR;
    }

    if (len > channel->size
        && ngx_zltunnel_channel_grow(channel, len) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_memcpy(channel->frame, data, len);
    channel->have = len;

    return NGX_OK;
}


/*
 * Unless the dial is greedy, or the channel framed, no byte behind ConnectAck
 * is read.  The answer to Connect has at least the size of ConnectAck, so as
 * much can be read at once; a heartbeat that is in the way is shorter, and what
 * was read behind it is the next frame's.
 */

ngx_int_t
ngx_zltunnel_channel_read(ngx_zltunnel_channel_t *channel, zlt_msg_t *m)
{
    int                rc;
    size_t             need;
    ssize_t            n;
    ngx_connection_t  *c;

    c = channel->end.connection;

    if (channel->used) {
        channel->have -= channel->used;
        ngx_memmove(channel->frame, channel->frame + channel->used,
                    channel->have);
        channel->used = 0;
    }

    for ( ;; ) {
        rc = zlt_msg_decode(m, channel->frame, channel->have,
                            ZLT_MAX_CHANNEL_FRAME, &need);

        if (rc == ZLT_OK) {
            channel->used = need;
            return NGX_OK;
        }

        if (rc != ZLT_AGAIN) {
            ngx_log_error(NGX_LOG_INFO, c->log, 0,
                          "bad frame on a data channel: %s", zlt_strerror(rc));
            return NGX_ERROR;
        }

        n = ngx_zltunnel_channel_recv(channel, need);

        if (n == NGX_AGAIN) {

            if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
                return NGX_ERROR;
            }

            return NGX_AGAIN;
        }

        if (n <= 0) {
            return NGX_ERROR;
        }

        channel->have += n;
    }
}


/* reads behind what there is, until there are so many bytes, or all */

static ssize_t
ngx_zltunnel_channel_recv(ngx_zltunnel_channel_t *channel, size_t need)
{
    size_t   have;
    ssize_t  n;

    static u_char  buf[NGX_ZLTUNNEL_EARLY_SIZE];

    have = channel->have;

    if (channel->dial && (channel->dial->greedy || channel->end.frames)) {
        n = ngx_zltunnel_end_pull(&channel->end, buf, sizeof(buf));

        if (n <= 0) {
            return n;
        }

        if (have + n > channel->size
            && ngx_zltunnel_channel_grow(channel, have + n) != NGX_OK)
        {
            return NGX_ERROR;
        }

        ngx_memcpy(channel->frame + have, buf, n);

        return n;
    }

    if (channel->dial && have < ZLT_HEADER_SIZE) {
        need = NGX_ZLTUNNEL_ACK_SIZE;
    }

    if (need > channel->size
        && ngx_zltunnel_channel_grow(channel, need) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_zltunnel_end_pull(&channel->end, channel->frame + have,
                                 need - have);
}


ngx_int_t
ngx_zltunnel_channel_rest(ngx_zltunnel_channel_t *channel,
    ngx_zltunnel_relay_t *relay)
{
    u_char   *p;
    ssize_t   n;

    p = channel->frame + channel->used;
    n = channel->have - channel->used;

    if (channel->end.frames) {
        n = ngx_zltunnel_framed_take(&channel->end, p, n);

        if (n == NGX_ERROR) {
            return NGX_ERROR;
        }
    }

    channel->have = 0;
    channel->used = 0;

    return ngx_zltunnel_relay_put(relay, 1, p, n);
}


static ngx_int_t
ngx_zltunnel_channel_grow(ngx_zltunnel_channel_t *channel, size_t size)
{
    u_char  *p;

    p = ngx_alloc(size, ngx_cycle->log);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(p, channel->frame, channel->have);

    if (channel->allocated) {
        ngx_free(channel->frame);
    }

    channel->frame = p;
    channel->size = size;
    channel->allocated = 1;

    return NGX_OK;
}


ngx_int_t
ngx_zltunnel_channel_write(ngx_zltunnel_channel_t *channel, zlt_msg_t *m)
{
    u_char   buf[64];
    size_t   len;
    ssize_t  n;

    len = zlt_msg_encode(m, buf, sizeof(buf));

    /* nothing else is under way on an idle channel, so it fits, or is dead */

    n = ngx_zltunnel_end_send(&channel->end, buf, len);

    return (n == (ssize_t) len) ? NGX_OK : NGX_ERROR;
}
