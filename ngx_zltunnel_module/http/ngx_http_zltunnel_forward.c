
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What a service is told of a request: variables of zltunnel_proxy.conf.
 *
 * The service must see the name by which it was chosen, $host, and no other.
 * But it compares "Host" with "Origin", and makes URLs of it, so it wants the
 * port, too, if the client has named one.  And it must hear of an upgrade
 * where the client asks for one, while all other requests keep the connection.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_zltunnel_forward.h"
#include "ngx_http_zltunnel_variable.h"
#include "ngx_zltunnel_compat.h"


static ngx_int_t ngx_http_zltunnel_forward_authority(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static in_port_t ngx_http_zltunnel_forward_port(ngx_http_request_t *r,
    ngx_str_t *host);
static ngx_int_t ngx_http_zltunnel_forward_connection(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


static ngx_http_variable_t  ngx_http_zltunnel_forward[] = {

    { ngx_string("zltunnel_authority"), NULL,
      ngx_http_zltunnel_forward_authority, 0, 0, 0 },

    { ngx_string("zltunnel_connection"), NULL,
      ngx_http_zltunnel_forward_connection, 0, 0, 0 },

      ngx_http_null_variable
};


ngx_int_t
ngx_http_zltunnel_forward_variables(ngx_conf_t *cf)
{
    return ngx_http_zltunnel_variable_add(cf, ngx_http_zltunnel_forward);
}


/* $host, and the port that the client has named, if it is not the usual one */

static ngx_int_t
ngx_http_zltunnel_forward_authority(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                    *p;
    in_port_t                  port, usual;
    ngx_str_t                  host;
    ngx_http_core_srv_conf_t  *cscf;

    host = r->headers_in.server;

    if (host.len == 0) {
        cscf = ngx_http_get_module_srv_conf(r, ngx_http_core_module);
        host = cscf->server_name;
    }

    usual = 80;

#if (NGX_HTTP_SSL)

    if (r->connection->ssl) {
        usual = 443;
    }

#endif

    port = ngx_http_zltunnel_forward_port(r, &host);

    v->len = host.len;
    v->data = host.data;

    if (port && port != usual) {

        p = ngx_pnalloc(r->pool, host.len + sizeof(":65535") - 1);
        if (p == NULL) {
            return NGX_ERROR;
        }

        v->data = p;
        v->len = ngx_sprintf(p, "%V:%ui", &host, (ngx_uint_t) port) - p;
    }

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


/*
 * The port in "Host", which is ":authority" in HTTP/2; in HTTP/3 there may be
 * the latter alone.  Where the name in "Host" is another one than the host, the
 * request line had that, and the port of the other name means nothing.  0: none
 */

static in_port_t
ngx_http_zltunnel_forward_port(ngx_http_request_t *r, ngx_str_t *host)
{
    u_char     *p, *last;
    ngx_int_t   port;
    ngx_str_t   value;

    if (r->headers_in.host) {
        value = r->headers_in.host->value;

    } else if (r->host_end) {
        value.data = r->host_start;
        value.len = r->host_end - r->host_start;

    } else {
        return 0;
    }

    if (value.len <= host->len
        || ngx_strncasecmp(value.data, host->data, host->len) != 0)
    {
        return 0;
    }

    p = value.data + host->len;
    last = value.data + value.len;

    if (*p == '.') {
        p++;
    }

    if (last - p < 2 || *p++ != ':') {
        return 0;
    }

    port = ngx_atoi(p, last - p);

    return (port > 0 && port <= 65535) ? (in_port_t) port : 0;
}


/*
 * "upgrade", or empty.  Not for "h2c": what comes on such a connection no
 * location, limit or log of nginx would see.
 */

static ngx_int_t
ngx_http_zltunnel_forward_connection(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_table_elt_t  *upgrade;

    upgrade = r->headers_in.upgrade;

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
    v->len = 0;
    v->data = (u_char *) "";

    if (upgrade == NULL || upgrade->value.len == 0
        || ngx_zltunnel_header_next(upgrade)
        || r->http_version != NGX_HTTP_VERSION_11
        || ngx_strlcasestrn(upgrade->value.data,
                            upgrade->value.data + upgrade->value.len,
                            (u_char *) "h2c", 3 - 1))
    {
        return NGX_OK;
    }

    ngx_str_set(v, "upgrade");

    return NGX_OK;
}
