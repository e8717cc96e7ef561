
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Theory of operation
 *
 * A relay is two sides and two flows, flow[i] from side[i] to side[!i], and
 * one function that moves one flow on as far as it goes.  An event on either
 * side runs both flows: the readiness bits of the connections tell without a
 * system call what has a chance.
 *
 * Small messages are copied through one shared buffer.  Only what could not
 * be written stays, in memory of exactly its size, and nothing more is read
 * until it is gone: a connection that waits holds no buffer at all, one with
 * a slow reader at most 64 KiB.
 *
 * A flow of which three reads in a row have brought ZLT_BULK_READ or more is
 * bulky and, where neither side is under TLS or within a WebSocket, goes
 * through a pipe by splice(2).
 * The pipe belongs to the flow only while there are bytes in it.  What has to
 * be kept in mind:
 *
 *   - A pipe fills by slots, so EAGAIN from the splice into it means "input
 *     drained" only if the pipe is empty; else it means "wait for output".
 *   - All of the pipe has to go out, not just what the last call put in.
 *   - It is the other side's write event that matters then.
 *
 * An end passes in its own direction only, after every byte before it.  A
 * reset, of either side, resets both.  If a side takes no more bytes (its
 * peer was reset), what it had sent before is still passed on; its end then
 * counts as a reset, because the kernel reports the error only once and
 * shows a plain end of file afterwards.
 */


#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "framed.h"
#include "relay.h"
#include "scratch.h"
#include "zlt_bulk.h"


#define ZLT_RELAY_BUDGET     (1024 * 1024)     /* bytes a turn, a flow */
#define ZLT_RELAY_READ       ZLT_MAX_PAYLOAD   /* fits one message */
#define ZLT_RELAY_SMALL      4096              /* not worth a splice */
#define ZLT_RELAY_SMALL_RUN  3
#define ZLT_RELAY_SPLICE     (1024 * 1024)     /* asked for in one call */

#define ZLT_RELAY_HALF       3600              /* s, half-closed and silent */
#define ZLT_RELAY_AGAIN      60                /* s, until it is looked again */
#define ZLT_RELAY_DEAD       60                /* s, unacknowledged */
#define ZLT_RELAY_SWEEP      15                /* s, between looks at that */

/* results of one step */
#define ZLT_RELAY_MORE       1     /* bytes went, go on */
#define ZLT_RELAY_WAIT       0     /* an event will come */
#define ZLT_RELAY_IN         -1    /* the source failed */
#define ZLT_RELAY_OUT        -2    /* the destination failed */
#define ZLT_RELAY_MEM        -3


static void zlt_relay_release(uv_timer_t *timer);
static void zlt_relay_event(zlt_io_t *io);
static void zlt_relay_turn(zlt_task_t *task);
static void zlt_relay_run(zlt_relay_t *r);
static int zlt_relay_flows(zlt_relay_t *r, zlt_relay_end_e *how);
static int zlt_relay_flow(zlt_relay_t *r, unsigned i);
static int zlt_relay_behind(zlt_relay_t *r, unsigned i);
static int zlt_relay_flush(zlt_relay_t *r, unsigned i);
static int zlt_relay_copy(zlt_relay_t *r, unsigned i, size_t *moved);
static int zlt_relay_pass(zlt_relay_t *r, unsigned i, size_t len);
static int zlt_relay_bulky(zlt_relay_t *r, unsigned i);
static int zlt_relay_write(zlt_relay_t *r, unsigned i, const uint8_t *data,
    size_t len);
static int zlt_relay_splice_in(zlt_relay_t *r, unsigned i, size_t *moved);
static int zlt_relay_splice_out(zlt_relay_t *r, unsigned i);
static int zlt_relay_end(zlt_relay_t *r, unsigned i);
static int zlt_relay_ended(zlt_relay_t *r, unsigned i, zlt_relay_end_e *how);
static int zlt_relay_failed(zlt_relay_t *r, unsigned i, int rc,
    zlt_relay_end_e *how);
static void zlt_relay_finish(zlt_relay_t *r, zlt_relay_end_e how);
static int zlt_relay_keep(zlt_relay_t *r, zlt_relay_end_e how);
static void zlt_relay_expired(zlt_timer_t *timer);
static int zlt_relay_dead(zlt_relay_t *r, unsigned i);


static zlt_list_t  zlt_relay_open = { &zlt_relay_open, &zlt_relay_open };
static zlt_list_t  zlt_relay_held = { &zlt_relay_held, &zlt_relay_held };
static uint32_t    zlt_relay_now;
static uv_timer_t  zlt_relay_timer;        /* releases what is held */


void
zlt_relay_setup(uv_loop_t *loop)
{
    (void) uv_timer_init(loop, &zlt_relay_timer);
}


void
zlt_relay_init(zlt_relay_t *r)
{
    zlt_conn_init(&r->side[0]);
    zlt_conn_init(&r->side[1]);

    memset(r->flow, 0, sizeof(r->flow));

    zlt_list_init(&r->task.link);
    zlt_list_init(&r->link);
    zlt_timer_init(&r->timer);

    r->begins = 0;
    r->bytes[0] = 0;
    r->bytes[1] = 0;
    r->kept = 0;
    r->silent[0] = 0;
    r->silent[1] = 0;
    r->handler = NULL;
}


int
zlt_relay_put(zlt_relay_t *r, unsigned from, const void *data, size_t len)
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


void
zlt_relay_hold(zlt_relay_t *r, unsigned from)
{
    r->flow[from].held = 1;
}


static void
zlt_relay_release(uv_timer_t *timer)
{
    zlt_task_t  *task;

    (void) timer;

    while (!zlt_list_empty(&zlt_relay_held)) {
        task = zlt_list_data(zlt_relay_held.next, zlt_task_t, link);
        zlt_io_post(task);
    }
}


void
zlt_relay_start(zlt_relay_t *r, zlt_relay_pt handler)
{
    r->handler = handler;
    r->active = zlt_relay_now;

    r->side[0].io.handler = zlt_relay_event;
    r->side[0].io.data = r;
    r->side[1].io.handler = zlt_relay_event;
    r->side[1].io.data = r;
    r->task.handler = zlt_relay_turn;

    zlt_timer_stop(&r->timer);

    zlt_list_remove(&r->link);
    zlt_list_append(&zlt_relay_open, &r->link);

    r->begins = 1;
    zlt_io_post(&r->task);
}


/* Which of the two sides it was does not matter, but which relay does. */

static void
zlt_relay_event(zlt_io_t *io)
{
    zlt_relay_run(io->data);
}


static void
zlt_relay_turn(zlt_task_t *task)
{
    zlt_relay_t  *r;

    r = zlt_list_data(task, zlt_relay_t, task);

    if (!r->begins) {
        r->flow[0].held = 0;
        r->flow[1].held = 0;

    } else if (r->flow[0].held || r->flow[1].held) {

        if (!uv_is_active((uv_handle_t *) &zlt_relay_timer)) {
            (void) uv_timer_start(&zlt_relay_timer, zlt_relay_release, 1, 0);
        }

        zlt_list_append(&zlt_relay_held, &r->task.link);
    }

    r->begins = 0;

    zlt_relay_run(r);
}


static void
zlt_relay_run(zlt_relay_t *r)
{
    int              over;
    zlt_relay_end_e  how;

    zlt_scratch_borrow();

    over = zlt_relay_flows(r, &how);

    zlt_scratch_return();

    if (over) {
        zlt_relay_finish(r, how);
    }
}


/* Returns 1 if the relay is over, and how. */

static int
zlt_relay_flows(zlt_relay_t *r, zlt_relay_end_e *how)
{
    int       rc;
    unsigned  i;

    for (i = 0; i < 2; i++) {
        rc = zlt_relay_flow(r, i);

        if (rc < 0 && zlt_relay_failed(r, i, rc, how)) {
            return 1;
        }

        if (r->flow[i].eof && zlt_relay_ended(r, i, how)) {
            return 1;
        }

        /* a reset does not wait for what cannot be passed on before it */

        if (!r->flow[i].eof && !zlt_conn_writable(&r->side[!i])
            && zlt_conn_failed(&r->side[i])
            && zlt_relay_failed(r, i, ZLT_RELAY_IN, how))
        {
            return 1;
        }
    }

    *how = ZLT_RELAY_DONE;

    return r->flow[0].shut && r->flow[1].shut;
}


/* One direction, as far as it goes; ZLT_RELAY_WAIT or an error. */

static int
zlt_relay_flow(zlt_relay_t *r, unsigned i)
{
    int          rc;
    size_t       moved, total;
    zlt_flow_t  *f;

    f = &r->flow[i];

    if (f->shut || f->dead) {

        /* an answer to a Ping may not have gone; an error is found by reading */

        (void) zlt_conn_flush(&r->side[!i]);

        return ZLT_RELAY_WAIT;
    }

    if (f->held) {
        rc = zlt_relay_behind(r, i);

        if (rc != ZLT_RELAY_MORE) {
            return rc;
        }
    }

    for (total = 0; /* void */ ; total += moved) {

        if (f->buf || f->pipe || zlt_conn_pending(&r->side[!i])) {
            rc = zlt_relay_flush(r, i);

            if (rc != ZLT_RELAY_MORE) {
                return rc;
            }
        }

        if (f->eof) {
            return zlt_relay_end(r, i);
        }

        if (!zlt_conn_readable(&r->side[i])
            || !zlt_conn_writable(&r->side[!i]))
        {
            break;
        }

        if (total >= ZLT_RELAY_BUDGET) {
            /* others want their turn */
            zlt_io_post(&r->task);
            break;
        }

        moved = 0;

        if (f->bulk) {
            rc = zlt_relay_splice_in(r, i, &moved);

        } else {
            rc = zlt_relay_copy(r, i, &moved);
        }

        r->bytes[i] += moved;

        if (rc < 0) {
            return rc;
        }

        if (rc == ZLT_RELAY_WAIT) {
            break;
        }
    }

    if (total) {
        r->active = zlt_relay_now;
    }

    return ZLT_RELAY_WAIT;
}


/* What is held goes in one write with what has come behind it. */

static int
zlt_relay_behind(zlt_relay_t *r, unsigned i)
{
    size_t       kept;
    ssize_t      n;
    zlt_flow_t  *f;

    f = &r->flow[i];
    kept = f->buf ? f->buf->last - f->buf->pos : 0;

    n = zlt_conn_read(&r->side[i], zlt_scratch + kept, ZLT_RELAY_READ - kept);

    if (n == ZLT_CONN_AGAIN) {
        return ZLT_RELAY_WAIT;
    }

    f->held = 0;

    if (n == 0) {
        /* is read again once the rest has gone */
        return ZLT_RELAY_MORE;
    }

    if (n < 0) {
        (void) zlt_relay_flush(r, i);
        return ZLT_RELAY_IN;
    }

    r->bytes[i] += (uint64_t) n;

    if (kept) {
        memcpy(zlt_scratch, f->buf->data + f->buf->pos, kept);

        free(f->buf);
        f->buf = NULL;
    }

    return zlt_relay_pass(r, i, kept + (size_t) n);
}


/* Writes what is kept: ZLT_RELAY_MORE if nothing is any more. */

static int
zlt_relay_flush(zlt_relay_t *r, unsigned i)
{
    ssize_t      n;
    zlt_buf_t   *buf;
    zlt_flow_t  *f;

    f = &r->flow[i];

    n = zlt_conn_flush(&r->side[!i]);

    if (n != 0) {
        return n == ZLT_CONN_AGAIN ? ZLT_RELAY_WAIT : ZLT_RELAY_OUT;
    }

    while (f->buf) {
        buf = f->buf;

        n = zlt_conn_write(&r->side[!i], buf->data + buf->pos,
                           buf->last - buf->pos);

        if (n == ZLT_CONN_AGAIN) {
            return ZLT_RELAY_WAIT;
        }

        if (n < 0) {
            return ZLT_RELAY_OUT;
        }

        r->active = zlt_relay_now;
        buf->pos += (uint32_t) n;

        if (buf->pos == buf->last) {
            free(buf);
            f->buf = NULL;
        }
    }

    if (f->pipe) {
        return zlt_relay_splice_out(r, i);
    }

    return ZLT_RELAY_MORE;
}


static int
zlt_relay_copy(zlt_relay_t *r, unsigned i, size_t *moved)
{
    int          rc;
    ssize_t      n;
    zlt_flow_t  *f;

    f = &r->flow[i];

    n = zlt_conn_read(&r->side[i], zlt_scratch, ZLT_RELAY_READ);

    if (n == ZLT_CONN_AGAIN) {
        return ZLT_RELAY_WAIT;
    }

    if (n < 0) {
        return ZLT_RELAY_IN;
    }

    if (n == 0) {
        f->eof = 1;
        return ZLT_RELAY_MORE;
    }

    *moved = (size_t) n;

    rc = zlt_relay_pass(r, i, (size_t) n);

    if (zlt_bulk_read(&f->full, (size_t) n) >= ZLT_BULK_RUN
        && rc == ZLT_RELAY_MORE)
    {
        return zlt_relay_bulky(r, i);
    }

    return rc;
}


/*
 * Writes what has been read into the shared buffer.  Where a small message is
 * the last, as many a short connection has but one, its end goes along.
 */

static int
zlt_relay_pass(zlt_relay_t *r, unsigned i, size_t len)
{
    ssize_t      n;
    zlt_conn_t  *to;

    to = &r->side[!i];

    /* of a side that takes no more zlt_relay_end() knows what the end is */

    if (len < ZLT_BULK_READ && (r->side[i].io.ready & ZLT_IO_HUP)
        && !r->flow[!i].dead
        && !zlt_conn_raw_out(to) && r->side[i].ssl == NULL)
    {
        n = zlt_conn_read(&r->side[i], zlt_scratch + len,
                          ZLT_RELAY_READ - len);

        if (n == ZLT_CONN_ERROR) {
            (void) zlt_relay_write(r, i, zlt_scratch, len);
            return ZLT_RELAY_IN;
        }

        if (n == 0) {
            r->flow[i].eof = 1;

            n = zlt_framed_write_last(to, zlt_scratch, len);

            if (n == (ssize_t) len) {
                return ZLT_RELAY_MORE;
            }

            if (n == ZLT_CONN_ERROR) {
                return ZLT_RELAY_OUT;
            }

            n = n > 0 ? n : 0;

            return zlt_relay_write(r, i, zlt_scratch + n, len - (size_t) n);
        }

        if (n > 0) {
            len += (size_t) n;
        }
    }

    return zlt_relay_write(r, i, zlt_scratch, len);
}


/*
 * A flow that has filled some reads in a row.  On a framed channel it goes on
 * raw, if no message is half sent; the far end decides of the other direction.
 */

static int
zlt_relay_bulky(zlt_relay_t *r, unsigned i)
{
    zlt_flow_t  *f;
    zlt_conn_t  *to;

    f = &r->flow[i];
    to = &r->side[!i];

    if (!zlt_conn_raw(&r->side[0]) || !zlt_conn_raw(&r->side[1]) || f->buf
        || !zlt_conn_raw_in(&r->side[i]))
    {
        return ZLT_RELAY_MORE;
    }

    if (!zlt_conn_raw_out(to)
        && zlt_framed_end(to, ZLT_FRAMES_RAW) == ZLT_CONN_ERROR)
    {
        return ZLT_RELAY_OUT;
    }

    f->full = 0;
    f->small = 0;
    f->bulk = 1;

    return ZLT_RELAY_MORE;
}


static int
zlt_relay_write(zlt_relay_t *r, unsigned i, const uint8_t *data, size_t len)
{
    ssize_t  n;

    while (len) {
        n = zlt_conn_write(&r->side[!i], data, len);

        if (n == ZLT_CONN_AGAIN) {
            if (zlt_relay_put(r, i, data, len) == -1) {
                return ZLT_RELAY_MEM;
            }

            return ZLT_RELAY_MORE;
        }

        if (n < 0) {
            return ZLT_RELAY_OUT;
        }

        data += n;
        len -= (size_t) n;
    }

    return ZLT_RELAY_MORE;
}


static int
zlt_relay_splice_in(zlt_relay_t *r, unsigned i, size_t *moved)
{
    ssize_t      n;
    zlt_conn_t  *src;
    zlt_flow_t  *f;

    f = &r->flow[i];
    src = &r->side[i];

    f->pipe = zlt_pipe_get();

    if (f->pipe == NULL) {
        f->bulk = 0;
        return ZLT_RELAY_MORE;
    }

    do {
        n = splice(src->io.fd, NULL, f->pipe->fd[1], NULL, ZLT_RELAY_SPLICE,
                   SPLICE_F_MOVE|SPLICE_F_NONBLOCK);
    } while (n == -1 && errno == EINTR);

    if (n > 0) {
        f->pipe->len = (size_t) n;
        *moved = (size_t) n;

        if (n >= ZLT_RELAY_SMALL) {
            f->small = 0;

        } else if (++f->small == ZLT_RELAY_SMALL_RUN) {
            f->bulk = 0;
        }

        return ZLT_RELAY_MORE;
    }

    /* the pipe is empty, so EAGAIN is about the input */

    zlt_pipe_put(f->pipe);
    f->pipe = NULL;

    if (n == 0) {
        f->eof = 1;
        return ZLT_RELAY_MORE;
    }

    if (errno == EAGAIN) {
        zlt_io_clear(&src->io, ZLT_IO_READ);
        return ZLT_RELAY_WAIT;
    }

    if (errno == EINVAL || errno == ENOSYS) {
        /* not with this kind of socket: copy */
        f->bulk = 0;
        return ZLT_RELAY_MORE;
    }

    return ZLT_RELAY_IN;
}


/* ZLT_RELAY_MORE once the pipe is empty, and given back. */

static int
zlt_relay_splice_out(zlt_relay_t *r, unsigned i)
{
    ssize_t      n;
    zlt_conn_t  *dst;
    zlt_pipe_t  *p;

    p = r->flow[i].pipe;
    dst = &r->side[!i];

    while (p->len) {

        if (!zlt_conn_writable(dst)) {
            return ZLT_RELAY_WAIT;
        }

        do {
            n = splice(p->fd[0], NULL, dst->io.fd, NULL, p->len,
                       SPLICE_F_MOVE|SPLICE_F_NONBLOCK);
        } while (n == -1 && errno == EINTR);

        if (n > 0) {
            r->active = zlt_relay_now;
            p->len -= (size_t) n;
            continue;
        }

        if (n == -1 && errno == EAGAIN) {
            zlt_io_clear(&dst->io, ZLT_IO_WRITE);
            return ZLT_RELAY_WAIT;
        }

        return ZLT_RELAY_OUT;
    }

    zlt_pipe_put(p);
    r->flow[i].pipe = NULL;

    return ZLT_RELAY_MORE;
}


/* The source has ended and all is written: pass the end on. */

static int
zlt_relay_end(zlt_relay_t *r, unsigned i)
{
    int          rc;
    zlt_flow_t  *f;

    f = &r->flow[i];

    if (r->flow[!i].dead) {
        return ZLT_RELAY_IN;
    }

    if (r->flow[!i].shut && zlt_conn_raw(&r->side[!i])
        && zlt_conn_raw_out(&r->side[!i]))
    {
        /* the close that follows sends the FIN */
        f->shut = 1;
        return ZLT_RELAY_WAIT;
    }

    rc = zlt_conn_shutdown(&r->side[!i]);

    if (rc == ZLT_CONN_AGAIN) {
        return ZLT_RELAY_WAIT;
    }

    if (rc != 0) {
        return ZLT_RELAY_OUT;
    }

    f->shut = 1;

    if (!r->flow[!i].shut) {
        zlt_timer_start(&r->timer, ZLT_RELAY_HALF, zlt_relay_expired);
    }

    return ZLT_RELAY_WAIT;
}


/*
 * Of a framed channel something may come behind the end of the bytes: what
 * wants an answer, or a reset.  1 if the relay is over.
 */

static int
zlt_relay_ended(zlt_relay_t *r, unsigned i, zlt_relay_end_e *how)
{
    zlt_conn_t  *c;

    c = &r->side[i];

    if (r->flow[!i].shut || zlt_conn_raw_in(c) || c->ops
        || zlt_framed_behind(c) == 0)
    {
        return 0;
    }

    *how = i == ZLT_RELAY_CHANNEL ? ZLT_RELAY_RESET_CHANNEL
                                  : ZLT_RELAY_RESET_SERVICE;
    return 1;
}


/* Returns 1 if the relay is over. */

static int
zlt_relay_failed(zlt_relay_t *r, unsigned i, int rc, zlt_relay_end_e *how)
{
    unsigned     side;
    zlt_flow_t  *f;

    if (rc == ZLT_RELAY_MEM) {
        *how = ZLT_RELAY_NO_MEMORY;
        return 1;
    }

    side = (rc == ZLT_RELAY_IN) ? i : !i;
    f = &r->flow[i];

    if (rc == ZLT_RELAY_OUT && !r->flow[!i].eof) {

        /* the side that takes no more may have sent something before */

        f->dead = 1;

        free(f->buf);
        f->buf = NULL;

        if (f->pipe) {
            zlt_pipe_put(f->pipe);
            f->pipe = NULL;
        }

        r->side[side].io.ready |= ZLT_IO_HUP|ZLT_IO_READ;
        zlt_io_post(&r->task);

        return 0;
    }

    *how = side == ZLT_RELAY_CHANNEL ? ZLT_RELAY_RESET_CHANNEL
                                     : ZLT_RELAY_RESET_SERVICE;
    return 1;
}


static void
zlt_relay_finish(zlt_relay_t *r, zlt_relay_end_e how)
{
    int  kept;

    kept = zlt_relay_keep(r, how);

    if (how == ZLT_RELAY_DONE) {

        if (!kept) {
            zlt_conn_close(&r->side[0]);
        }

        zlt_conn_close(&r->side[1]);

    } else {

        if (!kept) {
            zlt_conn_reset(&r->side[0]);
        }

        zlt_conn_reset(&r->side[1]);
    }

    zlt_relay_cleanup(r);

    r->handler(r, how);
}


/*
 * 1 if the channel stays: it is framed, and an end marker has gone, or can go
 * now.  Whatever else the server has sent for this connection is for the
 * handler to read.
 */

static int
zlt_relay_keep(zlt_relay_t *r, zlt_relay_end_e how)
{
    zlt_conn_t    *c;
    zlt_frames_t  *frames;

    c = &r->side[0];

    if (c->framed == NULL || zlt_conn_raw_in(c) || zlt_conn_raw_out(c)) {
        return 0;
    }

    frames = &c->framed->frames;

    switch (how) {

    case ZLT_RELAY_DONE:
        return 1;

    case ZLT_RELAY_RESET_SERVICE:

        /* there is no message for a reset after an end */

        if (frames->out.end != ZLT_FRAMES_OPEN) {
            return 0;
        }

        break;

    case ZLT_RELAY_RESET_CHANNEL:
        if (frames->in.end != ZLT_FRAMES_RESET) {
            return 0;
        }

        break;

    default:
        return 0;
    }

    return zlt_frames_whole(&frames->out)
           && zlt_framed_end(c, ZLT_FRAMES_RESET) != ZLT_CONN_ERROR;
}


void
zlt_relay_abort(zlt_relay_t *r)
{
    zlt_conn_reset(&r->side[0]);
    zlt_conn_reset(&r->side[1]);

    zlt_relay_cleanup(r);
}


void
zlt_relay_cleanup(zlt_relay_t *r)
{
    unsigned  i;

    for (i = 0; i < 2; i++) {
        free(r->flow[i].buf);
        r->flow[i].buf = NULL;

        if (r->flow[i].pipe) {
            zlt_pipe_put(r->flow[i].pipe);
            r->flow[i].pipe = NULL;
        }
    }

    zlt_timer_stop(&r->timer);
    zlt_list_remove(&r->task.link);
    zlt_list_remove(&r->link);
}


void
zlt_relay_reuse(zlt_relay_t *r)
{
    zlt_relay_cleanup(r);
    zlt_conn_init(&r->side[1]);

    memset(r->flow, 0, sizeof(r->flow));

    r->kept = 0;
    r->silent[0] = 0;
    r->silent[1] = 0;
    r->handler = NULL;
}


static void
zlt_relay_expired(zlt_timer_t *timer)
{
    uint32_t      idle;
    zlt_relay_t  *r;

    r = zlt_list_data(timer, zlt_relay_t, timer);
    idle = zlt_relay_now - r->active;

    if (idle < ZLT_RELAY_HALF) {
        zlt_timer_start(timer, ZLT_RELAY_AGAIN, zlt_relay_expired);
        return;
    }

    zlt_relay_finish(r, ZLT_RELAY_TIMEOUT);
}


void
zlt_relay_tick(void)
{
    zlt_list_t   *link, *next;
    zlt_relay_t  *r;

    if (++zlt_relay_now % ZLT_RELAY_SWEEP) {
        return;
    }

    zlt_pipe_trim();

    zlt_list_each_safe(link, next, &zlt_relay_open) {
        r = zlt_list_data(link, zlt_relay_t, link);

        /* only now: most connections are gone before keepalive would act */

        if (!r->kept) {
            r->kept = 1;
            zlt_conn_keepalive(&r->side[0]);
            zlt_conn_keepalive(&r->side[1]);
        }

        if (zlt_relay_dead(r, 0) || zlt_relay_dead(r, 1)) {
            zlt_relay_finish(r, ZLT_RELAY_TIMEOUT);
        }
    }
}


/*
 * Keepalive finds a dead peer of an idle connection only.  What is on its way to
 * one is unacknowledged, even if the kernel takes more of it for a long time.
 */

static int
zlt_relay_dead(zlt_relay_t *r, unsigned i)
{
    if (!zlt_conn_dead(&r->side[i], ZLT_RELAY_SWEEP * 1000)) {
        r->silent[i] = 0;
        return 0;
    }

    return ++r->silent[i] > ZLT_RELAY_DEAD / ZLT_RELAY_SWEEP;
}
