
/*
 * Copyright (C) zltunnel authors
 */

/* What the clients of one token may have of this worker's connections. */


#ifndef _NGX_ZLTUNNEL_SHARE_H_INCLUDED_
#define _NGX_ZLTUNNEL_SHARE_H_INCLUDED_


#include "ngx_zltunnel.h"


struct ngx_zltunnel_share_s {
    ngx_queue_t                  queue;       /* registry->shares */
    ngx_str_t                    name;        /* the token's, with a NUL */
    ngx_uint_t                   clients;
};


/* of the token of that name; it stays as long as the worker.  NULL: there is no
   memory */
ngx_zltunnel_share_t *ngx_zltunnel_share_get(
    ngx_zltunnel_registry_t *registry, ngx_str_t *name);
/* 1: one more client of it would be at the cost of others */
ngx_uint_t ngx_zltunnel_share_full(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_share_t *share);


#endif /* _NGX_ZLTUNNEL_SHARE_H_INCLUDED_ */
