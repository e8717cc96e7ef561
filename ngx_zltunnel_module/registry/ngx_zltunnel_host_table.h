
/*
 * Copyright (C) zltunnel authors
 */

/* The hash table of hosts' names, under the zone's lock, for ngx_zltunnel_host.c
   alone. */


#ifndef _NGX_ZLTUNNEL_HOST_TABLE_H_INCLUDED_
#define _NGX_ZLTUNNEL_HOST_TABLE_H_INCLUDED_


#include "ngx_zltunnel.h"


/* of exactly that name; or NULL */
ngx_zltunnel_sh_host_t *ngx_zltunnel_host_table_find(ngx_zltunnel_sh_t *sh,
    ngx_str_t *name);
ngx_uint_t ngx_zltunnel_host_table_is(ngx_zltunnel_sh_host_t *host,
    ngx_str_t *name);
/* one whose name and hash are set; NGX_ERROR: there is no memory */
ngx_int_t ngx_zltunnel_host_table_add(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_host_t *host);
void ngx_zltunnel_host_table_remove(ngx_zltunnel_sh_t *sh,
    ngx_zltunnel_sh_host_t *host);


#endif /* _NGX_ZLTUNNEL_HOST_TABLE_H_INCLUDED_ */
