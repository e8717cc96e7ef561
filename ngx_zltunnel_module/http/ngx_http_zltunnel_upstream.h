
/*
 * Copyright (C) zltunnel authors
 */

/* A request of an http upstream{} with zltunnel_service. */


#ifndef _NGX_HTTP_ZLTUNNEL_UPSTREAM_H_INCLUDED_
#define _NGX_HTTP_ZLTUNNEL_UPSTREAM_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_zltunnel_host.h"
#include "ngx_zltunnel_upstream.h"


typedef struct {
    ngx_zltunnel_upstream_conf_t   up;
    ngx_http_complex_value_t      *host;      /* of zltunnel_host */
    ngx_http_complex_value_t      *key;       /* of balance=hash: */
    ngx_http_upstream_srv_conf_t   backup;    /* of the servers so marked */
    ngx_http_upstream_init_peer_pt original_init_peer;
    unsigned                       ready:1;   /* init_upstream was called */
} ngx_http_zltunnel_ups_conf_t;


typedef struct {
    ngx_zltunnel_upstream_t        up;
    ngx_http_zltunnel_ups_conf_t  *conf;
    ngx_http_request_t            *request;
    ngx_zltunnel_conn_t           *conn;      /* until it may be gone */
    ngx_http_zltunnel_host_t       host;

    /* what variables show, after it */
    ngx_str_t                      service;
    ngx_str_t                      tunnel;
    u_char                         id[ZLT_ID_SIZE];
    ngx_msec_t                     connect_time;

    /* what is between the layers: of keepalive, or the inner one */
    ngx_event_get_peer_pt          get;
    ngx_event_free_peer_pt         free;
    void                          *data;
#if (NGX_HTTP_SSL)
    ngx_event_set_peer_session_pt  set_session;
    ngx_event_save_peer_session_pt save_session;
#endif
} ngx_http_zltunnel_peer_t;


extern ngx_module_t  ngx_http_zltunnel_upstream_module;


/* peer.init of the outer layer, and of the inner one */
ngx_int_t ngx_http_zltunnel_upstream_init(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);
ngx_int_t ngx_http_zltunnel_upstream_init_inner(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);
/* what the request has had last: an internal redirect, as of error_page, has
   cleared the contexts of modules; or NULL */
ngx_http_zltunnel_peer_t *ngx_http_zltunnel_upstream_last(
    ngx_http_request_t *r);


#endif /* _NGX_HTTP_ZLTUNNEL_UPSTREAM_H_INCLUDED_ */
