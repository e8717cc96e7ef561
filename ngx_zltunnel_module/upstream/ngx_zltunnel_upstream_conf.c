
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The directives zltunnel_service and zltunnel_host, which http and stream have
 * alike.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_upstream_conf.h"
#include "ngx_zltunnel_config.h"

#include "zlt_name.h"


static char *ngx_zltunnel_upstream_param(ngx_conf_t *cf,
    ngx_zltunnel_upstream_conf_t *conf, ngx_str_t *value);
static ngx_int_t ngx_zltunnel_upstream_balance(ngx_conf_t *cf,
    ngx_zltunnel_upstream_conf_t *conf, ngx_str_t *value);


char *
ngx_zltunnel_upstream_conf_parse(ngx_conf_t *cf,
    ngx_zltunnel_upstream_conf_t *conf)
{
    char        *rv;
    ngx_str_t   *value, name;
    ngx_uint_t   i;

    value = cf->args->elts;

    if (conf->service.len) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" is duplicate: an upstream has one "
                           "\"zltunnel_service\" or \"zltunnel_host\"",
                           &value[0]);
        return NGX_CONF_ERROR;
    }

    conf->host = (ngx_strcmp(value[0].data, "zltunnel_host") == 0);

    if (conf->host && value[1].len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no value of \"zltunnel_host\", it may be \"$host\"");
        return NGX_CONF_ERROR;
    }

    if (!conf->host && !zlt_name_valid(value[1].data, value[1].len)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid service \"%V\" of \"zltunnel_service\", "
                           "a name has 1 to 255 bytes: letters, digits, "
                           "\"-\", \"_\" and \".\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    conf->service = value[1];
    conf->max_fails = 1;
    conf->fail_timeout = 10000;
    conf->lanes = 1;

    for (i = 2; i < cf->args->nelts; i++) {
        rv = ngx_zltunnel_upstream_param(cf, conf, &value[i]);

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    if (conf->registry == NULL) {
        ngx_str_null(&name);
        conf->registry = ngx_zltunnel_conf_registry(cf, &name);

        if (conf->registry == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    if (conf->host) {
        return NGX_CONF_OK;
    }

    if (ngx_zltunnel_conf_reference(cf, conf->registry, &conf->service,
                                    &conf->token, "zltunnel_service")
        == NULL)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_zltunnel_upstream_param(ngx_conf_t *cf, ngx_zltunnel_upstream_conf_t *conf,
    ngx_str_t *value)
{
    ngx_int_t  n;
    ngx_str_t  s;

    if (value->len > 6 && ngx_strncmp(value->data, "token=", 6) == 0) {
        conf->token.data = value->data + 6;
        conf->token.len = value->len - 6;
        return NGX_CONF_OK;
    }

    if (ngx_strncmp(value->data, "balance=", 8) == 0) {
        s.data = value->data + 8;
        s.len = value->len - 8;

        if (ngx_zltunnel_upstream_balance(cf, conf, &s) == NGX_OK) {
            return NGX_CONF_OK;
        }

        goto invalid;
    }

    if (ngx_strcmp(value->data, "lanes=on") == 0) {
        conf->lanes = 1;
        return NGX_CONF_OK;
    }

    if (ngx_strcmp(value->data, "lanes=off") == 0) {
        conf->lanes = 0;
        return NGX_CONF_OK;
    }

    if (ngx_strncmp(value->data, "max_fails=", 10) == 0) {
        n = ngx_atoi(value->data + 10, value->len - 10);

        if (n == NGX_ERROR) {
            goto invalid;
        }

        conf->max_fails = n;
        return NGX_CONF_OK;
    }

    if (ngx_strncmp(value->data, "fail_timeout=", 13) == 0) {
        s.data = value->data + 13;
        s.len = value->len - 13;

        n = ngx_parse_time(&s, 0);

        if (n == NGX_ERROR) {
            goto invalid;
        }

        conf->fail_timeout = n;
        return NGX_CONF_OK;
    }

    switch (ngx_zltunnel_conf_registry_arg(cf, value, &conf->registry)) {

    case NGX_OK:
        return NGX_CONF_OK;

    case NGX_ERROR:
        return NGX_CONF_ERROR;
    }

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\" of \"%s\", it "
                       "may be \"registry=NAME\", \"token=NAME\", "
                       "\"balance=METHOD\", \"max_fails=N\", "
                       "\"fail_timeout=TIME\" or \"lanes=off\"; "
                       "a method is \"round_robin\", \"least_conn\", "
                       "\"random\" or \"hash:KEY\"", value,
                       conf->host ? "zltunnel_host" : "zltunnel_service");

    return NGX_CONF_ERROR;
}


static ngx_int_t
ngx_zltunnel_upstream_balance(ngx_conf_t *cf,
    ngx_zltunnel_upstream_conf_t *conf, ngx_str_t *value)
{
    if (ngx_strcmp(value->data, "round_robin") == 0) {
        conf->balance = NGX_ZLTUNNEL_ROUND_ROBIN;
        return NGX_OK;
    }

    if (ngx_strcmp(value->data, "least_conn") == 0) {
        conf->balance = NGX_ZLTUNNEL_LEAST_CONN;
        return NGX_OK;
    }

    if (ngx_strcmp(value->data, "random") == 0) {
        conf->balance = NGX_ZLTUNNEL_RANDOM;
        return NGX_OK;
    }

    if (value->len > 5 && ngx_strncmp(value->data, "hash:", 5) == 0) {
        conf->balance = NGX_ZLTUNNEL_HASH;
        conf->key.data = value->data + 5;
        conf->key.len = value->len - 5;
        return NGX_OK;
    }

    return NGX_ERROR;
}
