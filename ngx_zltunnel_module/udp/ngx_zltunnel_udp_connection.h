
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_UDP_CONNECTION_H_INCLUDED_
#define _NGX_ZLTUNNEL_UDP_CONNECTION_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_newcomer.h"


/* a connection of a newcomer, who is a client then; NULL: there is none */
ngx_connection_t *ngx_zltunnel_udp_connection_create(
    ngx_zltunnel_newcomer_t *newcomer);
/* calls nginx's handler, which reads that datagram, or does not */
void ngx_zltunnel_udp_connection_event(ngx_connection_t *c, u_char *data,
    size_t len);
/* the connection is gone */
void ngx_zltunnel_udp_connection_forget(ngx_connection_t *c);


#endif /* _NGX_ZLTUNNEL_UDP_CONNECTION_H_INCLUDED_ */
