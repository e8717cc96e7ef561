
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
static ngx_int_t ngx_zltunnel_visit_read(ngx_zltunnel_visit_t *visit);
static void ngx_zltunnel_visit_dialled(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_dial_e rc);
static void ngx_zltunnel_visit_relay(ngx_zltunnel_visit_t *visit);
static ngx_int_t ngx_zltunnel_visit_prepare(ngx_zltunnel_visit_t *visit);
static void ngx_zltunnel_visit_relayed(ngx_zltunnel_relay_t *relay,
    ngx_zltunnel_relay_end_e how);
static void ngx_zltunnel_visit_discard_handler(ngx_event_t *ev);
static void ngx_zltunnel_visit_timer(ngx_event_t *ev);


void
ngx_zltunnel_visit_tcp_start(ngx_zltunnel_visit_t *visit, u_char *data,
    size_t len)
{
    u_char               *p;
    ssize_t               n;
    ngx_connection_t     *c;
    ngx_zltunnel_dial_t  *dial;

    c = visit->end.connection;
    dial = &visit->dial;

    dial->registry = visit->registry;
    dial->pool = c->pool;
    dial->log = c->log;
    dial->client_addr = visit->client_addr;
    dial->target = visit->ask.target;
    dial->local = visit->ask.local;
    dial->greedy = 1;
    dial->framed = 1;
    dial->handler = ngx_zltunnel_visit_dialled;
    dial->data = visit;

    n = (ssize_t) len;

    if (visit->end.ws == NULL) {
        ngx_zltunnel_framed_start(&visit->end, &visit->frames);
        n = ngx_zltunnel_framed_take(&visit->end, data, len);
    }

    if (n) {

        /* bytes that came behind the request */

        if (n < 0 || (size_t) n > ngx_zltunnel_dial_connect_room(dial, &p)) {
            ngx_zltunnel_visit_cut(visit);
            return;
        }

        ngx_memcpy(p, data, n);
        ngx_zltunnel_dial_connect_put(dial, n);
    }

    c->read->handler = ngx_zltunnel_visit_read_handler;

    if (ngx_zltunnel_visit_read(visit) != NGX_OK) {
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

    if (c->close || ngx_zltunnel_visit_read(visit) != NGX_OK) {
        ngx_zltunnel_visit_cut(visit);
    }
}


/* the client's bytes while the dial runs, as many as it keeps */

static ngx_int_t
ngx_zltunnel_visit_read(ngx_zltunnel_visit_t *visit)
{
    size_t             size;
    u_char            *p;
    ssize_t            n;
    ngx_connection_t  *c;

    c = visit->end.connection;

    while (!visit->eof) {

        size = ngx_zltunnel_dial_connect_room(&visit->dial, &p);

        if (size == 0) {
            /* enough for now: the relay reads on */
            break;
        }

        n = ngx_zltunnel_end_recv(&visit->end, p, size);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (n == 0) {

            /* the relay reads it again, and passes it on */

            visit->eof = 1;
            c->read->ready = 1;
            return NGX_OK;
        }

        ngx_zltunnel_dial_connect_put(&visit->dial, n);
    }

    return ngx_handle_read_event(c->read, 0);
}


static void
ngx_zltunnel_visit_dialled(ngx_zltunnel_dial_t *dial, ngx_zltunnel_dial_e rc)
{
    ngx_uint_t             code;
    ngx_zltunnel_visit_t  *visit;

    visit = dial->data;
    visit->dialling = 0;

    switch (rc) {

    case NGX_ZLTUNNEL_DIAL_OK:
        ngx_zltunnel_visit_relay(visit);
        return;

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


static void
ngx_zltunnel_visit_relay(ngx_zltunnel_visit_t *visit)
{
    ngx_zltunnel_dial_t   *dial;
    ngx_zltunnel_relay_t  *relay;

    dial = &visit->dial;
    relay = &visit->relay;

    visit->end.connection->log->action = "relaying a visitor's connection";
    dial->channel->end.connection->log->action = "relaying data channel";

    relay->side[0] = &visit->end;
    relay->side[1] = &dial->channel->end;
    relay->half_timeout = NGX_ZLTUNNEL_VISIT_HALF;
    relay->handler = ngx_zltunnel_visit_relayed;
    relay->data = visit;
    relay->count[0] = &dial->counter->bytes[0];
    relay->count[1] = &dial->counter->bytes[1];
    relay->also[0] = &visit->counter->bytes[0];
    relay->also[1] = &visit->counter->bytes[1];

    if (dial->registry->slot != NGX_ZLTUNNEL_NO_SLOT) {
        relay->spliced = &ngx_zltunnel_dial_worker(dial)->spliced;
    }

    if (ngx_zltunnel_visit_prepare(visit) != NGX_OK) {
        ngx_zltunnel_end_abort(&dial->channel->end);
        ngx_zltunnel_channel_close(dial->channel);
        dial->channel = NULL;
        ngx_zltunnel_visit_cut(visit);
        return;
    }

    dial->relay = relay;
    visit->relaying = 1;

    ngx_zltunnel_relay_start(relay);
}


/* ConnectAck to the visitor, and what the relay has to write first */

static ngx_int_t
ngx_zltunnel_visit_prepare(ngx_zltunnel_visit_t *visit)
{
    u_char                 buf[64];
    size_t                 len, rest;
    zlt_msg_t              m;
    ngx_zltunnel_dial_t   *dial;
    ngx_zltunnel_relay_t  *relay;

    dial = &visit->dial;
    relay = &visit->relay;

    ngx_memzero(&m, sizeof(zlt_msg_t));

    m.type = ZLT_CONNECT_ACK;
    m.connection_id = dial->id;

    len = zlt_msg_encode(&m, buf, sizeof(buf));

    /* nothing but the 101 is before it, so it fits, or the channel is dead */

    if (ngx_zltunnel_end_push(&visit->end, buf, len) != (ssize_t) len) {
        return NGX_ERROR;
    }

    *relay->count[0] += dial->sent[0];
    *relay->also[0] += dial->sent[0];

    rest = dial->last - dial->sent[0];

    if (rest && ngx_zltunnel_relay_put(relay, 0, dial->buf + dial->sent[0],
                                       rest)
                != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (dial->buf) {
        ngx_free(dial->buf);
        dial->buf = NULL;
    }

    return ngx_zltunnel_channel_io_rest(dial->channel, relay);
}


static void
ngx_zltunnel_visit_relayed(ngx_zltunnel_relay_t *relay,
    ngx_zltunnel_relay_end_e how)
{
    const char            *text;
    ngx_zltunnel_visit_t  *visit;

    visit = relay->data;

    visit->relaying = 0;
    visit->dial.relay = NULL;

    ngx_zltunnel_release(visit->dial.channel,
                         how != NGX_ZLTUNNEL_RELAY_DONE);
    visit->dial.channel = NULL;

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
