
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_BRIDGE_H_INCLUDED_
#define _NGX_ZLTUNNEL_BRIDGE_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_transport.h"


/* of a channel under TLS that another worker uses */

typedef struct ngx_zltunnel_bridge_s  ngx_zltunnel_bridge_t;


/* answers a TAKE */
void ngx_zltunnel_bridge_give(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg);
/* gives a channel that is in nobody's list to the dial of another worker:
   over a bridge if it is under TLS, else moved.  requests: somebody waits there
   for an answer, and for no longer than heartbeat_timeout if it is dead. */
void ngx_zltunnel_bridge_send(ngx_zltunnel_channel_t *channel,
    ngx_uint_t slot, u_char *connection_id, u_char *tunnel_id,
    ngx_uint_t requests);
/* 1: no connection is under way there, and the channel may be closed */
ngx_uint_t ngx_zltunnel_bridge_idle(ngx_zltunnel_bridge_t *bridge);
/* with its channel; an idle one, to make room: a dial of the other worker that
   has just taken it asks on another */
void ngx_zltunnel_bridge_retire(ngx_zltunnel_bridge_t *bridge);
/* with its channel */
void ngx_zltunnel_bridge_close(ngx_zltunnel_bridge_t *bridge);

#endif /* _NGX_ZLTUNNEL_BRIDGE_H_INCLUDED_ */
