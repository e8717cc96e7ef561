
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_PLACEHOLDER_H_INCLUDED_
#define _NGX_ZLTUNNEL_PLACEHOLDER_H_INCLUDED_


#include <ngx_event_connect.h>

#include "ngx_zltunnel.h"


/* one without a pool, whose descriptor is not in epoll; or NULL */
ngx_connection_t *ngx_zltunnel_placeholder_create(ngx_peer_connection_t *pc);
/* fd takes the place of its descriptor; it is reported as writable */
void ngx_zltunnel_placeholder_swap(ngx_connection_t *c, ngx_socket_t fd);
/* a descriptor for that, which is reset; or -1 */
ngx_socket_t ngx_zltunnel_placeholder_dead(ngx_log_t *log);
/* connecting has taken too long */
void ngx_zltunnel_placeholder_time_out(ngx_connection_t *c);
/* keeps its descriptor for the next one */
void ngx_zltunnel_placeholder_spare(ngx_connection_t *c);
/* every second: closes descriptors that nobody has needed since */
void ngx_zltunnel_placeholder_check(void);


#endif /* _NGX_ZLTUNNEL_PLACEHOLDER_H_INCLUDED_ */
