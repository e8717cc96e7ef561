
/*
 * Copyright (C) zltunnel authors
 */

/* Tunnels that have gone. */


#ifndef _NGX_ZLTUNNEL_PAST_H_INCLUDED_
#define _NGX_ZLTUNNEL_PAST_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_shm.h"


/* under the lock: a tunnel is about to be removed */
void ngx_zltunnel_past_add(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel);
/* under the lock: one that went in the last hour, or NULL */
ngx_zltunnel_sh_past_t *ngx_zltunnel_past_find(ngx_zltunnel_sh_t *sh,
    u_char *id);
/* under the lock: agents with its token's name are kept out now, and it is there
   until they are not */
void ngx_zltunnel_past_keep(ngx_zltunnel_sh_t *sh, u_char *id);
/* A copy of those that went in the last hour, the latest first, *n of them;
   "kept" says of each whether agents with its token's name are kept out.
   NULL: not enough memory. */
ngx_zltunnel_sh_past_t *ngx_zltunnel_past_copy(
    ngx_zltunnel_registry_t *registry, ngx_pool_t *pool, ngx_uint_t *n);


#endif /* _NGX_ZLTUNNEL_PAST_H_INCLUDED_ */
