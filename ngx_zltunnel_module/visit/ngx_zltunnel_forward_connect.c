
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A connection of another node, as an agent has it:
 *
 *     Connect      a dial finds the service among those of agents that are here
 *       |          and the client's first bytes are kept, as a port does
 *       +--------> ConnectFail: what the node sends until it knows is read and
 *       |          discarded, up to its end marker
 *       +--------> Retire, while agents are expected or another binary serves
 *       |          the same address: the node says it elsewhere, or again
 *     ConnectAck
 *       |
 *     relay        messages, up to the end markers
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_forward_connect.h"
#include "ngx_zltunnel_forward_dial.h"


#define NGX_ZLTUNNEL_FORWARD_DRAIN   5000       /* ms, behind ConnectFail */
#define NGX_ZLTUNNEL_FORWARD_WASTE   (1024 * 1024)    /* bytes, the same */
#define NGX_ZLTUNNEL_FORWARD_HALF    3600000    /* ms, half-closed */


static void ngx_zltunnel_forward_connect_read(ngx_event_t *ev);
static ngx_int_t ngx_zltunnel_forward_connect_answered(
    ngx_zltunnel_connect_t *connect);
static void ngx_zltunnel_forward_connect_handler(
    ngx_zltunnel_connect_t *connect, ngx_zltunnel_dial_e rc,
    ngx_zltunnel_relay_end_e how);
static void ngx_zltunnel_forward_connect_refuse(
    ngx_zltunnel_forward_connect_t *fc, ngx_zltunnel_dial_e rc);
static ngx_uint_t ngx_zltunnel_forward_connect_code(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_dial_e rc);
static void ngx_zltunnel_forward_connect_drain(ngx_event_t *ev);
static void ngx_zltunnel_forward_connect_timer(ngx_event_t *ev);
static void ngx_zltunnel_forward_connect_write(ngx_event_t *ev);
static void ngx_zltunnel_forward_connect_done(
    ngx_zltunnel_forward_connect_t *fc, ngx_zltunnel_forward_e how);


ngx_int_t
ngx_zltunnel_forward_connect(ngx_zltunnel_forward_connect_t *fc, zlt_msg_t *m,
    u_char *data, size_t len)
{
    u_char                   service[ZLT_ID_SIZE];
    ssize_t                  n;
    ngx_connection_t        *c;
    ngx_zltunnel_connect_t  *connect;

    c = fc->end->connection;

    if (ngx_zltunnel_forward_dial_begin(&fc->dial, fc->registry, c, m)
        != NGX_OK)
    {
        goto failed;
    }

    fc->dial.lanes = fc->end->ops->shared;

    ngx_memcpy(service, m->service_id, ZLT_ID_SIZE);
    ngx_memcpy(fc->id, m->connection_id, ZLT_ID_SIZE);

    connect = &fc->connect;

    ngx_memzero(connect, sizeof(ngx_zltunnel_connect_t));

    connect->dial = &fc->dial;
    connect->end = fc->end;
    connect->action = "relaying a connection of another node";
    connect->relay.half_timeout = NGX_ZLTUNNEL_FORWARD_HALF;
    connect->answered = ngx_zltunnel_forward_connect_answered;
    connect->handler = ngx_zltunnel_forward_connect_handler;
    connect->data = fc;

    ngx_zltunnel_connect_start(connect);
    ngx_zltunnel_framed_start(fc->end, &fc->frames);

    c->data = fc;
    c->read->handler = ngx_zltunnel_forward_connect_read;
    c->write->handler = ngx_zltunnel_forward_connect_write;

    /* the first bytes of the client are behind it */

    n = ngx_zltunnel_framed_take(fc->end, data, len);

    if (n < 0
        || ngx_zltunnel_connect_put(connect, data, n) != NGX_OK
        || ngx_zltunnel_connect_read(connect) != NGX_OK)
    {
        goto failed;
    }

    fc->runs = 1;

    ngx_zltunnel_forward_dial(&fc->dial, service, 0);

    return NGX_OK;

failed:

    ngx_zltunnel_forward_dial_done(&fc->dial);

    return NGX_ERROR;
}


static void
ngx_zltunnel_forward_connect_read(ngx_event_t *ev)
{
    ngx_connection_t                *c;
    ngx_zltunnel_forward_connect_t  *fc;

    c = ev->data;
    fc = c->data;

    if (c->close || ngx_zltunnel_connect_read(&fc->connect) != NGX_OK) {
        ngx_zltunnel_forward_connect_abort(fc);
    }
}


static void
ngx_zltunnel_forward_connect_write(ngx_event_t *ev)
{
    ngx_connection_t                *c;
    ngx_zltunnel_forward_connect_t  *fc;

    c = ev->data;
    fc = c->data;

    /* an error is found by reading */

    (void) ngx_zltunnel_end_flush(fc->end);
}


/* the agent has: ConnectAck to the node, before what the service says */

static ngx_int_t
ngx_zltunnel_forward_connect_answered(ngx_zltunnel_connect_t *connect)
{
    size_t                           len;
    u_char                           buf[ZLT_HEADER_SIZE + ZLT_ID_SIZE];
    zlt_msg_t                        m;
    ngx_zltunnel_forward_connect_t  *fc;

    fc = connect->data;

    ngx_memzero(&m, sizeof(zlt_msg_t));

    m.type = ZLT_CONNECT_ACK;
    m.connection_id = fc->id;

    len = zlt_msg_encode(&m, buf, sizeof(buf));
    zlt_frames_put(&fc->frames.out, buf, len);

    return ngx_zltunnel_end_flush(fc->end) == NGX_ERROR ? NGX_ERROR : NGX_OK;
}


static void
ngx_zltunnel_forward_connect_handler(ngx_zltunnel_connect_t *connect,
    ngx_zltunnel_dial_e rc, ngx_zltunnel_relay_end_e how)
{
    ngx_zltunnel_forward_connect_t  *fc;

    fc = connect->data;

    if (rc == NGX_ZLTUNNEL_DIAL_NO_SERVICE
        && ngx_zltunnel_gate_expecting(fc->registry))
    {
        ngx_zltunnel_forward_connect_done(fc, NGX_ZLTUNNEL_FORWARD_ELSEWHERE);
        return;
    }

    if (rc != NGX_ZLTUNNEL_DIAL_OK) {
        ngx_zltunnel_forward_connect_refuse(fc, rc);
        return;
    }

    ngx_zltunnel_forward_connect_done(fc, how == NGX_ZLTUNNEL_RELAY_DONE
                                          && zlt_frames_over(&fc->frames)
                                          ? NGX_ZLTUNNEL_FORWARD_OVER
                                          : NGX_ZLTUNNEL_FORWARD_FAILED);
}


/* ConnectFail is our end of the connection; the node's is yet to come */

static void
ngx_zltunnel_forward_connect_refuse(ngx_zltunnel_forward_connect_t *fc,
    ngx_zltunnel_dial_e rc)
{
    size_t             len;
    u_char             buf[512];
    zlt_msg_t          m;
    const char        *reason;
    ngx_connection_t  *c;

    c = fc->end->connection;
    reason = ngx_zltunnel_dial_error(&fc->dial, rc);

    ngx_memzero(&m, sizeof(zlt_msg_t));

    m.type = ZLT_CONNECT_FAIL;
    m.connection_id = fc->id;
    m.reason.data = (u_char *) reason;
    m.reason.len = ngx_strlen(reason);
    m.ext = ZLT_X_CODE;
    m.code = ngx_zltunnel_forward_connect_code(&fc->dial, rc);

    fc->frames.out.end = ZLT_FRAMES_RESET;
    fc->drained = 0;

    c->read->handler = ngx_zltunnel_forward_connect_drain;

    fc->timer.handler = ngx_zltunnel_forward_connect_timer;
    fc->timer.data = fc;
    fc->timer.log = c->log;

    ngx_add_timer(&fc->timer, NGX_ZLTUNNEL_FORWARD_DRAIN);

    /* nothing else is under way, so it fits, or the channel is dead */

    len = zlt_msg_encode(&m, buf, sizeof(buf));

    if (ngx_zltunnel_end_push(fc->end, buf, len) != (ssize_t) len) {
        c->read->error = 1;
    }

    /* the caller may be within a handler of it */

    ngx_post_event(c->read, &ngx_posted_events);
}


static ngx_uint_t
ngx_zltunnel_forward_connect_code(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_dial_e rc)
{
    switch (rc) {

    case NGX_ZLTUNNEL_DIAL_LIMIT:
        return ZLT_E_LIMIT;

    case NGX_ZLTUNNEL_DIAL_REFUSED:
        return dial->code && dial->code != ZLT_E_DUPLICATE ? dial->code
                                                           : ZLT_E_REFUSED;

    case NGX_ZLTUNNEL_DIAL_ERROR:
    case NGX_ZLTUNNEL_DIAL_SHUTDOWN:
        return ZLT_E_BUSY;

    default:
        return ZLT_E_UNREACHABLE;
    }
}


static void
ngx_zltunnel_forward_connect_drain(ngx_event_t *ev)
{
    ssize_t                          n;
    ngx_connection_t                *c;
    zlt_frames_t                    *frames;
    ngx_zltunnel_budget_t            budget;
    ngx_zltunnel_forward_connect_t  *fc;

    static u_char  buf[NGX_ZLTUNNEL_EARLY_SIZE];

    c = ev->data;
    fc = c->data;
    frames = &fc->frames;

    if (c->close || ev->error) {
        ngx_zltunnel_forward_connect_abort(fc);
        return;
    }

    ngx_memzero(&budget, sizeof(ngx_zltunnel_budget_t));

    while (frames->in.end == ZLT_FRAMES_OPEN) {

        if (ngx_zltunnel_budget_spent(&budget)) {
            ngx_zltunnel_budget_post(ev);
            return;
        }

        n = ngx_zltunnel_end_recv(fc->end, buf, sizeof(buf));

        if (n == NGX_AGAIN) {

            if (ngx_handle_read_event(ev, 0) != NGX_OK) {
                ngx_zltunnel_forward_connect_abort(fc);
            }

            return;
        }

        if (n > 0) {
            fc->drained += n;
            budget.bytes += n;
        }

        if ((n == NGX_ERROR && frames->in.end == ZLT_FRAMES_OPEN)
            || fc->drained > NGX_ZLTUNNEL_FORWARD_WASTE)
        {
            ngx_zltunnel_forward_connect_abort(fc);
            return;
        }
    }

    if (!zlt_frames_over(frames)) {
        ngx_zltunnel_forward_connect_abort(fc);
        return;
    }

    ngx_zltunnel_forward_connect_done(fc, NGX_ZLTUNNEL_FORWARD_OVER);
}


static void
ngx_zltunnel_forward_connect_timer(ngx_event_t *ev)
{
    ngx_zltunnel_forward_connect_t  *fc;

    fc = ev->data;

    ngx_log_error(NGX_LOG_INFO, fc->end->connection->log, 0,
                  "another node did not end a connection in time");

    ngx_zltunnel_forward_connect_abort(fc);
}


void
ngx_zltunnel_forward_connect_abort(ngx_zltunnel_forward_connect_t *fc)
{
    if (!fc->runs || ngx_zltunnel_connect_abort(&fc->connect) == NGX_OK) {
        /* there is none, or the handler has been called */
        return;
    }

    ngx_zltunnel_end_abort(fc->end);
    ngx_zltunnel_forward_connect_done(fc, NGX_ZLTUNNEL_FORWARD_FAILED);
}


static void
ngx_zltunnel_forward_connect_done(ngx_zltunnel_forward_connect_t *fc,
    ngx_zltunnel_forward_e how)
{
    ngx_zltunnel_end_t  *end;

    end = fc->end;

    fc->runs = 0;

    if (fc->timer.timer_set) {
        ngx_del_timer(&fc->timer);
    }

    ngx_zltunnel_forward_dial_done(&fc->dial);

    end->frames = NULL;
    end->eof = 0;
    end->shut = 0;

    fc->handler(fc->data, how);
}
