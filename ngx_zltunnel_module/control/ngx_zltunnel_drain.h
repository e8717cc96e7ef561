
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_DRAIN_H_INCLUDED_
#define _NGX_ZLTUNNEL_DRAIN_H_INCLUDED_


#include "ngx_zltunnel.h"


/* nobody new comes to a tunnel's services, what is there goes on; or, with on
   = 0, they may come again, and those that are kept out of one that has gone of
   late.  NGX_DECLINED: there is no such tunnel. */
ngx_int_t ngx_zltunnel_drain(ngx_zltunnel_registry_t *registry, u_char *id,
    ngx_uint_t on);


#endif /* _NGX_ZLTUNNEL_DRAIN_H_INCLUDED_ */
