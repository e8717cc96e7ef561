
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_STATUS_SUM_H_INCLUDED_
#define _NGX_ZLTUNNEL_STATUS_SUM_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_status_copy.h"


/* the causes for which datagrams are dropped, the ways to a channel, and what
   becomes of notifications; each has a 0 behind it */
extern const ngx_str_t  ngx_zltunnel_status_sum_drops[NGX_ZLTUNNEL_DROPS];
extern const ngx_str_t  ngx_zltunnel_status_sum_ways[NGX_ZLTUNNEL_WAYS];
extern const ngx_str_t  ngx_zltunnel_status_sum_notified[
                                                     NGX_ZLTUNNEL_NOTIFIED];


/* the figures of all workers, of those gone, too */
void ngx_zltunnel_status_sum(ngx_zltunnel_status_t *st,
    ngx_zltunnel_sh_worker_t *sum);
/* ports that the configuration has: one of several addresses is one */
ngx_uint_t ngx_zltunnel_status_sum_ports(ngx_zltunnel_registry_t *registry);
/* Unix time of what another worker may have noted a moment ago */
time_t ngx_zltunnel_status_sum_time(ngx_msec_t msec);
/* what the agent said, when it could not reach the service: of ZLT_E_*, 0 */
const char *ngx_zltunnel_status_sum_cause(ngx_uint_t code);


#endif /* _NGX_ZLTUNNEL_STATUS_SUM_H_INCLUDED_ */
