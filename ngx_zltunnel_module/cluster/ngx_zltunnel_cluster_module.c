
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The module for "cluster": a directory of what many servers have, in an engine
 * that speaks Redis' protocol.
 *
 * It is a module of its own, so that the other one needs no library for it.  It
 * uses that one, whose functions it finds once nginx has loaded both, and is
 * not used by it: all that others see of a directory is in the zone.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_config.h"


static ngx_int_t ngx_zltunnel_cluster_init_process(ngx_cycle_t *cycle);


static ngx_core_module_t  ngx_zltunnel_cluster_module_ctx = {
    ngx_string("zltunnel_cluster"),
    NULL,
    NULL
};


ngx_module_t  ngx_zltunnel_cluster_module = {
    NGX_MODULE_V1,
    &ngx_zltunnel_cluster_module_ctx,      /* module context */
    NULL,                                  /* module directives */
    NGX_CORE_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_zltunnel_cluster_init_process,     /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_zltunnel_cluster_init_process(ngx_cycle_t *cycle)
{
    return NGX_OK;
}
