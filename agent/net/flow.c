
/*
 * Copyright (C) zltunnel authors
 */

/*
 * One direction of a relay, moved on as far as it goes.
 *
 * Small messages are copied through one shared buffer.  Only what could not
 * be written stays, in memory of exactly its size, and nothing more is read
 * until it is gone: a connection that waits holds no buffer at all, one with
 * a slow reader at most 64 KiB.
 *
 * A flow of which three reads in a row have brought ZLT_BULK_READ or more is
 * bulky and, where both sides can be bare, goes on by splice(2).
 */


#include <stdlib.h>
#include <string.h>

#include "flow.h"
#include "flow_splice.h"
#include "scratch.h"
#include "zlt_bulk.h"


#define ZLT_FLOW_BUDGET  (1024 * 1024)         /* bytes a turn */
#define ZLT_FLOW_READ    ZLT_MAX_PAYLOAD       /* fits one message */


static int zlt_flow_behind(zlt_relay_t *r, unsigned i);
static int zlt_flow_flush(zlt_relay_t *r, unsigned i);
static int zlt_flow_copy(zlt_relay_t *r, unsigned i, size_t *moved);
static int zlt_flow_pass(zlt_relay_t *r, unsigned i, size_t len);
static int zlt_flow_bulky(zlt_relay_t *r, unsigned i);
static int zlt_flow_write(zlt_relay_t *r, unsigned i, const uint8_t *data,
    size_t len);
static int zlt_flow_end(zlt_relay_t *r, unsigned i);


int
zlt_flow_put(zlt_relay_t *r, unsigned from, const void *data, size_t len)
{
    size_t       kept;
    zlt_buf_t   *buf;
    zlt_flow_t  *f;

    f = &r->flow[from];
    kept = f->buf ? f->buf->last - f->buf->pos : 0;

    buf = malloc(sizeof(zlt_buf_t) + kept + len);
    if (buf == NULL) {
        return -1;
    }

    if (f->buf) {
        memcpy(buf->data, f->buf->data + f->buf->pos, kept);
        free(f->buf);
    }

    memcpy(buf->data + kept, data, len);

    buf->pos = 0;
    buf->last = (uint32_t) (kept + len);

    f->buf = buf;

    return 0;
}


int
zlt_flow_move(zlt_relay_t *r, unsigned i)
{
    int          rc;
    size_t       moved, total;
    zlt_flow_t  *f;
    zlt_conn_t  *from, *to;

    f = &r->flow[i];
    from = &r->side[i];
    to = &r->side[!i];

    if (f->end == ZLT_FLOW_SHUT || f->dead) {

        /* an answer to a Ping may not have gone; an error is found by reading */

        (void) zlt_conn_flush(to);

        return ZLT_FLOW_WAIT;
    }

    if (f->way == ZLT_FLOW_HELD) {
        rc = zlt_flow_behind(r, i);

        if (rc != ZLT_FLOW_MORE) {
            return rc;
        }
    }

    for (total = 0; /* void */ ; total += moved) {

        rc = zlt_conn_flush(to);

        if (rc != 0) {
            return rc == ZLT_CONN_AGAIN ? ZLT_FLOW_WAIT : ZLT_FLOW_OUT;
        }

        if (f->buf || f->pipe) {
            rc = zlt_flow_flush(r, i);

            if (rc != ZLT_FLOW_MORE) {
                return rc;
            }
        }

        if (f->end == ZLT_FLOW_EOF) {
            return zlt_flow_end(r, i);
        }

        if (f->end == ZLT_FLOW_CUT) {
            return ZLT_FLOW_WAIT;
        }

        if (!zlt_conn_readable(from) || !zlt_conn_writable(to)) {
            break;
        }

        if (total >= ZLT_FLOW_BUDGET) {
            /* others want their turn */
            zlt_io_post(&r->task);
            break;
        }

        moved = 0;

        if (f->way == ZLT_FLOW_BULK) {
            rc = zlt_flow_splice_in(r, i, &moved);

        } else {
            rc = zlt_flow_copy(r, i, &moved);
        }

        r->bytes[i] += moved;

        if (rc < 0) {
            return rc;
        }

        if (rc == ZLT_FLOW_WAIT) {
            break;
        }
    }

    if (total) {
        r->active = zlt_io_now();
    }

    return ZLT_FLOW_WAIT;
}


/* What is held goes in one write with what has come behind it. */

static int
zlt_flow_behind(zlt_relay_t *r, unsigned i)
{
    size_t       kept;
    ssize_t      n;
    zlt_flow_t  *f;

    f = &r->flow[i];
    kept = f->buf ? f->buf->last - f->buf->pos : 0;

    n = zlt_conn_read(&r->side[i], zlt_scratch + kept, ZLT_FLOW_READ - kept);

    if (n == ZLT_CONN_AGAIN) {
        return ZLT_FLOW_WAIT;
    }

    f->way = ZLT_FLOW_COPIED;

    if (n == 0) {
        /* is read again once the rest has gone */
        return ZLT_FLOW_MORE;
    }

    if (n < 0) {
        return ZLT_FLOW_IN;
    }

    r->bytes[i] += (uint64_t) n;

    if (kept) {
        memcpy(zlt_scratch, f->buf->data + f->buf->pos, kept);

        free(f->buf);
        f->buf = NULL;
    }

    return zlt_flow_pass(r, i, kept + (size_t) n);
}


/* Writes what the flow keeps, behind what the connection does: ZLT_FLOW_MORE if
   nothing is kept any more. */

static int
zlt_flow_flush(zlt_relay_t *r, unsigned i)
{
    ssize_t      n;
    zlt_buf_t   *buf;
    zlt_flow_t  *f;

    f = &r->flow[i];

    while (f->buf) {
        buf = f->buf;

        n = zlt_conn_write(&r->side[!i], buf->data + buf->pos,
                           buf->last - buf->pos);

        if (n == ZLT_CONN_AGAIN) {
            return ZLT_FLOW_WAIT;
        }

        if (n < 0) {
            return ZLT_FLOW_OUT;
        }

        r->active = zlt_io_now();
        buf->pos += (uint32_t) n;

        if (buf->pos == buf->last) {
            free(buf);
            f->buf = NULL;
        }
    }

    if (f->pipe) {
        return zlt_flow_splice_out(r, i);
    }

    return ZLT_FLOW_MORE;
}


static int
zlt_flow_copy(zlt_relay_t *r, unsigned i, size_t *moved)
{
    int          rc;
    ssize_t      n;
    zlt_flow_t  *f;

    f = &r->flow[i];

    n = zlt_conn_read(&r->side[i], zlt_scratch, ZLT_FLOW_READ);

    if (n == ZLT_CONN_AGAIN) {
        return ZLT_FLOW_WAIT;
    }

    if (n < 0) {
        return ZLT_FLOW_IN;
    }

    if (n == 0) {
        f->end = ZLT_FLOW_EOF;
        return ZLT_FLOW_MORE;
    }

    *moved = (size_t) n;

    rc = zlt_flow_pass(r, i, (size_t) n);

    if (zlt_bulk_read(&f->full, (size_t) n) >= ZLT_BULK_RUN
        && rc == ZLT_FLOW_MORE)
    {
        return zlt_flow_bulky(r, i);
    }

    return rc;
}


/*
 * Writes what has been read into the shared buffer.  Where a small message is
 * the last, as many a short connection has but one, its end goes along.
 */

static int
zlt_flow_pass(zlt_relay_t *r, unsigned i, size_t len)
{
    int          rc;
    ssize_t      n;
    zlt_conn_t  *to;

    to = &r->side[!i];

    /* of a side that was reset zlt_flow_end() knows what the end is */

    if (len < ZLT_BULK_READ && (r->side[i].io.ready & ZLT_IO_HUP)
        && !r->flow[i].broken && to->ops->write_last)
    {
        n = zlt_conn_read(&r->side[i], zlt_scratch + len,
                          ZLT_FLOW_READ - len);

        if (n == ZLT_CONN_ERROR) {
            rc = zlt_flow_write(r, i, zlt_scratch, len);
            return rc == ZLT_FLOW_MORE ? ZLT_FLOW_IN : rc;
        }

        if (n == 0) {
            r->flow[i].end = ZLT_FLOW_EOF;

            n = to->ops->write_last(to, zlt_scratch, len);

            if (n == (ssize_t) len) {
                return ZLT_FLOW_MORE;
            }

            if (n == ZLT_CONN_ERROR) {
                return ZLT_FLOW_OUT;
            }

            n = n > 0 ? n : 0;

            return zlt_flow_write(r, i, zlt_scratch + n, len - (size_t) n);
        }

        if (n > 0) {
            len += (size_t) n;
        }
    }

    return zlt_flow_write(r, i, zlt_scratch, len);
}


/* A flow that has filled some reads in a row. */

static int
zlt_flow_bulky(zlt_relay_t *r, unsigned i)
{
    int          rc;
    zlt_flow_t  *f;
    zlt_conn_t  *to;

    f = &r->flow[i];
    to = &r->side[!i];

    if (f->buf || !zlt_conn_bare(&r->side[i], ZLT_IO_READ)) {
        return ZLT_FLOW_MORE;
    }

    if (!zlt_conn_bare(to, ZLT_IO_WRITE)) {
        rc = to->ops->make_bare ? to->ops->make_bare(to) : 0;

        if (rc != 1) {
            return rc == 0 ? ZLT_FLOW_MORE : ZLT_FLOW_OUT;
        }
    }

    f->full = 0;
    f->small = 0;
    f->way = ZLT_FLOW_BULK;

    return ZLT_FLOW_MORE;
}


static int
zlt_flow_write(zlt_relay_t *r, unsigned i, const uint8_t *data, size_t len)
{
    ssize_t  n;

    while (len) {
        n = zlt_conn_write(&r->side[!i], data, len);

        if (n == ZLT_CONN_AGAIN) {
            if (zlt_flow_put(r, i, data, len) == -1) {
                return ZLT_FLOW_MEM;
            }

            return ZLT_FLOW_MORE;
        }

        if (n < 0) {
            return ZLT_FLOW_OUT;
        }

        data += n;
        len -= (size_t) n;
    }

    return ZLT_FLOW_MORE;
}


/* The source has ended and all is written: pass the end on. */

static int
zlt_flow_end(zlt_relay_t *r, unsigned i)
{
    int          rc;
    zlt_conn_t  *to;

    to = &r->side[!i];

    /* a message that says so, or TLS, is an end whatever came behind it */

    if (r->flow[i].broken && zlt_conn_bare(&r->side[i], ZLT_IO_READ)) {
        return ZLT_FLOW_IN;
    }

    rc = to->ops->end(to, r->flow[!i].end == ZLT_FLOW_SHUT);

    if (rc == ZLT_CONN_AGAIN) {
        return ZLT_FLOW_WAIT;
    }

    if (rc != 0) {
        return ZLT_FLOW_OUT;
    }

    r->flow[i].end = ZLT_FLOW_SHUT;

    return ZLT_FLOW_WAIT;
}


void
zlt_flow_drop(zlt_relay_t *r, unsigned i)
{
    zlt_flow_t  *f;

    f = &r->flow[i];

    free(f->buf);
    f->buf = NULL;

    if (f->pipe) {
        zlt_pipe_put(f->pipe);
        f->pipe = NULL;
    }
}
