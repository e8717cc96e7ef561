
/*
 * Copyright (C) zltunnel authors
 */

/* What other nodes have, read from the engine into the zone. */


#ifndef _NGX_ZLTUNNEL_GATHER_H_INCLUDED_
#define _NGX_ZLTUNNEL_GATHER_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_cluster.h"


void ngx_zltunnel_gather_init(ngx_zltunnel_cluster_t *cluster);
/* this worker speaks to the engine from now on, or not any more */
void ngx_zltunnel_gather_begin(ngx_zltunnel_cluster_t *cluster);
void ngx_zltunnel_gather_end(ngx_zltunnel_cluster_t *cluster);
/* the engine is there, or is not: all is read, or waits */
void ngx_zltunnel_gather_ready(ngx_zltunnel_cluster_t *cluster);
void ngx_zltunnel_gather_lost(ngx_zltunnel_cluster_t *cluster);
/* a message of a node */
void ngx_zltunnel_gather_heard(ngx_zltunnel_cluster_t *cluster,
    ngx_str_t *text);
/* four times a second */
void ngx_zltunnel_gather_tick(ngx_zltunnel_cluster_t *cluster);


#endif /* _NGX_ZLTUNNEL_GATHER_H_INCLUDED_ */
