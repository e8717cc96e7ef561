
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_CLUSTER_STATUS_H_INCLUDED_
#define _NGX_ZLTUNNEL_CLUSTER_STATUS_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_metrics_text.h"


/* the state of the directory, as the object "cluster"; nothing where there is
   none; times are text for the API, else numbers */
void ngx_zltunnel_cluster_status(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_json_t *j, ngx_uint_t api);
/* .. and as metrics */
void ngx_zltunnel_cluster_status_metrics(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_metrics_text_t *text);


#endif /* _NGX_ZLTUNNEL_CLUSTER_STATUS_H_INCLUDED_ */
