
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_BRIDGE_H_INCLUDED_
#define _NGX_ZLTUNNEL_BRIDGE_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_transport.h"


/* answers a TAKE */
void ngx_zltunnel_bridge_give(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg);
/* gives a channel that is in nobody's list to the dial of another worker:
   over a bridge if it is under TLS, else moved.  requests: somebody waits there
   for an answer, and for no longer than heartbeat_timeout if it is dead. */
void ngx_zltunnel_bridge_send(ngx_zltunnel_channel_t *channel,
    ngx_uint_t slot, u_char *connection_id, u_char *tunnel_id,
    ngx_uint_t requests);

#endif /* _NGX_ZLTUNNEL_BRIDGE_H_INCLUDED_ */
