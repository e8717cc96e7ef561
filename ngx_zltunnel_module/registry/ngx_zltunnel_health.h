
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_HEALTH_H_INCLUDED_
#define _NGX_ZLTUNNEL_HEALTH_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_shm.h"


/* What its agent has found: ZLT_H_*, and why it is down, fit to be shown.  Its
   port closes, or opens again.  1 if it was otherwise before. */
ngx_uint_t ngx_zltunnel_health_set(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service, ngx_uint_t health, ngx_str_t *why);
/* the service goes */
void ngx_zltunnel_health_free(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service);
/* 1 if the agent that is there says that it is down */
ngx_uint_t ngx_zltunnel_health_down(ngx_zltunnel_sh_service_t *service);


#endif /* _NGX_ZLTUNNEL_HEALTH_H_INCLUDED_ */
