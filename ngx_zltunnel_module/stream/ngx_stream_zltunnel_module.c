
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Stream servers whose clients go through a tunnel: zltunnel_ports, where
 * the port says which service, and zltunnel_pass, which names it.
 *
 * A session dials the service; the client's first bytes are read meanwhile
 * and sent behind Connect.  Once the agent has answered, a relay joins the
 * client's connection and the channel.
 *
 * The dial starts in the next turn of the event loop, which does not sleep
 * before it: on a busy server the client has sent something by then, and that
 * goes in one packet with Connect.
 */


#include "ngx_stream_zltunnel.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_module.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_transport.h"

#include "zlt_host.h"
#include "zlt_name.h"


#define NGX_STREAM_ZLTUNNEL_LOOK  50        /* ms, for an agent to come */


typedef struct {
    ngx_stream_session_t        *session;
    ngx_zltunnel_dial_t          dial;
    ngx_zltunnel_end_t           end;
    ngx_zltunnel_connect_t       connect;
    ngx_zltunnel_pace_t          pace[2];    /* [0] from the client */
    ngx_event_t                  start;
    ngx_msec_t                   until;      /* it waits for an agent */
    u_char                       addr[NGX_SOCKADDR_STRLEN];
} ngx_stream_zltunnel_ctx_t;


static void ngx_stream_zltunnel_handler(ngx_stream_session_t *s);
static void ngx_stream_zltunnel_rates(ngx_stream_zltunnel_ctx_t *ctx,
    ngx_stream_zltunnel_srv_conf_t *zcf);
static void ngx_stream_zltunnel_start_handler(ngx_event_t *ev);
static ngx_uint_t ngx_stream_zltunnel_awaits(ngx_stream_zltunnel_ctx_t *ctx,
    ngx_zltunnel_registry_t *registry, ngx_str_t *name);
static void ngx_stream_zltunnel_started(ngx_stream_zltunnel_ctx_t *ctx);
static void ngx_stream_zltunnel_read_handler(ngx_event_t *ev);
static void ngx_stream_zltunnel_empty_handler(ngx_event_t *ev);
static void ngx_stream_zltunnel_connected(ngx_zltunnel_connect_t *connect,
    ngx_zltunnel_dial_e rc, ngx_zltunnel_relay_end_e how);
static ngx_uint_t ngx_stream_zltunnel_relayed(ngx_stream_zltunnel_ctx_t *ctx,
    ngx_zltunnel_relay_end_e how);
static void ngx_stream_zltunnel_reset(ngx_stream_session_t *s,
    ngx_uint_t status);
static void ngx_stream_zltunnel_cleanup(void *data);
static ngx_int_t ngx_stream_zltunnel_add_variables(ngx_conf_t *cf);
static ngx_int_t ngx_stream_zltunnel_variable(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_stream_zltunnel_preconfiguration(ngx_conf_t *cf);
static void *ngx_stream_zltunnel_create_srv_conf(ngx_conf_t *cf);
static char *ngx_stream_zltunnel_merge_srv_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_stream_zltunnel_ports(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_stream_zltunnel_pass(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_stream_zltunnel_set_time(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


static ngx_command_t  ngx_stream_zltunnel_commands[] = {

    { ngx_string("zltunnel_ports"),
      NGX_STREAM_SRV_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE12,
      ngx_stream_zltunnel_ports,
      NGX_STREAM_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("zltunnel_pass"),
      NGX_STREAM_SRV_CONF|NGX_CONF_TAKE123,
      ngx_stream_zltunnel_pass,
      NGX_STREAM_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("zltunnel_timeout"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_stream_zltunnel_set_time,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_zltunnel_srv_conf_t, timeout),
      NULL },

    { ngx_string("zltunnel_half_timeout"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_stream_zltunnel_set_time,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_zltunnel_srv_conf_t, half_timeout),
      NULL },

    { ngx_string("zltunnel_responses"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_zltunnel_srv_conf_t, responses),
      NULL },

    { ngx_string("zltunnel_upload_rate"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_stream_set_complex_value_size_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_zltunnel_srv_conf_t, rate[0]),
      NULL },

    { ngx_string("zltunnel_download_rate"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_stream_set_complex_value_size_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_zltunnel_srv_conf_t, rate[1]),
      NULL },

      ngx_null_command
};


static ngx_stream_module_t  ngx_stream_zltunnel_module_ctx = {
    ngx_stream_zltunnel_preconfiguration,  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_stream_zltunnel_create_srv_conf,   /* create server configuration */
    ngx_stream_zltunnel_merge_srv_conf     /* merge server configuration */
};


ngx_module_t  ngx_stream_zltunnel_module = {
    NGX_MODULE_V1,
    &ngx_stream_zltunnel_module_ctx,       /* module context */
    ngx_stream_zltunnel_commands,          /* module directives */
    NGX_STREAM_MODULE,                     /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_stream_variable_t  ngx_stream_zltunnel_variables[] = {

    { ngx_string("zltunnel_service"), NULL, ngx_stream_zltunnel_variable,
      NGX_STREAM_ZLTUNNEL_SERVICE, NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("zltunnel_tunnel"), NULL, ngx_stream_zltunnel_variable,
      NGX_STREAM_ZLTUNNEL_TUNNEL, NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("zltunnel_connection_id"), NULL,
      ngx_stream_zltunnel_variable,
      NGX_STREAM_ZLTUNNEL_CONNECTION_ID, NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("zltunnel_connect_time"), NULL,
      ngx_stream_zltunnel_variable,
      NGX_STREAM_ZLTUNNEL_CONNECT_TIME, NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("zltunnel_datagrams_in"), NULL,
      ngx_stream_zltunnel_variable,
      NGX_STREAM_ZLTUNNEL_DATAGRAMS_IN, NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("zltunnel_datagrams_out"), NULL,
      ngx_stream_zltunnel_variable,
      NGX_STREAM_ZLTUNNEL_DATAGRAMS_OUT, NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("zltunnel_datagrams_dropped"), NULL,
      ngx_stream_zltunnel_variable,
      NGX_STREAM_ZLTUNNEL_DATAGRAMS_DROPPED, NGX_STREAM_VAR_NOCACHEABLE, 0 },

      ngx_stream_null_variable
};


static void
ngx_stream_zltunnel_handler(ngx_stream_session_t *s)
{
    ngx_buf_t                       *b;
    ngx_connection_t                *c;
    ngx_pool_cleanup_t              *cln;
    ngx_zltunnel_dial_t             *dial;
    ngx_zltunnel_connect_t          *connect;
    ngx_stream_zltunnel_ctx_t       *ctx;
    ngx_stream_zltunnel_srv_conf_t  *zcf;

    c = s->connection;

    if (c->type == SOCK_DGRAM) {
        ngx_stream_zltunnel_udp_handler(s);
        return;
    }

    c->log->action = "connecting to a tunnelled service";

    zcf = ngx_stream_get_module_srv_conf(s, ngx_stream_zltunnel_module);

    ctx = ngx_pcalloc(c->pool, sizeof(ngx_stream_zltunnel_ctx_t));
    if (ctx == NULL) {
        ngx_stream_finalize_session(s, NGX_STREAM_INTERNAL_SERVER_ERROR);
        return;
    }

    cln = ngx_pool_cleanup_add(c->pool, 0);
    if (cln == NULL) {
        ngx_stream_finalize_session(s, NGX_STREAM_INTERNAL_SERVER_ERROR);
        return;
    }

    ngx_stream_set_ctx(s, ctx, ngx_stream_zltunnel_module);

    ctx->session = s;
    dial = &ctx->dial;

    cln->handler = ngx_stream_zltunnel_cleanup;
    cln->data = ctx;

    dial->registry = zcf->registry;
    dial->pool = c->pool;
    dial->log = c->log;
    dial->local = ngx_zltunnel_util_client_local(c);
    dial->listening = c->listening;
    dial->client_addr.data = ctx->addr;
    dial->client_addr.len = ngx_sock_ntop(c->sockaddr, c->socklen, ctx->addr,
                                          NGX_SOCKADDR_STRLEN, 1);

    ngx_zltunnel_end_init(&ctx->end, c, NULL);

    connect = &ctx->connect;

    connect->dial = dial;
    connect->end = &ctx->end;
    connect->action = "relaying tunnelled connection";
    connect->relay.timeout = zcf->timeout;
    connect->relay.half_timeout = zcf->half_timeout;
    ngx_stream_zltunnel_rates(ctx, zcf);
    connect->handler = ngx_stream_zltunnel_connected;
    connect->data = ctx;

    ngx_zltunnel_connect_start(connect);

    b = c->buffer;

    if (b) {

        /* what ssl_preread and the like have read */

        if (ngx_zltunnel_connect_put(connect, b->pos, b->last - b->pos)
            != NGX_OK)
        {
            ngx_stream_finalize_session(s, NGX_STREAM_INTERNAL_SERVER_ERROR);
            return;
        }

        b->pos = b->last;
    }

    c->read->handler = ngx_stream_zltunnel_read_handler;
    c->write->handler = ngx_stream_zltunnel_empty_handler;

    /* until the relay has ended well, any end is a reset */

    ngx_zltunnel_socket_linger(c, 1);

    /* a client that gives up while the dial waits is noticed at once */

    if (c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_events);
    }

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        ngx_stream_finalize_session(s, NGX_STREAM_INTERNAL_SERVER_ERROR);
        return;
    }

    ctx->start.handler = ngx_stream_zltunnel_start_handler;
    ctx->start.data = c;
    ctx->start.log = c->log;

    ngx_post_event(&ctx->start, &ngx_posted_next_events);

    /* a worker that exits gracefully waits for timers only */

    ngx_add_timer(&ctx->start, 1);
}


/* as long as it lasts, as with the proxy of nginx */

static void
ngx_stream_zltunnel_rates(ngx_stream_zltunnel_ctx_t *ctx,
    ngx_stream_zltunnel_srv_conf_t *zcf)
{
    ngx_uint_t  i;

    for (i = 0; i < 2; i++) {

        if (zcf->rate[i]) {
            ctx->pace[i].rate = ngx_stream_complex_value_size(ctx->session,
                                                              zcf->rate[i], 0);
            ctx->connect.relay.flow[i].pace[1] = &ctx->pace[i];
        }
    }
}


static void
ngx_stream_zltunnel_start_handler(ngx_event_t *ev)
{
    u_char                           host[ZLT_MAX_HOST];
    ngx_str_t                        name;
    ngx_connection_t                *c;
    ngx_stream_session_t            *s;
    ngx_stream_zltunnel_ctx_t       *ctx;
    ngx_stream_zltunnel_srv_conf_t  *zcf;

    c = ev->data;
    s = c->data;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_zltunnel_module);
    zcf = ngx_stream_get_module_srv_conf(s, ngx_stream_zltunnel_module);

    ngx_stream_zltunnel_started(ctx);

    if (zcf->ports) {
        ngx_zltunnel_dial_start_port(&ctx->dial, ngx_stream_zltunnel_module_port(c));

    } else {

        if (ngx_stream_complex_value(s, zcf->pass, &name) != NGX_OK) {
            ngx_stream_finalize_session(s, NGX_STREAM_INTERNAL_SERVER_ERROR);
            return;
        }

        if (zcf->host) {
            name.len = zlt_host_authority(host, name.data, name.len);
            name.data = host;

            if (ngx_stream_zltunnel_awaits(ctx, zcf->registry, &name)) {
                return;
            }

            ngx_zltunnel_dial_start_host(&ctx->dial, &name, &zcf->token);

        } else {
            ngx_zltunnel_dial_start_name(&ctx->dial, &name, &zcf->token);
        }
    }

    /* nothing here from now on: the session may be gone */
}


/* as ngx_zltunnel_search(), for an agent that may be on its way; 1: later */

static ngx_uint_t
ngx_stream_zltunnel_awaits(ngx_stream_zltunnel_ctx_t *ctx,
    ngx_zltunnel_registry_t *registry, ngx_str_t *name)
{
    if (ngx_zltunnel_room_scarce()
        || !ngx_zltunnel_host_awaited(registry, name))
    {
        return 0;
    }

    if (ctx->until == 0) {
        ctx->until = ngx_current_msec + registry->connect_timeout;
    }

    if ((ngx_msec_int_t) (ctx->until - ngx_current_msec) <= 0) {
        return 0;
    }

    ngx_add_timer(&ctx->start, NGX_STREAM_ZLTUNNEL_LOOK);

    return 1;
}


static void
ngx_stream_zltunnel_started(ngx_stream_zltunnel_ctx_t *ctx)
{
    if (ctx->start.posted) {
        ngx_delete_posted_event(&ctx->start);
    }

    if (ctx->start.timer_set) {
        ngx_del_timer(&ctx->start);
    }
}


in_port_t
ngx_stream_zltunnel_module_port(ngx_connection_t *c)
{
    return ngx_inet_get_port(c->listening->sockaddr);
}


static void
ngx_stream_zltunnel_read_handler(ngx_event_t *ev)
{
    size_t                      had;
    ngx_int_t                   rc;
    ngx_connection_t           *c;
    ngx_stream_session_t       *s;
    ngx_stream_zltunnel_ctx_t  *ctx;

    c = ev->data;
    s = c->data;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_zltunnel_module);

    if (c->close) {
        ngx_log_error(NGX_LOG_INFO, c->log, 0, "shutdown timeout");
        ngx_stream_zltunnel_reset(s, NGX_STREAM_OK);
        return;
    }

    had = ctx->dial.last;

    rc = ngx_zltunnel_connect_read(&ctx->connect);

    s->received += ctx->dial.last - had;

    if (rc != NGX_OK) {
        ngx_stream_zltunnel_reset(s, NGX_STREAM_OK);
    }
}


static void
ngx_stream_zltunnel_empty_handler(ngx_event_t *ev)
{
    ngx_log_debug0(NGX_LOG_DEBUG_STREAM, ev->log, 0,
                   "zltunnel empty handler");
}


static void
ngx_stream_zltunnel_connected(ngx_zltunnel_connect_t *connect,
    ngx_zltunnel_dial_e rc, ngx_zltunnel_relay_end_e how)
{
    ngx_stream_session_t       *s;
    ngx_stream_zltunnel_ctx_t  *ctx;

    ctx = connect->data;
    s = ctx->session;

    if (rc == NGX_ZLTUNNEL_DIAL_OK) {
        ngx_stream_finalize_session(s, ngx_stream_zltunnel_relayed(ctx, how));
        return;
    }

    ngx_log_error(NGX_LOG_INFO, s->connection->log, 0,
                  "client is reset: %s", ngx_zltunnel_dial_error(&ctx->dial,
                                                                 rc));

    ngx_stream_zltunnel_module_missing(s, rc);

    ngx_stream_zltunnel_reset(s, ngx_stream_zltunnel_module_status(rc));
}


/* what the session's log says of how it ended */

static ngx_uint_t
ngx_stream_zltunnel_relayed(ngx_stream_zltunnel_ctx_t *ctx,
    ngx_zltunnel_relay_end_e how)
{
    off_t                  n;
    ngx_log_t             *log;
    ngx_stream_session_t  *s;

    s = ctx->session;
    log = s->connection->log;

    /* but for early bytes, which are counted already */

    n = ctx->connect.relay.flow[0].bytes - (off_t) ctx->connect.early;

    if (n > 0) {
        s->received += n;
    }

    switch (how) {

    case NGX_ZLTUNNEL_RELAY_CHANNEL:
        ngx_log_error(NGX_LOG_INFO, log, 0,
                      "service \"%V\" reset the connection",
                      &ctx->dial.service);
        return NGX_STREAM_BAD_GATEWAY;

    case NGX_ZLTUNNEL_RELAY_TIMEOUT:
        ngx_log_error(NGX_LOG_INFO, log, NGX_ETIMEDOUT,
                      "tunnelled connection was idle too long");
        return NGX_STREAM_OK;

    case NGX_ZLTUNNEL_RELAY_ABORTED:
        ngx_log_error(NGX_LOG_INFO, log, 0, "tunnelled connection was cut");
        return NGX_STREAM_SERVICE_UNAVAILABLE;

    default:
        return NGX_STREAM_OK;
    }
}


/* a name that nobody has may be misspelt, here or in an agent */

void
ngx_stream_zltunnel_module_missing(ngx_stream_session_t *s,
    ngx_zltunnel_dial_e rc)
{
    u_char                           host[ZLT_MAX_HOST];
    ngx_str_t                        name;
    ngx_stream_zltunnel_srv_conf_t  *zcf;

    zcf = ngx_stream_get_module_srv_conf(s, ngx_stream_zltunnel_module);

    if (rc == NGX_ZLTUNNEL_DIAL_NO_SERVICE && zcf->pass
        && ngx_stream_complex_value(s, zcf->pass, &name) == NGX_OK)
    {
        if (zcf->host) {

            /* whoever likes may ask for any name */

            name.len = zlt_host_authority(host, name.data, name.len);
            name.data = host;

            ngx_log_error(NGX_LOG_INFO, s->connection->log, 0,
                          name.len ? "no agent has the host \"%V\""
                                   : "the client names no host", &name);
            return;
        }

        ngx_zltunnel_log_missing(s->connection->log, NGX_LOG_NOTICE,
                                 zcf->registry, &name, &zcf->token,
                                 ngx_zltunnel_service_drained(zcf->registry,
                                                      &name, &zcf->token));
    }
}


ngx_uint_t
ngx_stream_zltunnel_module_status(ngx_zltunnel_dial_e rc)
{
    switch (rc) {

    case NGX_ZLTUNNEL_DIAL_LIMIT:
        return NGX_STREAM_SERVICE_UNAVAILABLE;

    case NGX_ZLTUNNEL_DIAL_ERROR:
        return NGX_STREAM_INTERNAL_SERVER_ERROR;

    default:
        return NGX_STREAM_BAD_GATEWAY;
    }
}


/* a client that has no answer gets a reset, not an end that looks like one */

static void
ngx_stream_zltunnel_reset(ngx_stream_session_t *s, ngx_uint_t status)
{
    ngx_stream_zltunnel_ctx_t  *ctx;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_zltunnel_module);

    ngx_zltunnel_end_abort(&ctx->end);

    ngx_stream_finalize_session(s, status);
}


static void
ngx_stream_zltunnel_cleanup(void *data)
{
    ngx_stream_zltunnel_ctx_t *ctx = data;

    ngx_stream_zltunnel_started(ctx);

    ngx_zltunnel_dial_done(&ctx->dial);
}


static ngx_int_t
ngx_stream_zltunnel_variable(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data)
{
    u_char                     *p;
    ngx_str_t                   value;
    ngx_zltunnel_dial_t        *dial;
    ngx_stream_zltunnel_ctx_t  *ctx;

    if (s->connection->type == SOCK_DGRAM) {
        return ngx_stream_zltunnel_udp_variable(s, v, data);
    }

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_zltunnel_module);

    dial = ctx ? &ctx->dial : ngx_stream_zltunnel_upstream_dial(s);

    if (dial == NULL || dial->service.len == 0
        || data >= NGX_STREAM_ZLTUNNEL_DATAGRAMS_IN)
    {
        v->not_found = 1;
        return NGX_OK;
    }

    switch (data) {

    case NGX_STREAM_ZLTUNNEL_SERVICE:
        value = dial->service;
        break;

    case NGX_STREAM_ZLTUNNEL_TUNNEL:
        value = dial->tunnel;
        break;

    default:
        p = ngx_pnalloc(s->connection->pool,
                        ngx_max(2 * ZLT_ID_SIZE, NGX_TIME_T_LEN + 4));
        if (p == NULL) {
            return NGX_ERROR;
        }

        value.data = p;

        if (data == NGX_STREAM_ZLTUNNEL_CONNECTION_ID) {
            p = ngx_hex_dump(p, dial->id, ZLT_ID_SIZE);

        } else {
            p = ngx_sprintf(p, "%T.%03M",
                            (time_t) dial->connect_time / 1000,
                            dial->connect_time % 1000);
        }

        value.len = p - value.data;
        break;
    }

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
    v->len = value.len;
    v->data = value.data;

    return NGX_OK;
}


static ngx_int_t
ngx_stream_zltunnel_add_variables(ngx_conf_t *cf)
{
    ngx_stream_variable_t  *var, *v;

    for (v = ngx_stream_zltunnel_variables; v->name.len; v++) {
        var = ngx_stream_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_stream_zltunnel_preconfiguration(ngx_conf_t *cf)
{
    ngx_zltunnel_conf_t             *conf;
    ngx_stream_zltunnel_srv_conf_t  *zcf;

    conf = (ngx_zltunnel_conf_t *) ngx_get_conf(cf->cycle->conf_ctx,
                                                ngx_zltunnel_module);

    conf->listen = ngx_stream_zltunnel_listen;

    zcf = ngx_stream_conf_get_module_srv_conf(cf, ngx_stream_zltunnel_module);
    zcf->ctx = cf->ctx;

    return ngx_stream_zltunnel_add_variables(cf);
}


static void *
ngx_stream_zltunnel_create_srv_conf(ngx_conf_t *cf)
{
    ngx_stream_zltunnel_srv_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_stream_zltunnel_srv_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->registry = NULL;
     *     conf->ports = 0;
     *     conf->reserved = 0;
     *     conf->pass = NULL;
     *     conf->token = { 0, NULL };
     *     conf->ctx = NULL;
     */

    conf->timeout = NGX_CONF_UNSET_MSEC;
    conf->half_timeout = NGX_CONF_UNSET_MSEC;
    conf->responses = NGX_CONF_UNSET;
    conf->rate[0] = NGX_CONF_UNSET_PTR;
    conf->rate[1] = NGX_CONF_UNSET_PTR;

    return conf;
}


static char *
ngx_stream_zltunnel_merge_srv_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_stream_zltunnel_srv_conf_t *prev = parent;
    ngx_stream_zltunnel_srv_conf_t *conf = child;

    const char                  *directive;
    ngx_stream_core_srv_conf_t  *cscf;

    cscf = ngx_stream_conf_get_module_srv_conf(cf, ngx_stream_core_module);

    directive = conf->ports ? "zltunnel_ports"
                            : conf->pass ? "zltunnel_pass" : NULL;

    if (directive && cscf->handler != ngx_stream_zltunnel_handler) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"%s\" is incompatible with \"proxy_pass\" and the "
                      "like in the same server, in %s:%ui",
                      directive, cscf->file_name, cscf->line);
        return NGX_CONF_ERROR;
    }

    if (directive
        && ngx_stream_zltunnel_proxy_check(cf, prev->ctx, directive)
           != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (conf->timeout == NGX_CONF_UNSET_MSEC) {
        conf->timeout = prev->timeout;
    }

    conf->udp_timeout = (conf->timeout == NGX_CONF_UNSET_MSEC) ? 60000
                                                               : conf->timeout;

    ngx_conf_merge_msec_value(conf->timeout, prev->timeout, 0);
    ngx_conf_merge_value(conf->responses, prev->responses, -1);
    ngx_conf_merge_ptr_value(conf->rate[0], prev->rate[0], NULL);
    ngx_conf_merge_ptr_value(conf->rate[1], prev->rate[1], NULL);
    ngx_conf_merge_msec_value(conf->half_timeout, prev->half_timeout,
                              3600000);

    return NGX_CONF_OK;
}


static char *
ngx_stream_zltunnel_ports(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_stream_zltunnel_srv_conf_t *zcf = conf;

    ngx_int_t                    rc;
    ngx_str_t                   *value, name;
    ngx_uint_t                   i;
    ngx_stream_core_srv_conf_t  *cscf;

    if (zcf->ports) {
        return "is duplicate";
    }

    if (zcf->pass) {
        return "is incompatible with \"zltunnel_pass\"";
    }

    zcf->ports = 1;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strcmp(value[i].data, "reserved") == 0) {
            zcf->reserved = 1;
            continue;
        }

        rc = ngx_zltunnel_conf_registry_arg(cf, &value[i], &zcf->registry);

        if (rc == NGX_ERROR) {
            return NGX_CONF_ERROR;
        }

        if (rc == NGX_DECLINED) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" of "
                               "\"zltunnel_ports\", it may be \"reserved\" "
                               "or \"registry=NAME\"", &value[i]);
            return NGX_CONF_ERROR;
        }
    }

    if (zcf->registry == NULL) {
        ngx_str_null(&name);
        zcf->registry = ngx_zltunnel_conf_registry(cf, &name);

        if (zcf->registry == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    cscf = ngx_stream_conf_get_module_srv_conf(cf, ngx_stream_core_module);
    cscf->handler = ngx_stream_zltunnel_handler;

    return NGX_CONF_OK;
}


static char *
ngx_stream_zltunnel_pass(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_stream_zltunnel_srv_conf_t *zcf = conf;

    ngx_int_t                            rc;
    ngx_str_t                           *value, name;
    ngx_uint_t                           i;
    ngx_stream_core_srv_conf_t          *cscf;
    ngx_stream_compile_complex_value_t   ccv;

    if (zcf->pass) {
        return "is duplicate";
    }

    if (zcf->ports) {
        return "is incompatible with \"zltunnel_ports\"";
    }

    value = cf->args->elts;

    for (i = 2; i < cf->args->nelts; i++) {

        if (value[i].len > 6 && ngx_strncmp(value[i].data, "token=", 6) == 0) {
            zcf->token.data = value[i].data + 6;
            zcf->token.len = value[i].len - 6;
            continue;
        }

        rc = ngx_zltunnel_conf_registry_arg(cf, &value[i], &zcf->registry);

        if (rc == NGX_ERROR) {
            return NGX_CONF_ERROR;
        }

        if (rc == NGX_DECLINED) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" of "
                               "\"zltunnel_pass\", it may be \"token=NAME\" "
                               "or \"registry=NAME\"", &value[i]);
            return NGX_CONF_ERROR;
        }
    }

    if (zcf->registry == NULL) {
        ngx_str_null(&name);
        zcf->registry = ngx_zltunnel_conf_registry(cf, &name);

        if (zcf->registry == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    name = value[1];

    if (ngx_strncmp(name.data, "host=", 5) == 0) {
        zcf->host = 1;
        name.data += 5;
        name.len -= 5;
    }

    if (name.len == 0) {
        return zcf->host ? "needs the name of a host behind \"host=\""
                         : "needs the name of a service";
    }

    zcf->pass = ngx_palloc(cf->pool, sizeof(ngx_stream_complex_value_t));
    if (zcf->pass == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_stream_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &name;
    ccv.complex_value = zcf->pass;

    if (ngx_stream_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (zcf->pass->lengths == NULL && !zcf->host) {

        if (!zlt_name_valid(value[1].data, value[1].len)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid service \"%V\" of \"zltunnel_pass\", "
                               "a name has 1 to 255 bytes: letters, digits, "
                               "\"-\", \"_\" and \".\"", &value[1]);
            return NGX_CONF_ERROR;
        }

        if (ngx_zltunnel_conf_reference(cf, zcf->registry, &value[1],
                                        &zcf->token, "zltunnel_pass")
            == NULL)
        {
            return NGX_CONF_ERROR;
        }
    }

    cscf = ngx_stream_conf_get_module_srv_conf(cf, ngx_stream_core_module);
    cscf->handler = ngx_stream_zltunnel_handler;

    return NGX_CONF_OK;
}


static char *
ngx_stream_zltunnel_set_time(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t   *value;
    ngx_msec_t  *time;

    time = (ngx_msec_t *) ((char *) conf + cmd->offset);

    if (*time != NGX_CONF_UNSET_MSEC) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "none") == 0) {
        *time = 0;
        return NGX_CONF_OK;
    }

    *time = ngx_parse_time(&value[1], 0);

    if (*time == (ngx_msec_t) NGX_ERROR || *time == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" of \"%V\", it is a time "
                           "above zero or \"none\"", &value[1], &cmd->name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* for ngx_stream_zltunnel_listen.c */

ngx_zltunnel_registry_t *
ngx_stream_zltunnel_module_ports(void **srv_conf, ngx_uint_t *reserved)
{
    ngx_stream_zltunnel_srv_conf_t  *zcf;

    zcf = srv_conf[ngx_stream_zltunnel_module.ctx_index];

    if (!zcf->ports) {
        return NULL;
    }

    *reserved = zcf->reserved;

    return zcf->registry;
}


ngx_zltunnel_registry_t *
ngx_stream_zltunnel_module_pass(void **srv_conf, ngx_str_t *service,
    ngx_str_t *token)
{
    ngx_stream_zltunnel_srv_conf_t  *zcf;

    zcf = srv_conf[ngx_stream_zltunnel_module.ctx_index];

    if (zcf->pass == NULL) {
        return NULL;
    }

    ngx_str_null(service);
    *token = zcf->token;

    if (zcf->pass->lengths == NULL && !zcf->host) {
        *service = zcf->pass->value;
    }

    return zcf->registry;
}
