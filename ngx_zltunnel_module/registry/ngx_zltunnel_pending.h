
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_PENDING_H_INCLUDED_
#define _NGX_ZLTUNNEL_PENDING_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_shm.h"


ngx_zltunnel_sh_pending_t *ngx_zltunnel_pending_find(ngx_zltunnel_sh_t *sh,
    u_char *id);
ngx_zltunnel_sh_pending_t *ngx_zltunnel_pending_add(
    ngx_zltunnel_registry_t *registry, ngx_zltunnel_sh_tunnel_t *tunnel,
    u_char *id, ngx_uint_t datagrams, ngx_msec_t timeout);
void ngx_zltunnel_pending_remove(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_pending_t *pending);


#endif /* _NGX_ZLTUNNEL_PENDING_H_INCLUDED_ */
