
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Between ngx_zltunnel_token.c, which knows what a token file says, and
 * ngx_zltunnel_token_file.c, which reads and follows the file.
 */


#ifndef _NGX_ZLTUNNEL_TOKEN_H_INCLUDED_
#define _NGX_ZLTUNNEL_TOKEN_H_INCLUDED_


#include "ngx_zltunnel.h"


#define NGX_ZLTUNNEL_TOKEN_ERROR  512


/* What is wrong with a file; never anything of a token or of its hash. */

typedef struct {
    ngx_err_t                    err;
    ngx_uint_t                   line;        /* 0: the file as a whole */
    u_char                       text[NGX_ZLTUNNEL_TOKEN_ERROR];
} ngx_zltunnel_token_error_t;


/* The certificates of cert=; NULL: malformed, or not enough memory. */
ngx_array_t *ngx_zltunnel_certs_parse(ngx_pool_t *pool, ngx_str_t *value);

/*
 * Adds the tokens in data, the contents of a token file, to the set, whose
 * pool keeps what it needs of them; data is changed.  NGX_ERROR: *e is
 * filled, the set is not to be used.  open: the last line need not have an
 * end, since nobody is writing.
 */
ngx_int_t ngx_zltunnel_tokens_parse(ngx_zltunnel_tokens_t *set, u_char *data,
    size_t len, ngx_uint_t open, ngx_zltunnel_token_error_t *e);


#endif /* _NGX_ZLTUNNEL_TOKEN_H_INCLUDED_ */
