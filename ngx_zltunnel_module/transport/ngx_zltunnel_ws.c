
/*
 * Copyright (C) zltunnel authors
 */

/*
 * An end within a WebSocket: what is between the messages of a channel and the
 * socket or TLS beneath.  The codec is zlt_ws_stream.c.
 *
 * Bytes are read into the caller's buffer and decoded there, so that never
 * more is read than was asked for, and nothing of the channel's bytes stays
 * here.  Written, what is encoded and cannot be sent is kept in "out", and as
 * long as there is such a rest nothing more is taken.  Without TLS, bytes are
 * sent from where they are, with the header in front of them by the same call.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_ws.h"
#include "ngx_zltunnel_budget.h"
#include "ngx_zltunnel_buffer.h"
#include "ngx_zltunnel_end.h"
#include "ngx_zltunnel_socket.h"
#include "ngx_zltunnel_tls.h"

#include "zlt_stage.h"
#include "zlt_ws_stream.h"


struct ngx_zltunnel_ws_s {
    zlt_ws_stream_t              stream;
    ngx_uint_t                   mute;        /* says nothing any more */
    zlt_unsent_t                *out;         /* to be sent, or NULL */
};


#define NGX_ZLTUNNEL_WS_STAGE     (64 * 1024 + 4096)
#define NGX_ZLTUNNEL_WS_MERGE     4096     /* of "out", sent with the next */


#if (NGX_SSL)
static void ngx_zltunnel_ws_init(ngx_zltunnel_end_t *end);
#endif
static size_t ngx_zltunnel_ws_state(ngx_zltunnel_end_t *end, u_char *buf);
static ssize_t ngx_zltunnel_ws_recv(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
static ssize_t ngx_zltunnel_ws_send(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
static size_t ngx_zltunnel_ws_decode(ngx_zltunnel_end_t *end, u_char *data,
    size_t len);
static void ngx_zltunnel_ws_told(ngx_zltunnel_end_t *end);
static ssize_t ngx_zltunnel_ws_done(ngx_zltunnel_end_t *end);
static void ngx_zltunnel_ws_pong(ngx_zltunnel_end_t *end);
static ssize_t ngx_zltunnel_ws_data(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
static ssize_t ngx_zltunnel_ws_writev(ngx_connection_t *c, struct iovec *iov,
    ngx_uint_t n);
static ngx_int_t ngx_zltunnel_ws_write(ngx_zltunnel_end_t *end, u_char *data,
    size_t len);
static ngx_int_t ngx_zltunnel_ws_put(ngx_zltunnel_end_t *end, u_char *data,
    size_t len);
static ngx_int_t ngx_zltunnel_ws_flush(ngx_zltunnel_end_t *end);
static ngx_int_t ngx_zltunnel_ws_shutdown(ngx_zltunnel_end_t *end);
static ngx_uint_t ngx_zltunnel_ws_kept(ngx_zltunnel_end_t *end);
static ngx_uint_t ngx_zltunnel_ws_amid(ngx_zltunnel_end_t *end);
static void ngx_zltunnel_ws_abort(ngx_zltunnel_end_t *end);
static void ngx_zltunnel_ws_close(ngx_zltunnel_end_t *end);


static const ngx_zltunnel_end_ops_t  ngx_zltunnel_ws_ops = {
    .recv = ngx_zltunnel_ws_recv,
    .send = ngx_zltunnel_ws_send,
    .shutdown = ngx_zltunnel_ws_shutdown,
    .flush = ngx_zltunnel_ws_flush,
    .kept = ngx_zltunnel_ws_kept,
    .amid = ngx_zltunnel_ws_amid,
    .state = ngx_zltunnel_ws_state,
    .abort = ngx_zltunnel_ws_abort,
    .close = ngx_zltunnel_ws_close,
    .under = &ngx_zltunnel_socket_ops,
    .most = NGX_ZLTUNNEL_END_ALL,
    .network = 1,
    .moves = 1
};


#if (NGX_SSL)

static const ngx_zltunnel_end_ops_t  ngx_zltunnel_ws_tls_ops = {
    .recv = ngx_zltunnel_ws_recv,
    .send = ngx_zltunnel_ws_send,
    .shutdown = ngx_zltunnel_ws_shutdown,
    .init = ngx_zltunnel_ws_init,
    .flush = ngx_zltunnel_ws_flush,
    .kept = ngx_zltunnel_ws_kept,
    .amid = ngx_zltunnel_ws_amid,
    .state = ngx_zltunnel_ws_state,
    .abort = ngx_zltunnel_ws_abort,
    .close = ngx_zltunnel_ws_close,
    .under = &ngx_zltunnel_tls_ops,
    .most = ZLT_STAGE_RECORD,
    .network = 1
};

#endif


ngx_int_t
ngx_zltunnel_ws_start(ngx_zltunnel_end_t *end, u_char *data, size_t *len)
{
    end->ws = ngx_calloc(sizeof(ngx_zltunnel_ws_t), end->connection->log);
    if (end->ws == NULL) {
        return NGX_ERROR;
    }

    zlt_ws_stream_init(&end->ws->stream, NULL);

    end->ops = &ngx_zltunnel_ws_ops;

#if (NGX_SSL)
    if (end->connection->ssl) {
        end->ops = &ngx_zltunnel_ws_tls_ops;
    }
#endif

    *len = ngx_zltunnel_ws_decode(end, data, *len);

    return NGX_OK;
}


#if (NGX_SSL)

static void
ngx_zltunnel_ws_init(ngx_zltunnel_end_t *end)
{
    end->ops->under->init(end);
}

#endif


static size_t
ngx_zltunnel_ws_state(ngx_zltunnel_end_t *end, u_char *buf)
{
    ngx_memcpy(buf, &end->ws->stream, sizeof(zlt_ws_stream_t));

    return sizeof(zlt_ws_stream_t);
}


ngx_int_t
ngx_zltunnel_ws_restore(ngx_zltunnel_end_t *end, u_char *state)
{
    size_t  none;

    none = 0;

    if (ngx_zltunnel_ws_start(end, NULL, &none) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_memcpy(&end->ws->stream, state, sizeof(zlt_ws_stream_t));

    ngx_zltunnel_ws_told(end);

    return NGX_OK;
}


static ssize_t
ngx_zltunnel_ws_recv(ngx_zltunnel_end_t *end, u_char *buf, size_t size)
{
    ssize_t                 n;
    ngx_event_t            *rev;
    zlt_ws_stream_t        *s;
    ngx_zltunnel_budget_t   budget;

    s = &end->ws->stream;
    rev = end->connection->read;

    ngx_memzero(&budget, sizeof(ngx_zltunnel_budget_t));

    while (!ngx_zltunnel_budget_spent(&budget)) {

        if (s->end != ZLT_WS_STREAM_OPEN) {
            return ngx_zltunnel_ws_done(end);
        }

        n = end->ops->under->recv(end, buf, size);

        if (n <= 0) {
            return n;
        }

        budget.bytes += n;
        budget.messages++;

        n = ngx_zltunnel_ws_decode(end, buf, n);

        if (n) {
            return n;
        }

        if (!rev->ready) {
            return NGX_AGAIN;
        }
    }

    /* whoever sends so many bytes for nothing waits for the others */

    ngx_zltunnel_budget_post(rev);

    return NGX_AGAIN;
}


static size_t
ngx_zltunnel_ws_decode(ngx_zltunnel_end_t *end, u_char *data, size_t len)
{
    len = zlt_ws_stream_decode(&end->ws->stream, data, len);

    ngx_zltunnel_ws_pong(end);
    ngx_zltunnel_ws_told(end);

    return len;
}


/* no event tells of an end that was read together with bytes */

static void
ngx_zltunnel_ws_told(ngx_zltunnel_end_t *end)
{
    if (end->ws->stream.end != ZLT_WS_STREAM_OPEN) {
        end->connection->read->ready = 1;
    }
}


/* after the last byte: 0 or NGX_ERROR */

static ssize_t
ngx_zltunnel_ws_done(ngx_zltunnel_end_t *end)
{
    ngx_connection_t  *c;

    c = end->connection;
    c->read->ready = 0;

    if (end->ws->stream.end == ZLT_WS_STREAM_CLOSED) {
        c->read->eof = 1;
        return 0;
    }

    ngx_log_error(NGX_LOG_INFO, c->log, 0,
                  "bad WebSocket frame on a data channel: %s",
                  end->ws->stream.parser.error);

    c->read->error = 1;

    return NGX_ERROR;
}


static void
ngx_zltunnel_ws_pong(ngx_zltunnel_end_t *end)
{
    size_t  n;
    u_char  buf[ZLT_WS_STREAM_PONG];

    if (end->ws->out || end->ws->mute) {

        /* it goes with what follows, if anything does, or at the next turn */

        return;
    }

    n = zlt_ws_stream_pong(&end->ws->stream, buf);

    /* an error is found by reading, behind all that came before it */

    if (n && ngx_zltunnel_ws_write(end, buf, n) == NGX_ERROR) {
        end->ws->mute = 1;
    }
}


static ssize_t
ngx_zltunnel_ws_send(ngx_zltunnel_end_t *end, u_char *buf, size_t size)
{
    size_t              len, used;
    ngx_int_t           rc;
    ngx_zltunnel_ws_t  *ws;

    static u_char  stage[NGX_ZLTUNNEL_WS_STAGE];

    ws = end->ws;
    len = 0;

    if (ws->out) {
        len = zlt_unsent_left(ws->out);

        if (len > NGX_ZLTUNNEL_WS_MERGE || !end->connection->write->ready) {
            rc = ngx_zltunnel_ws_flush(end);

            if (rc != NGX_OK) {
                return rc;
            }

            len = 0;

        } else {
            ngx_memcpy(stage, zlt_unsent_next(ws->out), len);

            zlt_unsent_drop(&ws->out, &ngx_zltunnel_buffer_memory);
        }
    }

    if (len == 0 && end->ops->under->raw) {
        return ngx_zltunnel_ws_data(end, buf, size);
    }

    len += zlt_ws_stream_encode(&ws->stream, stage + len, sizeof(stage) - len,
                                buf, size, &used);

    if (ngx_zltunnel_ws_write(end, stage, len) == NGX_ERROR) {
        return NGX_ERROR;
    }

    return used;
}


/* bytes that go as they are */

static ssize_t
ngx_zltunnel_ws_data(ngx_zltunnel_end_t *end, u_char *buf, size_t size)
{
    size_t             len;
    ssize_t            n;
    ngx_uint_t         i;
    struct iovec       iov[2];
    zlt_ws_stream_t   *s;
    ngx_connection_t  *c;

    u_char  header[ZLT_WS_STREAM_HEAD];

    c = end->connection;
    s = &end->ws->stream;

    len = zlt_ws_stream_begin(s, header,
                              ngx_min(size, NGX_ZLTUNNEL_BUFFER_SIZE));
    i = 0;

    if (len) {
        iov[i].iov_base = (void *) header;
        iov[i++].iov_len = len;
    }

    iov[i].iov_base = (void *) buf;
    iov[i++].iov_len = ngx_min(size, s->left);

    n = ngx_zltunnel_ws_writev(c, iov, i);

    if (n == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (n == NGX_AGAIN) {
        n = 0;
    }

    if ((size_t) n < len) {
        return ngx_zltunnel_ws_put(end, header + n, len - n) == NGX_OK
               ? NGX_AGAIN : NGX_ERROR;
    }

    n -= len;
    zlt_ws_stream_sent(s, n);

    ngx_zltunnel_ws_pong(end);

    return n ? n : NGX_AGAIN;
}


/* as ngx_unix_send() */

static ssize_t
ngx_zltunnel_ws_writev(ngx_connection_t *c, struct iovec *iov, ngx_uint_t n)
{
    ssize_t    rc;
    ngx_err_t  err;

    do {
        rc = writev(c->fd, iov, n);
        err = (rc == -1) ? ngx_socket_errno : 0;
    } while (err == NGX_EINTR);

    ngx_log_debug2(NGX_LOG_DEBUG_EVENT, c->log, 0,
                   "writev: fd:%d %z", c->fd, rc);

    if (rc > 0) {
        c->sent += rc;

        if ((size_t) rc < iov[0].iov_len + (n > 1 ? iov[1].iov_len : 0)) {
            c->write->ready = 0;
        }

        return rc;
    }

    c->write->ready = 0;

    if (err == NGX_EAGAIN) {
        return NGX_AGAIN;
    }

    c->write->error = 1;
    (void) ngx_connection_error(c, err, "writev() failed");

    return NGX_ERROR;
}


/* Sends, and keeps what does not go: NGX_OK, NGX_ERROR.  "out" is empty. */

static ngx_int_t
ngx_zltunnel_ws_write(ngx_zltunnel_end_t *end, u_char *data, size_t len)
{
    ssize_t                        n;
    ngx_connection_t              *c;
    const ngx_zltunnel_end_ops_t  *under;

    c = end->connection;
    under = end->ops->under;

    while (len && c->write->ready) {
        n = under->send(end, data, ngx_min(len, under->most));

        if (n == NGX_AGAIN) {
            break;
        }

        if (n <= 0) {
            return NGX_ERROR;
        }

        data += n;
        len -= n;
    }

    return len ? ngx_zltunnel_ws_put(end, data, len) : NGX_OK;
}


/* behind what is kept already */

static ngx_int_t
ngx_zltunnel_ws_put(ngx_zltunnel_end_t *end, u_char *data, size_t len)
{
    return zlt_unsent_put(&end->ws->out, &ngx_zltunnel_buffer_memory, data, len)
           == 0 ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_zltunnel_ws_flush(ngx_zltunnel_end_t *end)
{
    ssize_t                        n;
    ngx_int_t                      rc;
    ngx_connection_t              *c;
    ngx_zltunnel_ws_t             *ws;
    const ngx_zltunnel_end_ops_t  *under;

    ws = end->ws;
    c = end->connection;
    under = end->ops->under;

    if (under->flush) {
        rc = under->flush(end);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    while (ws->out) {

        if (!c->write->ready) {
            return NGX_AGAIN;
        }

        n = under->send(end, zlt_unsent_next(ws->out),
                        ngx_min(zlt_unsent_left(ws->out), under->most));

        if (n == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        if (n <= 0) {
            return NGX_ERROR;
        }

        zlt_unsent_sent(&ws->out, &ngx_zltunnel_buffer_memory, n);

        if (ws->out == NULL) {
            ngx_zltunnel_ws_pong(end);
        }
    }

    return NGX_OK;
}


/*
 * Says Close, once, behind all that was taken, unless the end was aborted.
 * NGX_ERROR also if a message is half sent.
 */

static ngx_int_t
ngx_zltunnel_ws_shutdown(ngx_zltunnel_end_t *end)
{
    size_t  n;
    u_char  buf[ZLT_WS_STREAM_CLOSE];

    if (!end->ws->mute) {
        end->ws->mute = 1;

        n = zlt_ws_stream_close(&end->ws->stream, buf);

        if (n == 0 || end->connection->write->error
            || ngx_zltunnel_ws_put(end, buf, n) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return ngx_zltunnel_ws_flush(end);
}


static ngx_uint_t
ngx_zltunnel_ws_kept(ngx_zltunnel_end_t *end)
{
    const ngx_zltunnel_end_ops_t  *under;

    under = end->ops->under;

    return end->ws->out || (under->kept && under->kept(end));
}


/* a frame has come in part, or what is beneath has more */

static ngx_uint_t
ngx_zltunnel_ws_amid(ngx_zltunnel_end_t *end)
{
    const ngx_zltunnel_end_ops_t  *under;

    under = end->ops->under;

    return zlt_ws_stream_amid(&end->ws->stream)
           || (under->amid && under->amid(end));
}


static void
ngx_zltunnel_ws_abort(ngx_zltunnel_end_t *end)
{
    end->ws->mute = 1;

    end->ops->under->abort(end);
}


static void
ngx_zltunnel_ws_close(ngx_zltunnel_end_t *end)
{
    if (end->connection) {
        (void) ngx_zltunnel_ws_shutdown(end);
    }

    zlt_unsent_drop(&end->ws->out, &ngx_zltunnel_buffer_memory);

    ngx_free(end->ws);
    end->ws = NULL;

    if (end->ops->under->close) {
        end->ops->under->close(end);
    }
}
