
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_CONNECTION_H_INCLUDED_
#define _NGX_ZLTUNNEL_CONNECTION_H_INCLUDED_


#include "ngx_zltunnel.h"


/* A connection of our own on a descriptor: pool, log, recv and send, its read
   event in epoll.  On error NULL and the descriptor is closed. */
ngx_connection_t *ngx_zltunnel_connection_create(ngx_socket_t fd,
    ngx_log_t *log);
/* Takes the descriptor out of the connection, which is gone then. */
ngx_socket_t ngx_zltunnel_connection_detach(ngx_connection_t *c);
void ngx_zltunnel_connection_close(ngx_connection_t *c);


#endif /* _NGX_ZLTUNNEL_CONNECTION_H_INCLUDED_ */
