
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What the holder of a token may do.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_rights.h"
#include "ngx_zltunnel_token.h"

#include "zlt_host.h"

#include <openssl/crypto.h>
#include <time.h>


static ngx_uint_t ngx_zltunnel_rights_matches(ngx_str_t *glob, u_char *name,
    size_t len);
static u_char *ngx_zltunnel_rights_access(ngx_zltunnel_token_t *token,
    u_char *p, u_char *last);


ngx_uint_t
ngx_zltunnel_rights_service(ngx_zltunnel_token_t *token, u_char *name,
    size_t len)
{
    ngx_str_t   *glob;
    ngx_uint_t   i;

    if (token->services == NULL) {

        /* a visitor's line, which says what it may reach, registers nothing */

        return token->access == NULL;
    }

    glob = token->services->elts;

    for (i = 0; i < token->services->nelts; i++) {

        if (ngx_zltunnel_rights_matches(&glob[i], name, len)) {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_zltunnel_rights_matches(ngx_str_t *glob, u_char *name, size_t len)
{
    size_t  n;

    n = glob->len;

    if (glob->data[n - 1] == '*') {
        n--;
        return len >= n && ngx_memcmp(glob->data, name, n) == 0;
    }

    return len == n && ngx_memcmp(glob->data, name, n) == 0;
}


ngx_uint_t
ngx_zltunnel_rights_reaches(ngx_zltunnel_token_t *token, ngx_str_t *name,
    ngx_str_t *by)
{
    ngx_uint_t                    i;
    ngx_zltunnel_token_access_t  *access;

    if (token->access == NULL) {
        return 0;
    }

    access = token->access->elts;

    for (i = 0; i < token->access->nelts; i++) {

        if (by && access[i].token.len
            && (access[i].token.len != by->len
                || ngx_memcmp(access[i].token.data, by->data, by->len) != 0))
        {
            continue;
        }

        if (ngx_zltunnel_rights_matches(&access[i].name, name->data,
                                        name->len))
        {
            return 1;
        }
    }

    return 0;
}


ngx_uint_t
ngx_zltunnel_rights_host(ngx_zltunnel_token_t *token, ngx_str_t *domain,
    ngx_str_t *name, ngx_uint_t automatic)
{
    u_char       full[ZLT_MAX_HOST];
    size_t       len;
    ngx_str_t   *host;
    ngx_uint_t   i;

    if (token->hosts == NULL) {
        return 0;
    }

    host = token->hosts->elts;

    for (i = 0; i < token->hosts->nelts; i++) {

        if (host[i].len == 4 && ngx_memcmp(host[i].data, "auto", 4) == 0) {

            if (automatic) {
                return 1;
            }

            continue;
        }

        len = zlt_host_full(full, host[i].data, host[i].len, domain->data,
                            domain->len);

        if (len && zlt_host_covers(full, len, name->data, name->len)) {
            return 1;
        }
    }

    return 0;
}


ngx_uint_t
ngx_zltunnel_rights_port(ngx_zltunnel_token_t *token, in_port_t port)
{
    in_port_t   *range;
    ngx_uint_t   i;

    if (token->ports == NULL) {
        return 1;
    }

    range = token->ports->elts;

    for (i = 0; i < token->ports->nelts; i++) {

        if (port >= range[2 * i] && port <= range[2 * i + 1]) {
            return 1;
        }
    }

    return 0;
}


u_char *
ngx_zltunnel_rights_text(ngx_zltunnel_token_t *token, u_char *p, u_char *last)
{
    in_port_t   *range;
    ngx_str_t   *glob;
    ngx_tm_t     tm;
    ngx_uint_t   i;

    if (token->services == NULL) {
        p = ngx_slprintf(p, last, token->access ? "no services"
                                                : "any services");
    }

    for (i = 0; token->services && i < token->services->nelts; i++) {
        glob = token->services->elts;
        p = ngx_slprintf(p, last, "%s%V", i ? "," : "services=", &glob[i]);
    }

    for (i = 0; token->ports && i < token->ports->nelts; i++) {
        range = token->ports->elts;
        p = ngx_slprintf(p, last, "%s%ui", i ? "," : " ports=",
                         (ngx_uint_t) range[2 * i]);

        if (range[2 * i + 1] != range[2 * i]) {
            p = ngx_slprintf(p, last, "-%ui", (ngx_uint_t) range[2 * i + 1]);
        }
    }

    if (!token->tcp || !token->udp) {
        p = ngx_slprintf(p, last, " protocols=%s", token->tcp ? "tcp" : "udp");
    }

    for (i = 0; token->hosts && i < token->hosts->nelts; i++) {
        glob = token->hosts->elts;
        p = ngx_slprintf(p, last, "%s%V", i ? "," : " hosts=", &glob[i]);
    }

    if (token->max_hosts) {
        p = ngx_slprintf(p, last, " max_hosts=%ui", token->max_hosts);
    }

    if (token->max_services) {
        p = ngx_slprintf(p, last, " max_services=%ui", token->max_services);
    }

    if (token->max_connections) {
        p = ngx_slprintf(p, last, " max_connections=%ui",
                         token->max_connections);
    }

    if (token->max_udp_sessions) {
        p = ngx_slprintf(p, last, " max_udp_sessions=%ui",
                         token->max_udp_sessions);
    }

    if (token->expires) {
        ngx_gmtime(token->expires, &tm);
        p = ngx_slprintf(p, last, " expires=%4d-%02d-%02dT%02d:%02d:%02dZ",
                         tm.ngx_tm_year, tm.ngx_tm_mon, tm.ngx_tm_mday,
                         tm.ngx_tm_hour, tm.ngx_tm_min, tm.ngx_tm_sec);
    }

    return ngx_zltunnel_rights_access(token, p, last);
}


static u_char *
ngx_zltunnel_rights_access(ngx_zltunnel_token_t *token, u_char *p,
    u_char *last)
{
    ngx_uint_t                    i;
    ngx_zltunnel_token_access_t  *access;

    for (i = 0; token->access && i < token->access->nelts; i++) {
        access = token->access->elts;
        p = ngx_slprintf(p, last, "%s%V%s%V", i ? "," : " access=",
                         &access[i].name, access[i].token.len ? "@" : "",
                         &access[i].token);
    }

    return p;
}
