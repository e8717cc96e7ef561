
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_HTTP_ZLTUNNEL_H_INCLUDED_
#define _NGX_HTTP_ZLTUNNEL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_zltunnel_control.h"
#include "ngx_zltunnel_registry.h"


typedef struct ngx_http_zltunnel_notify_s  ngx_http_zltunnel_notify_t;


typedef struct {
    ngx_zltunnel_registry_t     *registry;
    ngx_http_handler_pt          handler;     /* what is done with it */
    ngx_zltunnel_metrics_e       metrics;     /* of zltunnel_status */
    ngx_uint_t                   prometheus;  /* is its format */
    ngx_uint_t                   write;       /* of zltunnel_api */
    ngx_zltunnel_ask_conf_t     *asks;        /* zltunnel_auth, or NULL */
    ngx_msec_t                   interval;    /* zltunnel_auth_interval */
    ngx_http_zltunnel_notify_t  *notify;      /* NULL: nobody */
} ngx_http_zltunnel_loc_conf_t;


/* what a request has been found to ask for */

typedef struct {
    ngx_zltunnel_registry_t     *registry;
    ngx_zltunnel_ask_conf_t     *asks;
    u_char                       tunnel_id[ZLT_ID_SIZE];
    u_char                       key[ZLT_KEY_SIZE];
    u_char                       connection_id[ZLT_ID_SIZE];
    u_char                       access_id[ZLT_ID_SIZE];
    u_char                       node[ZLT_ID_SIZE];   /* whom it is for */
    ngx_str_t                    client;      /* of a visitor, as it says */
    ngx_str_t                    accept;      /* of the WebSocket */
    unsigned                     channel:1;   /* a data channel */
    unsigned                     ws:1;        /* .. within a WebSocket */
    unsigned                     fresh:1;     /* .. with a connection id */
    unsigned                     access:1;    /* .. of a visitor */
    unsigned                     former:1;    /* .. for who this server is in
                                                 another configuration */
    unsigned                     peer:1;      /* .. of another node, whose id
                                                 is in place of the tunnel's */
} ngx_http_zltunnel_upgrade_t;


extern ngx_module_t  ngx_http_zltunnel_module;


/* ngx_http_zltunnel_handshake.c */

/* the content handler of zltunnel: control and data channels */
ngx_int_t ngx_http_zltunnel_handshake_handler(ngx_http_request_t *r);


/* ngx_http_zltunnel_answer.c */

/* a response of our own, in plain text; Cache-Control: no-store, and
   Zltunnel-Worker, by which agents know that it is one */
ngx_int_t ngx_http_zltunnel_answer(ngx_http_request_t *r, ngx_uint_t status,
    const char *line, const char *text);
/* 421, with the id of this node: the agent is to ask again.  node: the one that
   the channel is for, of which the log tells; NULL: any, but another binary
   serves beside this one. */
ngx_int_t ngx_http_zltunnel_answer_astray(ngx_http_request_t *r,
    ngx_zltunnel_registry_t *registry, u_char *node);
/* a whole body, of which the last buffer has no flags set; no-store.  type stays.
   Returns what a content handler does. */
ngx_int_t ngx_http_zltunnel_answer_body(ngx_http_request_t *r,
    ngx_uint_t status, const char *type, ngx_chain_t *out, off_t size);
/* 101, with its headers: sent, or for a data channel in the request's output
   chain.  NGX_ERROR, or a status: it is not. */
ngx_int_t ngx_http_zltunnel_answer_switch(ngx_http_request_t *r,
    ngx_http_zltunnel_upgrade_t *upgrade);
/* takes it from there, if none of it has been sent, into memory of
   ngx_alloc(); or NGX_DECLINED */
ngx_int_t ngx_http_zltunnel_answer_take(ngx_http_request_t *r,
    ngx_str_t *answer);
ngx_int_t ngx_http_zltunnel_answer_header(ngx_http_request_t *r,
    const char *name, const char *value);


/* ngx_http_zltunnel_detach.c */

/*
 * Answers 101 and, once that is sent, takes the connection from http and gives
 * it to the core.  What the request asks for is checked and reserved here.
 * Returns what a content handler does.
 */
ngx_int_t ngx_http_zltunnel_detach(ngx_http_request_t *r,
    ngx_http_zltunnel_upgrade_t *upgrade);


/* ngx_http_zltunnel_status.c */

/* the arguments of zltunnel_status */
char *ngx_http_zltunnel_status_conf(ngx_conf_t *cf,
    ngx_http_zltunnel_loc_conf_t *zlcf, ngx_zltunnel_registry_t **registry);
/* its content handler */
ngx_int_t ngx_http_zltunnel_status_handler(ngx_http_request_t *r);


/* ngx_http_zltunnel_api.c */

/* the arguments of zltunnel_api */
char *ngx_http_zltunnel_api_conf(ngx_conf_t *cf,
    ngx_http_zltunnel_loc_conf_t *zlcf, ngx_zltunnel_registry_t **registry);
/* its content handler */
ngx_int_t ngx_http_zltunnel_api_handler(ngx_http_request_t *r);


#endif /* _NGX_HTTP_ZLTUNNEL_H_INCLUDED_ */
