
/*
 * Copyright (C) zltunnel authors
 */

/* A client at a socket, and whether there is room for it. */


#ifndef _NGX_ZLTUNNEL_ACCEPT_H_INCLUDED_
#define _NGX_ZLTUNNEL_ACCEPT_H_INCLUDED_


#include "ngx_zltunnel.h"


/* not 0 within nginx's accepting, which uses the event after its handler */
extern ngx_uint_t  ngx_zltunnel_accept_under_way;


/* what is to be called when a client is at the listener's TCP socket */
ngx_event_handler_pt ngx_zltunnel_accept_handler(
    ngx_zltunnel_listener_t *listener);
/* 1 if there is no room for a client of the listener, which may be NULL */
ngx_uint_t ngx_zltunnel_accept_waits(ngx_zltunnel_listener_t *listener);
/* those that are paused are looked at again in a moment */
void ngx_zltunnel_accept_later(void);
/* Other sockets of stream whose clients may come to a service; "again": those
   that were paused are armed if there is room. */
void ngx_zltunnel_accept_streams(ngx_cycle_t *cycle, ngx_uint_t again);


#endif /* _NGX_ZLTUNNEL_ACCEPT_H_INCLUDED_ */
