
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_PORT_SOCKET_H_INCLUDED_
#define _NGX_ZLTUNNEL_PORT_SOCKET_H_INCLUDED_


#include "ngx_zltunnel.h"


/* listen() and shutdown() on every socket of the port: under the lock.
   Open gives NGX_ERROR with errno, and then none of them listens. */
ngx_int_t ngx_zltunnel_port_socket_open(ngx_zltunnel_registry_t *registry,
    in_port_t port, ngx_uint_t udp);
void ngx_zltunnel_port_socket_close(ngx_zltunnel_registry_t *registry,
    in_port_t port, ngx_uint_t udp);
/* shuts the ports that listen without a service, or only those of them that
   had one: under the lock */
void ngx_zltunnel_port_socket_reconcile(ngx_zltunnel_registry_t *registry,
    ngx_uint_t freed);
/* forgets the datagrams that wait in the sockets of a UDP port */
void ngx_zltunnel_port_socket_drain(ngx_zltunnel_registry_t *registry,
    in_port_t port);
ngx_zltunnel_listener_t *ngx_zltunnel_port_socket_find(
    ngx_zltunnel_registry_t *registry, in_port_t port, ngx_uint_t udp);
/* the next socket of the same port, on another address */
ngx_zltunnel_listener_t *ngx_zltunnel_port_socket_next(
    ngx_zltunnel_listener_t *listener);
/* one socket alone: NGX_OK, NGX_ERROR with errno */
ngx_int_t ngx_zltunnel_port_socket_listen(ngx_listening_t *ls);
/*
 * How many clients may wait in the queue of the socket, until they are
 * accepted.  nginx's default is 511: of thousands that come in the same moment
 * most would have to come again, seconds later.  "backlog" of the listen
 * directive goes before.
 */
int ngx_zltunnel_port_socket_backlog(ngx_listening_t *ls);
void ngx_zltunnel_port_socket_shut(ngx_listening_t *ls);
ngx_uint_t ngx_zltunnel_port_socket_listens(ngx_listening_t *ls);


#endif /* _NGX_ZLTUNNEL_PORT_SOCKET_H_INCLUDED_ */
