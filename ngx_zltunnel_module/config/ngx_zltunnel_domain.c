
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The directives of names of hosts: below which domain short ones are, and by
 * which URL their visitors come.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_domain.h"

#include "zlt_host.h"


char *
ngx_zltunnel_domain(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_zltunnel_registry_t *registry = conf;

    u_char     *name;
    ngx_str_t  *value;

    if (registry->domain.len) {
        return "is duplicate";
    }

    value = cf->args->elts;

    name = ngx_pnalloc(cf->pool, ZLT_MAX_HOST);
    if (name == NULL) {
        return NGX_CONF_ERROR;
    }

    registry->domain.len = (value[1].len && value[1].data[0] == '*')
                           ? 0 : zlt_host_name(name, value[1].data,
                                               value[1].len);
    registry->domain.data = name;

    if (registry->domain.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" of \"domain\": it must be the "
                           "name below which the hosts are, as in "
                           "t.example.com", &value[1]);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_zltunnel_domain_url(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_zltunnel_registry_t *registry = conf;

    u_char     *p, *last;
    ngx_int_t   port;
    ngx_str_t  *value;

    if (registry->public_url.len) {
        return "is duplicate";
    }

    value = cf->args->elts;

    p = value[1].data;
    last = p + value[1].len;

    if (ngx_strncmp(p, "http://", 7) == 0) {
        p += 7;

    } else if (ngx_strncmp(p, "https://", 8) == 0) {
        p += 8;

    } else {
        goto invalid;
    }

    if (p == last || *p++ != '*') {
        goto invalid;
    }

    if (p < last && *p == ':') {
        port = ngx_atoi(p + 1, last - p - 1);

        if (port < 1 || port > 65535 || last - p > 6) {
            goto invalid;
        }

        p = last;
    }

    if (p != last) {
        goto invalid;
    }

    registry->public_url = value[1];

    return NGX_CONF_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid value \"%V\" of \"public_url\": it must be "
                       "\"https://*\" or \"http://*\", with a port perhaps, as "
                       "in \"https://*:8443\"; the host stands in place of "
                       "\"*\"", &value[1]);

    return NGX_CONF_ERROR;
}


u_char *
ngx_zltunnel_domain_of(ngx_zltunnel_registry_t *registry, u_char *p,
    ngx_str_t *host)
{
    u_char     *star, *last;
    ngx_str_t   url = ngx_string("http://*");

    if (registry->public_url.len) {
        url = registry->public_url;
    }

    last = url.data + url.len;
    star = ngx_strlchr(url.data, last, '*');

    p = ngx_cpymem(p, url.data, star - url.data);
    p = ngx_cpymem(p, host->data, host->len);

    return ngx_cpymem(p, star + 1, last - star - 1);
}
