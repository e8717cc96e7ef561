
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_CHANNEL_PLACE_H_INCLUDED_
#define _NGX_ZLTUNNEL_CHANNEL_PLACE_H_INCLUDED_


#include "ngx_zltunnel.h"


/*
 * What the http side asks before it answers 101 on c: checks key and limits,
 * reserves the place.  connection_id may be NULL: an idle channel.  *held is a
 * connection that it will need beside c, or NULL: the caller's, who releases it
 * just before ngx_zltunnel_channel_start().
 * NGX_OK; or an http status: 403, 410, 421 (ask again: another binary has the
 * tunnel, perhaps), 503.
 */
ngx_int_t ngx_zltunnel_channel_place_take(ngx_zltunnel_registry_t *registry,
    ngx_connection_t *c, u_char *tunnel_id, u_char *key,
    u_char *connection_id, ngx_connection_t **held);
/* the connection ended before ngx_zltunnel_channel_start(): gives back what
   was reserved */
void ngx_zltunnel_channel_place_leave(ngx_zltunnel_registry_t *registry,
    u_char *tunnel_id, u_char *connection_id);
/* how many more this worker may have: max_channel_share */
ngx_uint_t ngx_zltunnel_channel_place_left(ngx_zltunnel_registry_t *registry);
/* .. one more of a visitor, which needs another one, to its service */
ngx_uint_t ngx_zltunnel_channel_place_visits(
    ngx_zltunnel_registry_t *registry);


#endif /* _NGX_ZLTUNNEL_CHANNEL_PLACE_H_INCLUDED_ */
