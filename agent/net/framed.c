
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A connection whose bytes are messages, on a channel that carries another
 * one after it.  An end is a message, and without one the end of the channel
 * is a reset, whatever is beneath.
 */


#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "framed.h"
#include "zlt_msg.h"


#define ZLT_FRAMED_REST  64            /* bytes behind the server's end */


static int zlt_framed_keep(zlt_framed_t *f, const uint8_t *data, size_t len);


void
zlt_framed_start(zlt_conn_t *c, zlt_framed_t *f)
{
    memset(f, 0, sizeof(zlt_framed_t));

    c->framed = f;
}


void
zlt_framed_stop(zlt_conn_t *c)
{
    free(c->framed->rest);

    c->framed->rest = NULL;
    c->framed = NULL;

    /* what is beneath alone knows what it holds */

    c->more = (c->ssl || c->ws);
}


ssize_t
zlt_framed_read(zlt_conn_t *c, uint8_t *buf, size_t size)
{
    ssize_t           n;
    zlt_frames_in_t  *in;

    in = &c->framed->frames.in;

    for ( ;; ) {

        if (in->end == ZLT_FRAMES_EOF) {
            return 0;
        }

        if (in->end == ZLT_FRAMES_RESET) {
            errno = ECONNRESET;
            return ZLT_CONN_ERROR;
        }

        if (in->end == ZLT_FRAMES_MOVED) {

            if (c->ops == NULL) {
                errno = EPROTO;
                return ZLT_CONN_ERROR;
            }

            /* what was told by moved() comes back with another channel, unless
               the lane is ended before that; bytes there are none any more */

            c->more = 0;
            n = c->ops->read(c, buf, size);

            if (n > 0) {
                errno = EPROTO;
                return ZLT_CONN_ERROR;
            }

            return n;
        }

        n = zlt_conn_pull(c, buf, size);

        if (in->end == ZLT_FRAMES_RAW) {
            /* turned so with the last message, behind which was nothing */
            return n;
        }

        if (n == 0) {
            errno = ECONNRESET;
            return ZLT_CONN_ERROR;
        }

        if (n < 0) {
            return n;
        }

        n = zlt_framed_take(c, buf, (size_t) n);

        if (n != 0) {
            return n;
        }
    }
}


ssize_t
zlt_framed_take(zlt_conn_t *c, uint8_t *buf, size_t len)
{
    size_t            rest;
    ssize_t           n;
    zlt_frames_in_t  *in;

    in = &c->framed->frames.in;

    n = zlt_frames_decode(in, buf, len, &rest);

    if (in->end == ZLT_FRAMES_RAW && c->ws) {
        /* no splice() could follow */
        n = ZLT_ERR_TYPE;
    }

    if (n < 0) {
        errno = EPROTO;
        return ZLT_CONN_ERROR;
    }

    if (rest && zlt_framed_keep(c->framed, buf + len - rest, rest) == -1) {
        errno = ENOMEM;
        return ZLT_CONN_ERROR;
    }

    if (in->end == ZLT_FRAMES_EOF || in->end == ZLT_FRAMES_RESET) {
        /* no event tells of it again */
        c->more = 1;

    } else if (in->end == ZLT_FRAMES_MOVED && c->ops) {
        c->ops->moved(c);
    }

    return n;
}


static int
zlt_framed_keep(zlt_framed_t *f, const uint8_t *data, size_t len)
{
    size_t      kept;
    zlt_buf_t  *buf;

    kept = f->rest ? f->rest->last : 0;

    buf = realloc(f->rest, sizeof(zlt_buf_t) + kept + len);

    if (buf == NULL) {
        return -1;
    }

    memcpy(buf->data + kept, data, len);

    buf->pos = 0;
    buf->last = (uint32_t) (kept + len);

    f->rest = buf;

    return 0;
}


int
zlt_framed_behind(zlt_conn_t *c)
{
    ssize_t        n;
    uint8_t        buf[ZLT_FRAMED_REST];
    zlt_framed_t  *f;

    f = c->framed;

    while (zlt_conn_readable(c)
           && (f->rest == NULL || f->rest->last < ZLT_FRAMED_REST))
    {
        /* what has been decoded is not asked for again */

        c->more = 0;

        n = zlt_conn_pull(c, buf, sizeof(buf));

        if (n == ZLT_CONN_AGAIN) {
            return 0;
        }

        if (n == 0) {
            errno = ECONNRESET;
        }

        if (n <= 0 || zlt_framed_keep(f, buf, (size_t) n) == -1) {
            return -1;
        }
    }

    return 0;
}


ssize_t
zlt_framed_write(zlt_conn_t *c, const uint8_t *buf, size_t size)
{
    size_t             len;
    uint8_t           *p;
    ssize_t            n;
    zlt_frames_out_t  *out;

    out = &c->framed->frames.out;

    if (out->end == ZLT_FRAMES_MOVED) {
        /* the next goes on another channel */
        c->ops->moved(c);
        return ZLT_CONN_AGAIN;
    }

    if (c->ops && c->framed->frames.in.end == ZLT_FRAMES_MOVED
        && zlt_frames_whole(out))
    {
        /* nor does one begin that would keep us on the lane */
        c->ops->moved(c);
        return ZLT_CONN_AGAIN;
    }

    len = zlt_frames_data(out, size);
    p = zlt_frames_prefix(out, (uint8_t *) buf);

    n = zlt_conn_push(c, p, (size_t) (buf - p) + len);

    if (n < 0) {
        return n;
    }

    len = zlt_frames_sent(out, (size_t) n);

    if (c->ops && c->framed->frames.in.end == ZLT_FRAMES_MOVED) {
        c->ops->moved(c);
    }

    return len ? (ssize_t) len : ZLT_CONN_AGAIN;
}


ssize_t
zlt_framed_write_last(zlt_conn_t *c, uint8_t *buf, size_t size)
{
    size_t             len, all;
    uint8_t           *p;
    ssize_t            n;
    zlt_frames_out_t  *out;

    static const uint8_t  eof[ZLT_HEADER_SIZE] = { ZLT_EOF, 0, 0, 0, 0 };

    if (!zlt_conn_writable(c)) {
        return ZLT_CONN_AGAIN;
    }

    out = &c->framed->frames.out;

    if (out->end == ZLT_FRAMES_MOVED) {
        return ZLT_CONN_AGAIN;
    }

    len = zlt_frames_data(out, size);

    if (len < size || out->left > len) {
        return zlt_framed_write(c, buf, size);
    }

    p = zlt_frames_prefix(out, buf);
    memcpy(buf + size, eof, ZLT_HEADER_SIZE);

    all = (size_t) (buf - p) + size;

    n = zlt_conn_push(c, p, all + ZLT_HEADER_SIZE);

    if (n < 0) {
        return n;
    }

    if ((size_t) n < all) {
        len = zlt_frames_sent(out, (size_t) n);

        return len ? (ssize_t) len : ZLT_CONN_AGAIN;
    }

    (void) zlt_frames_sent(out, all);

    /* what there is left of it */

    n -= (ssize_t) all;

    zlt_frames_put(out, eof + n, ZLT_HEADER_SIZE - (size_t) n);
    out->end = ZLT_FRAMES_EOF;

    return (ssize_t) size;
}


int
zlt_framed_flush(zlt_conn_t *c)
{
    ssize_t            n;
    zlt_frames_out_t  *out;

    out = &c->framed->frames.out;

    /* the header of Data goes with its bytes */

    while (zlt_frames_pending(out) && zlt_frames_whole(out)) {

        if (!zlt_conn_writable(c)) {
            return ZLT_CONN_AGAIN;
        }

        n = zlt_conn_push(c, out->head + out->pos, zlt_frames_pending(out));

        if (n < 0) {
            return (int) n;
        }

        (void) zlt_frames_sent(out, (size_t) n);
    }

    return 0;
}


int
zlt_framed_end(zlt_conn_t *c, zlt_frames_end_e end)
{
    zlt_frames_out_t  *out;

    out = &c->framed->frames.out;

    if (out->end == ZLT_FRAMES_MOVED) {
        return ZLT_CONN_AGAIN;
    }

    if (out->end == ZLT_FRAMES_OPEN) {
        zlt_frames_end(out, end);
    }

    return zlt_conn_flush(c);
}
