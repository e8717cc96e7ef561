
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The two datagram channels of a visit: what is read from one is written to
 * the other.
 *
 * What came from one side is put behind what the other has yet to take, and
 * written by one call when all that was there has been read.  Nothing is read
 * from a side while more than 256 KiB wait for the other: TCP slows the sender
 * down, and the queues where datagrams are dropped by age are at the two ends.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_visit_side.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_transport.h"
#include "ngx_zltunnel_visit.h"
#include "ngx_zltunnel_visit_udp.h"

#include "zlt_msg.h"


#define NGX_ZLTUNNEL_VISIT_READ     NGX_ZLTUNNEL_BUDGET_BYTES
#define NGX_ZLTUNNEL_VISIT_OUT      (256 * 1024)

#define NGX_ZLTUNNEL_VISIT_TICK     1000       /* ms */
#define NGX_ZLTUNNEL_VISIT_FIRST    3000       /* ms for a sign of life */

#define ngx_zltunnel_visit_waiting(side)  ((side)->out_len - (side)->out_pos)


static ngx_int_t ngx_zltunnel_visit_side_init(ngx_zltunnel_visit_t *visit,
    ngx_uint_t i, ngx_zltunnel_end_t *end);
static ngx_zltunnel_visit_t *ngx_zltunnel_visit_of(ngx_event_t *ev,
    ngx_uint_t *i);
static void ngx_zltunnel_visit_frames_handler(ngx_event_t *ev);
static ngx_int_t ngx_zltunnel_visit_frames(ngx_zltunnel_visit_t *visit,
    ngx_uint_t i);
static ngx_int_t ngx_zltunnel_visit_write(ngx_zltunnel_visit_t *visit,
    ngx_uint_t i);
static void ngx_zltunnel_visit_write_handler(ngx_event_t *ev);
static void ngx_zltunnel_visit_tick(ngx_event_t *ev);


ngx_int_t
ngx_zltunnel_visit_side_start(ngx_zltunnel_visit_t *visit,
    ngx_zltunnel_end_t *service)
{
    if (ngx_zltunnel_visit_side_init(visit, 0, &visit->end) != NGX_OK
        || ngx_zltunnel_visit_side_init(visit, 1, service) != NGX_OK)
    {
        return NGX_ERROR;
    }

    visit->timer.handler = ngx_zltunnel_visit_tick;
    visit->timer.cancelable = 1;
    ngx_add_timer(&visit->timer, NGX_ZLTUNNEL_VISIT_TICK);

    /* an idle one may have been dropped on the way long ago */

    visit->side[1].asked = 1;
    visit->side[1].due = ngx_current_msec + NGX_ZLTUNNEL_VISIT_FIRST;

    if (ngx_zltunnel_visit_side_beat(&visit->side[1], ZLT_HEARTBEAT,
                                     0) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_zltunnel_visit_write(visit, 1);
}


static ngx_int_t
ngx_zltunnel_visit_side_init(ngx_zltunnel_visit_t *visit, ngx_uint_t i,
    ngx_zltunnel_end_t *end)
{
    ngx_connection_t           *c;
    ngx_zltunnel_visit_side_t  *side;

    c = end->connection;
    side = &visit->side[i];

    side->end = end;
    side->due = ngx_current_msec
                + ngx_zltunnel_heartbeat_period(visit->registry);

    c->data = visit;
    c->log->action = "passing datagrams";
    c->read->handler = ngx_zltunnel_visit_frames_handler;
    c->write->handler = ngx_zltunnel_visit_write_handler;

    ngx_zltunnel_end_datagrams(end);

    /* what was there before is not told again */

    ngx_post_event(c->read, &ngx_posted_events);

    return ngx_handle_read_event(c->read, 0);
}


static ngx_zltunnel_visit_t *
ngx_zltunnel_visit_of(ngx_event_t *ev, ngx_uint_t *i)
{
    ngx_connection_t      *c;
    ngx_zltunnel_visit_t  *visit;

    c = ev->data;
    visit = c->data;

    *i = (c != visit->end.connection);

    return visit;
}


static void
ngx_zltunnel_visit_frames_handler(ngx_event_t *ev)
{
    ngx_uint_t             i;
    ngx_connection_t      *c;
    ngx_zltunnel_visit_t  *visit;

    c = ev->data;
    visit = ngx_zltunnel_visit_of(ev, &i);

    if (c->close
        || ngx_zltunnel_visit_frames(visit, i) != NGX_OK
        || ngx_zltunnel_visit_write(visit, 1 - i) != NGX_OK
        || ngx_zltunnel_visit_write(visit, i) != NGX_OK)
    {
        ngx_zltunnel_visit_close(visit);
    }
}


/* reads as long as the other side takes it */

static ngx_int_t
ngx_zltunnel_visit_frames(ngx_zltunnel_visit_t *visit, ngx_uint_t i)
{
    size_t                      have;
    ssize_t                     n;
    ngx_event_t                *rev;
    ngx_zltunnel_budget_t       budget;
    ngx_zltunnel_visit_side_t  *side;

    static u_char  buffer[ZLT_MAX_MESSAGE_SIZE + NGX_ZLTUNNEL_VISIT_READ];

    side = &visit->side[i];
    rev = side->end->connection->read;

    ngx_memzero(&budget, sizeof(ngx_zltunnel_budget_t));

    while (!ngx_zltunnel_budget_spent(&budget)) {

        if (ngx_zltunnel_visit_waiting(&visit->side[1 - i])
            > NGX_ZLTUNNEL_VISIT_OUT)
        {
            /* goes on when it has been written */
            return NGX_OK;
        }

        have = side->in_len;

        if (have) {
            ngx_memcpy(buffer, side->in, have);
            side->in_len = 0;
        }

        n = ngx_zltunnel_end_recv(side->end, buffer + have,
                                  sizeof(buffer) - have);

        if (n == NGX_ERROR || n == 0) {
            return NGX_ERROR;
        }

        if (n != NGX_AGAIN) {
            have += n;
            budget.bytes += n;

            if (side->asked) {
                side->asked = 0;
                side->due = ngx_current_msec
                            + ngx_zltunnel_heartbeat_period(visit->registry);
            }
        }

        if (have && ngx_zltunnel_visit_udp_parse(visit, i, buffer, have)
                    != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (n == NGX_AGAIN || !rev->ready) {
            return ngx_handle_read_event(rev, 0);
        }
    }

    ngx_zltunnel_budget_post(rev);

    return NGX_OK;
}


/* the beginning of a frame, for the next time: copied */

ngx_int_t
ngx_zltunnel_visit_side_keep(ngx_zltunnel_visit_side_t *side,
    const u_char *data, size_t len)
{
    u_char  *p;

    if (len > side->in_size) {
        p = ngx_alloc(len, ngx_cycle->log);
        if (p == NULL) {
            return NGX_ERROR;
        }

        if (side->in) {
            ngx_free(side->in);
        }

        side->in = p;
        side->in_size = len;
    }

    if (len) {
        ngx_memcpy(side->in, data, len);
    }

    side->in_len = len;

    return NGX_OK;
}


ngx_int_t
ngx_zltunnel_visit_side_beat(ngx_zltunnel_visit_side_t *side, ngx_uint_t type,
    uint64_t timestamp)
{
    u_char      *p;
    zlt_msg_t    m;
    ngx_time_t  *tp;

    if (type == ZLT_HEARTBEAT) {
        tp = ngx_timeofday();
        timestamp = (uint64_t) tp->sec * 1000 + tp->msec;
    }

    p = ngx_zltunnel_visit_side_room(side, ZLT_HEADER_SIZE + 8);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&m, sizeof(zlt_msg_t));

    m.type = (uint8_t) type;
    m.timestamp = timestamp;

    side->out_len += zlt_msg_encode(&m, p, ZLT_HEADER_SIZE + 8);

    return NGX_OK;
}


/* where a frame of that size may be put; NULL: no memory, or far too much */

u_char *
ngx_zltunnel_visit_side_room(ngx_zltunnel_visit_side_t *side, size_t size)
{
    u_char  *p;
    size_t   n, len;

    if (side->out_len + size <= side->out_size) {
        return side->out + side->out_len;
    }

    len = ngx_zltunnel_visit_waiting(side);

    /* a side that sends but does not read fills it with answers */

    if (len > 2 * NGX_ZLTUNNEL_VISIT_OUT) {
        return NULL;
    }

    n = ngx_max(2 * (len + size), 4096);

    p = ngx_alloc(n, ngx_cycle->log);
    if (p == NULL) {
        return NULL;
    }

    if (side->out) {
        ngx_memcpy(p, side->out + side->out_pos, len);
        ngx_free(side->out);
    }

    side->out = p;
    side->out_pos = 0;
    side->out_len = len;
    side->out_size = n;

    return p + len;
}


static ngx_int_t
ngx_zltunnel_visit_write(ngx_zltunnel_visit_t *visit, ngx_uint_t i)
{
    ssize_t                     n;
    ngx_event_t                *rev;
    ngx_connection_t           *c;
    ngx_zltunnel_visit_side_t  *side;

    side = &visit->side[i];
    c = side->end->connection;

    /* within a WebSocket, what was taken may wait there */

    if (ngx_zltunnel_end_flush(side->end) == NGX_ERROR) {
        return NGX_ERROR;
    }

    while (side->out_pos < side->out_len) {

        n = ngx_zltunnel_end_send(side->end, side->out + side->out_pos,
                                  side->out_len - side->out_pos);

        if (n == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (n == NGX_AGAIN) {
            return ngx_handle_write_event(c->write, 0);
        }

        side->out_pos += n;
    }

    if (ngx_zltunnel_end_pending(side->end)
        && ngx_handle_write_event(c->write, 0) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (side->out) {

        /* an idle channel holds no buffer */

        ngx_free(side->out);
        side->out = NULL;
        side->out_pos = 0;
        side->out_len = 0;
        side->out_size = 0;
    }

    /* what was not read meanwhile */

    rev = visit->side[1 - i].end->connection->read;

    if (rev->ready && !rev->posted) {
        ngx_post_event(rev, &ngx_posted_next_events);
    }

    return NGX_OK;
}


static void
ngx_zltunnel_visit_write_handler(ngx_event_t *ev)
{
    ngx_uint_t             i;
    ngx_zltunnel_visit_t  *visit;

    visit = ngx_zltunnel_visit_of(ev, &i);

    if (ngx_zltunnel_visit_write(visit, i) != NGX_OK) {
        ngx_zltunnel_visit_close(visit);
    }
}


static void
ngx_zltunnel_visit_tick(ngx_event_t *ev)
{
    ngx_uint_t                  i;
    ngx_zltunnel_visit_t       *visit;
    ngx_zltunnel_visit_side_t  *side;

    visit = ev->data;

    for (i = 0; i < 2; i++) {
        side = &visit->side[i];

        if ((ngx_msec_int_t) (ngx_current_msec - side->due) < 0) {
            continue;
        }

        if (side->asked) {
            ngx_log_error(NGX_LOG_INFO, side->end->connection->log,
                          NGX_ETIMEDOUT,
                          "datagram channel of %s does not answer, service "
                          "\"%V\"", i ? "an agent" : "a visitor",
                          &visit->ask.name);

            ngx_zltunnel_visit_close(visit);
            return;
        }

        side->asked = 1;
        side->due = ngx_current_msec
                    + ngx_zltunnel_heartbeat_answer(visit->registry);

        if (ngx_zltunnel_visit_side_beat(side, ZLT_HEARTBEAT, 0) != NGX_OK
            || ngx_zltunnel_visit_write(visit, i) != NGX_OK)
        {
            ngx_zltunnel_visit_close(visit);
            return;
        }
    }

    ngx_add_timer(ev, NGX_ZLTUNNEL_VISIT_TICK);
}
