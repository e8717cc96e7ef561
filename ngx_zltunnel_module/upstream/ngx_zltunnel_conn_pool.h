
/*
 * Copyright (C) zltunnel authors
 */

/* Where the state of an upstream connection lies. */


#ifndef _NGX_ZLTUNNEL_CONN_POOL_H_INCLUDED_
#define _NGX_ZLTUNNEL_CONN_POOL_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_conn.h"


/* in the pool, with which it is released; zeroed.  NULL: no memory. */
ngx_zltunnel_conn_t *ngx_zltunnel_conn_pool_add(ngx_pool_t *pool,
    ngx_zltunnel_conn_pt release);
/* of a connection with a pool of its own, or NULL */
ngx_zltunnel_conn_t *ngx_zltunnel_conn_pool_find(ngx_connection_t *c);


#endif /* _NGX_ZLTUNNEL_CONN_POOL_H_INCLUDED_ */
