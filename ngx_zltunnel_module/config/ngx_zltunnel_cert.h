
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_CERT_H_INCLUDED_
#define _NGX_ZLTUNNEL_CERT_H_INCLUDED_


#include "ngx_zltunnel.h"


/* whether the token may be used on that connection, with its certificate; if
   not, *reason says why, for the log */
ngx_uint_t ngx_zltunnel_cert_allows(ngx_zltunnel_token_t *token,
    ngx_connection_t *c, const char **reason);
/* The certificates of cert=; NULL: malformed, or not enough memory. */
ngx_array_t *ngx_zltunnel_cert_parse(ngx_pool_t *pool, ngx_str_t *value);


#endif /* _NGX_ZLTUNNEL_CERT_H_INCLUDED_ */
