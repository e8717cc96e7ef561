
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Visits of sessions of TCP.
 *
 * Theory of operation.  From the 101 on the visitor may send its client's
 * bytes, as messages.  Meanwhile a dial looks for the service like that of any client of
 * this server: the bytes are sent behind Connect, and kept until the agent has
 * answered.  ConnectAck goes to the visitor in front of the service's first
 * byte, and a relay joins the two channels.  Where both are plain sockets, and
 * what passes is bulk, they turn raw, and it splices.  Each end of the connection
 * is a message, without which the end of the channel is a reset.  If there is no service, or it refuses, the visitor gets
 * ConnectFail, and is read to its end so that the answer is not lost behind a
 * reset.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_visit_tcp.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_transport.h"
#include "ngx_zltunnel_visit.h"

#include "zlt_msg.h"


#define NGX_ZLTUNNEL_VISIT_LINGER    5000    /* ms, behind ConnectFail */
#define NGX_ZLTUNNEL_VISIT_HALF      3600000 /* ms, half-closed */


static void ngx_zltunnel_visit_read_handler(ngx_event_t *ev);
static ngx_int_t ngx_zltunnel_visit_answered(ngx_zltunnel_connect_t *connect);
static void ngx_zltunnel_visit_connected(ngx_zltunnel_connect_t *connect,
    ngx_zltunnel_dial_e rc, ngx_zltunnel_relay_end_e how);
static void ngx_zltunnel_visit_failed(ngx_zltunnel_visit_t *visit,
    ngx_zltunnel_dial_e rc);
static void ngx_zltunnel_visit_discard_handler(ngx_event_t *ev);
static void ngx_zltunnel_visit_timer(ngx_event_t *ev);


void
ngx_zltunnel_visit_tcp_start(ngx_zltunnel_visit_t *visit, u_char *data,
    size_t len)
{
    ssize_t                  n;
    ngx_connection_t        *c;
    ngx_zltunnel_dial_t     *dial;
    ngx_zltunnel_connect_t  *connect;

    c = visit->end.connection;
    dial = &visit->dial;

    dial->registry = visit->registry;
    dial->pool = c->pool;
    dial->log = c->log;
    dial->client_addr = visit->client_addr;
    dial->target = visit->ask.target;
    dial->local = visit->ask.local;

    connect = &visit->connect;

    connect->dial = dial;
    connect->end = &visit->end;
    connect->action = "relaying a visitor's connection";
    connect->relay.half_timeout = NGX_ZLTUNNEL_VISIT_HALF;
    connect->relay.also[0] = &visit->counter->bytes[0];
    connect->relay.also[1] = &visit->counter->bytes[1];
    connect->answered = ngx_zltunnel_visit_answered;
    connect->handler = ngx_zltunnel_visit_connected;
    connect->data = visit;

    ngx_zltunnel_connect_start(connect);

    ngx_zltunnel_framed_start(&visit->end, &visit->frames);

    n = ngx_zltunnel_framed_take(&visit->end, data, len);

    c->read->handler = ngx_zltunnel_visit_read_handler;

    /* bytes that came behind the request, and what has come since */

    if (n < 0
        || ngx_zltunnel_connect_put(connect, data, n) != NGX_OK
        || ngx_zltunnel_connect_read(connect) != NGX_OK)
    {
        ngx_zltunnel_visit_cut(visit);
        return;
    }

    ngx_zltunnel_visit_dial(visit);
}


static void
ngx_zltunnel_visit_read_handler(ngx_event_t *ev)
{
    ngx_connection_t      *c;
    ngx_zltunnel_visit_t  *visit;

    c = ev->data;
    visit = c->data;

    if (c->close || ngx_zltunnel_connect_read(&visit->connect) != NGX_OK) {
        ngx_zltunnel_visit_cut(visit);
    }
}


/* the agent has: ConnectAck to the visitor */

static ngx_int_t
ngx_zltunnel_visit_answered(ngx_zltunnel_connect_t *connect)
{
    u_char                 buf[64];
    size_t                 len;
    zlt_msg_t              m;
    ngx_zltunnel_pace_t   *pace;
    ngx_zltunnel_visit_t  *visit;

    visit = connect->data;

    pace = ngx_zltunnel_peer_pace(visit->link.peer, visit->dial.link.peer);

    connect->relay.flow[0].pace[1] = pace;
    connect->relay.flow[1].pace[1] = pace;

    ngx_memzero(&m, sizeof(zlt_msg_t));

    m.type = ZLT_CONNECT_ACK;
    m.connection_id = connect->dial->id;

    len = zlt_msg_encode(&m, buf, sizeof(buf));

    /* nothing but the 101 is before it, so it fits, or the channel is dead */

    return ngx_zltunnel_end_push(connect->end, buf, len) == (ssize_t) len
           ? NGX_OK : NGX_ERROR;
}


static void
ngx_zltunnel_visit_connected(ngx_zltunnel_connect_t *connect,
    ngx_zltunnel_dial_e rc, ngx_zltunnel_relay_end_e how)
{
    const char            *text;
    ngx_zltunnel_visit_t  *visit;

    visit = connect->data;

    if (rc != NGX_ZLTUNNEL_DIAL_OK) {
        ngx_zltunnel_visit_failed(visit, rc);
        return;
    }

    switch (how) {

    case NGX_ZLTUNNEL_RELAY_DONE:
        text = "ended";
        break;

    case NGX_ZLTUNNEL_RELAY_CLIENT:
        text = "was reset by the visitor";
        break;

    case NGX_ZLTUNNEL_RELAY_CHANNEL:
        text = "was reset by the service";
        break;

    case NGX_ZLTUNNEL_RELAY_TIMEOUT:
        text = "was idle too long";
        break;

    default:
        text = "was cut";
        break;
    }

    ngx_log_error(NGX_LOG_INFO, visit->end.connection->log, 0,
                  "connection of visitor \"%V\" to service \"%V\" %s",
                  &visit->ask.visitor, &visit->ask.name, text);

    ngx_zltunnel_visit_close(visit);
}


static void
ngx_zltunnel_visit_failed(ngx_zltunnel_visit_t *visit, ngx_zltunnel_dial_e rc)
{
    ngx_uint_t            code;
    ngx_zltunnel_dial_t  *dial;

    dial = &visit->dial;

    switch (rc) {

    case NGX_ZLTUNNEL_DIAL_LIMIT:
        code = ZLT_E_LIMIT;
        break;

    case NGX_ZLTUNNEL_DIAL_REFUSED:
        code = dial->code ? dial->code : ZLT_E_REFUSED;
        break;

    case NGX_ZLTUNNEL_DIAL_ERROR:
        code = ZLT_E_BUSY;
        break;

    default:
        code = ZLT_E_UNREACHABLE;
        break;
    }

    ngx_log_error(NGX_LOG_INFO, visit->end.connection->log, 0,
                  "visitor \"%V\" gets no connection to service \"%V\": %s",
                  &visit->ask.visitor, &visit->ask.name,
                  ngx_zltunnel_dial_error(dial, rc));

    ngx_zltunnel_visit_tcp_refuse(visit, code,
                                  ngx_zltunnel_dial_error(dial, rc));
}


void
ngx_zltunnel_visit_tcp_refuse(ngx_zltunnel_visit_t *visit, ngx_uint_t code,
    const char *reason)
{
    u_char             buf[256];
    size_t             len;
    zlt_msg_t          m;
    ngx_connection_t  *c;

    c = visit->end.connection;

    if (visit->ask.udp) {

        /* there is no such answer among datagrams */

        ngx_zltunnel_visit_close(visit);
        return;
    }

    ngx_memzero(&m, sizeof(zlt_msg_t));

    m.type = ZLT_CONNECT_FAIL;
    m.connection_id = visit->dial.id;
    m.reason.data = (u_char *) reason;
    m.reason.len = ngx_strlen(reason);
    m.ext = ZLT_X_CODE;
    m.code = code;

    len = zlt_msg_encode(&m, buf, sizeof(buf));

    ngx_zltunnel_dial_done(&visit->dial);

    /* our end of the connection; what else comes is for nobody */

    visit->end.frames = NULL;

    if (ngx_zltunnel_end_send(&visit->end, buf, len) != (ssize_t) len
        || ngx_zltunnel_end_shutdown(&visit->end) == NGX_ERROR)
    {
        ngx_zltunnel_visit_cut(visit);
        return;
    }

    visit->failing = 1;

    c->log->action = "waiting for a refused visitor to close";
    c->read->handler = ngx_zltunnel_visit_discard_handler;

    visit->timer.handler = ngx_zltunnel_visit_timer;
    ngx_add_timer(&visit->timer, NGX_ZLTUNNEL_VISIT_LINGER);

    if (c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_events);
    }

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        ngx_zltunnel_visit_close(visit);
    }
}


static void
ngx_zltunnel_visit_discard_handler(ngx_event_t *ev)
{
    ssize_t                n;
    ngx_connection_t      *c;
    ngx_zltunnel_visit_t  *visit;

    static u_char  buf[4096];

    c = ev->data;
    visit = c->data;

    if (!c->close) {

        do {
            n = ngx_zltunnel_end_recv(&visit->end, buf, sizeof(buf));
        } while (n > 0);

        if (n == NGX_AGAIN && ngx_handle_read_event(ev, 0) == NGX_OK) {
            return;
        }
    }

    ngx_zltunnel_visit_close(visit);
}


static void
ngx_zltunnel_visit_timer(ngx_event_t *ev)
{
    ngx_zltunnel_visit_close(ev->data);
}
