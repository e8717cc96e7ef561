
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Moves the bytes between two ends.
 *
 * Theory of operation.  A relay has two sides and two flows; flow[i] goes from
 * side[i] to the other one, and both are served by the same code,
 * ngx_zltunnel_flow.c.  A flow moves so many bytes in one turn, then lets other
 * connections have theirs: relay->event is posted for the next one.  The same
 * event is the timer, ngx_zltunnel_relay_time.c.
 *
 * A reset passes behind what its side had sent: the kernel here has acknowledged
 * this, and the other peer would have it, had the two spoken without us.  So a
 * side that was reset is lost first.  Nothing is written to it any more; it is
 * read to its end, which is one only if it had ended before the reset; and what
 * was read must have gone, and been acknowledged: a reset would overtake it, and
 * so would the end of a channel that is not idle in time behind a message.  A
 * peer that takes nothing for some seconds would not have got more without us,
 * and sees the reset then.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_relay.h"
#include "ngx_zltunnel_buffer.h"
#include "ngx_zltunnel_end.h"
#include "ngx_zltunnel_flow.h"
#include "ngx_zltunnel_framed.h"
#include "ngx_zltunnel_relay_time.h"
#include "ngx_zltunnel_socket.h"
#include "ngx_zltunnel_splice.h"

#include "zlt_frames.h"


static void ngx_zltunnel_relay_handler(ngx_event_t *ev);
static void ngx_zltunnel_relay_event_handler(ngx_event_t *ev);
static void ngx_zltunnel_relay_empty_handler(ngx_event_t *ev);
static void ngx_zltunnel_relay_run(ngx_zltunnel_relay_t *relay);
static void ngx_zltunnel_relay_paced(ngx_zltunnel_relay_t *relay);
static ngx_int_t ngx_zltunnel_relay_lose(ngx_zltunnel_relay_t *relay);
static ngx_uint_t ngx_zltunnel_relay_passed(ngx_zltunnel_relay_t *relay);
static ngx_int_t ngx_zltunnel_relay_waiting(ngx_zltunnel_relay_t *relay,
    ngx_uint_t i);
static void ngx_zltunnel_relay_finish(ngx_zltunnel_relay_t *relay,
    ngx_zltunnel_relay_end_e how);


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

    ngx_zltunnel_relay_paced(relay);

    relay->event.handler = ngx_zltunnel_relay_event_handler;
    relay->event.data = c;
    relay->event.log = c->log;

    for (i = 0; i < 2; i++) {
        c = relay->side[i]->connection;

        ngx_zltunnel_relay_time_sent(relay, i);

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


/* whoever waits for the old one looks again when it is due by the new one */

void
ngx_zltunnel_relay_pace(ngx_zltunnel_relay_t *relay, uint64_t old,
    uint64_t rate)
{
    ngx_uint_t            i, waits;
    ngx_zltunnel_flow_t  *f;

    if (relay->log == NULL || relay->finished) {

        /* not yet, or not any more */

        return;
    }

    waits = 0;

    for (i = 0; i < 2; i++) {
        f = &relay->flow[i];

        waits |= ngx_zltunnel_pace_rescale(&f->portion, old, rate);

        if (!ngx_zltunnel_paced(f->pace)) {
            ngx_zltunnel_pace_back(f->pace, &f->portion);
        }
    }

    ngx_zltunnel_relay_paced(relay);

    if (waits) {
        ngx_post_event(&relay->event, &ngx_posted_next_events);
    }
}


static void
ngx_zltunnel_relay_paced(ngx_zltunnel_relay_t *relay)
{
    relay->paced = ngx_zltunnel_paced(relay->flow[0].pace)
                   || ngx_zltunnel_paced(relay->flow[1].pace);
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

    ngx_zltunnel_relay_time_sent(relay, 0);
    ngx_zltunnel_relay_time_sent(relay, 1);

    if (relay->lost) {

        /* it is known why there is an event */

    } else if (!ev->write && end->eof && !end->shut && end->frames) {

        /* nothing more is read for the flow, but there may be something */

        if (ngx_zltunnel_framed_behind(end) != NGX_OK) {
            (void) ngx_zltunnel_relay_failed(relay, i);
            (void) ngx_zltunnel_relay_lose(relay);
        }

    } else if (!ev->write && ev->pending_eof && end->eof) {

        /* nothing is read, which would tell */

        if (ngx_zltunnel_end_test(end) != NGX_OK) {
            (void) ngx_zltunnel_relay_failed(relay, i);
            (void) ngx_zltunnel_relay_lose(relay);
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

        if (ngx_zltunnel_relay_time_expire(relay) != NGX_OK) {
            ngx_zltunnel_relay_finish(relay, relay->how);
            return;
        }

        ngx_zltunnel_flow_rest(relay);
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

        if (relay->lost && i != relay->gone) {
            continue;
        }

        rc = ngx_zltunnel_flow_run(relay, i);

        if (rc == NGX_ERROR && ngx_zltunnel_relay_lose(relay) != NGX_OK) {
            ngx_zltunnel_relay_finish(relay, relay->how);
            return;
        }

        if (rc == NGX_BUSY || (rc == NGX_ERROR && !relay->flow[i].cut)) {
            more = 1;
        }
    }

    if (relay->side[0]->shut && relay->side[1]->shut) {
        ngx_zltunnel_relay_finish(relay, NGX_ZLTUNNEL_RELAY_DONE);
        return;
    }

    for (i = 0; !relay->lost && i < 2; i++) {

        if (ngx_zltunnel_relay_waiting(relay, i) != NGX_OK) {
            (void) ngx_zltunnel_relay_lose(relay);
            more = 1;
        }
    }

    if (relay->lost && ngx_zltunnel_relay_passed(relay)) {
        ngx_zltunnel_relay_finish(relay, relay->how);
        return;
    }

    if (more) {
        ngx_post_event(&relay->event, &ngx_posted_next_events);
    }

    ngx_zltunnel_relay_time_arm(relay);
}


/* NGX_OK: the side that has failed is lost; NGX_ERROR: it was not that, or both
   are, and relay->how says which was the first */

static ngx_int_t
ngx_zltunnel_relay_lose(ngx_zltunnel_relay_t *relay)
{
    ngx_uint_t            gone;
    ngx_event_t          *rev;
    ngx_zltunnel_flow_t  *f;

    if (relay->how != NGX_ZLTUNNEL_RELAY_CLIENT
        && relay->how != NGX_ZLTUNNEL_RELAY_CHANNEL)
    {
        return NGX_ERROR;
    }

    gone = (relay->how == NGX_ZLTUNNEL_RELAY_CHANNEL);

    if (relay->lost) {

        if (relay->gone == gone) {
            return NGX_OK;
        }

        (void) ngx_zltunnel_relay_failed(relay, relay->gone);

        return NGX_ERROR;
    }

    relay->lost = 1;
    relay->gone = gone;

    f = &relay->flow[1 - gone];

    ngx_zltunnel_pace_back(f->pace, &f->portion);
    ngx_zltunnel_flow_release(f);

    /* whoever found it may not have read */

    rev = relay->side[gone]->connection->read;

    if (!relay->flow[gone].cut && !rev->error) {
        rev->ready = 1;
        rev->available = -1;
    }

    ngx_zltunnel_relay_time_lost(relay);

    return NGX_OK;
}


/* 1: the reset of the side that was lost is due at the other one */

static ngx_uint_t
ngx_zltunnel_relay_passed(ngx_zltunnel_relay_t *relay)
{
    size_t                outq;
    ngx_zltunnel_end_t   *to;
    ngx_zltunnel_flow_t  *f;

    f = &relay->flow[relay->gone];
    to = relay->side[1 - relay->gone];

    outq = ngx_zltunnel_end_outq(to);

    if ((to->shut || f->cut)
        && !ngx_zltunnel_flow_residue(f) && !ngx_zltunnel_end_pending(to)
        && outq == 0)
    {
        return 1;
    }

    return ngx_zltunnel_relay_time_stalls(relay, outq);
}


/*
 * Bytes of a side that has ended wait for the other one, or for their time, and
 * are not read, which would tell of a reset.
 */

static ngx_int_t
ngx_zltunnel_relay_waiting(ngx_zltunnel_relay_t *relay, ngx_uint_t i)
{
    ngx_int_t            rc;
    ngx_zltunnel_end_t  *end;

    end = relay->side[i];

    if (!end->connection->read->pending_eof || end->eof
        || (!ngx_zltunnel_flow_residue(&relay->flow[i])
            && !relay->flow[i].portion.waits
            && relay->side[1 - i]->connection->write->ready))
    {
        return NGX_OK;
    }

    rc = (i == 0 && relay->closed) ? relay->closed(relay)
                                   : ngx_zltunnel_end_test(end);

    return (rc == NGX_OK) ? NGX_OK : ngx_zltunnel_relay_failed(relay, i);
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
        ngx_zltunnel_pace_back(relay->flow[i].pace, &relay->flow[i].portion);
        ngx_zltunnel_flow_release(&relay->flow[i]);

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

        } else if ((i == 0 && !relay->side[i]->ops->shared)
                   || relay->side[i]->ops->raw)
        {
            ngx_zltunnel_socket_linger(relay->side[i]->connection, 0);
        }
    }

    relay->handler(relay, how);
}
