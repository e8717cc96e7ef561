
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_API_TOKEN_H_INCLUDED_
#define _NGX_ZLTUNNEL_API_TOKEN_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_status_copy.h"


/* the tokens in force, by name, and who uses them: elements of a list.
   NGX_ERROR: not enough memory */
ngx_int_t ngx_zltunnel_api_token_list(ngx_zltunnel_status_t *st);


#endif /* _NGX_ZLTUNNEL_API_TOKEN_H_INCLUDED_ */
