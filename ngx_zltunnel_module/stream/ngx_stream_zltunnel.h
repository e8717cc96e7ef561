
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_STREAM_ZLTUNNEL_H_INCLUDED_
#define _NGX_STREAM_ZLTUNNEL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_stream.h>

#include "ngx_zltunnel.h"


typedef struct {
    ngx_zltunnel_registry_t     *registry;
    ngx_flag_t                   ports;
    ngx_flag_t                   reserved;
    ngx_stream_complex_value_t  *pass;        /* a service or, with host, a host */
    ngx_uint_t                   host;
    ngx_str_t                    token;
    ngx_msec_t                   timeout;
    ngx_msec_t                   udp_timeout;
    ngx_msec_t                   half_timeout;
    ngx_int_t                    responses;  /* to a datagram; -1: any */
    ngx_stream_complex_value_t  *rate[2];    /* bytes a second: 0 from the
                                                client, 1 to it */
    ngx_stream_conf_ctx_t       *ctx;        /* of stream, above servers */
} ngx_stream_zltunnel_srv_conf_t;


#define NGX_STREAM_ZLTUNNEL_SERVICE            0
#define NGX_STREAM_ZLTUNNEL_TUNNEL             1
#define NGX_STREAM_ZLTUNNEL_CONNECTION_ID      2
#define NGX_STREAM_ZLTUNNEL_CONNECT_TIME       3
#define NGX_STREAM_ZLTUNNEL_DATAGRAMS_IN       4    /* and on: UDP alone */
#define NGX_STREAM_ZLTUNNEL_DATAGRAMS_OUT      5
#define NGX_STREAM_ZLTUNNEL_DATAGRAMS_DROPPED  6


extern ngx_module_t  ngx_stream_zltunnel_module;


/* ngx_stream_zltunnel_module.c */

/* what a dial that failed is to the log */
ngx_uint_t ngx_stream_zltunnel_module_status(ngx_zltunnel_dial_e rc);
/* tells of a zltunnel_pass to a name that no agent has registered, if rc says
   so */
void ngx_stream_zltunnel_module_missing(ngx_stream_session_t *s,
    ngx_zltunnel_dial_e rc);
/* of the listening socket: the client's may be another, by redirection */
in_port_t ngx_stream_zltunnel_module_port(ngx_connection_t *c);


/* ngx_stream_zltunnel_udp.c */

/* a session of a UDP client, with its first datagram in c->buffer */
void ngx_stream_zltunnel_udp_handler(ngx_stream_session_t *s);
ngx_int_t ngx_stream_zltunnel_udp_variable(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data);


/* ngx_stream_zltunnel_proxy.c */

/*
 * Refuses directives of nginx's proxy that a server, cf's, has of its own, since
 * "directive" is there and they would have no effect.  To be called when the
 * proxy's configuration has been merged with outer's, that of "stream".
 */
char *ngx_stream_zltunnel_proxy_check(ngx_conf_t *cf,
    ngx_stream_conf_ctx_t *outer, const char *directive);


/* ngx_stream_zltunnel_listen.c */


/* the registry of a server with zltunnel_ports, or NULL */
ngx_zltunnel_registry_t *ngx_stream_zltunnel_module_ports(void **srv_conf,
    ngx_uint_t *reserved);
/* of a server with zltunnel_pass, or NULL; service is empty if it has
   variables */
ngx_zltunnel_registry_t *ngx_stream_zltunnel_module_pass(void **srv_conf,
    ngx_str_t *service, ngx_str_t *token);
/* finds the listening sockets of such servers, and refuses those that cannot
   be assigned ports; called when all of the configuration has been read */
char *ngx_stream_zltunnel_listen(ngx_cycle_t *cycle);


/* ngx_stream_zltunnel_upstream.c */

/* of a session that went to a tunnelled service by an upstream, or NULL */
ngx_zltunnel_dial_t *ngx_stream_zltunnel_upstream_dial(
    ngx_stream_session_t *s);


#endif /* _NGX_STREAM_ZLTUNNEL_H_INCLUDED_ */
