
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Sessions of UDP clients: between nginx's stream, to which each is a session
 * with its variables, its limits and its line in the access log, and the
 * carrier of the service, which takes its datagrams and sends the answers.
 */


#include "ngx_stream_zltunnel.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_udp.h"

#include "zlt_dgram.h"
#include "zlt_msg.h"


typedef struct {
    ngx_stream_session_t        *session;
    ngx_zltunnel_udp_t           udp;
    u_char                       addr[NGX_SOCKADDR_STRLEN];
} ngx_stream_zltunnel_udp_ctx_t;


static void ngx_stream_zltunnel_udp_read_handler(ngx_event_t *ev);
static void ngx_stream_zltunnel_udp_empty_handler(ngx_event_t *ev);
static void ngx_stream_zltunnel_udp_refuse(ngx_stream_session_t *s,
    ngx_zltunnel_dial_e rc);
static void ngx_stream_zltunnel_udp_ended(ngx_zltunnel_udp_t *udp,
    ngx_zltunnel_udp_end_e how);
static const char *ngx_stream_zltunnel_udp_cause(ngx_uint_t cause);
static void ngx_stream_zltunnel_udp_cleanup(void *data);


void
ngx_stream_zltunnel_udp_handler(ngx_stream_session_t *s)
{
    ngx_str_t                        name;
    ngx_connection_t                *c;
    ngx_pool_cleanup_t              *cln;
    ngx_zltunnel_udp_t              *udp;
    ngx_zltunnel_dial_e              rc;
    ngx_stream_zltunnel_udp_ctx_t   *ctx;
    ngx_stream_zltunnel_srv_conf_t  *zcf;

    c = s->connection;
    c->log->action = "opening a session of a tunnelled service";

    zcf = ngx_stream_get_module_srv_conf(s, ngx_stream_zltunnel_module);

    cln = ngx_pool_cleanup_add(c->pool, sizeof(ngx_stream_zltunnel_udp_ctx_t));
    if (cln == NULL) {
        ngx_stream_finalize_session(s, NGX_STREAM_INTERNAL_SERVER_ERROR);
        return;
    }

    ctx = cln->data;
    ngx_memzero(ctx, sizeof(ngx_stream_zltunnel_udp_ctx_t));

    cln->handler = ngx_stream_zltunnel_udp_cleanup;

    ngx_stream_set_ctx(s, ctx, ngx_stream_zltunnel_module);

    ctx->session = s;
    udp = &ctx->udp;

    udp->registry = zcf->registry;
    udp->connection = c;
    udp->received = &s->received;
    udp->timeout = zcf->udp_timeout;
    udp->responses = zcf->responses;
    udp->local = ngx_zltunnel_util_client_local(c);
    udp->handler = ngx_stream_zltunnel_udp_ended;
    udp->data = ctx;

    udp->client_addr.data = ctx->addr;
    udp->client_addr.len = ngx_sock_ntop(c->sockaddr, c->socklen, ctx->addr,
                                         NGX_SOCKADDR_STRLEN, 1);

    if (zcf->ports) {
        rc = ngx_zltunnel_udp_session_open_port(udp,
                                        ngx_stream_zltunnel_module_port(c));

    } else {

        if (ngx_stream_complex_value(s, zcf->pass, &name) != NGX_OK) {
            ngx_stream_finalize_session(s, NGX_STREAM_INTERNAL_SERVER_ERROR);
            return;
        }

        rc = ngx_zltunnel_udp_session_open_name(udp, &name, &zcf->token);
    }

    if (rc != NGX_ZLTUNNEL_DIAL_OK) {
        ngx_stream_zltunnel_udp_refuse(s, rc);
        return;
    }

    c->log->action = "carrying datagrams";
    c->read->handler = ngx_stream_zltunnel_udp_read_handler;
    c->write->handler = ngx_stream_zltunnel_udp_empty_handler;

    if (c->buffer) {
        ngx_zltunnel_udp_session_send(udp, c->buffer->pos,
                                      c->buffer->last - c->buffer->pos);
        c->buffer->pos = c->buffer->last;
    }
}


/* where nginx itself reads the socket, and when it shuts down */

static void
ngx_stream_zltunnel_udp_read_handler(ngx_event_t *ev)
{
    ssize_t                         n;
    ngx_connection_t               *c;
    ngx_stream_session_t           *s;
    ngx_stream_zltunnel_udp_ctx_t  *ctx;

    static u_char  buffer[65536];

    c = ev->data;
    s = c->data;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_zltunnel_module);

    if (c->close) {
        ngx_log_error(NGX_LOG_INFO, c->log, 0, "shutdown timeout");
        ngx_stream_finalize_session(s, NGX_STREAM_OK);
        return;
    }

    n = c->recv(c, buffer, sizeof(buffer));

    if (n < 0) {
        return;
    }

    s->received += n;
    ngx_zltunnel_udp_session_send(&ctx->udp, buffer, n);
}


static void
ngx_stream_zltunnel_udp_empty_handler(ngx_event_t *ev)
{
    ngx_log_debug0(NGX_LOG_DEBUG_STREAM, ev->log, 0,
                   "zltunnel udp empty handler");
}


static void
ngx_stream_zltunnel_udp_refuse(ngx_stream_session_t *s, ngx_zltunnel_dial_e rc)
{
    ngx_log_error(NGX_LOG_INFO, s->connection->log, 0,
                  "datagram is dropped: %s", ngx_zltunnel_dial_error(NULL, rc));

    ngx_stream_zltunnel_module_missing(s, rc);

    ngx_stream_finalize_session(s, ngx_stream_zltunnel_module_status(rc));
}


static void
ngx_stream_zltunnel_udp_ended(ngx_zltunnel_udp_t *udp,
    ngx_zltunnel_udp_end_e how)
{
    ngx_log_t                      *log;
    ngx_uint_t                      status;
    ngx_stream_session_t           *s;
    ngx_stream_zltunnel_udp_ctx_t  *ctx;

    ctx = udp->data;
    s = ctx->session;
    log = s->connection->log;

    status = NGX_STREAM_OK;

    switch (how) {

    case NGX_ZLTUNNEL_UDP_AGENT:

        if (udp->cause != ZLT_DGRAM_ENDED) {
            ngx_log_error(NGX_LOG_INFO, log, 0,
                          "agent has ended the session: %s",
                          ngx_stream_zltunnel_udp_cause(udp->cause));
            status = NGX_STREAM_BAD_GATEWAY;
        }

        break;

    case NGX_ZLTUNNEL_UDP_CUT:
        ngx_log_error(NGX_LOG_INFO, log, 0, "tunnelled session was cut");
        status = NGX_STREAM_SERVICE_UNAVAILABLE;
        break;

    case NGX_ZLTUNNEL_UDP_EXIT:
        ngx_log_error(NGX_LOG_INFO, log, 0, "disconnected on shutdown");
        break;

    default:
        break;
    }

    ngx_stream_finalize_session(s, status);
}


static const char *
ngx_stream_zltunnel_udp_cause(ngx_uint_t cause)
{
    switch (cause) {

    case ZLT_E_LIMIT:
        return "a limit was reached";

    case ZLT_E_FORBIDDEN:
        return "a frame was malformed";

    case ZLT_E_REFUSED:
        return "the service's port is closed";

    case ZLT_E_UNREACHABLE:
        return "the service is unreachable";

    case ZLT_E_BUSY:
        return "it has no room for it";

    default:
        return "an error";
    }
}


static void
ngx_stream_zltunnel_udp_cleanup(void *data)
{
    ngx_stream_zltunnel_udp_ctx_t *ctx = data;

    ngx_zltunnel_udp_session_close(&ctx->udp);
}


ngx_int_t
ngx_stream_zltunnel_udp_variable(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data)
{
    u_char                         *p;
    uint64_t                        n;
    ngx_str_t                      *name;
    ngx_stream_zltunnel_udp_ctx_t  *ctx;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_zltunnel_module);

    if (ctx == NULL || ctx->udp.carrier == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    switch (data) {

    case NGX_STREAM_ZLTUNNEL_SERVICE:
    case NGX_STREAM_ZLTUNNEL_TUNNEL:
        name = (data == NGX_STREAM_ZLTUNNEL_SERVICE)
               ? ngx_zltunnel_udp_session_service(&ctx->udp)
               : ngx_zltunnel_udp_session_tunnel(&ctx->udp);

        v->len = name->len;
        v->data = name->data;
        return NGX_OK;

    case NGX_STREAM_ZLTUNNEL_DATAGRAMS_IN:
        n = ctx->udp.datagrams[0];
        break;

    case NGX_STREAM_ZLTUNNEL_DATAGRAMS_OUT:
        n = ctx->udp.datagrams[1];
        break;

    case NGX_STREAM_ZLTUNNEL_DATAGRAMS_DROPPED:
        n = ctx->udp.dropped;
        break;

    default:
        v->not_found = 1;
        return NGX_OK;
    }

    p = ngx_pnalloc(s->connection->pool, NGX_INT64_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    v->len = ngx_sprintf(p, "%uL", n) - p;
    v->data = p;

    return NGX_OK;
}
