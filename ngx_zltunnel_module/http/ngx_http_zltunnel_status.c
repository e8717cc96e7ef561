
/*
 * Copyright (C) zltunnel authors
 */


#include "ngx_http_zltunnel.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_registry.h"


static ngx_int_t ngx_http_zltunnel_status_enum(ngx_conf_enum_t *e,
    u_char *data, size_t len, ngx_uint_t *value);
static ngx_int_t ngx_http_zltunnel_status_format(ngx_http_request_t *r,
    ngx_uint_t *prometheus);


/* of format= */

static ngx_conf_enum_t  ngx_http_zltunnel_status_formats[] = {
    { ngx_string("json"), 0 },
    { ngx_string("prometheus"), 1 },
    { ngx_null_string, 0 }
};


/* of metrics= */

static ngx_conf_enum_t  ngx_http_zltunnel_status_metrics[] = {
    { ngx_string("total"), NGX_ZLTUNNEL_METRICS_TOTAL },
    { ngx_string("token"), NGX_ZLTUNNEL_METRICS_TOKEN },
    { ngx_string("service"), NGX_ZLTUNNEL_METRICS_SERVICE },
    { ngx_null_string, 0 }
};


static ngx_int_t
ngx_http_zltunnel_status_enum(ngx_conf_enum_t *e, u_char *data, size_t len,
    ngx_uint_t *value)
{
    for ( /* void */ ; e->name.len; e++) {

        if (e->name.len == len && ngx_strncmp(e->name.data, data, len) == 0) {
            *value = e->value;
            return NGX_OK;
        }
    }

    return NGX_ERROR;
}


char *
ngx_http_zltunnel_status_conf(ngx_conf_t *cf,
    ngx_http_zltunnel_loc_conf_t *zlcf, ngx_zltunnel_registry_t **registry)
{
    u_char      *data;
    size_t       len;
    ngx_str_t   *value, name;
    ngx_uint_t   i, by;

    *registry = NULL;
    by = NGX_ZLTUNNEL_METRICS_TOKEN;
    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        data = value[i].data;
        len = value[i].len;

        if (ngx_strncmp(data, "format=", 7) == 0
            && ngx_http_zltunnel_status_enum(ngx_http_zltunnel_status_formats,
                                             data + 7, len - 7,
                                             &zlcf->prometheus)
               == NGX_OK)
        {
            continue;
        }

        if (ngx_strncmp(data, "metrics=", 8) == 0
            && ngx_http_zltunnel_status_enum(ngx_http_zltunnel_status_metrics,
                                             data + 8, len - 8, &by)
               == NGX_OK)
        {
            continue;
        }

        switch (ngx_zltunnel_conf_registry_arg(cf, &value[i], registry)) {

        case NGX_OK:
            continue;

        case NGX_DECLINED:
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" of "
                               "\"zltunnel_status\": it must be "
                               "\"registry=NAME\", \"format=json\", "
                               "\"format=prometheus\", \"metrics=total\", "
                               "\"metrics=token\" or \"metrics=service\"",
                               &value[i]);
            return NGX_CONF_ERROR;

        default:
            return NGX_CONF_ERROR;
        }
    }

    zlcf->metrics = by;

    if (*registry == NULL) {
        ngx_str_null(&name);
        *registry = ngx_zltunnel_conf_registry(cf, &name);
    }

    return NGX_CONF_OK;
}


/* the argument of the request, or else the parameter of the directive */

static ngx_int_t
ngx_http_zltunnel_status_format(ngx_http_request_t *r, ngx_uint_t *prometheus)
{
    ngx_str_t                      value;
    ngx_http_zltunnel_loc_conf_t  *zlcf;

    if (ngx_http_arg(r, (u_char *) "format", 6, &value) == NGX_OK) {
        return ngx_http_zltunnel_status_enum(ngx_http_zltunnel_status_formats,
                                             value.data, value.len,
                                             prometheus);
    }

    zlcf = ngx_http_get_module_loc_conf(r, ngx_http_zltunnel_module);
    *prometheus = zlcf->prometheus;

    return NGX_OK;
}


ngx_int_t
ngx_http_zltunnel_status_handler(ngx_http_request_t *r)
{
    off_t                          size;
    ngx_int_t                      rc;
    ngx_uint_t                     prometheus;
    ngx_chain_t                   *out;
    ngx_http_zltunnel_loc_conf_t  *zlcf;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {

        if (ngx_http_zltunnel_answer_header(r, "Allow", "GET, HEAD")
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_http_zltunnel_answer(r, NGX_HTTP_NOT_ALLOWED, NULL,
                                        "the method must be GET or HEAD");
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    zlcf = ngx_http_get_module_loc_conf(r, ngx_http_zltunnel_module);

    if (zlcf->registry->sh == NULL) {
        return ngx_http_zltunnel_answer(r, NGX_HTTP_SERVICE_UNAVAILABLE, NULL,
                                        "this worker has no registry");
    }

    if (ngx_http_zltunnel_status_format(r, &prometheus) != NGX_OK) {
        return ngx_http_zltunnel_answer(r, NGX_HTTP_BAD_REQUEST, NULL,
                                        "format must be json or prometheus");
    }

    rc = prometheus ? ngx_zltunnel_metrics(zlcf->registry, r->pool,
                                           zlcf->metrics, &out, &size)
                    : ngx_zltunnel_status(zlcf->registry, r->pool, &out,
                                          &size);

    if (rc != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_zltunnel_answer_body(r, NGX_HTTP_OK, prometheus
                                ? "text/plain; version=0.0.4; charset=utf-8"
                                : "application/json", out, size);
}
