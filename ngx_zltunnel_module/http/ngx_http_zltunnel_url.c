
/*
 * Copyright (C) zltunnel authors
 */

/*
 * By which URL the visitors of hosts come: scheme and port.
 *
 * They come to a server of http whose name covers the domain, or to any, if
 * there is no such one; of several to one with TLS, and rather at the usual port.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_zltunnel_url.h"


#define NGX_HTTP_ZLTUNNEL_URL_NAMED  4
#define NGX_HTTP_ZLTUNNEL_URL_SSL    2
#define NGX_HTTP_ZLTUNNEL_URL_USUAL  1


typedef struct {
    ngx_int_t                    score;
    ngx_uint_t                   ssl;
    in_port_t                    port;
} ngx_http_zltunnel_url_t;


static void ngx_http_zltunnel_url_look(ngx_http_zltunnel_url_t *best,
    ngx_http_conf_addr_t *addr, in_port_t port, ngx_str_t *domain);
static ngx_uint_t ngx_http_zltunnel_url_named(ngx_http_core_srv_conf_t *cscf,
    ngx_str_t *domain);


ngx_int_t
ngx_http_zltunnel_url(ngx_cycle_t *cycle, ngx_zltunnel_registry_t *registry)
{
    u_char                     *p;
    ngx_uint_t                  i, n;
    ngx_http_conf_addr_t       *addr;
    ngx_http_conf_port_t       *port;
    ngx_http_zltunnel_url_t     best;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_core_module);

    if (cmcf == NULL || cmcf->ports == NULL) {
        return NGX_OK;
    }

    best.score = -1;
    port = cmcf->ports->elts;

    for (i = 0; i < cmcf->ports->nelts; i++) {

        if (port[i].family == AF_UNIX) {
            continue;
        }

        addr = port[i].addrs.elts;

        for (n = 0; n < port[i].addrs.nelts; n++) {
            ngx_http_zltunnel_url_look(&best, &addr[n], port[i].port,
                                       &registry->domain);
        }
    }

    if (best.score == -1) {
        return NGX_OK;
    }

    p = ngx_pnalloc(cycle->pool, sizeof("https://*:65535") - 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    registry->public_url.data = p;

    p = ngx_sprintf(p, "http%s://*", best.ssl ? "s" : "");

    if (best.port != (best.ssl ? 443 : 80)) {
        p = ngx_sprintf(p, ":%ui", (ngx_uint_t) best.port);
    }

    registry->public_url.len = p - registry->public_url.data;

    return NGX_OK;
}


static void
ngx_http_zltunnel_url_look(ngx_http_zltunnel_url_t *best,
    ngx_http_conf_addr_t *addr, in_port_t port, ngx_str_t *domain)
{
    ngx_int_t                   score;
    ngx_uint_t                  i;
    ngx_http_core_srv_conf_t  **cscf;

    cscf = addr->servers.elts;

    for (i = 0; i < addr->servers.nelts; i++) {

        score = 0;

        if (ngx_http_zltunnel_url_named(cscf[i], domain)) {
            score += NGX_HTTP_ZLTUNNEL_URL_NAMED;
        }

        if (addr->opt.ssl) {
            score += NGX_HTTP_ZLTUNNEL_URL_SSL;
        }

        if (port == (addr->opt.ssl ? 443 : 80)) {
            score += NGX_HTTP_ZLTUNNEL_URL_USUAL;
        }

        if (score > best->score) {
            best->score = score;
            best->ssl = addr->opt.ssl;
            best->port = port;
        }
    }
}


/* 1 if a name of the server covers what is below the domain */

static ngx_uint_t
ngx_http_zltunnel_url_named(ngx_http_core_srv_conf_t *cscf, ngx_str_t *domain)
{
    u_char                  *p;
    size_t                   len;
    ngx_uint_t               i;
    ngx_http_server_name_t  *name;

    name = cscf->server_names.elts;

    for (i = 0; i < cscf->server_names.nelts && domain->len; i++) {

        p = name[i].name.data;
        len = name[i].name.len;

        if (len > 1 && p[0] == '*') {
            p++;
            len--;
        }

        /* ".example.com" is for the name itself and for all below it */

        if (len < 2 || p[0] != '.') {
            continue;
        }

        p++;
        len--;

        if (domain->len >= len
            && ngx_strncasecmp(domain->data + domain->len - len, p, len) == 0
            && (domain->len == len
                || domain->data[domain->len - len - 1] == '.'))
        {
            return 1;
        }
    }

    return 0;
}
