
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What is read and written on a channel that is lent.
 *
 * Of a service whose token has a rate no more is read and written at a time than
 * that allows.
 *
 * What is sent gets the header of its message as a buffer of its own in front
 * of the chain, or is copied behind it for TLS.  Only bytes in memory come
 * here: the connection has no sendfile.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_lent.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_conn.h"
#include "ngx_zltunnel_conn_end.h"
#include "ngx_zltunnel_conn_pace.h"
#include "ngx_zltunnel_conn_pool.h"
#include "ngx_zltunnel_move.h"
#include "ngx_zltunnel_transport.h"

#include "zlt_frames.h"
#include "zlt_stage.h"


#define NGX_ZLTUNNEL_LENT_RECORD   (ZLT_STAGE_RECORD - ZLT_HEADER_SIZE)


static ssize_t ngx_zltunnel_lent_recv(ngx_connection_t *c, u_char *buf,
    size_t size);
static ssize_t ngx_zltunnel_lent_read(ngx_connection_t *c,
    ngx_zltunnel_conn_t *conn, u_char *buf, size_t size);
static ssize_t ngx_zltunnel_lent_rest(ngx_zltunnel_channel_t *channel,
    u_char *buf, size_t size);
static ssize_t ngx_zltunnel_lent_send(ngx_connection_t *c, u_char *buf,
    size_t size);
static ngx_chain_t *ngx_zltunnel_lent_chain(ngx_connection_t *c,
    ngx_chain_t *in, off_t limit);
static ngx_chain_t *ngx_zltunnel_lent_send_chain(ngx_connection_t *c,
    ngx_chain_t *in, off_t limit);
static ngx_chain_t *ngx_zltunnel_lent_copy_chain(ngx_connection_t *c,
    ngx_chain_t *in, off_t limit);
static ngx_int_t ngx_zltunnel_lent_flush(ngx_zltunnel_conn_t *conn,
    ngx_zltunnel_end_t *end);
static void ngx_zltunnel_lent_on_lane(ngx_zltunnel_conn_t *conn);
static off_t ngx_zltunnel_lent_size(ngx_chain_t *in);


void
ngx_zltunnel_lent_functions(ngx_connection_t *c, ngx_zltunnel_end_t *end)
{
    c->recv = ngx_zltunnel_lent_recv;
    c->send = ngx_zltunnel_lent_send;
    c->recv_chain = ngx_zltunnel_conn_end_recv_chain;
    c->send_chain = ngx_zltunnel_lent_chain;

    ngx_zltunnel_conn_pool_find(c)->send_chain =
                                  end->ops->raw ? ngx_zltunnel_lent_send_chain
                                                : ngx_zltunnel_lent_copy_chain;
}


static ssize_t
ngx_zltunnel_lent_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    size_t                most;
    ssize_t               n;
    ngx_zltunnel_conn_t  *conn;

    conn = ngx_zltunnel_conn_pool_find(c);

    if (!ngx_zltunnel_conn_paced(conn)) {
        return ngx_zltunnel_lent_read(c, conn, buf, size);
    }

    most = ngx_zltunnel_conn_pace_ask(conn, NGX_ZLTUNNEL_CONN_RECEIVES);

    if (most == 0) {
        return NGX_AGAIN;
    }

    n = ngx_zltunnel_lent_read(c, conn, buf, ngx_min(size, most));

    ngx_zltunnel_conn_pace_used(conn, NGX_ZLTUNNEL_CONN_RECEIVES,
                                ngx_max(n, 0), n > 0 && c->read->ready);

    return n;
}


static ssize_t
ngx_zltunnel_lent_read(ngx_connection_t *c, ngx_zltunnel_conn_t *conn,
    u_char *buf, size_t size)
{
    ssize_t                  n;
    ngx_event_t             *rev;
    ngx_zltunnel_channel_t  *channel;

    channel = conn->lent;
    rev = c->read;

    n = ngx_zltunnel_lent_rest(channel, buf, size);

    if (n == 0) {
        n = ngx_zltunnel_end_recv(&channel->end, buf, size);
    }

    if (n == NGX_AGAIN && channel->frames.in.end == ZLT_FRAMES_MOVED) {

        if (ngx_zltunnel_move_finish(conn) == NGX_OK) {
            return ngx_zltunnel_lent_read(c, conn, buf, size);
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
ngx_zltunnel_lent_chain(ngx_connection_t *c, ngx_chain_t *in, off_t limit)
{
    off_t                 sent, most;
    ngx_uint_t            more;
    ngx_zltunnel_conn_t  *conn;

    conn = ngx_zltunnel_conn_pool_find(c);

    if (!ngx_zltunnel_conn_paced(conn) || ngx_zltunnel_lent_size(in) == 0) {
        return conn->send_chain(c, in, limit);
    }

    do {
        most = ngx_zltunnel_conn_pace_ask(conn, NGX_ZLTUNNEL_CONN_SENDS);

        if (most == 0) {
            return in;
        }

        sent = c->sent;

        in = conn->send_chain(c, in, limit ? ngx_min(limit, most) : most);

        sent = c->sent - sent;
        more = (in && in != NGX_CHAIN_ERROR && c->write->ready
                && sent != limit);

        ngx_zltunnel_conn_pace_used(conn, NGX_ZLTUNNEL_CONN_SENDS, sent, more);

        if (limit) {
            limit -= sent;
        }

    } while (more);

    return in;
}


static ngx_chain_t *
ngx_zltunnel_lent_send_chain(ngx_connection_t *c, ngx_chain_t *in, off_t limit)
{
    off_t                    before, size, sent;
    size_t                   head, n;
    ngx_buf_t                b;
    ngx_chain_t              cl, *rest;
    zlt_frames_out_t        *out;

    out = &ngx_zltunnel_conn_pool_find(c)->lent->frames.out;

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

    conn = ngx_zltunnel_conn_pool_find(c);
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
