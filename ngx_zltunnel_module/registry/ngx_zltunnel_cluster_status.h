
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_CLUSTER_STATUS_H_INCLUDED_
#define _NGX_ZLTUNNEL_CLUSTER_STATUS_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_metrics_text.h"
#include "ngx_zltunnel_shm.h"


/* what two modules that are loaded together have to agree about, in one number */

#define NGX_ZLTUNNEL_CLUSTER_LAYOUT                                           \
    (sizeof(ngx_zltunnel_registry_t) * 1000003 + sizeof(ngx_zltunnel_sh_t)    \
     + sizeof(ngx_zltunnel_sh_tunnel_t) * 8191                                \
     + sizeof(ngx_zltunnel_sh_service_t) * 131)


/* .. as this one was compiled */
size_t ngx_zltunnel_cluster_status_layout(void);
/* the state of the directory, as the object "cluster"; nothing where there is
   none; times are text for the API, else numbers */
void ngx_zltunnel_cluster_status(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_json_t *j, ngx_uint_t api);
/* .. and as metrics */
void ngx_zltunnel_cluster_status_metrics(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_metrics_text_t *text);


#endif /* _NGX_ZLTUNNEL_CLUSTER_STATUS_H_INCLUDED_ */
