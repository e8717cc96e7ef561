
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_HTTP_ZLTUNNEL_AUTH_H_INCLUDED_
#define _NGX_HTTP_ZLTUNNEL_AUTH_H_INCLUDED_


#include "ngx_http_zltunnel.h"


/* zltunnel_auth and zltunnel_auth_interval */
char *ngx_http_zltunnel_auth(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_zltunnel_auth_interval(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
/* once the whole location has been read */
char *ngx_http_zltunnel_auth_check(ngx_conf_t *cf,
    ngx_http_zltunnel_loc_conf_t *zlcf);


#endif /* _NGX_HTTP_ZLTUNNEL_AUTH_H_INCLUDED_ */
