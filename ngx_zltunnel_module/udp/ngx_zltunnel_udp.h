
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_UDP_H_INCLUDED_
#define _NGX_ZLTUNNEL_UDP_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_udp_session.h"
#include "ngx_zltunnel_udp_socket.h"


#define NGX_ZLTUNNEL_UDP_BATCH  64     /* datagrams of one system call */


ngx_int_t ngx_zltunnel_udp_init_process(ngx_cycle_t *cycle);
/* the socket of an assigned port is about to be read */
void ngx_zltunnel_udp_arm(ngx_zltunnel_listener_t *listener);
/* reads datagrams of all clients of a listening socket */
void ngx_zltunnel_udp_receive(ngx_event_t *ev);
/* frees what the process has of it */
void ngx_zltunnel_udp_cleanup(void);
/* every second: ends what belongs to services that are gone */
void ngx_zltunnel_udp_check(ngx_zltunnel_registry_t *registry);
/* the same, soon: for who may have been called by a session */
void ngx_zltunnel_udp_recheck(void);
/* the worker exits: ends every session, closes the channels */
void ngx_zltunnel_udp_exit(void);


#endif /* _NGX_ZLTUNNEL_UDP_H_INCLUDED_ */
