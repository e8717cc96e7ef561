
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Moves the bytes between two ends.
 *
 * Theory of operation.  A relay has two sides and two flows; flow[i] goes from
 * side[i] to the other one, and both are served by the same code.  A flow
 * reads into one buffer that all relays of the worker share and writes out
 * from it at once.  What could not be written is kept in a buffer borrowed
 * for that, and as long as there is such a residue, or the far side is known
 * to take nothing, the near side is not read: TCP slows its sender down, and
 * a connection never holds more than one buffer a direction, an idle one none;
 * under TLS it may be the records that were made of it (ngx_zltunnel_tls.c).
 *
 * A flow of which three reads in a row have brought ZLT_BULK_READ or more is
 * bulky, and where neither side is under TLS, or within a WebSocket, it goes
 * over to splice().  A framed channel turns raw for that; the agent decides so
 * of its own direction, by the same measure.  The pipe is filled only when it
 * is empty.  A pipe has slots for segments of whatever length, so EAGAIN of a
 * filled one may mean either "no input" or "no slot"; of an empty one it means
 * no input, and this must not be mistaken with edge-triggered events.  After a
 * second without bytes the flow returns to copying and gives the pipe back.
 *
 * A flow moves so many bytes in one turn, then lets other connections have
 * theirs: relay->event is posted for the next one.  The same event is the
 * timer.  It is not moved as bytes move, but looks at its expiry what is due.
 * It is always set and not cancelable: a worker that exits gracefully waits
 * for such timers only.
 *
 * Write events are asked for when a write has blocked for the first time;
 * many connections never need one.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_relay.h"
#include "ngx_zltunnel_buffer.h"
#include "ngx_zltunnel_end.h"
#include "ngx_zltunnel_framed.h"
#include "ngx_zltunnel_socket.h"
#include "ngx_zltunnel_splice.h"

#include "zlt_bulk.h"
#include "zlt_frames.h"


#define NGX_ZLTUNNEL_RELAY_TURN    (512 * 1024)   /* bytes, of a flow */
#define NGX_ZLTUNNEL_RELAY_READ    ZLT_MAX_PAYLOAD  /* fits one message */
#define NGX_ZLTUNNEL_RELAY_IDLE    1000           /* ms, then no pipe */
#define NGX_ZLTUNNEL_RELAY_DEAD    60000          /* ms, see unacked */
#define NGX_ZLTUNNEL_RELAY_LONG    3600000        /* ms, without a timeout */


/* ms, between two looks */
#define ngx_zltunnel_relay_look(r)                                            \
    (((r)->dead ? (r)->dead : NGX_ZLTUNNEL_RELAY_DEAD) / 2)

#define ngx_zltunnel_flow_residue(f)  ((f)->pos != (f)->last || (f)->piped)


static void ngx_zltunnel_relay_handler(ngx_event_t *ev);
static void ngx_zltunnel_relay_event_handler(ngx_event_t *ev);
static void ngx_zltunnel_relay_empty_handler(ngx_event_t *ev);
static void ngx_zltunnel_relay_run(ngx_zltunnel_relay_t *relay);
static ngx_int_t ngx_zltunnel_relay_flow(ngx_zltunnel_relay_t *relay,
    ngx_uint_t i);
static ngx_int_t ngx_zltunnel_relay_pending(ngx_zltunnel_relay_t *relay,
    ngx_uint_t i);
static ssize_t ngx_zltunnel_relay_copy(ngx_zltunnel_relay_t *relay,
    ngx_uint_t i);
static ngx_int_t ngx_zltunnel_relay_bulky(ngx_zltunnel_relay_t *relay,
    ngx_uint_t i);
static ssize_t ngx_zltunnel_relay_splice(ngx_zltunnel_relay_t *relay,
    ngx_uint_t i);
static ngx_int_t ngx_zltunnel_relay_flush(ngx_zltunnel_relay_t *relay,
    ngx_uint_t i);
static ngx_int_t ngx_zltunnel_relay_write(ngx_zltunnel_relay_t *relay,
    ngx_uint_t i, u_char **pos, u_char *last);
static ngx_int_t ngx_zltunnel_relay_drain(ngx_zltunnel_relay_t *relay,
    ngx_uint_t i);
static ngx_int_t ngx_zltunnel_relay_eof(ngx_zltunnel_relay_t *relay,
    ngx_uint_t i);
static ngx_int_t ngx_zltunnel_relay_shutdown(ngx_zltunnel_relay_t *relay,
    ngx_uint_t i);
static ngx_int_t ngx_zltunnel_relay_blocked(ngx_zltunnel_relay_t *relay,
    ngx_uint_t i);
static void ngx_zltunnel_relay_moved(ngx_zltunnel_relay_t *relay,
    ngx_uint_t i, size_t n);
static void ngx_zltunnel_relay_sent(ngx_zltunnel_relay_t *relay,
    ngx_uint_t i);
static ngx_int_t ngx_zltunnel_relay_failed(ngx_zltunnel_relay_t *relay,
    ngx_uint_t i);
static void ngx_zltunnel_relay_release(ngx_zltunnel_flow_t *f);
static void ngx_zltunnel_relay_arm(ngx_zltunnel_relay_t *relay);
static ngx_msec_t ngx_zltunnel_relay_limit(ngx_zltunnel_relay_t *relay);
static ngx_int_t ngx_zltunnel_relay_expire(ngx_zltunnel_relay_t *relay);
static void ngx_zltunnel_relay_keep(ngx_zltunnel_relay_t *relay,
    ngx_uint_t i);
static ngx_int_t ngx_zltunnel_relay_watch(ngx_zltunnel_relay_t *relay,
    ngx_uint_t i);
static void ngx_zltunnel_relay_finish(ngx_zltunnel_relay_t *relay,
    ngx_zltunnel_relay_end_e how);


static u_char  ngx_zltunnel_relay_buffer[NGX_ZLTUNNEL_BUFFER_SIZE];


ngx_int_t
ngx_zltunnel_relay_put(ngx_zltunnel_relay_t *relay, ngx_uint_t from,
    u_char *data, size_t len)
{
    ngx_zltunnel_flow_t  *f;

    f = &relay->flow[from];

    if (len == 0) {
        return NGX_OK;
    }

    if (f->buffer == NULL) {
        f->buffer = ngx_zltunnel_buffer_get(ngx_cycle->log);
        if (f->buffer == NULL) {
            return NGX_ERROR;
        }

        f->pos = f->buffer + ZLT_FRAMES_ROOM;
        f->last = f->pos;
    }

    if (len > (size_t) (f->buffer + NGX_ZLTUNNEL_BUFFER_SIZE - f->last)) {
        return NGX_ERROR;
    }

    f->last = ngx_cpymem(f->last, data, len);

    return NGX_OK;
}


void
ngx_zltunnel_relay_start(ngx_zltunnel_relay_t *relay)
{
    ngx_uint_t         i;
    ngx_connection_t  *c;

    c = relay->side[0]->connection;

    relay->log = c->log;
    relay->active = ngx_current_msec;
    relay->started = ngx_current_msec;

    relay->event.handler = ngx_zltunnel_relay_event_handler;
    relay->event.data = c;
    relay->event.log = c->log;

    for (i = 0; i < 2; i++) {
        c = relay->side[i]->connection;

        ngx_zltunnel_relay_sent(relay, i);

        relay->saved[i] = c->data;

        c->data = relay;
        c->read->handler = ngx_zltunnel_relay_handler;
        c->write->handler = ngx_zltunnel_relay_handler;

        /* a graceful exit and a lack of connections close idle ones */

        c->idle = 0;
        ngx_reusable_connection(c, 0);

        if (c->read->timer_set) {
            ngx_del_timer(c->read);
        }

        if (c->write->timer_set) {
            ngx_del_timer(c->write);
        }

        c->read->timedout = 0;

        /*
         * Should this process be killed, its sockets do not seem to end.  A
         * client's are set up for that before; the others can tell.
         */

        if (i == 1 && relay->side[i]->ops->raw
            && ngx_zltunnel_end_raw_out(relay->side[i]))
        {
            ngx_zltunnel_socket_linger(c, 1);
        }

        /* what has been seen of an end already raises no event again */

        if (c->read->eof || c->read->pending_eof || c->read->error) {
            c->read->ready = 1;
            c->read->available = -1;
        }

        if (relay->side[i]->ops->init) {
            relay->side[i]->ops->init(relay->side[i]);
        }
    }

    for (i = 0; i < 2; i++) {
        c = relay->side[i]->connection;

        /* not ngx_handle_read_event(): it may wait until all is read */

        if (!c->read->active
            && ngx_add_event(c->read, NGX_READ_EVENT, NGX_CLEAR_EVENT)
               != NGX_OK)
        {
            ngx_zltunnel_relay_finish(relay, NGX_ZLTUNNEL_RELAY_ABORTED);
            return;
        }
    }

    ngx_zltunnel_relay_run(relay);
}


ngx_uint_t
ngx_zltunnel_relay_left(ngx_zltunnel_relay_t *relay, ngx_uint_t from)
{
    return ngx_zltunnel_flow_residue(&relay->flow[from])
           || ngx_zltunnel_end_readable(relay->side[from])
           || ngx_zltunnel_end_amid(relay->side[from]);
}


void
ngx_zltunnel_relay_abort(ngx_zltunnel_relay_t *relay)
{
    ngx_zltunnel_relay_finish(relay, NGX_ZLTUNNEL_RELAY_ABORTED);
}


void
ngx_zltunnel_relay_cleanup(void)
{
    ngx_zltunnel_buffer_cleanup();
    ngx_zltunnel_splice_cleanup();
}


static void
ngx_zltunnel_relay_handler(ngx_event_t *ev)
{
    ngx_uint_t             i;
    ngx_connection_t      *c;
    ngx_zltunnel_end_t    *end;
    ngx_zltunnel_relay_t  *relay;

    c = ev->data;
    relay = c->data;

    if (c->close) {
        ngx_log_error(NGX_LOG_INFO, c->log, 0,
                      "relay is cut: the worker shuts down");
        ngx_zltunnel_relay_finish(relay, NGX_ZLTUNNEL_RELAY_ABORTED);
        return;
    }

    i = (c == relay->side[1]->connection);
    end = relay->side[i];

    ngx_zltunnel_relay_sent(relay, 0);
    ngx_zltunnel_relay_sent(relay, 1);

    if (!ev->write && end->eof && !end->shut && end->frames) {

        /* nothing more is read for the flow, but there may be something */

        if (ngx_zltunnel_framed_behind(end) != NGX_OK) {
            (void) ngx_zltunnel_relay_failed(relay, i);
            ngx_zltunnel_relay_finish(relay, relay->how);
            return;
        }

    } else if (!ev->write && ev->pending_eof
               && (end->eof || ngx_zltunnel_flow_residue(&relay->flow[i])
                   || !relay->side[1 - i]->connection->write->ready))
    {
        /* nothing is read, which would tell */

        if (ngx_zltunnel_end_test(end) != NGX_OK) {
            (void) ngx_zltunnel_relay_failed(relay, i);
            ngx_zltunnel_relay_finish(relay, relay->how);
            return;
        }
    }

    ngx_zltunnel_relay_run(relay);
}


static void
ngx_zltunnel_relay_event_handler(ngx_event_t *ev)
{
    ngx_connection_t      *c;
    ngx_zltunnel_relay_t  *relay;

    c = ev->data;
    relay = c->data;

    if (ev->timedout) {
        ev->timedout = 0;

        if (ngx_zltunnel_relay_expire(relay) != NGX_OK) {
            ngx_zltunnel_relay_finish(relay, relay->how);
            return;
        }
    }

    ngx_zltunnel_relay_run(relay);
}


static void
ngx_zltunnel_relay_empty_handler(ngx_event_t *ev)
{
    ngx_log_debug0(NGX_LOG_DEBUG_EVENT, ev->log, 0,
                   "zltunnel event after relay");
}


static void
ngx_zltunnel_relay_run(ngx_zltunnel_relay_t *relay)
{
    ngx_int_t   rc;
    ngx_uint_t  i, more;

    more = 0;

    for (i = 0; i < 2; i++) {
        rc = ngx_zltunnel_relay_flow(relay, i);

        if (rc == NGX_ERROR) {
            ngx_zltunnel_relay_finish(relay, relay->how);
            return;
        }

        if (rc == NGX_BUSY) {
            more = 1;
        }
    }

    if (relay->side[0]->shut && relay->side[1]->shut) {
        ngx_zltunnel_relay_finish(relay, NGX_ZLTUNNEL_RELAY_DONE);
        return;
    }

    if (more) {
        ngx_post_event(&relay->event, &ngx_posted_next_events);
    }

    ngx_zltunnel_relay_arm(relay);
}


/*
 * Moves what can be moved in one turn.  NGX_OK: an event tells when to go on;
 * NGX_BUSY: the turn is over; NGX_ERROR: the relay is, relay->how says why.
 */

static ngx_int_t
ngx_zltunnel_relay_flow(ngx_zltunnel_relay_t *relay, ngx_uint_t i)
{
    ssize_t               n;
    size_t                moved;
    ngx_int_t             rc;
    ngx_event_t          *wev;
    ngx_zltunnel_end_t   *from, *to;
    ngx_zltunnel_flow_t  *f;

    f = &relay->flow[i];
    from = relay->side[i];
    to = relay->side[1 - i];

    if (to->shut) {

        /* an answer to a Ping may not have gone */

        rc = ngx_zltunnel_relay_pending(relay, i);

        return (rc == NGX_ERROR) ? NGX_ERROR : NGX_OK;
    }

    wev = to->connection->write;

    moved = 0;

    for ( ;; ) {

        rc = ngx_zltunnel_relay_pending(relay, i);

        if (rc != NGX_OK) {
            return (rc == NGX_AGAIN) ? NGX_OK : NGX_ERROR;
        }

        if (ngx_zltunnel_flow_residue(f)) {
            rc = ngx_zltunnel_relay_flush(relay, i);

            if (rc != NGX_OK) {
                return (rc == NGX_AGAIN) ? NGX_OK : NGX_ERROR;
            }
        }

        if (from->eof) {
            return ngx_zltunnel_relay_shutdown(relay, i);
        }

        if (!ngx_zltunnel_end_readable(from)) {
            return NGX_OK;
        }

        if (!wev->ready) {
            return ngx_zltunnel_relay_blocked(relay, i);
        }

        if (moved >= NGX_ZLTUNNEL_RELAY_TURN) {
            return NGX_BUSY;
        }

        n = f->pipe_size ? ngx_zltunnel_relay_splice(relay, i)
                         : ngx_zltunnel_relay_copy(relay, i);

        if (n > 0) {
            moved += n;
            continue;
        }

        if (n == 0) {
            n = ngx_zltunnel_relay_eof(relay, i);
        }

        if (n == NGX_AGAIN) {
            return NGX_OK;
        }

        if (n == NGX_ERROR) {
            return NGX_ERROR;
        }
    }
}


/* what the far end has taken and not sent: NGX_OK, there is none any more */

static ngx_int_t
ngx_zltunnel_relay_pending(ngx_zltunnel_relay_t *relay, ngx_uint_t i)
{
    ngx_int_t            rc;
    ngx_zltunnel_end_t  *to;

    to = relay->side[1 - i];
    rc = ngx_zltunnel_end_flush(to);

    if (rc == NGX_ERROR) {
        return ngx_zltunnel_relay_failed(relay, 1 - i);
    }

    if (rc == NGX_AGAIN && ngx_zltunnel_relay_blocked(relay, i) != NGX_OK) {
        return NGX_ERROR;
    }

    return rc;
}


/*
 * Both read once and write as much as goes.  They return the bytes read, 0 at
 * EOF, NGX_AGAIN when there are none, NGX_DECLINED to be called again,
 * NGX_ERROR.
 */

static ssize_t
ngx_zltunnel_relay_copy(ngx_zltunnel_relay_t *relay, ngx_uint_t i)
{
    u_char               *pos, *last;
    ssize_t               n;
    ngx_zltunnel_flow_t  *f;

    f = &relay->flow[i];
    pos = ngx_zltunnel_relay_buffer + ZLT_FRAMES_ROOM;

    n = ngx_zltunnel_end_recv(relay->side[i], pos, NGX_ZLTUNNEL_RELAY_READ);

    if (n == NGX_ERROR) {
        return ngx_zltunnel_relay_failed(relay, i);
    }

    if (n <= 0) {
        return n;
    }

    last = pos + n;

    if (ngx_zltunnel_relay_write(relay, i, &pos, last) == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (pos != last) {
        f->buffer = ngx_zltunnel_buffer_get(relay->log);
        if (f->buffer == NULL) {
            relay->how = NGX_ZLTUNNEL_RELAY_ABORTED;
            return NGX_ERROR;
        }

        f->pos = f->buffer + ZLT_FRAMES_ROOM;
        f->last = ngx_cpymem(f->pos, pos, last - pos);
    }

    if (zlt_bulk_read(&f->full_reads, n) >= ZLT_BULK_RUN
        && ngx_zltunnel_relay_bulky(relay, i) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return n;
}


/* A direction of a framed channel turns raw when no message is half sent. */

static ngx_int_t
ngx_zltunnel_relay_bulky(ngx_zltunnel_relay_t *relay, ngx_uint_t i)
{
    ngx_zltunnel_end_t   *to;
    ngx_zltunnel_flow_t  *f;

    f = &relay->flow[i];
    to = relay->side[1 - i];

    if (!relay->side[0]->ops->raw || !relay->side[1]->ops->raw
        || f->pos != f->last || !ngx_zltunnel_end_raw_in(relay->side[i]))
    {
        return NGX_OK;
    }

    f->full_reads = 0;

    if (!ngx_zltunnel_end_raw_out(to)) {

        if (ngx_zltunnel_framed_end(to, ZLT_FRAMES_RAW) == NGX_ERROR) {
            return ngx_zltunnel_relay_failed(relay, 1 - i);
        }

        ngx_zltunnel_socket_linger(to->connection, 1);
    }

    (void) ngx_zltunnel_splice_pipe_get(f->pipe, &f->pipe_size, relay->log);

    return NGX_OK;
}


static ssize_t
ngx_zltunnel_relay_splice(ngx_zltunnel_relay_t *relay, ngx_uint_t i)
{
    ssize_t               n;
    ngx_err_t             err;
    ngx_connection_t     *c;
    ngx_zltunnel_flow_t  *f;

    f = &relay->flow[i];
    c = relay->side[i]->connection;

    n = splice(c->fd, NULL, f->pipe[1], NULL, f->pipe_size,
               SPLICE_F_MOVE|SPLICE_F_NONBLOCK);

    err = ngx_errno;

    ngx_log_debug2(NGX_LOG_DEBUG_EVENT, c->log, 0,
                   "splice: fd:%d %z", c->fd, n);

    /* ngx_unix_recv() must not go by what it found before */

    c->read->available = -1;

    if (n > 0) {
        f->piped = n;

        return (ngx_zltunnel_relay_drain(relay, i) == NGX_ERROR) ? NGX_ERROR
                                                                 : n;
    }

    if (n == 0) {
        c->read->ready = 0;
        c->read->eof = 1;
        return 0;
    }

    switch (err) {

    case NGX_EAGAIN:
        c->read->ready = 0;
        return NGX_AGAIN;

    case NGX_EINTR:
        return NGX_DECLINED;

    case NGX_EINVAL:
        ngx_zltunnel_splice_pipe_put(f->pipe, f->pipe_size, 0);
        f->pipe_size = 0;
        return NGX_DECLINED;

    default:
        c->read->ready = 0;
        c->read->error = 1;
        (void) ngx_connection_error(c, err, "splice() from socket failed");
        return ngx_zltunnel_relay_failed(relay, i);
    }
}


static ngx_int_t
ngx_zltunnel_relay_flush(ngx_zltunnel_relay_t *relay, ngx_uint_t i)
{
    ngx_int_t             rc;
    ngx_zltunnel_flow_t  *f;

    f = &relay->flow[i];

    if (f->pos != f->last) {
        rc = ngx_zltunnel_relay_write(relay, i, &f->pos, f->last);

        if (rc != NGX_OK) {
            return rc;
        }

        ngx_zltunnel_buffer_put(f->buffer);

        f->buffer = NULL;
        f->pos = NULL;
        f->last = NULL;
    }

    return ngx_zltunnel_relay_drain(relay, i);
}


static ngx_int_t
ngx_zltunnel_relay_write(ngx_zltunnel_relay_t *relay, ngx_uint_t i,
    u_char **pos, u_char *last)
{
    ssize_t              n;
    ngx_event_t         *wev;
    ngx_zltunnel_end_t  *to;

    to = relay->side[1 - i];
    wev = to->connection->write;

    while (*pos != last) {

        if (!wev->ready) {
            return ngx_zltunnel_relay_blocked(relay, i) == NGX_OK ? NGX_AGAIN
                                                                  : NGX_ERROR;
        }

        n = ngx_zltunnel_end_send(to, *pos, last - *pos);

        if (n > 0) {
            *pos += n;
            ngx_zltunnel_relay_moved(relay, i, n);
            continue;
        }

        if (n == NGX_ERROR) {
            return ngx_zltunnel_relay_failed(relay, 1 - i);
        }

        if (wev->ready) {

            /* TLS has to read first */

            return NGX_AGAIN;
        }
    }

    return NGX_OK;
}


/* the pipe's part of flush */

static ngx_int_t
ngx_zltunnel_relay_drain(ngx_zltunnel_relay_t *relay, ngx_uint_t i)
{
    ssize_t               n;
    ngx_err_t             err;
    ngx_connection_t     *c;
    ngx_zltunnel_flow_t  *f;

    f = &relay->flow[i];
    c = relay->side[1 - i]->connection;

    while (f->piped) {

        if (!c->write->ready) {
            return ngx_zltunnel_relay_blocked(relay, i) == NGX_OK ? NGX_AGAIN
                                                                  : NGX_ERROR;
        }

        n = splice(f->pipe[0], NULL, c->fd, NULL, f->piped,
                   SPLICE_F_MOVE|SPLICE_F_NONBLOCK);

        err = ngx_errno;

        ngx_log_debug3(NGX_LOG_DEBUG_EVENT, c->log, 0,
                       "splice: fd:%d %z of %uz", c->fd, n, f->piped);

        if (n > 0) {
            f->piped -= n;
            c->sent += n;

            if (relay->spliced) {
                *relay->spliced += n;
            }

            ngx_zltunnel_relay_moved(relay, i, n);
            continue;
        }

        if (n == -1 && err == NGX_EINTR) {
            continue;
        }

        if (n == -1 && err == NGX_EAGAIN) {
            c->write->ready = 0;
            continue;
        }

        c->write->error = 1;
        (void) ngx_connection_error(c, n ? err : 0,
                                    "splice() to socket failed");
        return ngx_zltunnel_relay_failed(relay, 1 - i);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_relay_eof(ngx_zltunnel_relay_t *relay, ngx_uint_t i)
{
    ngx_zltunnel_end_t  *end;

    end = relay->side[i];
    end->eof = 1;

    if (end->frames && !end->shut
        && ngx_zltunnel_framed_behind(end) != NGX_OK)
    {
        return ngx_zltunnel_relay_failed(relay, i);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_relay_shutdown(ngx_zltunnel_relay_t *relay, ngx_uint_t i)
{
    ngx_int_t            rc;
    ngx_zltunnel_end_t  *to;

    ngx_zltunnel_relay_release(&relay->flow[i]);

    to = relay->side[1 - i];

    if (relay->side[i]->shut
        && (ngx_zltunnel_end_raw_out(to) ? to->ops->raw : i == 0))
    {
        /* the last to end: the close, or release, that follows at once says
           so */

        to->shut = 1;
        return NGX_OK;
    }

    rc = ngx_zltunnel_end_shutdown(to);

    if (rc == NGX_AGAIN) {
        return ngx_zltunnel_relay_blocked(relay, i);
    }

    if (rc == NGX_ERROR) {
        return ngx_zltunnel_relay_failed(relay, 1 - i);
    }

    to->shut = 1;
    relay->active = ngx_current_msec;

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_relay_blocked(ngx_zltunnel_relay_t *relay, ngx_uint_t i)
{
    ngx_event_t  *wev;

    wev = relay->side[1 - i]->connection->write;

    if (ngx_handle_write_event(wev, 0) != NGX_OK) {
        relay->how = NGX_ZLTUNNEL_RELAY_ABORTED;
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_zltunnel_relay_moved(ngx_zltunnel_relay_t *relay, ngx_uint_t i, size_t n)
{
    relay->flow[i].bytes += n;
    relay->active = ngx_current_msec;

    if (relay->count[i]) {
        *relay->count[i] += n;
    }

    if (relay->also[i]) {
        *relay->also[i] += n;
    }

    ngx_zltunnel_relay_sent(relay, 1 - i);
}


/*
 * To side[i], or perhaps: not only bytes go there, but ends, what was sent before
 * the relay began, and answers that TLS and WebSocket give by themselves.
 */

static void
ngx_zltunnel_relay_sent(ngx_zltunnel_relay_t *relay, ngx_uint_t i)
{
    if (relay->unacked[i] == 0) {
        relay->unacked[i] = 1;
        relay->unacked_since[i] = ngx_current_msec;
    }
}


static ngx_int_t
ngx_zltunnel_relay_failed(ngx_zltunnel_relay_t *relay, ngx_uint_t i)
{
    relay->how = (i == 0) ? NGX_ZLTUNNEL_RELAY_CLIENT
                          : NGX_ZLTUNNEL_RELAY_CHANNEL;

    return NGX_ERROR;
}


static void
ngx_zltunnel_relay_release(ngx_zltunnel_flow_t *f)
{
    if (f->buffer) {
        ngx_zltunnel_buffer_put(f->buffer);
        f->buffer = NULL;
        f->pos = NULL;
        f->last = NULL;
    }

    if (f->pipe_size) {
        ngx_zltunnel_splice_pipe_put(f->pipe, f->pipe_size, f->piped);
        f->pipe_size = 0;
        f->piped = 0;
    }
}


/* sees to it that the timer fires when the next thing is due, or earlier */

static void
ngx_zltunnel_relay_arm(ngx_zltunnel_relay_t *relay)
{
    ngx_uint_t             i;
    ngx_msec_t             due, limit;
    ngx_msec_int_t         diff;
    ngx_zltunnel_flow_t   *f;

    limit = ngx_zltunnel_relay_limit(relay);

    due = limit ? relay->active + limit
                : ngx_current_msec + NGX_ZLTUNNEL_RELAY_LONG;

    for (i = 0; i < 2; i++) {

        if (relay->unacked[i]) {
            limit = relay->unacked_since[i] + ngx_zltunnel_relay_look(relay);

            if ((ngx_msec_int_t) (limit - due) < 0) {
                due = limit;
            }
        }
    }

    if (!relay->kept) {
        limit = relay->started + ngx_zltunnel_relay_look(relay);

        if ((ngx_msec_int_t) (limit - due) < 0) {
            due = limit;
        }
    }

    for (i = 0; i < 2; i++) {
        f = &relay->flow[i];

        if (f->pipe_size && !ngx_zltunnel_flow_residue(f)) {
            limit = relay->active + NGX_ZLTUNNEL_RELAY_IDLE;

            if ((ngx_msec_int_t) (limit - due) < 0) {
                due = limit;
            }
        }
    }

    if (relay->event.timer_set
        && (ngx_msec_int_t) (relay->event.timer.key - due) <= 0)
    {
        return;
    }

    diff = (ngx_msec_int_t) (due - ngx_current_msec);

    ngx_add_timer(&relay->event, (ngx_msec_t) ngx_max(diff, 1));
}


/* an end counts, too, that waits behind bytes which the far side does not take */

static ngx_msec_t
ngx_zltunnel_relay_limit(ngx_zltunnel_relay_t *relay)
{
    if (relay->half_timeout
        && (relay->side[0]->shut || relay->side[1]->shut
            || relay->side[0]->connection->read->pending_eof
            || relay->side[1]->connection->read->pending_eof)
        && (relay->timeout == 0 || relay->half_timeout < relay->timeout))
    {
        return relay->half_timeout;
    }

    return relay->timeout;
}


static ngx_int_t
ngx_zltunnel_relay_expire(ngx_zltunnel_relay_t *relay)
{
    ngx_uint_t            i;
    ngx_msec_t            idle, limit;
    ngx_zltunnel_flow_t  *f;

    idle = ngx_current_msec - relay->active;
    limit = ngx_zltunnel_relay_limit(relay);

    if (limit && idle >= limit) {
        ngx_log_error(NGX_LOG_INFO, relay->log, NGX_ETIMEDOUT,
                      "relay timed out");
        relay->how = NGX_ZLTUNNEL_RELAY_TIMEOUT;
        return NGX_ERROR;
    }

    if (!relay->kept
        && ngx_current_msec - relay->started
           >= ngx_zltunnel_relay_look(relay))
    {
        /* only now: most connections are gone before keepalive would act */

        relay->kept = 1;

        ngx_zltunnel_relay_keep(relay, 0);
        ngx_zltunnel_relay_keep(relay, 1);
    }

    if (idle >= NGX_ZLTUNNEL_RELAY_IDLE) {

        for (i = 0; i < 2; i++) {
            f = &relay->flow[i];

            if (f->pipe_size && !ngx_zltunnel_flow_residue(f)) {
                ngx_zltunnel_relay_release(f);
            }
        }
    }

    for (i = 0; i < 2; i++) {

        if (ngx_zltunnel_relay_watch(relay, i) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* a client's may be as "so_keepalive" of its listen directive says */

static void
ngx_zltunnel_relay_keep(ngx_zltunnel_relay_t *relay, ngx_uint_t i)
{
    ngx_connection_t  *c;

    c = relay->side[i]->connection;

    if (!relay->side[i]->ops->network) {
        return;
    }

    if (i == 0 && c->listening && c->listening->keepalive) {
        return;
    }

    ngx_zltunnel_socket_keepalive(c, i == 1 ? relay->dead : 0);
}


/*
 * Keepalive finds a dead peer of an idle connection only.  While there are
 * bytes that it has not acknowledged, it is asked for here: it is dead if at
 * two looks in succession there were such bytes, and no sign of life between.
 */

static ngx_int_t
ngx_zltunnel_relay_watch(ngx_zltunnel_relay_t *relay, ngx_uint_t i)
{
    ngx_int_t  rc;

    if (relay->unacked[i] == 0
        || ngx_current_msec - relay->unacked_since[i]
           < ngx_zltunnel_relay_look(relay))
    {
        return NGX_OK;
    }

    rc = ngx_zltunnel_end_alive(relay->side[i], relay->dead);

    if (rc == NGX_OK) {
        relay->unacked[i] = 0;
        return NGX_OK;
    }

    if (rc == NGX_ERROR && relay->unacked[i] == 2) {
        (void) ngx_connection_error(relay->side[i]->connection, NGX_ETIMEDOUT,
                                    "peer does not acknowledge");
        return ngx_zltunnel_relay_failed(relay, i);
    }

    relay->unacked[i] = 2;
    relay->unacked_since[i] = ngx_current_msec;

    return NGX_OK;
}


static void
ngx_zltunnel_relay_finish(ngx_zltunnel_relay_t *relay,
    ngx_zltunnel_relay_end_e how)
{
    ngx_uint_t         i;
    ngx_event_t       *rev, *wev;
    ngx_connection_t  *c;

    if (relay->finished) {
        return;
    }

    relay->finished = 1;

    if (relay->event.timer_set) {
        ngx_del_timer(&relay->event);
    }

    if (relay->event.posted) {
        ngx_delete_posted_event(&relay->event);
    }

    for (i = 0; i < 2; i++) {
        ngx_zltunnel_relay_release(&relay->flow[i]);

        if (relay->log == NULL) {

            /* was not started */

            continue;
        }

        c = relay->side[i]->connection;
        rev = c->read;
        wev = c->write;

        c->data = relay->saved[i];
        rev->handler = ngx_zltunnel_relay_empty_handler;
        wev->handler = ngx_zltunnel_relay_empty_handler;

        if (rev->posted) {
            ngx_delete_posted_event(rev);
        }

        if (wev->posted) {
            ngx_delete_posted_event(wev);
        }
    }

    for (i = 0; i < 2; i++) {

        if (i == 1 && relay->side[i]->frames) {

            /* ngx_zltunnel_release() */

            continue;
        }

        if (how != NGX_ZLTUNNEL_RELAY_DONE) {
            ngx_zltunnel_end_abort(relay->side[i]);

        } else if (i == 0 || relay->side[i]->ops->raw) {
            ngx_zltunnel_socket_linger(relay->side[i]->connection, 0);
        }
    }

    relay->handler(relay, how);
}
