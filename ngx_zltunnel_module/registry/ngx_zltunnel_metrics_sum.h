
/*
 * Copyright (C) zltunnel authors
 */

/* What ngx_zltunnel_metrics.c writes, added up. */


#ifndef _NGX_ZLTUNNEL_METRICS_SUM_H_INCLUDED_
#define _NGX_ZLTUNNEL_METRICS_SUM_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_metrics.h"
#include "ngx_zltunnel_status_copy.h"


typedef enum {
    NGX_ZLTUNNEL_METRICS_TUNNELS = 0,
    NGX_ZLTUNNEL_METRICS_TCP,
    NGX_ZLTUNNEL_METRICS_UDP,
    NGX_ZLTUNNEL_METRICS_KINDS
} ngx_zltunnel_metrics_kind_e;


/* of all that have the same names: an empty one is not told apart */

typedef struct {
    ngx_zltunnel_metrics_kind_e  kind;
    ngx_str_t                    token;
    ngx_str_t                    service;

    ngx_uint_t                   n;           /* services, or tunnels .. */
    ngx_uint_t                   away;        /* .. without an agent */
    ngx_uint_t                   draining;    /* .. that take nobody new */
    ngx_uint_t                   kept;        /* those gone that are kept out */
    ngx_uint_t                   up;          /* services */
    ngx_uint_t                   changed;     /* the last time that one went
                                                 up or down; 0: never */
    ngx_uint_t                   pending;
    ngx_uint_t                   idle;
    ngx_uint_t                   accesses;
    ngx_uint_t                   visits;
    ngx_uint_t                   active;
    uint64_t                     total;
    uint64_t                     bytes[2];
    uint64_t                     datagrams[2];
    uint64_t                     dropped[NGX_ZLTUNNEL_DROPS];
} ngx_zltunnel_metrics_sum_t;


/*
 * All sums of a registry, in the pool: n pointers, in the order of kind, token,
 * service.  st was filled by ngx_zltunnel_status_copy().  NULL: no memory.
 */
ngx_zltunnel_metrics_sum_t **ngx_zltunnel_metrics_sum_all(
    ngx_zltunnel_status_t *st, ngx_zltunnel_metrics_e by, ngx_uint_t *n);
/* the order of names: less than, equal to, or greater than 0, as memcmp() */
int ngx_zltunnel_metrics_sum_order(const ngx_str_t *one, const ngx_str_t *two);


#endif /* _NGX_ZLTUNNEL_METRICS_SUM_H_INCLUDED_ */
