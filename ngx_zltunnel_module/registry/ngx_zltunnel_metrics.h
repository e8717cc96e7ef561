
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_METRICS_H_INCLUDED_
#define _NGX_ZLTUNNEL_METRICS_H_INCLUDED_


#include "ngx_zltunnel.h"


/* by what the figures of services are told apart */

typedef enum {
    NGX_ZLTUNNEL_METRICS_TOTAL = 0,
    NGX_ZLTUNNEL_METRICS_TOKEN,
    NGX_ZLTUNNEL_METRICS_SERVICE     /* and by token and protocol */
} ngx_zltunnel_metrics_e;


/*
 * The state of a registry in the text format of Prometheus, version 0.0.4, as
 * ngx_zltunnel_status() has it as JSON.  Services of one name that several
 * agents of a token have are one.
 */
ngx_int_t ngx_zltunnel_metrics(ngx_zltunnel_registry_t *registry,
    ngx_pool_t *pool, ngx_zltunnel_metrics_e by, ngx_chain_t **out,
    off_t *size);


#endif /* _NGX_ZLTUNNEL_METRICS_H_INCLUDED_ */
