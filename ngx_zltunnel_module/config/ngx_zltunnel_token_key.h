
/*
 * Copyright (C) zltunnel authors
 */

/* The parameters of a token. */


#ifndef _NGX_ZLTUNNEL_TOKEN_KEY_H_INCLUDED_
#define _NGX_ZLTUNNEL_TOKEN_KEY_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_token.h"


typedef struct ngx_zltunnel_token_key_s  ngx_zltunnel_token_key_t;

struct ngx_zltunnel_token_key_s {
    ngx_str_t                    name;
    ngx_int_t                  (*set)(ngx_pool_t *pool,
                                      ngx_zltunnel_token_t *token,
                                      ngx_zltunnel_token_key_t *key,
                                      ngx_str_t *value);
    size_t                       offset;
    const char                  *allowed;
};


/* The parameter of that name, and *n is which of all it is; or NULL. */
ngx_zltunnel_token_key_t *ngx_zltunnel_token_key_find(u_char *name, size_t len,
    ngx_uint_t *n);


#endif /* _NGX_ZLTUNNEL_TOKEN_KEY_H_INCLUDED_ */
