
/*
 * Copyright (C) zltunnel authors
 */

/* A dial for another node, on its channel or a lane of it. */


#ifndef _NGX_ZLTUNNEL_FORWARD_DIAL_H_INCLUDED_
#define _NGX_ZLTUNNEL_FORWARD_DIAL_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_channel.h"

#include "zlt_msg.h"


/* What it needs of Connect, or DatagramOpen, which has come on c; in a pool of
   its own, which ngx_zltunnel_forward_dial_done() takes away.  NGX_ERROR: there
   is no memory. */
ngx_int_t ngx_zltunnel_forward_dial_begin(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_registry_t *registry, ngx_connection_t *c, zlt_msg_t *m);
/* to the service of that id, of an agent that is here: one hop, never two */
void ngx_zltunnel_forward_dial(ngx_zltunnel_dial_t *dial, u_char *id,
    ngx_uint_t udp);
/* ends it if it runs; may be called again */
void ngx_zltunnel_forward_dial_done(ngx_zltunnel_dial_t *dial);


#endif /* _NGX_ZLTUNNEL_FORWARD_DIAL_H_INCLUDED_ */
