
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The http part: zltunnel, where agents connect, zltunnel_status, and
 * zltunnel_api.
 */


#include "ngx_http_zltunnel.h"
#include "ngx_http_zltunnel_api_guard.h"
#include "ngx_http_zltunnel_auth.h"
#include "ngx_http_zltunnel_forward.h"
#include "ngx_http_zltunnel_notify.h"
#include "ngx_http_zltunnel_subrequest.h"
#include "ngx_http_zltunnel_url.h"
#include "ngx_zltunnel_module.h"
#include "ngx_zltunnel_config.h"


static ngx_int_t ngx_http_zltunnel_postconfiguration(ngx_conf_t *cf);
static void *ngx_http_zltunnel_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_zltunnel_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static void ngx_http_zltunnel_exit_process(ngx_cycle_t *cycle);
static char *ngx_http_zltunnel(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_zltunnel_status(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_zltunnel_api(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_zltunnel_handle(ngx_conf_t *cf,
    ngx_http_zltunnel_loc_conf_t *zlcf, ngx_zltunnel_registry_t *registry,
    ngx_http_handler_pt handler);


static ngx_command_t  ngx_http_zltunnel_commands[] = {

    { ngx_string("zltunnel"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_http_zltunnel,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("zltunnel_auth"),
      NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_zltunnel_auth,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("zltunnel_auth_interval"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_zltunnel_auth_interval,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("zltunnel_notify"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_zltunnel_notify,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("zltunnel_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_ANY,
      ngx_http_zltunnel_status,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("zltunnel_api"),
      NGX_HTTP_LOC_CONF|NGX_CONF_ANY,
      ngx_http_zltunnel_api,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_zltunnel_module_ctx = {
    ngx_http_zltunnel_forward_variables,   /* preconfiguration */
    ngx_http_zltunnel_postconfiguration,   /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_zltunnel_create_loc_conf,     /* create location configuration */
    ngx_http_zltunnel_merge_loc_conf       /* merge location configuration */
};


ngx_module_t  ngx_http_zltunnel_module = {
    NGX_MODULE_V1,
    &ngx_http_zltunnel_module_ctx,         /* module context */
    ngx_http_zltunnel_commands,            /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_zltunnel_notify_init_process, /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_zltunnel_exit_process,        /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_http_zltunnel_postconfiguration(ngx_conf_t *cf)
{
    ngx_zltunnel_conf_t  *conf;

    conf = (ngx_zltunnel_conf_t *) ngx_get_conf(cf->cycle->conf_ctx,
                                                ngx_zltunnel_module);
    conf->url = ngx_http_zltunnel_url;

    ngx_http_zltunnel_api_guard_check(cf);

    return NGX_OK;
}


static void *
ngx_http_zltunnel_create_loc_conf(ngx_conf_t *cf)
{
    /*
     * set by ngx_pcalloc():
     *
     *     conf->registry = NULL;
     *     conf->handler = NULL;
     */

    return ngx_pcalloc(cf->pool, sizeof(ngx_http_zltunnel_loc_conf_t));
}


static char *
ngx_http_zltunnel_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_zltunnel_loc_conf_t *prev = parent;
    ngx_http_zltunnel_loc_conf_t *conf = child;

    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    /* "if" and "limit_except" within the location */

    if (clcf->noname && clcf->handler == NULL && prev->handler) {
        conf->registry = prev->registry;
        conf->handler = prev->handler;
        conf->metrics = prev->metrics;
        conf->prometheus = prev->prometheus;
        conf->write = prev->write;
        conf->asks = prev->asks;
        clcf->handler = prev->handler;
    }

    if (ngx_http_zltunnel_notify_check(cf, conf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    return ngx_http_zltunnel_auth_check(cf, conf);
}


static void
ngx_http_zltunnel_exit_process(ngx_cycle_t *cycle)
{
    ngx_http_zltunnel_subrequest_exit();
    ngx_http_zltunnel_notify_exit(cycle);
}


static char *
ngx_http_zltunnel(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_zltunnel_loc_conf_t *zlcf = conf;

    ngx_str_t                *value, name;
    ngx_zltunnel_registry_t  *registry;

    ngx_str_null(&name);

    if (cf->args->nelts == 2) {
        value = cf->args->elts;
        name = value[1];

        if (name.len == 0) {
            return "has an empty name";
        }
    }

    registry = ngx_zltunnel_conf_registry(cf, &name);

    return ngx_http_zltunnel_handle(cf, zlcf, registry,
                                    ngx_http_zltunnel_handshake_handler);
}


static char *
ngx_http_zltunnel_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_zltunnel_loc_conf_t *zlcf = conf;

    char                     *rv;
    ngx_zltunnel_registry_t  *registry;

    rv = ngx_http_zltunnel_status_conf(cf, zlcf, &registry);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    return ngx_http_zltunnel_handle(cf, zlcf, registry,
                                    ngx_http_zltunnel_status_handler);
}


static char *
ngx_http_zltunnel_api(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_zltunnel_loc_conf_t *zlcf = conf;

    char                     *rv;
    ngx_zltunnel_registry_t  *registry;

    rv = ngx_http_zltunnel_api_conf(cf, zlcf, &registry);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    return ngx_http_zltunnel_handle(cf, zlcf, registry,
                                    ngx_http_zltunnel_api_handler);
}


static char *
ngx_http_zltunnel_handle(ngx_conf_t *cf, ngx_http_zltunnel_loc_conf_t *zlcf,
    ngx_zltunnel_registry_t *registry, ngx_http_handler_pt handler)
{
    ngx_http_core_loc_conf_t  *clcf;

    if (registry == NULL) {
        return NGX_CONF_ERROR;
    }

    if (zlcf->handler) {
        return (zlcf->handler == handler)
               ? "is duplicate"
               : "cannot be where \"zltunnel\", \"zltunnel_status\" or "
                 "\"zltunnel_api\" is";
    }

    zlcf->registry = registry;
    zlcf->handler = handler;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = handler;

    return NGX_CONF_OK;
}
