
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_PAIR_H_INCLUDED_
#define _NGX_ZLTUNNEL_PAIR_H_INCLUDED_


#include "ngx_zltunnel.h"


/* Relays between the dial's channel and the descriptor that it returns; or -1,
   and the channel is closed. */
ngx_socket_t ngx_zltunnel_pair_start(ngx_zltunnel_conn_t *conn);
/* 1: bytes have come that the connection has not got */
ngx_uint_t ngx_zltunnel_pair_left(ngx_zltunnel_conn_t *conn);
/* the connection is closed by its owner */
void ngx_zltunnel_pair_leave(ngx_zltunnel_conn_t *conn);


#endif /* _NGX_ZLTUNNEL_PAIR_H_INCLUDED_ */
