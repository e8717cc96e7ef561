
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


static ssize_t zlt_framed_read(zlt_conn_t *c, void *buf, size_t size);
static ssize_t zlt_framed_write(zlt_conn_t *c, const void *buf, size_t size);
static ssize_t zlt_framed_write_last(zlt_conn_t *c, uint8_t *buf,
    size_t size);
static int zlt_framed_flush(zlt_conn_t *c);
static int zlt_framed_pending(zlt_conn_t *c);
static int zlt_framed_end(zlt_conn_t *c, int closes);
static int zlt_framed_failed(const zlt_conn_t *c);
static void zlt_framed_close(zlt_conn_t *c);
static int zlt_framed_bare(const zlt_conn_t *c, unsigned direction);
static int zlt_framed_make_bare(zlt_conn_t *c);
static int zlt_framed_behind(zlt_conn_t *c);
static int zlt_framed_stays(zlt_conn_t *c, zlt_conn_over_e how);
static int zlt_framed_mark(zlt_conn_t *c, zlt_frames_end_e end);
static int zlt_framed_retires(const zlt_framed_t *f);
static int zlt_framed_keep(zlt_framed_t *f, const uint8_t *data, size_t len);


static const zlt_conn_ops_t  zlt_framed = {
    .read = zlt_framed_read,
    .write = zlt_framed_write,
    .write_last = zlt_framed_write_last,
    .flush = zlt_framed_flush,
    .pending = zlt_framed_pending,
    .end = zlt_framed_end,
    .failed = zlt_framed_failed,
    .close = zlt_framed_close,
    .bare = zlt_framed_bare,
    .make_bare = zlt_framed_make_bare,
    .behind = zlt_framed_behind,
    .stays = zlt_framed_stays
};


void
zlt_framed_start(zlt_conn_t *c, zlt_framed_t *f,
    int (*retires)(const zlt_framed_t *f))
{
    memset(f, 0, sizeof(zlt_framed_t));

    f->under = c->ops;
    f->retires = retires;

    c->framed = f;
    c->ops = &zlt_framed;
}


void
zlt_framed_stop(zlt_conn_t *c)
{
    free(c->framed->rest);
    c->framed->rest = NULL;

    c->ops = c->framed->under;
    c->framed = NULL;

    /* what is beneath alone knows what it holds */

    c->more = 1;
}


static void
zlt_framed_close(zlt_conn_t *c)
{
    zlt_framed_stop(c);

    c->ops->close(c);
}


ssize_t
zlt_framed_pull(zlt_conn_t *c, void *buf, size_t size)
{
    return (c->framed ? c->framed->under : c->ops)->read(c, buf, size);
}


ssize_t
zlt_framed_push(zlt_conn_t *c, const void *buf, size_t size)
{
    return (c->framed ? c->framed->under : c->ops)->write(c, buf, size);
}


static ssize_t
zlt_framed_read(zlt_conn_t *c, void *buf, size_t size)
{
    ssize_t                n;
    zlt_frames_in_t       *in;
    const zlt_conn_ops_t  *under;

    in = &c->framed->frames.in;
    under = c->framed->under;

    for ( ;; ) {

        if (in->end == ZLT_FRAMES_RAW) {
            return under->read(c, buf, size);
        }

        if (in->end == ZLT_FRAMES_EOF) {
            return 0;
        }

        if (in->end == ZLT_FRAMES_RESET) {
            errno = ECONNRESET;
            return ZLT_CONN_ERROR;
        }

        if (in->end == ZLT_FRAMES_MOVED) {

            if (under->leave == NULL) {
                errno = EPROTO;
                return ZLT_CONN_ERROR;
            }

            /* what was told by leave() comes back with another channel, unless
               the lane is ended before that; bytes there are none any more */

            c->more = 0;
            n = under->read(c, buf, size);

            if (n > 0) {
                errno = EPROTO;
                return ZLT_CONN_ERROR;
            }

            return n;
        }

        n = under->read(c, buf, size);

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
    size_t                 rest;
    ssize_t                n;
    zlt_frames_in_t       *in;
    const zlt_conn_ops_t  *under;

    in = &c->framed->frames.in;
    under = c->framed->under;

    n = zlt_frames_decode(in, buf, len, &rest);

    if (in->end == ZLT_FRAMES_RAW && under->bare == NULL) {
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

    } else if (in->end == ZLT_FRAMES_MOVED && under->leave) {
        under->leave(c);
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


/* What is of the next connection is kept, and what is beneath it has an
   answer.  Without an end marker of ours, the end of the channel is a reset. */

static int
zlt_framed_behind(zlt_conn_t *c)
{
    ssize_t        n;
    uint8_t        buf[ZLT_FRAMED_REST];
    zlt_framed_t  *f;

    f = c->framed;

    if (f->frames.in.end == ZLT_FRAMES_RAW) {
        return 0;
    }

    while (zlt_conn_readable(c)
           && (f->rest == NULL || f->rest->last < ZLT_FRAMED_REST))
    {
        /* what has been decoded is not asked for again */

        c->more = 0;

        n = f->under->read(c, buf, sizeof(buf));

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


static ssize_t
zlt_framed_write(zlt_conn_t *c, const void *buf, size_t size)
{
    size_t                 len;
    uint8_t               *p;
    ssize_t                n;
    zlt_frames_out_t      *out;
    const zlt_conn_ops_t  *under;

    out = &c->framed->frames.out;
    under = c->framed->under;

    if (out->end == ZLT_FRAMES_RAW) {
        return under->write(c, buf, size);
    }

    if (out->end == ZLT_FRAMES_MOVED) {
        /* the next goes on another channel */
        under->leave(c);
        return ZLT_CONN_AGAIN;
    }

    if (c->framed->frames.in.end == ZLT_FRAMES_MOVED && under->leave
        && zlt_frames_whole(out))
    {
        /* nor does one begin that would keep us on the lane */
        under->leave(c);
        return ZLT_CONN_AGAIN;
    }

    len = zlt_frames_data(out, size);
    p = zlt_frames_prefix(out, (uint8_t *) buf);

    n = under->write(c, p, (size_t) ((const uint8_t *) buf - p) + len);

    if (n < 0) {
        return n;
    }

    len = zlt_frames_sent(out, (size_t) n);

    if (c->framed->frames.in.end == ZLT_FRAMES_MOVED && under->leave) {
        under->leave(c);
    }

    return len ? (ssize_t) len : ZLT_CONN_AGAIN;
}


/* There is room for Eof behind the bytes, too, and for Retire. */

static ssize_t
zlt_framed_write_last(zlt_conn_t *c, uint8_t *buf, size_t size)
{
    size_t             len, all, last;
    uint8_t           *p;
    ssize_t            n;
    zlt_framed_t      *f;
    zlt_frames_out_t  *out;

    static const uint8_t  end[] = { ZLT_EOF, 0, 0, 0, 0,
                                    ZLT_RETIRE, 0, 0, 0, 0 };

    if (!zlt_conn_writable(c)) {
        return ZLT_CONN_AGAIN;
    }

    f = c->framed;
    out = &f->frames.out;

    if (out->end == ZLT_FRAMES_MOVED) {
        return ZLT_CONN_AGAIN;
    }

    if (out->end == ZLT_FRAMES_RAW) {
        return zlt_framed_write(c, buf, size);
    }

    len = zlt_frames_data(out, size);

    if (len < size || out->left > len) {
        return zlt_framed_write(c, buf, size);
    }

    last = zlt_framed_retires(f) ? sizeof(end) : ZLT_HEADER_SIZE;

    p = zlt_frames_prefix(out, buf);
    memcpy(buf + size, end, last);

    all = (size_t) (buf - p) + size;

    n = zlt_framed_push(c, p, all + last);

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

    zlt_frames_put(out, end + n, last - (size_t) n);
    out->end = ZLT_FRAMES_EOF;
    f->retired = (last == sizeof(end));

    return (ssize_t) size;
}


static int
zlt_framed_flush(zlt_conn_t *c)
{
    int                rc;
    ssize_t            n;
    zlt_frames_out_t  *out;

    rc = c->framed->under->flush(c);

    if (rc != 0) {
        return rc;
    }

    out = &c->framed->frames.out;

    /* the header of Data goes with its bytes */

    while (zlt_frames_pending(out) && zlt_frames_whole(out)) {

        if (!zlt_conn_writable(c)) {
            return ZLT_CONN_AGAIN;
        }

        n = zlt_framed_push(c, out->head + out->pos, zlt_frames_pending(out));

        if (n < 0) {
            return (int) n;
        }

        (void) zlt_frames_sent(out, (size_t) n);
    }

    return 0;
}


static int
zlt_framed_pending(zlt_conn_t *c)
{
    zlt_framed_t  *f;

    f = c->framed;

    return zlt_frames_pending(&f->frames.out) || f->under->pending(c);
}


static int
zlt_framed_end(zlt_conn_t *c, int closes)
{
    if (c->framed->frames.out.end == ZLT_FRAMES_RAW) {
        return c->framed->under->end(c, closes);
    }

    return c->shut ? 0 : zlt_framed_mark(c, ZLT_FRAMES_EOF);
}


/* Eof, Reset or Raw: ZLT_CONN_AGAIN, and zlt_framed_flush() sends it. */

static int
zlt_framed_mark(zlt_conn_t *c, zlt_frames_end_e end)
{
    zlt_framed_t      *f;
    zlt_frames_out_t  *out;

    static const uint8_t  retire[ZLT_HEADER_SIZE] = { ZLT_RETIRE, 0, 0, 0, 0 };

    f = c->framed;
    out = &f->frames.out;

    if (out->end == ZLT_FRAMES_MOVED) {
        return ZLT_CONN_AGAIN;
    }

    if (out->end == ZLT_FRAMES_OPEN) {
        zlt_frames_end(out, end);

        if (end != ZLT_FRAMES_RAW && zlt_framed_retires(f)) {
            zlt_frames_put(out, retire, ZLT_HEADER_SIZE);
            f->retired = 1;
        }
    }

    return zlt_framed_flush(c);
}


static int
zlt_framed_retires(const zlt_framed_t *f)
{
    return f->retires && f->retires(f);
}


static int
zlt_framed_failed(const zlt_conn_t *c)
{
    return c->framed->under->failed(c);
}


static int
zlt_framed_bare(const zlt_conn_t *c, unsigned direction)
{
    unsigned              end;
    const zlt_framed_t  *f;

    f = c->framed;
    end = direction == ZLT_IO_READ ? f->frames.in.end : f->frames.out.end;

    return end == ZLT_FRAMES_RAW && f->under->bare
           && f->under->bare(c, direction);
}


/* The far end decides of the other direction. */

static int
zlt_framed_make_bare(zlt_conn_t *c)
{
    const zlt_conn_ops_t  *under;

    under = c->framed->under;

    if (under->bare == NULL || !under->bare(c, ZLT_IO_WRITE)) {
        return 0;
    }

    return zlt_framed_mark(c, ZLT_FRAMES_RAW) == ZLT_CONN_ERROR
           ? ZLT_CONN_ERROR : 1;
}


/*
 * If an end marker has gone, or can go now.  Whatever else the server has sent
 * for this connection is the caller's to read.
 */

static int
zlt_framed_stays(zlt_conn_t *c, zlt_conn_over_e how)
{
    zlt_frames_t  *frames;

    frames = &c->framed->frames;

    if (frames->in.end == ZLT_FRAMES_RAW || frames->out.end == ZLT_FRAMES_RAW)
    {
        return 0;
    }

    switch (how) {

    case ZLT_CONN_ENDED:
        return 1;

    case ZLT_CONN_RESET:
        if (frames->in.end != ZLT_FRAMES_RESET) {
            return 0;
        }

        break;

    case ZLT_CONN_RESETS:

        /* there is no message for a reset after an end */

        if (frames->out.end != ZLT_FRAMES_OPEN) {
            return 0;
        }

        break;
    }

    return zlt_frames_whole(&frames->out)
           && zlt_framed_mark(c, ZLT_FRAMES_RESET) != ZLT_CONN_ERROR;
}
