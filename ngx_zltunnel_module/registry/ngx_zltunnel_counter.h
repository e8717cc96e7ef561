
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_COUNTER_H_INCLUDED_
#define _NGX_ZLTUNNEL_COUNTER_H_INCLUDED_


#include "ngx_zltunnel.h"


/* this worker's counter of the service, with one more active connection; one
   that the status does not have, where the zone is full; NULL: this worker has
   no slot */
ngx_zltunnel_sh_counter_t *ngx_zltunnel_counter_get(
    ngx_zltunnel_registry_t *registry, ngx_zltunnel_sh_service_t *service);
/* the same, for what counts all of its connections in one: this one, or if it
   is NULL, as yet any */
ngx_zltunnel_sh_counter_t *ngx_zltunnel_counter_more(
    ngx_zltunnel_registry_t *registry, ngx_zltunnel_sh_service_t *service,
    ngx_zltunnel_sh_counter_t *counter);
void ngx_zltunnel_counter_put(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_counter_t *counter);
/* the same, without a connection to count */
ngx_zltunnel_sh_counter_t *ngx_zltunnel_counter_find(
    ngx_zltunnel_registry_t *registry, ngx_zltunnel_sh_service_t *service);
/* in the list of counters of a service or an access session, made if there is
   none; in a full zone one that is of neither; NULL: no slot */
ngx_zltunnel_sh_counter_t *ngx_zltunnel_counter_of(
    ngx_zltunnel_registry_t *registry, ngx_queue_t *counters,
    ngx_zltunnel_sh_service_t *service, ngx_zltunnel_sh_access_t *access);
/* what they count for is going: frees them, but for those still in use */
void ngx_zltunnel_counter_orphan(ngx_zltunnel_registry_t *registry,
    ngx_queue_t *counters);
/* frees a counter that nothing counts in any more, if its service is gone */
void ngx_zltunnel_counter_check(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_counter_t *counter);
ngx_uint_t ngx_zltunnel_counter_active(ngx_zltunnel_sh_service_t *service);
ngx_uint_t ngx_zltunnel_counter_busy(ngx_zltunnel_sh_service_t *service);
/* folds a dead worker's counter into its service and frees it */
void ngx_zltunnel_counter_fold(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_counter_t *counter);
/* the same for all in which nobody counts now, and may begin anew later */
void ngx_zltunnel_counter_fold_idle(ngx_zltunnel_registry_t *registry,
    ngx_queue_t *counters);


#endif /* _NGX_ZLTUNNEL_COUNTER_H_INCLUDED_ */
