
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_BRIDGE_H_INCLUDED_
#define _NGX_ZLTUNNEL_BRIDGE_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_transport.h"


extern const ngx_zltunnel_end_bridge_ops_t  ngx_zltunnel_bridge_ops;


/* answers a TAKE */
void ngx_zltunnel_bridge_give(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg);
/* gives a channel that is in nobody's list to the dial of another worker:
   moved if it is plain, over a bridge if not.  requests: somebody waits there
   for an answer, and for no longer than heartbeat_timeout if it is dead. */
void ngx_zltunnel_bridge_send(ngx_zltunnel_channel_t *channel,
    ngx_uint_t slot, u_char *connection_id, u_char *tunnel_id,
    ngx_uint_t requests);
/* The worker opposite has told of an end, or of a reset.  NGX_DECLINED: there
   is no such bridge, or not yet: what makes it is still to be acted on. */
ngx_int_t ngx_zltunnel_bridge_told(ngx_zltunnel_ipc_t *msg);


#endif /* _NGX_ZLTUNNEL_BRIDGE_H_INCLUDED_ */
