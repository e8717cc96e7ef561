
/*
 * Copyright (C) zltunnel authors
 */

/* What a service is told of a request: variables of zltunnel_proxy.conf. */


#ifndef _NGX_HTTP_ZLTUNNEL_FORWARD_H_INCLUDED_
#define _NGX_HTTP_ZLTUNNEL_FORWARD_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* adds them, before the configuration is read.  NGX_ERROR */
ngx_int_t ngx_http_zltunnel_forward_variables(ngx_conf_t *cf);


#endif /* _NGX_HTTP_ZLTUNNEL_FORWARD_H_INCLUDED_ */
