
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_FIGURE_H_INCLUDED_
#define _NGX_ZLTUNNEL_FIGURE_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_shm.h"


/* ms; the last bucket has none */
extern const ngx_msec_t  ngx_zltunnel_figure_limits[NGX_ZLTUNNEL_BUCKETS - 1];


/* Counted by this worker, without the lock: how a dial ended, and when; the
   round trip of a heartbeat on a control channel. */
void ngx_zltunnel_figure_dial(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_dial_e rc, ngx_msec_t msec);
void ngx_zltunnel_figure_heartbeat(ngx_zltunnel_registry_t *registry,
    ngx_msec_t msec);
/* .. and what became of n events, NGX_ZLTUNNEL_SENT and so on */
void ngx_zltunnel_figure_notified(ngx_zltunnel_registry_t *registry,
    ngx_uint_t result, ngx_uint_t n);
/* .. and what zltunnel_auth said, NGX_ZLTUNNEL_ALLOWED and so on */
void ngx_zltunnel_figure_asked(ngx_zltunnel_registry_t *registry,
    ngx_uint_t result);
/* what a worker has counted in its slot, but for its figures */
void ngx_zltunnel_figure_add_worker(ngx_zltunnel_sh_worker_t *to,
    ngx_zltunnel_sh_worker_t *from);
/* under the lock; NULL: nothing was counted */
void ngx_zltunnel_figure_add(ngx_zltunnel_sh_figures_t *to,
    ngx_zltunnel_sh_figures_t *from);


#endif /* _NGX_ZLTUNNEL_FIGURE_H_INCLUDED_ */
