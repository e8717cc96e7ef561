
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_HTTP_ZLTUNNEL_VARIABLE_H_INCLUDED_
#define _NGX_HTTP_ZLTUNNEL_VARIABLE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* the variables of that list, up to ngx_http_null_variable; while the
   configuration is prepared */
ngx_int_t ngx_http_zltunnel_variable_add(ngx_conf_t *cf,
    ngx_http_variable_t *list);


#endif /* _NGX_HTTP_ZLTUNNEL_VARIABLE_H_INCLUDED_ */
