
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_STATUS_H_INCLUDED_
#define _NGX_ZLTUNNEL_STATUS_H_INCLUDED_


#include "ngx_zltunnel.h"


/*
 * The state of a registry as JSON, in buffers of the pool.  *out is the chain
 * (its last buffer has no flags set), *size the number of bytes in it.
 * NGX_ERROR: not enough memory.  It is a row of glimpses: each tunnel is
 * whole, but they are not all of one moment.
 */
ngx_int_t ngx_zltunnel_status(ngx_zltunnel_registry_t *registry,
    ngx_pool_t *pool, ngx_chain_t **out, off_t *size);


#endif /* _NGX_ZLTUNNEL_STATUS_H_INCLUDED_ */
