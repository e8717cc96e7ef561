
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Frames on data channels: how they are read, and sent.
 *
 * On an idle channel a frame is read with never a byte more, so that it can
 * move to another worker.  On one that belongs to a dial all that there is can
 * be read at once: what follows ConnectAck is the service's.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_channel_io.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_dial.h"
#include "ngx_zltunnel_transport.h"

#include "zlt_msg.h"


static ssize_t ngx_zltunnel_channel_recv(ngx_zltunnel_channel_t *channel,
    size_t need);
static ngx_int_t ngx_zltunnel_channel_grow(ngx_zltunnel_channel_t *channel,
    size_t size);


ngx_int_t
ngx_zltunnel_channel_io_unread(ngx_zltunnel_channel_t *channel, u_char *data,
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


ngx_int_t
ngx_zltunnel_channel_io_read(ngx_zltunnel_channel_t *channel, zlt_msg_t *m,
    ngx_zltunnel_budget_t *budget)
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

    if (ngx_zltunnel_budget_spent(budget)) {
        ngx_zltunnel_budget_post(c->read);
        return NGX_AGAIN;
    }

    for ( ;; ) {
        rc = zlt_msg_decode(m, channel->frame, channel->have,
                            ZLT_MAX_CHANNEL_FRAME, &need);

        if (rc == ZLT_OK) {
            channel->used = need;
            budget->bytes += need;
            budget->messages++;
            return NGX_OK;
        }

        if (rc != ZLT_AGAIN) {
            ngx_log_error(NGX_LOG_INFO, c->log, 0,
                          "bad frame on a data channel: %s", zlt_msg_strerror(rc));
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

    if (channel->dial) {
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

    if (need > channel->size
        && ngx_zltunnel_channel_grow(channel, need) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_zltunnel_end_pull(&channel->end, channel->frame + have,
                                 need - have);
}


ngx_int_t
ngx_zltunnel_channel_io_rest(ngx_zltunnel_channel_t *channel,
    ngx_zltunnel_relay_t *relay)
{
    u_char   *p;
    ssize_t   n;

    p = channel->frame + channel->used;
    n = channel->have - channel->used;

    n = ngx_zltunnel_framed_take(&channel->end, p, n);

    if (n == NGX_ERROR) {
        return NGX_ERROR;
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

    if (channel->frame != channel->small) {
        ngx_free(channel->frame);
    }

    channel->frame = p;
    channel->size = size;

    return NGX_OK;
}


ngx_int_t
ngx_zltunnel_channel_io_write(ngx_zltunnel_channel_t *channel, zlt_msg_t *m)
{
    u_char   buf[64];
    size_t   len;
    ssize_t  n;

    len = zlt_msg_encode(m, buf, sizeof(buf));

    /* nothing else is under way on an idle channel, so it fits, or is dead */

    n = ngx_zltunnel_end_send(&channel->end, buf, len);

    return (n == (ssize_t) len) ? NGX_OK : NGX_ERROR;
}
