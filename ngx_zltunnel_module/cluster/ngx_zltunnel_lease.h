
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Ports and names of hosts that services of this node have, leased in the engine
 * for their token, so that no other token has them at another node.
 */


#ifndef _NGX_ZLTUNNEL_LEASE_H_INCLUDED_
#define _NGX_ZLTUNNEL_LEASE_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_cluster.h"


void ngx_zltunnel_lease_init(ngx_zltunnel_cluster_t *cluster);
/* the engine is there: all are asked for */
void ngx_zltunnel_lease_ready(ngx_zltunnel_cluster_t *cluster);
/* four times a second; changed: the registry may have */
void ngx_zltunnel_lease_tick(ngx_zltunnel_cluster_t *cluster);
/* this worker does not speak to the engine any more */
void ngx_zltunnel_lease_end(ngx_zltunnel_cluster_t *cluster);


#endif /* _NGX_ZLTUNNEL_LEASE_H_INCLUDED_ */
