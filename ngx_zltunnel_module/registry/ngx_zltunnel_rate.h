
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_RATE_H_INCLUDED_
#define _NGX_ZLTUNNEL_RATE_H_INCLUDED_


#include "ngx_zltunnel.h"


/* where a worker has found the clock of a token; all zero at the start */

typedef struct {
    ngx_zltunnel_sh_rate_t      *rate;
    uint64_t                     hash;        /* of the token's name */
    ngx_uint_t                   resets;      /* of the registry, so far */
    ngx_msec_t                   failed;      /* there was no memory; or 0 */
} ngx_zltunnel_rate_t;


/* The clock of all tunnels of the token, of zlt_pace.h.  Not to be called under
   the lock, which is taken the first time only.  NULL: the zone is full. */
uint64_t *ngx_zltunnel_rate_clock(ngx_zltunnel_registry_t *registry,
    ngx_str_t *name, ngx_zltunnel_rate_t *known);

/* The rate is another now, and whoever waits by the clock that was found here
   would wait for the old one. */
void ngx_zltunnel_rate_change(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_rate_t *known, uint64_t old, uint64_t rate);


#endif /* _NGX_ZLTUNNEL_RATE_H_INCLUDED_ */
