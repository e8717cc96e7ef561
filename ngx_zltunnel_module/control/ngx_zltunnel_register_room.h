
/*
 * Copyright (C) zltunnel authors
 */

/* What a token's services take.  All of it under the lock. */


#ifndef _NGX_ZLTUNNEL_REGISTER_ROOM_H_INCLUDED_
#define _NGX_ZLTUNNEL_REGISTER_ROOM_H_INCLUDED_


#include "ngx_zltunnel.h"


/* a service of the tunnel that waits for its agent, and is not that one, goes;
   0: there is none */
ngx_uint_t ngx_zltunnel_register_room_evict(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel, ngx_zltunnel_sh_service_t *but);
/* how many services the token of that name has */
ngx_uint_t ngx_zltunnel_register_room_services(ngx_zltunnel_sh_t *sh,
    ngx_str_t *name);
/* bytes of the zone that their lists take; but: one that gets another */
size_t ngx_zltunnel_register_room_lists(ngx_zltunnel_sh_t *sh,
    ngx_str_t *name, ngx_zltunnel_sh_service_t *but);


#endif /* _NGX_ZLTUNNEL_REGISTER_ROOM_H_INCLUDED_ */
