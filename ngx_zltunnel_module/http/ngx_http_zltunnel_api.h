
/*
 * Copyright (C) zltunnel authors
 */

/* The API's answers, for ngx_http_zltunnel_api.c. */


#ifndef _NGX_HTTP_ZLTUNNEL_API_H_INCLUDED_
#define _NGX_HTTP_ZLTUNNEL_API_H_INCLUDED_


#include "ngx_http_zltunnel.h"


/* whether JSON is to be laid out for people: ?pretty, or Accept prefers
   text/html */
ngx_uint_t ngx_http_zltunnel_api_pretty(ngx_http_request_t *r);
/* 200, with that body */
ngx_int_t ngx_http_zltunnel_api_send(ngx_http_request_t *r, ngx_chain_t *out,
    off_t size);
/* an error; code is a word for programs, text is for people */
ngx_int_t ngx_http_zltunnel_api_error(ngx_http_request_t *r,
    ngx_uint_t status, const char *code, const char *text);
/* 405; allow: the methods that there are */
ngx_int_t ngx_http_zltunnel_api_not_allowed(ngx_http_request_t *r,
    const char *allow, const char *code, const char *text);


#endif /* _NGX_HTTP_ZLTUNNEL_API_H_INCLUDED_ */
