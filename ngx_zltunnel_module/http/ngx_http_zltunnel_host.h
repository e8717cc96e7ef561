
/*
 * Copyright (C) zltunnel authors
 */

/* zltunnel_host in http: for which host, and what a client is told. */


#ifndef _NGX_HTTP_ZLTUNNEL_HOST_H_INCLUDED_
#define _NGX_HTTP_ZLTUNNEL_HOST_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_zltunnel_upstream.h"


/* of one request at an upstream; zero before it is used */

typedef struct {
    ngx_http_request_t          *request;
    ngx_zltunnel_upstream_t     *up;
    ngx_uint_t                   status;      /* that it is to have */
    ngx_str_t                    error;       /* $zltunnel_error */
    ngx_event_t                  answer;
} ngx_http_zltunnel_host_t;


/* before a service is chosen; value: of zltunnel_host, or NULL.  NGX_ERROR */
ngx_int_t ngx_http_zltunnel_host_init(ngx_http_zltunnel_host_t *host,
    ngx_http_request_t *r, ngx_zltunnel_upstream_t *up,
    ngx_http_complex_value_t *value);
/* the request is done with the connection */
void ngx_http_zltunnel_host_done(ngx_http_zltunnel_host_t *host);
/* why the request failed; empty: it did not */
void ngx_http_zltunnel_host_error(ngx_http_zltunnel_host_t *host,
    ngx_str_t *error);


#endif /* _NGX_HTTP_ZLTUNNEL_HOST_H_INCLUDED_ */
