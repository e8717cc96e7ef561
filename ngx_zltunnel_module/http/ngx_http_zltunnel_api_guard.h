
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_HTTP_ZLTUNNEL_API_GUARD_H_INCLUDED_
#define _NGX_HTTP_ZLTUNNEL_API_GUARD_H_INCLUDED_


#include "ngx_http_zltunnel.h"


/* a location with write=on was read, whose other directives may come yet */
ngx_int_t ngx_http_zltunnel_api_guard_add(ngx_conf_t *cf);
/* all have been read: warns of those that anybody may use */
void ngx_http_zltunnel_api_guard_check(ngx_conf_t *cf);


#endif /* _NGX_HTTP_ZLTUNNEL_API_GUARD_H_INCLUDED_ */
