
/*
 * Copyright (C) zltunnel authors
 */

/* The zone, its lock, and its memory. */


#ifndef _NGX_ZLTUNNEL_ZONE_H_INCLUDED_
#define _NGX_ZLTUNNEL_ZONE_H_INCLUDED_


#include "ngx_zltunnel.h"


/* what an agent is told when the zone is full, and what the log calls the limit
   that a client has met */

#define NGX_ZLTUNNEL_ZONE_FULL   "the server's zone is full"
#define NGX_ZLTUNNEL_ZONE_LIMIT  "zone, which is full"


ngx_int_t ngx_zltunnel_zone_init(ngx_shm_zone_t *zone, void *data);
/*
 * What is in the zone is read and changed between these two alone.  lock()
 * empties a registry that it finds broken; unlock() does nothing else.
 */
void ngx_zltunnel_zone_lock(ngx_zltunnel_registry_t *registry);
/* the same for those that only read, or call ngx_zltunnel_zone_change() before
   they do more */
void ngx_zltunnel_zone_lock_read(ngx_zltunnel_registry_t *registry);
void ngx_zltunnel_zone_change(ngx_zltunnel_registry_t *registry);
void ngx_zltunnel_zone_unlock(ngx_zltunnel_registry_t *registry);
/*
 * For those who go through all that there is: when work is much, others get the
 * lock for a moment, and it is 0 again.  One of work is an entry that was looked
 * at.  1: whatever the caller has seen may have gone, and
 * ngx_zltunnel_zone_change() is due again.
 */
ngx_uint_t ngx_zltunnel_zone_unlock_briefly(ngx_zltunnel_registry_t *registry,
    ngx_uint_t *work);
/* milliseconds since a time that is in the zone: another worker's, whose clock
   may have been read later than ours, so that it is not over yet */
ngx_msec_t ngx_zltunnel_zone_since(ngx_msec_t at);
/*
 * Memory of the zone, zeroed; under the lock.  NULL: it is full, which is an
 * error to one agent or client and never to the server: whoever asked gives
 * back what it has taken so far, and says one of the texts above.
 */
void *ngx_zltunnel_zone_alloc(ngx_zltunnel_registry_t *registry, size_t size);
void ngx_zltunnel_zone_free(ngx_zltunnel_registry_t *registry, void *p);


#endif /* _NGX_ZLTUNNEL_ZONE_H_INCLUDED_ */
