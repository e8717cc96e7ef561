
/*
 * Copyright (C) zltunnel authors
 */

/* The zone and its lock. */


#ifndef _NGX_ZLTUNNEL_ZONE_H_INCLUDED_
#define _NGX_ZLTUNNEL_ZONE_H_INCLUDED_


#include "ngx_zltunnel.h"


ngx_int_t ngx_zltunnel_zone_init(ngx_shm_zone_t *zone, void *data);
/*
 * Every function below is called between these two.  lock() empties a
 * registry that it finds broken, and unlock() logs it.
 */
void ngx_zltunnel_zone_lock(ngx_zltunnel_registry_t *registry);
/* the same for those that only read, or call ngx_zltunnel_zone_change() before
   they do more */
void ngx_zltunnel_zone_lock_read(ngx_zltunnel_registry_t *registry);
void ngx_zltunnel_zone_change(ngx_zltunnel_registry_t *registry);
void ngx_zltunnel_zone_unlock(ngx_zltunnel_registry_t *registry);


#endif /* _NGX_ZLTUNNEL_ZONE_H_INCLUDED_ */
