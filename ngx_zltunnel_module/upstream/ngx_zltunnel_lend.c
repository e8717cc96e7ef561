
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Channels lent to nginx's upstream code.
 *
 * A framed channel in this worker, plain or under TLS, can serve a connection
 * of the upstream code with no hop between: that connection gets the
 * channel's descriptor and its TLS session, and functions of ours to read and
 * write messages with.  The channel's own connection waits without a
 * descriptor meanwhile.  When the upstream code is done, it comes back, and
 * the channel is idle again; if the upstream code closes the connection
 * instead, the channel has ended with it.
 *
 * What is sent gets the header of its message as a buffer of its own in front
 * of the chain, or is copied behind it for TLS.  Only bytes in memory come
 * here: the connection has no sendfile.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_lend.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_conn.h"
#include "ngx_zltunnel_move.h"
#include "ngx_zltunnel_transport.h"

#include "zlt_frames.h"


#define NGX_ZLTUNNEL_LENT_RECORD   (16384 - ZLT_HEADER_SIZE)   /* of TLS */


static void ngx_zltunnel_lent_pass(ngx_connection_t *from,
    ngx_connection_t *to);
static void ngx_zltunnel_lent_handler(ngx_event_t *ev);
static void ngx_zltunnel_lent_idle(ngx_zltunnel_conn_t *conn);
static ssize_t ngx_zltunnel_lent_recv(ngx_connection_t *c, u_char *buf,
    size_t size);
static ssize_t ngx_zltunnel_lent_rest(ngx_zltunnel_channel_t *channel,
    u_char *buf, size_t size);
static ssize_t ngx_zltunnel_lent_send(ngx_connection_t *c, u_char *buf,
    size_t size);
static ngx_chain_t *ngx_zltunnel_lent_send_chain(ngx_connection_t *c,
    ngx_chain_t *in, off_t limit);
static ngx_chain_t *ngx_zltunnel_lent_copy_chain(ngx_connection_t *c,
    ngx_chain_t *in, off_t limit);
static ngx_int_t ngx_zltunnel_lent_flush(ngx_zltunnel_conn_t *conn,
    ngx_zltunnel_end_t *end);
static void ngx_zltunnel_lent_on_lane(ngx_zltunnel_conn_t *conn);
static off_t ngx_zltunnel_lent_size(ngx_chain_t *in);


/* the connection is writable once this is done */

void
ngx_zltunnel_lend(ngx_zltunnel_conn_t *conn)
{
    ngx_zltunnel_channel_t  *channel;

    channel = conn->dial.channel;
    conn->dial.channel = NULL;

    ngx_zltunnel_lend_attach(conn, channel);
}


void
ngx_zltunnel_lend_attach(ngx_zltunnel_conn_t *conn,
    ngx_zltunnel_channel_t *channel)
{
    ngx_connection_t  *c, *own;

    c = conn->connection;
    own = channel->end.connection;

    conn->lent = channel;
    conn->own = own;

    if (channel->end.kind != NGX_ZLTUNNEL_LANE) {
        ngx_zltunnel_conn_spare(c);
        c->fd = own->fd;
    }

    ngx_zltunnel_lent_pass(own, c);

    c->recv = ngx_zltunnel_lent_recv;
    c->send = ngx_zltunnel_lent_send;
    c->recv_chain = ngx_zltunnel_conn_recv_chain;
    c->send_chain = ngx_zltunnel_lent_send_chain;

    if (!ngx_zltunnel_end_raw(&channel->end)) {
        c->send_chain = ngx_zltunnel_lent_copy_chain;
    }

    c->read->active = own->read->active;
    c->write->active = own->write->active;
    c->read->available = own->read->available;
    c->read->pending_eof = own->read->pending_eof;

    own->data = conn;
    own->read->handler = ngx_zltunnel_lent_handler;
    own->write->handler = ngx_zltunnel_lent_handler;

    channel->end.connection = c;
    channel->end.lent = 1;

    c->write->ready = 1;
    ngx_post_event(c->write, &ngx_posted_events);

    /* what came with ConnectAck, or already */

    if (own->read->ready || channel->have > channel->used
        || ngx_zltunnel_end_readable(&channel->end))
    {
        c->read->ready = 1;
        ngx_post_event(c->read, &ngx_posted_events);
    }

    ngx_zltunnel_conn_enter(conn, channel->end.kind == NGX_ZLTUNNEL_LANE
                                  ? NGX_ZLTUNNEL_CONN_LANE
                                  : NGX_ZLTUNNEL_CONN_LENT);
}


/* the TLS session, and an end of what waits for "from" */

static void
ngx_zltunnel_lent_pass(ngx_connection_t *from, ngx_connection_t *to)
{
    if (from->read->timer_set) {
        ngx_del_timer(from->read);
    }

    if (from->write->timer_set) {
        ngx_del_timer(from->write);
    }

    if (from->read->posted) {
        ngx_delete_posted_event(from->read);
    }

    if (from->write->posted) {
        ngx_delete_posted_event(from->write);
    }

#if (NGX_SSL)

    if (from->ssl) {
        to->ssl = from->ssl;
        from->ssl = NULL;

        to->ssl->handler = NULL;
        to->ssl->saved_read_handler = NULL;
        to->ssl->saved_write_handler = NULL;

        (void) SSL_set_ex_data(to->ssl->connection, ngx_ssl_connection_index,
                               to);
    }

#endif
}


/* an event of the descriptor, which epoll knows as the channel's own */

static void
ngx_zltunnel_lent_handler(ngx_event_t *ev)
{
    ngx_event_t          *to;
    ngx_connection_t     *c, *own;
    ngx_zltunnel_conn_t  *conn;

    own = ev->data;
    conn = own->data;

    if (own->close) {
        /* and so the other is, which has a handler that knows what to do */
        return;
    }

    c = conn->connection;
    to = ev->write ? c->write : c->read;

    to->ready = 1;

    if (conn->state == NGX_ZLTUNNEL_CONN_MOVED) {

        if (ev->write) {

            /* on the lane nothing is to be written but the last message */

            ngx_zltunnel_move_leave(conn);
            return;
        }

        if (c->idle) {
            ngx_zltunnel_lent_idle(conn);
            return;
        }
    }

    to->available = ev->available;
    to->pending_eof = ev->pending_eof;

    to->handler(to);
}


/* Moved comes while it waits in a keepalive cache, whose handler would close it
   for anything that comes, and does so for anything else. */

static void
ngx_zltunnel_lent_idle(ngx_zltunnel_conn_t *conn)
{
    u_char             buf[ZLT_HEADER_SIZE];
    ngx_connection_t  *c;

    c = conn->connection;

    if (ngx_zltunnel_lent_recv(c, buf, sizeof(buf)) == NGX_AGAIN) {
        return;
    }

    c->close = 1;
    c->read->handler(c->read);
}


ngx_int_t
ngx_zltunnel_lend_return(ngx_zltunnel_conn_t *conn, ngx_uint_t reset)
{
    ngx_pool_t              *pool;
    ngx_connection_t        *c, *own;
    ngx_zltunnel_channel_t  *channel;

    c = conn->connection;

    ngx_zltunnel_move_end(conn);

    own = conn->own;
    channel = conn->lent;

    if ((conn->state != NGX_ZLTUNNEL_CONN_LENT
         && conn->state != NGX_ZLTUNNEL_CONN_LANE)
        || c->buffered || c->close || c->read->error || c->write->error)
    {
        return NGX_DECLINED;
    }

    if (ngx_zltunnel_framed_take(&channel->end, channel->frame + channel->used,
                                 channel->have - channel->used)
        == NGX_ERROR)
    {
        return NGX_DECLINED;
    }

    ngx_zltunnel_lent_pass(c, own);

    own->read->ready = c->read->ready;
    own->read->available = c->read->available;
    own->write->ready = c->write->ready;
    own->data = channel;

    channel->end.connection = own;
    channel->end.lent = 0;

    conn->lent = NULL;

    if (c->read->active != own->read->active
        || c->write->active != own->write->active)
    {
        /* core has had to wait for an event, and epoll knows its one now */

        own->write->active = 1;

        if (ngx_add_event(own->read, NGX_READ_EVENT, NGX_CLEAR_EVENT)
            != NGX_OK)
        {
            own->read->error = 1;
        }
    }

    if (channel->end.kind == NGX_ZLTUNNEL_LANE) {
        ngx_zltunnel_conn_spare(c);
    }

    /* while the dial still holds the tunnel's peer */

    ngx_zltunnel_release(channel, reset, &conn->dial.counter);

    pool = c->pool;

    c->read->closed = 1;
    c->write->closed = 1;

    ngx_reusable_connection(c, 0);
    ngx_free_connection(c);
    c->fd = (ngx_socket_t) -1;

    /* with what there is in it of ours */

    ngx_destroy_pool(pool);

    return NGX_OK;
}


/* the connection is closed, by its owner: the channel goes */

void
ngx_zltunnel_lend_close(ngx_zltunnel_conn_t *conn)
{
    ngx_pool_t              *pool;
    ngx_connection_t        *own;
    ngx_zltunnel_channel_t  *channel;

    channel = conn->lent;
    own = conn->own;

    conn->lent = NULL;

    ngx_zltunnel_move_cancel(conn);

    if (channel->end.kind == NGX_ZLTUNNEL_LANE) {
        ngx_zltunnel_channel_close(channel);
        return;
    }

    channel->end.connection = NULL;
    ngx_zltunnel_channel_close(channel);

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_active, -1);
#endif

    if (own->read->posted) {
        ngx_delete_posted_event(own->read);
    }

    if (own->write->posted) {
        ngx_delete_posted_event(own->write);
    }

    own->destroyed = 1;
    own->read->closed = 1;
    own->write->closed = 1;

    pool = own->pool;

    ngx_free_connection(own);
    own->fd = (ngx_socket_t) -1;

    ngx_destroy_pool(pool);
}


static ssize_t
ngx_zltunnel_lent_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    ssize_t                  n;
    ngx_event_t             *rev;
    ngx_zltunnel_conn_t     *conn;
    ngx_zltunnel_channel_t  *channel;

    conn = ngx_zltunnel_conn_of(c);
    channel = conn->lent;
    rev = c->read;

    n = ngx_zltunnel_lent_rest(channel, buf, size);

    if (n == 0) {
        n = ngx_zltunnel_end_recv(&channel->end, buf, size);
    }

    if (n == NGX_AGAIN && channel->frames.in.end == ZLT_FRAMES_MOVED) {

        if (ngx_zltunnel_move_finish(conn) == NGX_OK) {
            return ngx_zltunnel_lent_recv(c, buf, size);
        }

        n = NGX_ERROR;
    }

    if (n > 0 && channel->end.lane
        && ngx_zltunnel_lane_bulky(channel->end.lane))
    {
        ngx_zltunnel_move_start(conn);
    }

    if (n == 0) {
        rev->ready = 0;
        rev->eof = 1;

    } else if (n == NGX_ERROR) {
        rev->ready = 0;
        rev->error = 1;

    } else if (n > 0 && (channel->have > channel->used
                         || ngx_zltunnel_end_readable(&channel->end)))
    {
        /* no event tells of these, nor of an end marker */

        rev->ready = 1;
    }

    return n;
}


/* bytes that were read together with ConnectAck */

static ssize_t
ngx_zltunnel_lent_rest(ngx_zltunnel_channel_t *channel, u_char *buf,
    size_t size)
{
    size_t  n;

    n = ngx_min(size, channel->have - channel->used);

    if (n == 0) {
        return 0;
    }

    ngx_memcpy(buf, channel->frame + channel->used, n);
    channel->used += n;

    return ngx_zltunnel_framed_take(&channel->end, buf, n);
}


static ssize_t
ngx_zltunnel_lent_send(ngx_connection_t *c, u_char *buf, size_t size)
{
    ngx_buf_t    b;
    ngx_chain_t  cl;

    ngx_memzero(&b, sizeof(ngx_buf_t));

    b.pos = buf;
    b.last = buf + size;
    b.memory = 1;
    b.flush = 1;

    cl.buf = &b;
    cl.next = NULL;

    if (c->send_chain(c, &cl, 0) == NGX_CHAIN_ERROR) {
        return NGX_ERROR;
    }

    return b.pos == buf ? NGX_AGAIN : b.pos - buf;
}


static ngx_chain_t *
ngx_zltunnel_lent_send_chain(ngx_connection_t *c, ngx_chain_t *in, off_t limit)
{
    off_t                    before, size, sent;
    size_t                   head, n;
    ngx_buf_t                b;
    ngx_chain_t              cl, *rest;
    zlt_frames_out_t        *out;

    out = &ngx_zltunnel_conn_of(c)->lent->frames.out;

    for ( ;; ) {
        before = ngx_zltunnel_lent_size(in);

        if (before == 0) {
            /* nothing but flags */
            return NULL;
        }

        size = (limit && before > limit) ? limit : before;

        n = zlt_frames_data(out, size);
        head = zlt_frames_pending(out);

        ngx_memzero(&b, sizeof(ngx_buf_t));

        b.pos = out->head + out->pos;
        b.last = b.pos + head;
        b.memory = 1;

        cl.buf = &b;
        cl.next = in;

        sent = c->sent;

        rest = ngx_send_chain(c, head ? &cl : in, head + n);

        if (rest == NGX_CHAIN_ERROR) {
            return rest;
        }

        n = zlt_frames_sent(out, c->sent - sent);
        c->sent = sent + n;

        in = (rest == &cl) ? in : rest;

        if (in == NULL || !c->write->ready) {
            return in;
        }

        if (limit) {
            limit -= n;

            if (limit == 0) {
                return in;
            }
        }
    }
}


/* For TLS, WebSocket and lanes.  Not ngx_ssl_send_chain(): its buffer would be
   in the connection's pool, which goes before the TLS session does. */

static ngx_chain_t *
ngx_zltunnel_lent_copy_chain(ngx_connection_t *c, ngx_chain_t *in,
    off_t limit)
{
    off_t                 sent;
    size_t                size, len;
    u_char               *p;
    ssize_t               n;
    ngx_int_t             rc;
    ngx_chain_t          *cl;
    ngx_zltunnel_end_t   *end;
    ngx_zltunnel_conn_t  *conn;

    static u_char  buf[ZLT_FRAMES_ROOM + NGX_ZLTUNNEL_LENT_RECORD];

    conn = ngx_zltunnel_conn_of(c);
    end = &conn->lent->end;

    if (c->buffered) {
        rc = ngx_zltunnel_lent_flush(conn,
                                     conn->state == NGX_ZLTUNNEL_CONN_MOVED
                                     ? ngx_zltunnel_move_target(conn) : end);
        if (rc != NGX_OK) {
            return (rc == NGX_ERROR) ? NGX_CHAIN_ERROR : in;
        }
    }

    for ( ;; ) {
        p = buf + ZLT_FRAMES_ROOM;
        len = NGX_ZLTUNNEL_LENT_RECORD;

        if (limit && (off_t) len > limit) {
            len = limit;
        }

        for (cl = in; cl && len; cl = cl->next) {

            if (ngx_buf_special(cl->buf)) {
                continue;
            }

            size = ngx_min((size_t) (cl->buf->last - cl->buf->pos), len);

            p = ngx_cpymem(p, cl->buf->pos, size);
            len -= size;
        }

        len = p - (buf + ZLT_FRAMES_ROOM);

        if (len == 0) {
            return ngx_chain_update_sent(in, 0);
        }

        if (conn->state == NGX_ZLTUNNEL_CONN_MOVED) {
            end = ngx_zltunnel_move_target(conn);

            if (end == NULL) {
                c->write->ready = 0;
                return in;
            }
        }

        sent = c->sent;

        n = ngx_zltunnel_end_send(end, buf + ZLT_FRAMES_ROOM, len);

        if (n == NGX_ERROR) {
            return NGX_CHAIN_ERROR;
        }

        if (n == NGX_AGAIN) {
            c->write->ready = 0;
            return in;
        }

        c->sent = sent + n;

        in = ngx_chain_update_sent(in, n);

        if (!end->connection->write->ready) {
            c->write->ready = 0;
        }

        if (ngx_zltunnel_lent_flush(conn, end) == NGX_ERROR) {
            return NGX_CHAIN_ERROR;
        }

        if (end->lane) {
            ngx_zltunnel_lent_on_lane(conn);
        }

        if (in == NULL || !c->write->ready) {
            return in;
        }

        if (limit) {
            limit -= n;

            if (limit == 0) {
                return in;
            }
        }
    }
}


/* What was taken and waits for room: NGX_OK, there is nothing.  Core asks again
   as long as the connection is buffered. */

static ngx_int_t
ngx_zltunnel_lent_flush(ngx_zltunnel_conn_t *conn, ngx_zltunnel_end_t *end)
{
    ngx_connection_t  *c;

    c = conn->connection;

    if (end && ngx_zltunnel_end_kept(end)) {

        if (ngx_zltunnel_end_flush(end) == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (ngx_zltunnel_end_kept(end)) {
            c->buffered |= NGX_LOWLEVEL_BUFFERED;
            c->write->ready = 0;
            return NGX_AGAIN;
        }
    }

    c->buffered &= ~NGX_LOWLEVEL_BUFFERED;

    return NGX_OK;
}


/* something was sent on the lane of the connection */

static void
ngx_zltunnel_lent_on_lane(ngx_zltunnel_conn_t *conn)
{
    if (conn->state == NGX_ZLTUNNEL_CONN_LEAVES) {
        ngx_zltunnel_move_leave(conn);

    } else if (ngx_zltunnel_lane_bulky(conn->lent->end.lane)) {
        ngx_zltunnel_move_start(conn);
    }
}


static off_t
ngx_zltunnel_lent_size(ngx_chain_t *in)
{
    off_t  size;

    for (size = 0; in; in = in->next) {

        if (!ngx_buf_special(in->buf)) {
            size += in->buf->last - in->buf->pos;
        }
    }

    return size;
}
