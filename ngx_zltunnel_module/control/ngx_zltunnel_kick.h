
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_KICK_H_INCLUDED_
#define _NGX_ZLTUNNEL_KICK_H_INCLUDED_


#include "ngx_zltunnel.h"


/* Ends a tunnel, in all workers.  until: its token's agents are kept out as
   long, and it may be one that has gone of late; 0: they may come again.
   NGX_DECLINED: there is no such tunnel; NGX_BUSY: too many are kept out,
   nothing was done. */
ngx_int_t ngx_zltunnel_kick(ngx_zltunnel_registry_t *registry, u_char *id,
    time_t until);
/* a message of a worker that has done so */
void ngx_zltunnel_kick_told(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg);


#endif /* _NGX_ZLTUNNEL_KICK_H_INCLUDED_ */
