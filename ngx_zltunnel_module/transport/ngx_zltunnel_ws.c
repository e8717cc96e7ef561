
/*
 * Copyright (C) zltunnel authors
 */

/*
 * An end within a WebSocket: what is between the relay, or whoever reads and
 * writes, and the socket or TLS beneath.  The translation is zlt_wsd.c's.
 *
 * Bytes are read into the caller's buffer and decoded there, so that never
 * more is read than was asked for, and nothing of the channel's bytes stays
 * here.  Written, what is encoded and cannot be sent is kept in "out", and as
 * long as there is such a rest nothing more is taken.  Without TLS, the bytes
 * of a client are sent from where they are, with the header in front of them by
 * the same call.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_ws.h"
#include "ngx_zltunnel_budget.h"
#include "ngx_zltunnel_buffer.h"
#include "ngx_zltunnel_end.h"
#include "ngx_zltunnel_tls.h"

#include "zlt_wsd.h"


struct ngx_zltunnel_ws_s {
    zlt_wsd_t                    data;
    ngx_uint_t                   mute;        /* a Pong could not be sent */
    u_char                      *out;         /* not sent yet, or NULL */
    size_t                       out_pos;
    size_t                       out_len;
};


#define NGX_ZLTUNNEL_WS_STAGE     (64 * 1024 + 4096)
#define NGX_ZLTUNNEL_WS_MERGE     4096     /* of "out", sent with the next */
#define NGX_ZLTUNNEL_WS_RECORD    16384    /* of TLS */


static ssize_t ngx_zltunnel_ws_done(ngx_zltunnel_end_t *end);
static void ngx_zltunnel_ws_pong(ngx_zltunnel_end_t *end);
static ssize_t ngx_zltunnel_ws_data(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
static ssize_t ngx_zltunnel_ws_writev(ngx_connection_t *c, struct iovec *iov,
    ngx_uint_t n);
static ngx_int_t ngx_zltunnel_ws_write(ngx_zltunnel_end_t *end, u_char *data,
    size_t len);


ngx_int_t
ngx_zltunnel_ws_init(ngx_zltunnel_end_t *end, ngx_uint_t rx, ngx_uint_t tx)
{
    end->ws = ngx_calloc(sizeof(ngx_zltunnel_ws_t), end->connection->log);
    if (end->ws == NULL) {
        return NGX_ERROR;
    }

    zlt_wsd_init(&end->ws->data, NULL, rx, tx);

    return NGX_OK;
}


ngx_int_t
ngx_zltunnel_ws_restore(ngx_zltunnel_end_t *end, u_char *state)
{
    if (ngx_zltunnel_ws_init(end, ZLT_WSD_FRAMED, ZLT_WSD_FRAMED) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_memcpy(&end->ws->data, state, sizeof(zlt_wsd_t));

    return NGX_OK;
}


void
ngx_zltunnel_ws_free(ngx_zltunnel_end_t *end)
{
    if (end->ws == NULL) {
        return;
    }

    if (end->ws->out) {
        ngx_free(end->ws->out);
    }

    ngx_free(end->ws);
    end->ws = NULL;
}


ssize_t
ngx_zltunnel_ws_recv(ngx_zltunnel_end_t *end, u_char *buf, size_t size)
{
    ssize_t                 n;
    zlt_wsd_t              *w;
    ngx_event_t            *rev;
    ngx_zltunnel_budget_t   budget;

    w = &end->ws->data;
    rev = end->connection->read;

    ngx_memzero(&budget, sizeof(ngx_zltunnel_budget_t));

    while (!ngx_zltunnel_budget_spent(&budget)) {

        /* Eof that has been told: what follows may still be asked for */

        if (w->how != ZLT_WSD_OPEN && !(w->how == ZLT_WSD_EOF && end->eof)) {
            return ngx_zltunnel_ws_done(end);
        }

        n = ngx_zltunnel_end_read(end, buf, size);

        if (n == NGX_AGAIN || n == NGX_ERROR) {
            return n;
        }

        if (n == 0) {

            if (w->how == ZLT_WSD_OPEN) {
                w->how = (w->rx == ZLT_WSD_BYTES) ? ZLT_WSD_RESET
                                                  : ZLT_WSD_CLOSED;
                continue;
            }

            return 0;
        }

        budget.bytes += n;
        budget.messages++;

        n = zlt_wsd_decode(w, buf, n);

        if (w->ponging) {
            ngx_zltunnel_ws_pong(end);
        }

        if (w->how != ZLT_WSD_OPEN && !end->eof) {

            /* no event will tell */

            rev->ready = 1;
        }

        if (n) {
            return n;
        }

        if (w->how == ZLT_WSD_OPEN && !rev->ready) {
            return NGX_AGAIN;
        }
    }

    /* whoever sends so many bytes for nothing waits for the others */

    ngx_zltunnel_budget_post(rev);

    return NGX_AGAIN;
}


/* what comes after the last byte: 0 or NGX_ERROR */

static ssize_t
ngx_zltunnel_ws_done(ngx_zltunnel_end_t *end)
{
    zlt_wsd_t         *w;
    ngx_connection_t  *c;

    w = &end->ws->data;
    c = end->connection;

    switch (w->how) {

    case ZLT_WSD_EOF:
    case ZLT_WSD_CLOSED:
        return 0;

    case ZLT_WSD_BROKEN:
        ngx_log_error(NGX_LOG_INFO, c->log, 0,
                      "bad WebSocket message on a data channel: %s", w->error);
        break;

    default:  /* ZLT_WSD_RESET */
        ngx_log_error(NGX_LOG_INFO, c->log, 0,
                      "data channel within a WebSocket was reset");
        break;
    }

    c->read->ready = 0;
    c->read->error = 1;

    return NGX_ERROR;
}


ngx_int_t
ngx_zltunnel_ws_drain(ngx_zltunnel_end_t *end)
{
    ssize_t  n;

    static u_char  buf[1024];

    if (end->ws->data.how != ZLT_WSD_EOF) {
        return NGX_OK;
    }

    do {
        n = ngx_zltunnel_ws_recv(end, buf, sizeof(buf));
    } while (n > 0);

    if (n == NGX_AGAIN || end->shut) {
        return NGX_OK;
    }

    if (n == 0) {
        ngx_log_error(NGX_LOG_INFO, end->connection->log, 0,
                      "data channel within a WebSocket was closed");
    }

    return NGX_ERROR;
}


static void
ngx_zltunnel_ws_pong(ngx_zltunnel_end_t *end)
{
    size_t  n;
    u_char  buf[ZLT_WSD_PONG];

    if (end->ws->out || end->ws->mute) {

        /* it goes with what follows, if anything does, or at the next turn */

        return;
    }

    n = zlt_wsd_pong(&end->ws->data, buf);

    /* an error is found by reading, behind all that came before it */

    if (n && ngx_zltunnel_ws_write(end, buf, n) == NGX_ERROR) {
        end->ws->mute = 1;
    }
}


ssize_t
ngx_zltunnel_ws_send(ngx_zltunnel_end_t *end, u_char *buf, size_t size)
{
    size_t              len, used;
    ngx_int_t           rc;
    ngx_zltunnel_ws_t  *ws;

    static u_char  stage[NGX_ZLTUNNEL_WS_STAGE];

    ws = end->ws;
    len = 0;

    if (ws->out) {
        len = ws->out_len - ws->out_pos;

        if (len > NGX_ZLTUNNEL_WS_MERGE || !end->connection->write->ready) {
            rc = ngx_zltunnel_ws_flush(end);

            if (rc != NGX_OK) {
                return rc;
            }

            len = 0;

        } else {
            ngx_memcpy(stage, ws->out + ws->out_pos, len);

            ngx_free(ws->out);
            ws->out = NULL;
        }
    }

    if (len == 0 && end->kind == NGX_ZLTUNNEL_PLAIN
        && zlt_wsd_plain(&ws->data))
    {
        return ngx_zltunnel_ws_data(end, buf, size);
    }

    len += zlt_wsd_encode(&ws->data, stage + len, sizeof(stage) - len, buf,
                          size, &used);

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
    zlt_wsd_t         *w;
    struct iovec       iov[2];
    ngx_connection_t  *c;

    u_char  header[ZLT_WSD_PONG + ZLT_WSD_HEADER];

    c = end->connection;
    w = &end->ws->data;

    len = zlt_wsd_begin(w, header, ngx_min(size, NGX_ZLTUNNEL_BUFFER_SIZE));
    i = 0;

    if (len) {
        iov[i].iov_base = (void *) header;
        iov[i++].iov_len = len;
    }

    iov[i].iov_base = (void *) buf;
    iov[i++].iov_len = ngx_min(size, w->tx_left);

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
    zlt_wsd_sent(w, n);

    if (w->ponging) {
        ngx_zltunnel_ws_pong(end);
    }

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
    size_t             size;
    ssize_t            n;
    ngx_connection_t  *c;

    c = end->connection;

    while (len && c->write->ready) {
        size = len;

        /* a retry must offer OpenSSL the same bytes: a record of them */

        if (end->kind == NGX_ZLTUNNEL_TLS) {
            size = ngx_min(size, NGX_ZLTUNNEL_WS_RECORD);
        }

        n = ngx_zltunnel_end_write(end, data, size);

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

ngx_int_t
ngx_zltunnel_ws_put(ngx_zltunnel_end_t *end, u_char *data, size_t len)
{
    u_char             *p;
    size_t              have;
    ngx_zltunnel_ws_t  *ws;

    ws = end->ws;
    have = ws->out ? ws->out_len - ws->out_pos : 0;

    p = ngx_alloc(have + len, end->connection->log);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (ws->out) {
        ngx_memcpy(p, ws->out + ws->out_pos, have);
        ngx_free(ws->out);
    }

    ngx_memcpy(p + have, data, len);

    ws->out = p;
    ws->out_pos = 0;
    ws->out_len = have + len;

    return NGX_OK;
}


ngx_int_t
ngx_zltunnel_ws_flush(ngx_zltunnel_end_t *end)
{
    size_t              size;
    ssize_t             n;
    ngx_connection_t   *c;
    ngx_zltunnel_ws_t  *ws;

    ws = end->ws;
    c = end->connection;

    while (ws->out) {

        if (!c->write->ready) {
            return NGX_AGAIN;
        }

        size = ws->out_len - ws->out_pos;

        if (end->kind == NGX_ZLTUNNEL_TLS) {
            size = ngx_min(size, NGX_ZLTUNNEL_WS_RECORD);
        }

        n = ngx_zltunnel_end_write(end, ws->out + ws->out_pos, size);

        if (n == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        if (n <= 0) {
            return NGX_ERROR;
        }

        ws->out_pos += n;

        if (ws->out_pos == ws->out_len) {
            ngx_free(ws->out);
            ws->out = NULL;

            if (ws->data.ponging) {
                ngx_zltunnel_ws_pong(end);
            }
        }
    }

    return NGX_OK;
}


/*
 * The connection itself stays open until both have said Eof: half of a TCP
 * connection is more than some middleboxes understand.
 */

ngx_int_t
ngx_zltunnel_ws_shutdown(ngx_zltunnel_end_t *end)
{
    size_t      n;
    u_char      buf[ZLT_WSD_END];
    ngx_int_t   rc;
    zlt_wsd_t  *w;

    w = &end->ws->data;

    if (!w->finished) {
        n = zlt_wsd_eof(w, buf);

        if (n == 0 || ngx_zltunnel_ws_put(end, buf, n) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    rc = ngx_zltunnel_end_flush(end);

#if (NGX_SSL)

    /* a word of goodbye, if it goes */

    if (rc == NGX_OK && w->ended && end->kind == NGX_ZLTUNNEL_TLS) {
        (void) ngx_zltunnel_tls_shutdown(end);
    }

#endif

    return rc;
}


void
ngx_zltunnel_ws_reset(ngx_zltunnel_end_t *end)
{
    size_t  n;
    u_char  buf[ZLT_WSD_END];

    if (end->ws->out || !end->connection->write->ready
        || end->connection->write->error)
    {
        return;
    }

    n = zlt_wsd_reset(&end->ws->data, buf);

    if (n) {
        (void) ngx_zltunnel_end_write(end, buf, n);
    }
}


zlt_wsd_t *
ngx_zltunnel_ws_state(ngx_zltunnel_end_t *end)
{
    return end->ws ? &end->ws->data : NULL;
}


ngx_uint_t
ngx_zltunnel_ws_pending(ngx_zltunnel_end_t *end)
{
    return end->ws->out != NULL;
}


ngx_uint_t
ngx_zltunnel_ws_between(ngx_zltunnel_end_t *end)
{
    return end->ws->out == NULL && zlt_wsd_between(&end->ws->data);
}


ngx_uint_t
ngx_zltunnel_ws_ended(ngx_zltunnel_end_t *end)
{
    return end->ws->data.how != ZLT_WSD_OPEN;
}
