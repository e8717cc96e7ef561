
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_UDP_SOCKET_H_INCLUDED_
#define _NGX_ZLTUNNEL_UDP_SOCKET_H_INCLUDED_


#include "ngx_zltunnel.h"


/* in the master, which may more: how much the kernel keeps until it is read,
   for all sockets that are ours to read */
void ngx_zltunnel_udp_socket_init_module(ngx_cycle_t *cycle);
/* how many datagrams the kernel has dropped since the socket was made: for
   want of room, above all */
uint32_t ngx_zltunnel_udp_socket_drops(ngx_socket_t fd);
/* what came with a datagram: the address that it was sent to, and how many the
   kernel had dropped by then, if it says that */
void ngx_zltunnel_udp_socket_told(ngx_listening_t *ls, struct msghdr *msg,
    ngx_sockaddr_t *local, uint32_t *drops);


#endif /* _NGX_ZLTUNNEL_UDP_SOCKET_H_INCLUDED_ */
