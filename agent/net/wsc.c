
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Connections within a WebSocket; zlt_wsd.c translates.
 *
 * What is read is decoded where the caller wants it.  What is written is
 * masked into a buffer that all share, and sent from there by one call; what
 * there is no room for waits in "out", and as long as it does nothing more is
 * taken.
 */


#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/rand.h>

#include "log.h"
#include "often.h"
#include "tls_io.h"
#include "wsc.h"


#define ZLT_WSC_STAGE   (65536 + ZLT_WSD_PONG + ZLT_WSD_HEADER)
#define ZLT_WSC_RANDOM  4096           /* bytes, for a thousand masks */


static void zlt_wsc_random(uint8_t mask[4]);
static int zlt_wsc_done(zlt_conn_t *c);
static void zlt_wsc_pong(zlt_conn_t *c);
static int zlt_wsc_send(zlt_conn_t *c, const uint8_t *data, size_t len);
static int zlt_wsc_keep(zlt_conn_t *c, const uint8_t *data, size_t len);


static uint8_t  zlt_wsc_stage[ZLT_WSC_STAGE];


int
zlt_wsc_start(zlt_conn_t *c, zlt_wsc_use_e use, const char *label,
    uint8_t *data, size_t *len)
{
    zlt_wsd_t  *w;

    c->ws = calloc(1, sizeof(zlt_wsc_t));
    if (c->ws == NULL) {
        return -1;
    }

    c->ws->label = label;
    w = &c->ws->data;

    zlt_wsd_init(w, zlt_wsc_random,
                 use == ZLT_WSC_FRESH ? ZLT_WSD_EITHER : ZLT_WSD_FRAMED,
                 use == ZLT_WSC_VISIT ? ZLT_WSD_BYTES : ZLT_WSD_FRAMED);

    if (use == ZLT_WSC_VISIT) {
        zlt_wsd_visit(w);
    }

    *len = zlt_wsd_decode(w, data, *len);

    if (w->ponging) {
        zlt_wsc_pong(c);
    }

    if (w->how != ZLT_WSD_OPEN) {
        c->more = 1;
    }

    return 0;
}


/*
 * RFC 6455 wants masks that cannot be predicted, so that nobody can have an
 * agent write what a middlebox takes for something else.
 */

static void
zlt_wsc_random(uint8_t mask[4])
{
    static uint8_t  pool[ZLT_WSC_RANDOM];
    static size_t   pos = ZLT_WSC_RANDOM;

    if (pos == ZLT_WSC_RANDOM) {

        if (RAND_bytes(pool, sizeof(pool)) != 1) {
            zlt_log_error("no random numbers");
            abort();
        }

        pos = 0;
    }

    memcpy(mask, pool + pos, 4);
    pos += 4;
}


ssize_t
zlt_wsc_read(zlt_conn_t *c, void *buf, size_t size)
{
    ssize_t     n;
    zlt_wsc_t  *ws;
    zlt_wsd_t  *w;

    ws = c->ws;
    w = &ws->data;

    for ( ;; ) {

        /* Eof that has been told: something may follow, or the end of all */

        if (w->how != ZLT_WSD_OPEN && !(w->how == ZLT_WSD_EOF && ws->told)) {
            return zlt_wsc_done(c);
        }

        n = zlt_conn_read_under(c, buf, size);

        if (n < 0) {
            return n;
        }

        if (n == 0) {

            if (w->how == ZLT_WSD_EOF) {
                return 0;
            }

            w->how = (w->rx == ZLT_WSD_BYTES) ? ZLT_WSD_RESET
                                              : ZLT_WSD_CLOSED;
            continue;
        }

        n = (ssize_t) zlt_wsd_decode(w, buf, (size_t) n);

        if (w->ponging) {
            zlt_wsc_pong(c);
        }

        if (n) {

            if (w->how != ZLT_WSD_OPEN) {
                /* no event will tell */
                c->more = 1;
            }

            return n;
        }
    }
}


/* After the last byte: 0 or ZLT_CONN_ERROR. */

static int
zlt_wsc_done(zlt_conn_t *c)
{
    zlt_wsc_t  *ws;

    ws = c->ws;

    switch (ws->data.how) {

    case ZLT_WSD_EOF:
        ws->told = 1;

        /* TLS may hold what follows */

        c->more = (c->ssl != NULL);

        return 0;

    case ZLT_WSD_CLOSED:
        return 0;

    case ZLT_WSD_BROKEN:
        zlt_often_warn(ws->label, "", "the server broke the protocol of a "
                       "data channel: %s", ws->data.error);
        errno = EPROTO;
        return ZLT_CONN_ERROR;

    default:  /* ZLT_WSD_RESET */
        errno = ECONNRESET;
        return ZLT_CONN_ERROR;
    }
}


static void
zlt_wsc_pong(zlt_conn_t *c)
{
    size_t   n;
    uint8_t  buf[ZLT_WSD_PONG];

    if (c->ws->out) {
        /* with what follows, or when that has gone */
        return;
    }

    n = zlt_wsd_pong(&c->ws->data, buf);

    /* an error is found by reading */

    (void) zlt_wsc_send(c, buf, n);
}


ssize_t
zlt_wsc_write(zlt_conn_t *c, const void *buf, size_t size)
{
    int     rc;
    size_t  n, used;

    rc = zlt_wsc_flush(c);

    if (rc != 0) {
        return rc;
    }

    n = zlt_wsd_encode(&c->ws->data, zlt_wsc_stage, ZLT_WSC_STAGE, buf, size,
                       &used);

    return zlt_wsc_send(c, zlt_wsc_stage, n) == 0 ? (ssize_t) used
                                                  : ZLT_CONN_ERROR;
}


/* Sends, and keeps what there is no room for: 0 or -1. */

static int
zlt_wsc_send(zlt_conn_t *c, const uint8_t *data, size_t len)
{
    ssize_t  n;

    while (len) {
        n = zlt_conn_write_under(c, data, len);

        if (n == ZLT_CONN_AGAIN) {
            return zlt_wsc_keep(c, data, len);
        }

        if (n < 0) {
            return -1;
        }

        data += n;
        len -= (size_t) n;
    }

    return 0;
}


static int
zlt_wsc_keep(zlt_conn_t *c, const uint8_t *data, size_t len)
{
    size_t      kept;
    zlt_buf_t  *buf, *out;

    out = c->ws->out;
    kept = out ? out->last - out->pos : 0;

    buf = malloc(sizeof(zlt_buf_t) + kept + len);

    if (buf == NULL) {
        errno = ENOMEM;
        return -1;
    }

    if (kept) {
        memcpy(buf->data, out->data + out->pos, kept);
    }

    memcpy(buf->data + kept, data, len);

    buf->pos = 0;
    buf->last = (uint32_t) (kept + len);

    free(out);
    c->ws->out = buf;

    return 0;
}


int
zlt_wsc_flush(zlt_conn_t *c)
{
    int         rc;
    ssize_t     n;
    zlt_buf_t  *out;

    rc = zlt_tls_io_flush(c);

    if (rc != 0) {
        return rc;
    }

    while (c->ws->out) {
        out = c->ws->out;

        n = zlt_conn_write_under(c, out->data + out->pos,
                                 out->last - out->pos);
        if (n < 0) {
            return (int) n;
        }

        out->pos += (uint32_t) n;

        if (out->pos == out->last) {
            free(out);
            c->ws->out = NULL;

            if (c->ws->data.ponging) {
                zlt_wsc_pong(c);
            }
        }
    }

    return 0;
}


/*
 * The connection itself stays until both have said Eof: half of a TCP
 * connection is more than some middleboxes understand.
 */

int
zlt_wsc_shutdown(zlt_conn_t *c)
{
    int         rc;
    size_t      n;
    uint8_t     buf[ZLT_WSD_END];
    zlt_wsd_t  *w;

    w = &c->ws->data;

    if (!w->finished) {
        n = zlt_wsd_eof(w, buf);

        if (n == 0) {
            errno = EPROTO;
            return ZLT_CONN_ERROR;
        }

        if (zlt_wsc_keep(c, buf, n) == -1) {
            return ZLT_CONN_ERROR;
        }
    }

    rc = zlt_wsc_flush(c);

    if (rc != 0 || !w->ended) {
        return rc;
    }

    if (c->ssl) {
        return zlt_tls_io_shutdown(c);
    }

    return shutdown(c->io.fd, SHUT_WR) == 0 ? 0 : ZLT_CONN_ERROR;
}


void
zlt_wsc_reset(zlt_conn_t *c)
{
    size_t   n;
    uint8_t  buf[ZLT_WSD_END];

    if (c->io.fd == -1 || zlt_conn_pending(c)) {
        return;
    }

    n = zlt_wsd_reset(&c->ws->data, buf);

    if (n) {
        (void) zlt_conn_write_under(c, buf, n);
    }
}


void
zlt_wsc_free(zlt_conn_t *c)
{
    free(c->ws->out);
    free(c->ws);
    c->ws = NULL;
}
