
/*
 * Copyright (C) zltunnel authors
 */

/*
 * zltunnel_service in a stream upstream{}: as in http, but simpler, since
 * nothing is kept alive there.
 */


#include "ngx_stream_zltunnel.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_module.h"
#include "ngx_zltunnel_upstream.h"

#include "zlt_host.h"


typedef struct {
    ngx_zltunnel_upstream_conf_t     up;
    ngx_stream_complex_value_t      *host;    /* of zltunnel_host */
    ngx_stream_complex_value_t      *key;     /* of balance=hash: */
    ngx_stream_upstream_srv_conf_t   backup;  /* of the servers so marked */
    unsigned                         ready:1; /* init_upstream was called */
} ngx_stream_zltunnel_ups_conf_t;


typedef struct {
    ngx_zltunnel_upstream_t          up;
    ngx_stream_zltunnel_ups_conf_t  *conf;
    ngx_stream_session_t            *session;
    ngx_zltunnel_conn_t             *conn;
} ngx_stream_zltunnel_peer_t;


static ngx_int_t ngx_stream_zltunnel_init_upstream(ngx_conf_t *cf,
    ngx_stream_upstream_srv_conf_t *us);
static ngx_int_t ngx_stream_zltunnel_init_backup(ngx_conf_t *cf,
    ngx_stream_upstream_srv_conf_t *us, ngx_stream_zltunnel_ups_conf_t *zucf);
static ngx_int_t ngx_stream_zltunnel_init_peer(ngx_stream_session_t *s,
    ngx_stream_upstream_srv_conf_t *us);
static ngx_int_t ngx_stream_zltunnel_init_peer_backup(ngx_stream_session_t *s,
    ngx_stream_zltunnel_peer_t *zp);
static ngx_int_t ngx_stream_zltunnel_get_peer(ngx_peer_connection_t *pc,
    void *data);
static void ngx_stream_zltunnel_free_peer(ngx_peer_connection_t *pc,
    void *data, ngx_uint_t state);
static void ngx_stream_zltunnel_notify_peer(ngx_peer_connection_t *pc,
    void *data, ngx_uint_t type);

static char *ngx_stream_zltunnel_ups_init_main_conf(ngx_conf_t *cf,
    void *conf);
static void *ngx_stream_zltunnel_ups_create_main_conf(ngx_conf_t *cf);
static void *ngx_stream_zltunnel_ups_create_conf(ngx_conf_t *cf);
static char *ngx_stream_zltunnel_service(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_stream_complex_value_t *ngx_stream_zltunnel_compile(ngx_conf_t *cf,
    ngx_str_t *text);


static ngx_command_t  ngx_stream_zltunnel_ups_commands[] = {

    { ngx_string("zltunnel_service"),
      NGX_STREAM_UPS_CONF|NGX_CONF_1MORE,
      ngx_stream_zltunnel_service,
      NGX_STREAM_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("zltunnel_host"),
      NGX_STREAM_UPS_CONF|NGX_CONF_1MORE,
      ngx_stream_zltunnel_service,
      NGX_STREAM_SRV_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_stream_module_t  ngx_stream_zltunnel_upstream_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    ngx_stream_zltunnel_ups_create_main_conf, /* create main configuration */
    ngx_stream_zltunnel_ups_init_main_conf, /* init main configuration */

    ngx_stream_zltunnel_ups_create_conf,   /* create server configuration */
    NULL                                   /* merge server configuration */
};


ngx_module_t  ngx_stream_zltunnel_upstream_module = {
    NGX_MODULE_V1,
    &ngx_stream_zltunnel_upstream_module_ctx, /* module context */
    ngx_stream_zltunnel_ups_commands,      /* module directives */
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


static ngx_int_t
ngx_stream_zltunnel_init_upstream(ngx_conf_t *cf,
    ngx_stream_upstream_srv_conf_t *us)
{
    ngx_stream_zltunnel_ups_conf_t  *zucf;

    zucf = ngx_stream_conf_upstream_srv_conf(us,
                                        ngx_stream_zltunnel_upstream_module);

#if (NGX_STREAM_UPSTREAM_ZONE)

    if (us->shm_zone) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"zone\" cannot be in upstream \"%V\", which has "
                      "\"zltunnel_service\": all workers share its state "
                      "anyway, in %s:%ui",
                      &us->host, us->file_name, us->line);
        return NGX_ERROR;
    }

#endif

    if (ngx_stream_zltunnel_init_backup(cf, us, zucf) != NGX_OK) {
        return NGX_ERROR;
    }

    us->peer.init = ngx_stream_zltunnel_init_peer;
    zucf->ready = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_stream_zltunnel_init_backup(ngx_conf_t *cf,
    ngx_stream_upstream_srv_conf_t *us, ngx_stream_zltunnel_ups_conf_t *zucf)
{
    ngx_uint_t                     i;
    ngx_stream_upstream_server_t  *server, *copy;

    zucf->backup = *us;

    zucf->backup.servers = ngx_array_create(cf->pool, us->servers->nelts,
                                        sizeof(ngx_stream_upstream_server_t));
    if (zucf->backup.servers == NULL) {
        return NGX_ERROR;
    }

    server = us->servers->elts;

    for (i = 0; i < us->servers->nelts; i++) {

        if (server[i].name.data == ngx_zltunnel_choice_addr.name.data) {
            continue;
        }

        if (!server[i].backup) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "server \"%V\" must be marked \"backup\" beside "
                          "\"zltunnel_service\" in upstream \"%V\" in %s:%ui",
                          &server[i].name, &us->host, us->file_name,
                          us->line);
            return NGX_ERROR;
        }

        copy = ngx_array_push(zucf->backup.servers);
        if (copy == NULL) {
            return NGX_ERROR;
        }

        *copy = server[i];
        copy->backup = 0;

        zucf->up.backup = 1;
    }

    if (!zucf->up.backup) {
        return NGX_OK;
    }

    return ngx_stream_upstream_init_round_robin(cf, &zucf->backup);
}


static ngx_int_t
ngx_stream_zltunnel_init_peer(ngx_stream_session_t *s,
    ngx_stream_upstream_srv_conf_t *us)
{
    ngx_str_t                        host, key;
    ngx_uint_t                       tries;
    ngx_peer_connection_t           *pc;
    ngx_zltunnel_upstream_t         *up;
    ngx_stream_zltunnel_peer_t      *zp;
    ngx_stream_zltunnel_ups_conf_t  *zucf;

    if (s->connection->type != SOCK_STREAM) {
        ngx_log_error(NGX_LOG_ERR, s->connection->log, 0,
                      "upstream \"%V\" is a tunnelled TCP service, the "
                      "client came by UDP", &us->host);
        return NGX_ERROR;
    }

    zucf = ngx_stream_conf_upstream_srv_conf(us,
                                        ngx_stream_zltunnel_upstream_module);

    zp = ngx_pcalloc(s->connection->pool, sizeof(ngx_stream_zltunnel_peer_t));
    if (zp == NULL) {
        return NGX_ERROR;
    }

    ngx_stream_set_ctx(s, zp, ngx_stream_zltunnel_upstream_module);

    zp->conf = zucf;
    zp->session = s;

    pc = &s->upstream->peer;
    up = &zp->up;

    up->conf = &zucf->up;
    up->pool = s->connection->pool;
    up->log = s->connection->log;
    up->local = ngx_zltunnel_util_client_local(s->connection);

    if (zucf->key) {

        if (ngx_stream_complex_value(s, zucf->key, &key) != NGX_OK) {
            return NGX_ERROR;
        }

        up->hash = ngx_murmur_hash2(key.data, key.len);
    }

    if (zucf->host) {

        if (ngx_stream_complex_value(s, zucf->host, &host) != NGX_OK) {
            return NGX_ERROR;
        }

        up->host.data = ngx_pnalloc(up->pool, ZLT_MAX_HOST);
        if (up->host.data == NULL) {
            return NGX_ERROR;
        }

        up->host.len = zlt_host_authority(up->host.data, host.data, host.len);
    }

    tries = 0;

    if (up->conf->backup) {

        if (ngx_stream_zltunnel_init_peer_backup(s, zp) != NGX_OK) {
            return NGX_ERROR;
        }

        tries = pc->tries;
    }

    /* the first choice, already now: it tells how many there are */

    if (ngx_zltunnel_balance(up) == NGX_ERROR) {
        return NGX_ERROR;
    }

    pc->tries = tries + ngx_max(up->candidates, 1);
    pc->get = ngx_stream_zltunnel_get_peer;
    pc->free = ngx_stream_zltunnel_free_peer;
    pc->notify = ngx_stream_zltunnel_notify_peer;
    pc->data = zp;

#if (NGX_STREAM_SSL)
    pc->set_session = ngx_zltunnel_choice_set_session;
    pc->save_session = ngx_zltunnel_choice_save_session;
#endif

    return NGX_OK;
}


static ngx_int_t
ngx_stream_zltunnel_init_peer_backup(ngx_stream_session_t *s,
    ngx_stream_zltunnel_peer_t *zp)
{
    ngx_peer_connection_t  *pc;

    pc = &s->upstream->peer;
    pc->data = NULL;

    if (ngx_stream_upstream_init_round_robin_peer(s, &zp->conf->backup)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_zltunnel_choice_backup(&zp->up, pc);

    return NGX_OK;
}


static ngx_int_t
ngx_stream_zltunnel_get_peer(ngx_peer_connection_t *pc, void *data)
{
    ngx_stream_zltunnel_peer_t *zp = data;

    ngx_int_t   rc;
    ngx_str_t  *name;

    rc = ngx_zltunnel_choice_get(&zp->up, pc);

    if (rc != NGX_OK || zp->up.backup.serves) {
        return rc;
    }

    /* it is logged at the end, when another may have been chosen */

    name = ngx_palloc(zp->up.pool, sizeof(ngx_str_t));
    if (name == NULL) {
        return NGX_ERROR;
    }

    *name = zp->up.name;

    pc->name = name;

    return ngx_zltunnel_conn_connect(&zp->up, pc, zp->session->connection,
                                     zp->up.pool, &zp->conn);
}


static void
ngx_stream_zltunnel_free_peer(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state)
{
    ngx_stream_zltunnel_peer_t *zp = data;

    if (zp->up.backup.serves) {
        zp->up.backup.free(pc, zp->up.backup.data, state);
        return;
    }

    if (zp->conn) {

        if (ngx_zltunnel_conn_bound(zp->conn) && pc->connection) {
            ngx_zltunnel_conn_count(zp->conn, pc->connection->sent,
                                    zp->session->upstream->received);
        }

        /* what it remembers for the log is the session's */

        ngx_zltunnel_conn_release(zp->conn);
    }

    if (state & NGX_PEER_FAILED) {
        ngx_zltunnel_balance_failed(&zp->up);
    }

    ngx_zltunnel_balance_done(&zp->up);

    if (pc->tries) {
        pc->tries--;
    }
}


/* a session may last long: to be connected is to work */

static void
ngx_stream_zltunnel_notify_peer(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t type)
{
    ngx_stream_zltunnel_peer_t *zp = data;

    if (!zp->up.backup.serves && type == NGX_STREAM_UPSTREAM_NOTIFY_CONNECT) {
        ngx_zltunnel_balance_works(&zp->up);
    }
}


/* for the variables of ngx_stream_zltunnel_module.c */

ngx_zltunnel_dial_t *
ngx_stream_zltunnel_upstream_dial(ngx_stream_session_t *s)
{
    ngx_stream_zltunnel_peer_t  *zp;

    zp = ngx_stream_get_module_ctx(s, ngx_stream_zltunnel_upstream_module);

    return (zp && !zp->up.backup.serves && zp->conn) ? &zp->conn->dial : NULL;
}


/* init main configuration is called only where there is one */

static void *
ngx_stream_zltunnel_ups_create_main_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, 1);
}


static char *
ngx_stream_zltunnel_ups_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_uint_t                        i;
    ngx_stream_upstream_srv_conf_t  **uscfp;
    ngx_stream_zltunnel_ups_conf_t   *zucf;
    ngx_stream_upstream_main_conf_t  *umcf;

    umcf = ngx_stream_conf_get_module_main_conf(cf,
                                                ngx_stream_upstream_module);
    uscfp = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        if (uscfp[i]->srv_conf == NULL) {
            continue;
        }

        zucf = ngx_stream_conf_upstream_srv_conf(uscfp[i],
                                        ngx_stream_zltunnel_upstream_module);

        if (zucf->up.service.len && !zucf->ready) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "another load balancing method cannot be in "
                          "upstream \"%V\", which has \"zltunnel_service\": "
                          "use its \"balance=\", in %s:%ui",
                          &uscfp[i]->host, uscfp[i]->file_name,
                          uscfp[i]->line);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static void *
ngx_stream_zltunnel_ups_create_conf(ngx_conf_t *cf)
{
    /* all zero: there is no zltunnel_service */

    return ngx_pcalloc(cf->pool, sizeof(ngx_stream_zltunnel_ups_conf_t));
}


static char *
ngx_stream_zltunnel_service(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_stream_zltunnel_ups_conf_t *zucf = conf;

    char                            *rv;
    ngx_zltunnel_conf_t             *core;
    ngx_stream_upstream_server_t    *server;
    ngx_stream_upstream_srv_conf_t  *uscf;

    core = (ngx_zltunnel_conf_t *) ngx_get_conf(cf->cycle->conf_ctx,
                                                ngx_zltunnel_module);
    core->upstreams = 1;

    rv = ngx_zltunnel_upstream_conf_parse(cf, &zucf->up);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (zucf->up.key.len) {
        zucf->key = ngx_stream_zltunnel_compile(cf, &zucf->up.key);
        if (zucf->key == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    if (zucf->up.host) {
        zucf->host = ngx_stream_zltunnel_compile(cf, &zucf->up.service);
        if (zucf->host == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    uscf = ngx_stream_conf_get_module_srv_conf(cf, ngx_stream_upstream_module);

    if (uscf->peer.init_upstream) {
        return "cannot be with another load balancing method";
    }

    server = ngx_array_push(uscf->servers);
    if (server == NULL) {
        return NGX_CONF_ERROR;
    }

    /* "no servers are inside upstream" otherwise */

    ngx_memzero(server, sizeof(ngx_stream_upstream_server_t));

    server->addrs = &ngx_zltunnel_choice_addr;
    server->naddrs = 1;
    server->weight = 1;

    server->name = ngx_zltunnel_choice_addr.name;

    uscf->peer.init_upstream = ngx_stream_zltunnel_init_upstream;

    uscf->flags = NGX_STREAM_UPSTREAM_CREATE
                  |NGX_STREAM_UPSTREAM_WEIGHT
                  |NGX_STREAM_UPSTREAM_MAX_CONNS
                  |NGX_STREAM_UPSTREAM_MAX_FAILS
                  |NGX_STREAM_UPSTREAM_FAIL_TIMEOUT
                  |NGX_STREAM_UPSTREAM_DOWN
                  |NGX_STREAM_UPSTREAM_BACKUP;

    return NGX_CONF_OK;
}


static ngx_stream_complex_value_t *
ngx_stream_zltunnel_compile(ngx_conf_t *cf, ngx_str_t *text)
{
    ngx_stream_complex_value_t          *value;
    ngx_stream_compile_complex_value_t   ccv;

    value = ngx_palloc(cf->pool, sizeof(ngx_stream_complex_value_t));
    if (value == NULL) {
        return NULL;
    }

    ngx_memzero(&ccv, sizeof(ngx_stream_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = text;
    ccv.complex_value = value;

    return ngx_stream_compile_complex_value(&ccv) == NGX_OK ? value : NULL;
}
