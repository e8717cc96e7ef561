
/*
 * Copyright (C) zltunnel authors
 */

/*
 * zltunnel_service and zltunnel_host in an http upstream{}, and the variables
 * of its requests.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_zltunnel_upstream.h"
#include "ngx_http_zltunnel_variable.h"


static ngx_int_t ngx_http_zltunnel_init_upstream(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us);
static ngx_int_t ngx_http_zltunnel_init_backup(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us, ngx_http_zltunnel_ups_conf_t *zucf);
static ngx_int_t ngx_http_zltunnel_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_zltunnel_add_variables(ngx_conf_t *cf);
static char *ngx_http_zltunnel_ups_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_http_zltunnel_ups_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_zltunnel_ups_create_conf(ngx_conf_t *cf);
static char *ngx_http_zltunnel_service(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_http_complex_value_t *ngx_http_zltunnel_compile(ngx_conf_t *cf,
    ngx_str_t *text);


static ngx_command_t  ngx_http_zltunnel_ups_commands[] = {

    { ngx_string("zltunnel_service"),
      NGX_HTTP_UPS_CONF|NGX_CONF_1MORE,
      ngx_http_zltunnel_service,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("zltunnel_host"),
      NGX_HTTP_UPS_CONF|NGX_CONF_1MORE,
      ngx_http_zltunnel_service,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_zltunnel_upstream_module_ctx = {
    ngx_http_zltunnel_add_variables,       /* preconfiguration */
    NULL,                                  /* postconfiguration */

    ngx_http_zltunnel_ups_create_main_conf, /* create main configuration */
    ngx_http_zltunnel_ups_init_main_conf,  /* init main configuration */

    ngx_http_zltunnel_ups_create_conf,     /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_zltunnel_upstream_module = {
    NGX_MODULE_V1,
    &ngx_http_zltunnel_upstream_module_ctx, /* module context */
    ngx_http_zltunnel_ups_commands,        /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


#define NGX_HTTP_ZLTUNNEL_SERVICE        0
#define NGX_HTTP_ZLTUNNEL_TUNNEL         1
#define NGX_HTTP_ZLTUNNEL_CONNECTION_ID  2
#define NGX_HTTP_ZLTUNNEL_CONNECT_TIME   3
#define NGX_HTTP_ZLTUNNEL_ERROR          4


static ngx_http_variable_t  ngx_http_zltunnel_variables[] = {

    { ngx_string("zltunnel_service"), NULL, ngx_http_zltunnel_variable,
      NGX_HTTP_ZLTUNNEL_SERVICE, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("zltunnel_tunnel"), NULL, ngx_http_zltunnel_variable,
      NGX_HTTP_ZLTUNNEL_TUNNEL, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("zltunnel_connection_id"), NULL, ngx_http_zltunnel_variable,
      NGX_HTTP_ZLTUNNEL_CONNECTION_ID, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("zltunnel_connect_time"), NULL, ngx_http_zltunnel_variable,
      NGX_HTTP_ZLTUNNEL_CONNECT_TIME, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("zltunnel_error"), NULL, ngx_http_zltunnel_variable,
      NGX_HTTP_ZLTUNNEL_ERROR, NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


static ngx_int_t
ngx_http_zltunnel_init_upstream(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us)
{
    ngx_http_zltunnel_ups_conf_t  *zucf;

    zucf = ngx_http_conf_upstream_srv_conf(us,
                                          ngx_http_zltunnel_upstream_module);

#if (NGX_HTTP_UPSTREAM_ZONE)

    if (us->shm_zone) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"zone\" cannot be in upstream \"%V\", which has "
                      "\"zltunnel_service\": all workers share its state "
                      "anyway, in %s:%ui",
                      &us->host, us->file_name, us->line);
        return NGX_ERROR;
    }

#endif

    if (ngx_http_zltunnel_init_backup(cf, us, zucf) != NGX_OK) {
        return NGX_ERROR;
    }

    us->peer.init = ngx_http_zltunnel_upstream_init_inner;
    zucf->ready = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_http_zltunnel_init_backup(ngx_conf_t *cf, ngx_http_upstream_srv_conf_t *us,
    ngx_http_zltunnel_ups_conf_t *zucf)
{
    ngx_uint_t                   i;
    ngx_http_upstream_server_t  *server, *copy;

    zucf->backup = *us;

    zucf->backup.servers = ngx_array_create(cf->pool, us->servers->nelts,
                                          sizeof(ngx_http_upstream_server_t));
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

    return ngx_http_upstream_init_round_robin(cf, &zucf->backup);
}


static ngx_int_t
ngx_http_zltunnel_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                    *p, *id;
    ngx_str_t                  value;
    ngx_msec_t                 time;
    ngx_zltunnel_dial_t       *dial;
    ngx_http_zltunnel_peer_t  *zp;

    zp = ngx_http_zltunnel_upstream_last(r);

    dial = (zp && zp->conn) ? &zp->conn->dial : NULL;

    if (zp && data == NGX_HTTP_ZLTUNNEL_ERROR) {
        ngx_http_zltunnel_host_error(&zp->host, &value);
        goto found;
    }

    if (zp == NULL || (dial ? dial->service.len : zp->service.len) == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    switch (data) {

    case NGX_HTTP_ZLTUNNEL_SERVICE:
        value = dial ? dial->service : zp->service;
        break;

    case NGX_HTTP_ZLTUNNEL_TUNNEL:
        value = dial ? dial->tunnel : zp->tunnel;
        break;

    default:
        id = dial ? dial->id : zp->id;
        time = dial ? dial->connect_time : zp->connect_time;

        p = ngx_pnalloc(r->pool, ngx_max(2 * ZLT_ID_SIZE,
                                         NGX_TIME_T_LEN + 4));
        if (p == NULL) {
            return NGX_ERROR;
        }

        value.data = p;

        if (data == NGX_HTTP_ZLTUNNEL_CONNECTION_ID) {
            p = ngx_hex_dump(p, id, ZLT_ID_SIZE);

        } else {
            p = ngx_sprintf(p, "%T.%03M", (time_t) time / 1000, time % 1000);
        }

        value.len = p - value.data;
        break;
    }

found:

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
    v->len = value.len;
    v->data = value.data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_zltunnel_add_variables(ngx_conf_t *cf)
{
    return ngx_http_zltunnel_variable_add(cf, ngx_http_zltunnel_variables);
}


/* init main configuration is called only where there is one */

static void *
ngx_http_zltunnel_ups_create_main_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, 1);
}


/* after that of all other modules: this one is the last */

static char *
ngx_http_zltunnel_ups_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_uint_t                      i;
    ngx_http_upstream_srv_conf_t  **uscfp;
    ngx_http_zltunnel_ups_conf_t   *zucf;
    ngx_http_upstream_main_conf_t  *umcf;

    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_upstream_module);
    uscfp = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        if (uscfp[i]->srv_conf == NULL) {
            continue;
        }

        zucf = ngx_http_conf_upstream_srv_conf(uscfp[i],
                                          ngx_http_zltunnel_upstream_module);

        if (zucf->up.service.len == 0) {
            continue;
        }

        if (!zucf->ready) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "another load balancing method cannot be in "
                          "upstream \"%V\", which has \"zltunnel_service\": "
                          "use its \"balance=\", in %s:%ui",
                          &uscfp[i]->host, uscfp[i]->file_name,
                          uscfp[i]->line);
            return NGX_CONF_ERROR;
        }

        zucf->original_init_peer = uscfp[i]->peer.init;
        uscfp[i]->peer.init = ngx_http_zltunnel_upstream_init;
    }

    return NGX_CONF_OK;
}


static void *
ngx_http_zltunnel_ups_create_conf(ngx_conf_t *cf)
{
    /* all zero: there is no zltunnel_service */

    return ngx_pcalloc(cf->pool, sizeof(ngx_http_zltunnel_ups_conf_t));
}


static char *
ngx_http_zltunnel_service(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_zltunnel_ups_conf_t *zucf = conf;

    char                          *rv;
    ngx_http_upstream_server_t    *server;
    ngx_http_upstream_srv_conf_t  *uscf;

    rv = ngx_zltunnel_upstream_conf_parse(cf, &zucf->up);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (zucf->up.key.len) {
        zucf->key = ngx_http_zltunnel_compile(cf, &zucf->up.key);
        if (zucf->key == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    if (zucf->up.host) {
        zucf->host = ngx_http_zltunnel_compile(cf, &zucf->up.service);
        if (zucf->host == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    uscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_upstream_module);

    if (uscf->peer.init_upstream) {
        return "must stand before \"keepalive\", and with no other load "
               "balancing method";
    }

    server = ngx_array_push(uscf->servers);
    if (server == NULL) {
        return NGX_CONF_ERROR;
    }

    /* "no servers are inside upstream" otherwise */

    ngx_memzero(server, sizeof(ngx_http_upstream_server_t));

    server->addrs = &ngx_zltunnel_choice_addr;
    server->naddrs = 1;
    server->weight = 1;

    server->name = ngx_zltunnel_choice_addr.name;

    uscf->peer.init_upstream = ngx_http_zltunnel_init_upstream;

    uscf->flags = NGX_HTTP_UPSTREAM_CREATE
                  |NGX_HTTP_UPSTREAM_WEIGHT
                  |NGX_HTTP_UPSTREAM_MAX_CONNS
                  |NGX_HTTP_UPSTREAM_MAX_FAILS
                  |NGX_HTTP_UPSTREAM_FAIL_TIMEOUT
                  |NGX_HTTP_UPSTREAM_DOWN
                  |NGX_HTTP_UPSTREAM_BACKUP;

    return NGX_CONF_OK;
}


static ngx_http_complex_value_t *
ngx_http_zltunnel_compile(ngx_conf_t *cf, ngx_str_t *text)
{
    ngx_http_complex_value_t          *value;
    ngx_http_compile_complex_value_t   ccv;

    value = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (value == NULL) {
        return NULL;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = text;
    ccv.complex_value = value;

    return ngx_http_compile_complex_value(&ccv) == NGX_OK ? value : NULL;
}
