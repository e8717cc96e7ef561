
/*
 * Copyright (C) zltunnel authors
 */

/* What this node has, written to the engine. */


#ifndef _NGX_ZLTUNNEL_PUBLISH_H_INCLUDED_
#define _NGX_ZLTUNNEL_PUBLISH_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_cluster.h"


void ngx_zltunnel_publish_init(ngx_zltunnel_cluster_t *cluster);
/* the engine is there: what it has of this node is compared first */
void ngx_zltunnel_publish_ready(ngx_zltunnel_cluster_t *cluster);
/* four times a second: tells of what has changed, and that this node lives */
void ngx_zltunnel_publish_tick(ngx_zltunnel_cluster_t *cluster);
/* The engine has answered whether it has this node (n is 0), as an integer: if
   not, it has lost what it had. */
void ngx_zltunnel_publish_on_refresh(void *data, redisReply *reply,
    ngx_uint_t n);
/* a message of our own came back */
void ngx_zltunnel_publish_heard(ngx_zltunnel_cluster_t *cluster);
/* nothing of it is in the engine any more */
void ngx_zltunnel_publish_forget(ngx_zltunnel_cluster_t *cluster);
/* the server stops: others need not wait until it is missed */
void ngx_zltunnel_publish_bye(ngx_zltunnel_cluster_t *cluster);


#endif /* _NGX_ZLTUNNEL_PUBLISH_H_INCLUDED_ */
