
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_RIGHTS_H_INCLUDED_
#define _NGX_ZLTUNNEL_RIGHTS_H_INCLUDED_


#include "ngx_zltunnel.h"


ngx_uint_t ngx_zltunnel_rights_service(ngx_zltunnel_token_t *token,
    u_char *name, size_t len);
ngx_uint_t ngx_zltunnel_rights_port(ngx_zltunnel_token_t *token,
    in_port_t port);
/* a name of a host, in full and in the form of zlt_host_name(); automatic: the
   server has made it up */
ngx_uint_t ngx_zltunnel_rights_host(ngx_zltunnel_token_t *token,
    ngx_str_t *domain, ngx_str_t *name, ngx_uint_t automatic);
/* whether its holder may reach the service of that name, as registered by
   the token called by; NULL: by some token at least */
ngx_uint_t ngx_zltunnel_rights_reaches(ngx_zltunnel_token_t *token,
    ngx_str_t *name, ngx_str_t *by);

/* what it may, in the words of the token file; the end of what was written,
   before last */
u_char *ngx_zltunnel_rights_text(ngx_zltunnel_token_t *token, u_char *p,
    u_char *last);


#endif /* _NGX_ZLTUNNEL_RIGHTS_H_INCLUDED_ */
