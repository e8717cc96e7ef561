
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_PAIR_H_INCLUDED_
#define _NGX_ZLTUNNEL_PAIR_H_INCLUDED_


#include "ngx_zltunnel.h"


/* The descriptor that the connection is to have; or -1, and the dial's channel is
   closed.  When it has that, a relay joins both: it may end at once. */
ngx_socket_t ngx_zltunnel_pair_start(ngx_zltunnel_conn_t *conn);
void ngx_zltunnel_pair_relay(ngx_zltunnel_conn_t *conn);
/* 1: bytes have come that the connection has not got */
ngx_uint_t ngx_zltunnel_pair_left(ngx_zltunnel_conn_t *conn);
/* the connection is closed by its owner */
void ngx_zltunnel_pair_leave(ngx_zltunnel_conn_t *conn);


#endif /* _NGX_ZLTUNNEL_PAIR_H_INCLUDED_ */
