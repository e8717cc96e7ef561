
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_LISTENER_H_INCLUDED_
#define _NGX_ZLTUNNEL_LISTENER_H_INCLUDED_


#include "ngx_zltunnel.h"


/* what reads the UDP sockets: handed in, since it is above */

typedef struct {
    ngx_int_t                  (*init)(ngx_cycle_t *cycle);
    /* the socket of an assigned port is about to be read */
    void                       (*arm)(ngx_zltunnel_listener_t *listener);
    ngx_event_handler_pt         receive;
    /* a UDP port has another service, or none */
    void                       (*changed)(void);
} ngx_zltunnel_listener_datagrams_t;


void ngx_zltunnel_listener_init_module(ngx_cycle_t *cycle);
/* every second: opens again what another binary has closed */
void ngx_zltunnel_listener_tick(ngx_zltunnel_registry_t *registry);
/* arms or disarms a port as the registry says; port 0: all */
void ngx_zltunnel_listener_update_port(ngx_zltunnel_registry_t *registry,
    in_port_t port, ngx_uint_t udp);
/* puts the accept event into epoll, or takes it out, as it should be */
void ngx_zltunnel_listener_update(ngx_zltunnel_listener_t *listener);
/* .. of all that wait for room */
void ngx_zltunnel_listener_resume(void);
/* the same for any socket, as whose handler says */
void ngx_zltunnel_listener_arm(ngx_listening_t *ls,
    ngx_event_handler_pt handler);
void ngx_zltunnel_listener_disarm(ngx_listening_t *ls);
/* what is known of the socket, or NULL */
ngx_zltunnel_listener_t *ngx_zltunnel_listener_of(ngx_listening_t *ls);
ngx_int_t ngx_zltunnel_listener_init_process(ngx_cycle_t *cycle,
    const ngx_zltunnel_listener_datagrams_t *datagrams);
/* the clients of that socket are the token's whose share it is */
void ngx_zltunnel_listener_served(ngx_zltunnel_registry_t *registry,
    ngx_listening_t *ls, ngx_zltunnel_share_t *share);
/* a port was opened or closed here: the other workers are told */
void ngx_zltunnel_listener_changed(ngx_zltunnel_registry_t *registry,
    in_port_t port, ngx_uint_t udp);


#endif /* _NGX_ZLTUNNEL_LISTENER_H_INCLUDED_ */
