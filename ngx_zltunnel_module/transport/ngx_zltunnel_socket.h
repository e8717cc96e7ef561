
/*
 * Copyright (C) zltunnel authors
 */

/* Ends that are sockets, and what is asked of a socket. */


#ifndef _NGX_ZLTUNNEL_SOCKET_H_INCLUDED_
#define _NGX_ZLTUNNEL_SOCKET_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_end.h"


/* of a client or an agent */
extern const ngx_zltunnel_end_ops_t  ngx_zltunnel_socket_ops;
/* a socketpair to the worker with the channel */
extern const ngx_zltunnel_end_ops_t  ngx_zltunnel_socket_bridge_ops;
/* a socketpair to an upstream connection here */
extern const ngx_zltunnel_end_ops_t  ngx_zltunnel_socket_pair_ops;


void ngx_zltunnel_socket_nodelay(ngx_connection_t *c);
/* keepalive 60/10/5 s; or so that a dead peer is found in "dead"
   ms; not TCP_USER_TIMEOUT, see there */
void ngx_zltunnel_socket_keepalive(ngx_connection_t *c, ngx_msec_t dead);
/* the kernel holds little of what it cannot send yet, behind which all waits
   that comes later */
void ngx_zltunnel_socket_prompt(ngx_connection_t *c);
/* the round trip, ms, at least 1 */
ngx_msec_t ngx_zltunnel_socket_rtt(ngx_connection_t *c);
/* as ngx_zltunnel_end_alive() */
ngx_int_t ngx_zltunnel_socket_acked(ngx_connection_t *c, ngx_msec_t dead);
/* a write has failed so: whether an end that is read now is none */
void ngx_zltunnel_socket_broken(ngx_zltunnel_end_t *end, ngx_err_t err);
/* bytes that are not acknowledged, and that a reset would lose; 0 for a UNIX
   socket */
size_t ngx_zltunnel_socket_outq(ngx_connection_t *c);
/* Whether the end of this process is a reset: SO_LINGER 0, which is to be on
   as long as bytes may follow, and off before a clean close. */
void ngx_zltunnel_socket_linger(ngx_connection_t *c, ngx_uint_t reset);


#endif /* _NGX_ZLTUNNEL_SOCKET_H_INCLUDED_ */
