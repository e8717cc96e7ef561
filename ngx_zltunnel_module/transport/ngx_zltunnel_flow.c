
/*
 * Copyright (C) zltunnel authors
 */

/*
 * One direction of a relay.
 *
 * A flow reads into one buffer that all relays of the worker share and writes
 * out from it at once.  What could not be written is kept in a buffer borrowed
 * for that, and as long as there is such a residue, or the far side is known
 * to take nothing, the near side is not read: TCP slows its sender down, and
 * a connection never holds more than one buffer a direction, an idle one none;
 * under TLS it may be the records that were made of it (ngx_zltunnel_tls.c).
 *
 * A flow of which three reads in a row have brought ZLT_BULK_READ or more is
 * bulky, and where nothing lies between both sides and their sockets, it goes
 * over to splice().  A framed channel turns raw for that; the agent decides so
 * of its own direction, by the same measure.  The pipe is filled only when it
 * is empty.  A pipe has slots for segments of whatever length, so EAGAIN of a
 * filled one may mean either "no input" or "no slot"; of an empty one it means
 * no input, and this must not be mistaken with edge-triggered events.  After a
 * second without bytes the flow returns to copying and gives the pipe back.
 *
 * Where there is a limit of the rate (ngx_zltunnel_pace.c), a flow asks before
 * each read how much it may move.  One that may not waits for its time, by the
 * relay's timer, and is not read meanwhile.
 *
 * Write events are asked for when a write has blocked for the first time;
 * many connections never need one.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_flow.h"
#include "ngx_zltunnel_buffer.h"
#include "ngx_zltunnel_end.h"
#include "ngx_zltunnel_framed.h"
#include "ngx_zltunnel_relay.h"
#include "ngx_zltunnel_relay_time.h"
#include "ngx_zltunnel_socket.h"
#include "ngx_zltunnel_splice.h"

#include "zlt_bulk.h"
#include "zlt_frames.h"


#define NGX_ZLTUNNEL_FLOW_TURN     (512 * 1024)     /* bytes */
#define NGX_ZLTUNNEL_FLOW_READ     ZLT_MAX_PAYLOAD  /* fits one message */


static ngx_int_t ngx_zltunnel_flow_turn(ngx_zltunnel_relay_t *relay,
    ngx_uint_t i);
static ngx_int_t ngx_zltunnel_flow_pending(ngx_zltunnel_relay_t *relay,
    ngx_uint_t i);
static ssize_t ngx_zltunnel_flow_copy(ngx_zltunnel_relay_t *relay,
    ngx_uint_t i, size_t most);
static ngx_int_t ngx_zltunnel_flow_bulky(ngx_zltunnel_relay_t *relay,
    ngx_uint_t i);
static ssize_t ngx_zltunnel_flow_splice(ngx_zltunnel_relay_t *relay,
    ngx_uint_t i, size_t most);
static ngx_int_t ngx_zltunnel_flow_lost(ngx_zltunnel_relay_t *relay,
    ngx_uint_t i);
static ngx_int_t ngx_zltunnel_flow_flush(ngx_zltunnel_relay_t *relay,
    ngx_uint_t i);
static ngx_int_t ngx_zltunnel_flow_write(ngx_zltunnel_relay_t *relay,
    ngx_uint_t i, u_char **pos, u_char *last);
static ngx_int_t ngx_zltunnel_flow_drain(ngx_zltunnel_relay_t *relay,
    ngx_uint_t i);
static ngx_int_t ngx_zltunnel_flow_eof(ngx_zltunnel_relay_t *relay,
    ngx_uint_t i);
static ngx_int_t ngx_zltunnel_flow_shutdown(ngx_zltunnel_relay_t *relay,
    ngx_uint_t i);
static ngx_int_t ngx_zltunnel_flow_blocked(ngx_zltunnel_relay_t *relay,
    ngx_uint_t i);
static void ngx_zltunnel_flow_moved(ngx_zltunnel_relay_t *relay, ngx_uint_t i,
    size_t n);


static u_char  ngx_zltunnel_flow_buffer[NGX_ZLTUNNEL_BUFFER_SIZE];


ngx_int_t
ngx_zltunnel_flow_run(ngx_zltunnel_relay_t *relay, ngx_uint_t i)
{
    ngx_int_t             rc;
    ngx_zltunnel_flow_t  *f;

    rc = ngx_zltunnel_flow_turn(relay, i);

    if (!relay->paced) {
        return rc;
    }

    f = &relay->flow[i];

    /* its time may have come when the far side takes nothing */

    if (f->portion.left && !ngx_zltunnel_pace_waits(&f->portion)) {
        ngx_zltunnel_pace_back(f->pace, &f->portion);
    }

    return rc;
}


static ngx_int_t
ngx_zltunnel_flow_turn(ngx_zltunnel_relay_t *relay, ngx_uint_t i)
{
    ssize_t               n;
    size_t                moved, most;
    ngx_int_t             rc;
    ngx_event_t          *wev;
    ngx_zltunnel_end_t   *from, *to;
    ngx_zltunnel_flow_t  *f;

    f = &relay->flow[i];
    from = relay->side[i];
    to = relay->side[1 - i];

    if (to->shut) {

        /* an answer to a Ping may not have gone */

        rc = ngx_zltunnel_flow_pending(relay, i);

        return (rc == NGX_ERROR) ? NGX_ERROR : NGX_OK;
    }

    wev = to->connection->write;

    moved = 0;

    for ( ;; ) {

        rc = ngx_zltunnel_flow_pending(relay, i);

        if (rc != NGX_OK) {
            return (rc == NGX_AGAIN) ? NGX_OK : NGX_ERROR;
        }

        if (ngx_zltunnel_flow_residue(f)) {
            rc = ngx_zltunnel_flow_flush(relay, i);

            if (rc != NGX_OK) {
                return (rc == NGX_AGAIN) ? NGX_OK : NGX_ERROR;
            }
        }

        if (from->eof) {
            return ngx_zltunnel_flow_shutdown(relay, i);
        }

        if (f->cut) {
            return NGX_OK;
        }

        if (!ngx_zltunnel_end_readable(from)) {
            return NGX_OK;
        }

        if (!wev->ready) {
            return ngx_zltunnel_flow_blocked(relay, i);
        }

        if (moved >= NGX_ZLTUNNEL_FLOW_TURN) {
            return NGX_BUSY;
        }

        if (relay->paced && ngx_zltunnel_paced(f->pace)) {
            most = ngx_zltunnel_pace_ask(f->pace, &f->portion);

            if (most == 0) {
                relay->active = ngx_current_msec;
                return NGX_OK;
            }

        } else {
            most = NGX_ZLTUNNEL_FLOW_TURN;
        }

        n = f->pipe_size ? ngx_zltunnel_flow_splice(relay, i, most)
                         : ngx_zltunnel_flow_copy(relay, i, most);

        if (n > 0) {
            moved += n;

            if (f->portion.left >= (size_t) n) {
                ngx_zltunnel_pace_used(&f->portion, n);

                if (f->portion.left == 0) {

                    /* others may be due, too, and now it is their turn */

                    return NGX_BUSY;
                }
            }

            continue;
        }

        if (n == 0) {
            n = ngx_zltunnel_flow_eof(relay, i);
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
ngx_zltunnel_flow_pending(ngx_zltunnel_relay_t *relay, ngx_uint_t i)
{
    ngx_int_t            rc;
    ngx_zltunnel_end_t  *to;

    to = relay->side[1 - i];
    rc = ngx_zltunnel_end_flush(to);

    if (rc == NGX_ERROR) {
        return ngx_zltunnel_relay_failed(relay, 1 - i);
    }

    if (rc == NGX_AGAIN && ngx_zltunnel_flow_blocked(relay, i) != NGX_OK) {
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
ngx_zltunnel_flow_copy(ngx_zltunnel_relay_t *relay, ngx_uint_t i, size_t most)
{
    u_char               *pos, *last;
    ssize_t               n;
    ngx_int_t             rc;
    ngx_zltunnel_flow_t  *f;

    f = &relay->flow[i];
    pos = ngx_zltunnel_flow_buffer + ZLT_FRAMES_ROOM;

    most = ngx_min(most, NGX_ZLTUNNEL_FLOW_READ);

    n = ngx_zltunnel_end_recv(relay->side[i], pos, most);

    if (n == NGX_ERROR) {
        return ngx_zltunnel_flow_lost(relay, i);
    }

    if (n == 0 && relay->side[i]->broken && relay->side[i]->ops->raw
        && ngx_zltunnel_end_raw_in(relay->side[i]))
    {
        /* else a message has said so, or TLS, whatever came behind it */

        return ngx_zltunnel_flow_lost(relay, i);
    }

    if (n >= 0 && relay->look) {
        rc = relay->look(relay, i, pos, n);

        if (rc == NGX_DONE) {
            relay->how = NGX_ZLTUNNEL_RELAY_DONE;
            return NGX_ERROR;
        }

        if (rc == NGX_ERROR) {
            return ngx_zltunnel_relay_failed(relay, i);
        }
    }

    if (n <= 0) {
        return n;
    }

    last = pos + n;

    if (ngx_zltunnel_flow_write(relay, i, &pos, last) == NGX_ERROR) {
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

    if ((size_t) n == most && most < ZLT_BULK_READ) {

        /* more was there, perhaps, and was not to be read */

        return n;
    }

    if (zlt_bulk_read(&f->full_reads, n) >= ZLT_BULK_RUN
        && ngx_zltunnel_flow_bulky(relay, i) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return n;
}


/* A direction of a framed channel turns raw when no message is half sent. */

static ngx_int_t
ngx_zltunnel_flow_bulky(ngx_zltunnel_relay_t *relay, ngx_uint_t i)
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
ngx_zltunnel_flow_splice(ngx_zltunnel_relay_t *relay, ngx_uint_t i,
    size_t most)
{
    ssize_t               n;
    ngx_err_t             err;
    ngx_connection_t     *c;
    ngx_zltunnel_flow_t  *f;

    f = &relay->flow[i];
    c = relay->side[i]->connection;

    n = splice(c->fd, NULL, f->pipe[1], NULL, ngx_min(f->pipe_size, most),
               SPLICE_F_MOVE|SPLICE_F_NONBLOCK);

    err = ngx_errno;

    ngx_log_debug2(NGX_LOG_DEBUG_EVENT, c->log, 0,
                   "splice: fd:%d %z", c->fd, n);

    /* ngx_unix_recv() must not go by what it found before */

    c->read->available = -1;

    if (n > 0) {
        f->piped = n;

        return (ngx_zltunnel_flow_drain(relay, i) == NGX_ERROR) ? NGX_ERROR
                                                                 : n;
    }

    if (n == 0) {
        c->read->ready = 0;
        c->read->eof = 1;

        return relay->side[i]->broken ? ngx_zltunnel_flow_lost(relay, i) : 0;
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
        return ngx_zltunnel_flow_lost(relay, i);
    }
}


/* side[i] has no more, and no end */

static ngx_int_t
ngx_zltunnel_flow_lost(ngx_zltunnel_relay_t *relay, ngx_uint_t i)
{
    relay->flow[i].cut = 1;

    return ngx_zltunnel_relay_failed(relay, i);
}


static ngx_int_t
ngx_zltunnel_flow_flush(ngx_zltunnel_relay_t *relay, ngx_uint_t i)
{
    ngx_int_t             rc;
    ngx_zltunnel_flow_t  *f;

    f = &relay->flow[i];

    if (f->pos != f->last) {
        rc = ngx_zltunnel_flow_write(relay, i, &f->pos, f->last);

        if (rc != NGX_OK) {
            return rc;
        }

        ngx_zltunnel_buffer_put(f->buffer);

        f->buffer = NULL;
        f->pos = NULL;
        f->last = NULL;
    }

    return ngx_zltunnel_flow_drain(relay, i);
}


static ngx_int_t
ngx_zltunnel_flow_write(ngx_zltunnel_relay_t *relay, ngx_uint_t i,
    u_char **pos, u_char *last)
{
    ssize_t              n;
    ngx_event_t         *wev;
    ngx_zltunnel_end_t  *to;

    to = relay->side[1 - i];
    wev = to->connection->write;

    while (*pos != last) {

        if (!wev->ready) {
            return ngx_zltunnel_flow_blocked(relay, i) == NGX_OK ? NGX_AGAIN
                                                                  : NGX_ERROR;
        }

        n = ngx_zltunnel_end_send(to, *pos, last - *pos);

        if (n > 0) {
            *pos += n;
            ngx_zltunnel_flow_moved(relay, i, n);
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
ngx_zltunnel_flow_drain(ngx_zltunnel_relay_t *relay, ngx_uint_t i)
{
    ssize_t               n;
    ngx_err_t             err;
    ngx_connection_t     *c;
    ngx_zltunnel_flow_t  *f;

    f = &relay->flow[i];
    c = relay->side[1 - i]->connection;

    while (f->piped) {

        if (!c->write->ready) {
            return ngx_zltunnel_flow_blocked(relay, i) == NGX_OK ? NGX_AGAIN
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

            ngx_zltunnel_flow_moved(relay, i, n);
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
        ngx_zltunnel_socket_broken(relay->side[1 - i], n ? err : 0);
        (void) ngx_connection_error(c, n ? err : 0,
                                    "splice() to socket failed");
        return ngx_zltunnel_relay_failed(relay, 1 - i);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_flow_eof(ngx_zltunnel_relay_t *relay, ngx_uint_t i)
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
ngx_zltunnel_flow_shutdown(ngx_zltunnel_relay_t *relay, ngx_uint_t i)
{
    ngx_int_t            rc;
    ngx_zltunnel_end_t  *to;

    ngx_zltunnel_flow_release(&relay->flow[i]);

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
        return ngx_zltunnel_flow_blocked(relay, i);
    }

    if (rc == NGX_ERROR) {
        return ngx_zltunnel_relay_failed(relay, 1 - i);
    }

    to->shut = 1;
    relay->active = ngx_current_msec;

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_flow_blocked(ngx_zltunnel_relay_t *relay, ngx_uint_t i)
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
ngx_zltunnel_flow_moved(ngx_zltunnel_relay_t *relay, ngx_uint_t i, size_t n)
{
    relay->flow[i].bytes += n;
    relay->active = ngx_current_msec;

    if (relay->count[i]) {
        *relay->count[i] += n;
    }

    if (relay->also[i]) {
        *relay->also[i] += n;
    }

    ngx_zltunnel_relay_time_sent(relay, 1 - i);
}


void
ngx_zltunnel_flow_spend(ngx_zltunnel_relay_t *relay, ngx_uint_t i, size_t n)
{
    ngx_zltunnel_flow_t  *f;

    f = &relay->flow[i];

    if (ngx_zltunnel_paced(f->pace)) {
        ngx_zltunnel_pace_spend(f->pace, n + (f->last - f->pos));
    }
}


void
ngx_zltunnel_flow_release(ngx_zltunnel_flow_t *f)
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


void
ngx_zltunnel_flow_rest(ngx_zltunnel_relay_t *relay)
{
    ngx_uint_t  i;

    if (ngx_current_msec - relay->active < NGX_ZLTUNNEL_FLOW_IDLE) {
        return;
    }

    for (i = 0; i < 2; i++) {

        if (ngx_zltunnel_flow_spare(&relay->flow[i])) {
            ngx_zltunnel_flow_release(&relay->flow[i]);
        }
    }
}
