
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Connections within a WebSocket; the codec is zlt_ws_stream.c.
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
#include "wsc.h"
#include "zlt_ws_stream.h"


#define ZLT_WSC_STAGE   (65536 + ZLT_WS_STREAM_HEAD)
#define ZLT_WSC_RANDOM  4096           /* bytes, for a thousand masks */


struct zlt_wsc_s {
    zlt_ws_stream_t  stream;
    const char      *label;        /* of the link, for the log */
    zlt_unsent_t    *out;          /* or NULL */
    const zlt_conn_ops_t  *under;
};


static ssize_t zlt_wsc_read(zlt_conn_t *c, void *buf, size_t size);
static ssize_t zlt_wsc_write(zlt_conn_t *c, const void *buf, size_t size);
static int zlt_wsc_flush(zlt_conn_t *c);
static int zlt_wsc_pending(zlt_conn_t *c);
static int zlt_wsc_end(zlt_conn_t *c, int closes);
static void zlt_wsc_close(zlt_conn_t *c);
static void zlt_wsc_moved(zlt_conn_t *c);
static void zlt_wsc_random(uint8_t mask[4]);
static size_t zlt_wsc_decode(zlt_conn_t *c, uint8_t *data, size_t len);
static void zlt_wsc_pong(zlt_conn_t *c);
static int zlt_wsc_send(zlt_conn_t *c, const uint8_t *data, size_t len);
static int zlt_wsc_keep(zlt_conn_t *c, const uint8_t *data, size_t len);


static const zlt_conn_ops_t  zlt_wsc = {
    .read = zlt_wsc_read,
    .write = zlt_wsc_write,
    .flush = zlt_wsc_flush,
    .pending = zlt_wsc_pending,
    .end = zlt_wsc_end,
    .failed = zlt_conn_socket_failed,
    .close = zlt_wsc_close,
    .moved = zlt_wsc_moved
};


static uint8_t  zlt_wsc_stage[ZLT_WSC_STAGE];


int
zlt_wsc_start(zlt_conn_t *c, const char *label, uint8_t *data, size_t *len)
{
    c->ws = calloc(1, sizeof(zlt_wsc_t));
    if (c->ws == NULL) {
        return -1;
    }

    c->ws->label = label;
    c->ws->under = c->ops;

    c->ops = &zlt_wsc;

    zlt_ws_stream_init(&c->ws->stream, zlt_wsc_random);

    *len = zlt_wsc_decode(c, data, *len);

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


static ssize_t
zlt_wsc_read(zlt_conn_t *c, void *buf, size_t size)
{
    ssize_t           n;
    zlt_ws_stream_t  *s;

    s = &c->ws->stream;

    for ( ;; ) {

        if (s->end == ZLT_WS_STREAM_CLOSED) {
            return 0;
        }

        if (s->end == ZLT_WS_STREAM_BROKEN) {
            zlt_often_warn(c->ws->label, "", "the server broke the protocol "
                           "of a data channel: %s", s->parser.error);
            errno = EPROTO;
            return ZLT_CONN_ERROR;
        }

        n = c->ws->under->read(c, buf, size);

        if (n <= 0) {
            return n;
        }

        n = (ssize_t) zlt_wsc_decode(c, buf, (size_t) n);

        if (n) {
            return n;
        }
    }
}


static size_t
zlt_wsc_decode(zlt_conn_t *c, uint8_t *data, size_t len)
{
    len = zlt_ws_stream_decode(&c->ws->stream, data, len);

    zlt_wsc_pong(c);

    if (c->ws->stream.end != ZLT_WS_STREAM_OPEN) {
        /* no event will tell */
        c->more = 1;
    }

    return len;
}


static void
zlt_wsc_pong(zlt_conn_t *c)
{
    size_t   n;
    uint8_t  buf[ZLT_WS_STREAM_PONG];

    if (c->ws->out || c->shut) {
        /* with what follows, or when that has gone */
        return;
    }

    n = zlt_ws_stream_pong(&c->ws->stream, buf);

    /* an error is found by reading */

    (void) zlt_wsc_send(c, buf, n);
}


static ssize_t
zlt_wsc_write(zlt_conn_t *c, const void *buf, size_t size)
{
    int     rc;
    size_t  n, used;

    rc = zlt_wsc_flush(c);

    if (rc != 0) {
        return rc;
    }

    n = zlt_ws_stream_encode(&c->ws->stream, zlt_wsc_stage, ZLT_WSC_STAGE,
                             buf, size, &used);

    return zlt_wsc_send(c, zlt_wsc_stage, n) == 0 ? (ssize_t) used
                                                  : ZLT_CONN_ERROR;
}


/* Sends, and keeps what there is no room for: 0 or -1. */

static int
zlt_wsc_send(zlt_conn_t *c, const uint8_t *data, size_t len)
{
    ssize_t  n;

    while (len) {
        n = c->ws->under->write(c, data, len);

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
    if (zlt_unsent_put(&c->ws->out, &zlt_conn_memory, data, len) == -1) {
        errno = ENOMEM;
        return -1;
    }

    return 0;
}


static int
zlt_wsc_flush(zlt_conn_t *c)
{
    int      rc;
    ssize_t  n;

    rc = c->ws->under->flush(c);

    if (rc != 0) {
        return rc;
    }

    while (c->ws->out) {
        n = c->ws->under->write(c, zlt_unsent_next(c->ws->out),
                                zlt_unsent_left(c->ws->out));
        if (n < 0) {
            return (int) n;
        }

        zlt_unsent_sent(&c->ws->out, &zlt_conn_memory, (size_t) n);

        if (c->ws->out == NULL) {
            zlt_wsc_pong(c);
        }
    }

    return 0;
}


static int
zlt_wsc_pending(zlt_conn_t *c)
{
    return c->ws->out || c->ws->under->pending(c);
}


/* Close, behind all that was written. */

static int
zlt_wsc_end(zlt_conn_t *c, int closes)
{
    size_t   n;
    uint8_t  buf[ZLT_WS_STREAM_CLOSE];

    (void) closes;

    if (!c->shut) {
        c->shut = 1;

        n = zlt_ws_stream_close(&c->ws->stream, buf);

        if (zlt_wsc_keep(c, buf, n) == -1) {
            return ZLT_CONN_ERROR;
        }
    }

    return zlt_wsc_flush(c);
}


static void
zlt_wsc_close(zlt_conn_t *c)
{
    const zlt_conn_ops_t  *under;

    if (!c->shut) {
        (void) zlt_wsc_end(c, 1);
    }

    under = c->ws->under;

    zlt_unsent_drop(&c->ws->out, &zlt_conn_memory);
    free(c->ws);
    c->ws = NULL;

    under->close(c);
}


static void
zlt_wsc_moved(zlt_conn_t *c)
{
    if (c->ws->under->moved) {
        c->ws->under->moved(c);
    }
}
