
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_CHANNEL_START_H_INCLUDED_
#define _NGX_ZLTUNNEL_CHANNEL_START_H_INCLUDED_


#include "ngx_zltunnel.h"


/*
 * Takes c over as ngx_zltunnel_control_start() does.  ws: a WebSocket has been
 * accepted on it, and data, which is changed, is within it.  answer is the
 * 101, not sent yet, from ngx_alloc() and no longer the caller's; or its data
 * is NULL, if it has been sent.
 */
void ngx_zltunnel_channel_start(ngx_zltunnel_registry_t *registry,
    ngx_connection_t *c, u_char *tunnel_id, u_char *connection_id,
    ngx_uint_t ws, u_char *data, size_t len, ngx_str_t *answer);


#endif /* _NGX_ZLTUNNEL_CHANNEL_START_H_INCLUDED_ */
