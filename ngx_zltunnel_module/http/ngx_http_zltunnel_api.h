
/*
 * Copyright (C) zltunnel authors
 */

/* What the files of the API have of one another. */


#ifndef _NGX_HTTP_ZLTUNNEL_API_H_INCLUDED_
#define _NGX_HTTP_ZLTUNNEL_API_H_INCLUDED_


#include "ngx_http_zltunnel.h"


#define NGX_HTTP_ZLTUNNEL_API_PARTS  4


/* the path behind the location's name */

typedef struct {
    ngx_str_t                    part[NGX_HTTP_ZLTUNNEL_API_PARTS];
    ngx_uint_t                   n;
    u_char                       id[ZLT_ID_SIZE];  /* of part[2] */
} ngx_http_zltunnel_api_path_t;


/* ngx_http_zltunnel_api_write.c */

/* the method that changes what is there: NGX_HTTP_DELETE, _POST, or 0 */
ngx_uint_t ngx_http_zltunnel_api_write_method(
    ngx_http_zltunnel_api_path_t *path);
/* does so, and answers */
ngx_int_t ngx_http_zltunnel_api_write_do(ngx_http_request_t *r,
    ngx_http_zltunnel_api_path_t *path);


/* ngx_http_zltunnel_api_answer.c */

/* the value of a header of the request, or NULL */
ngx_str_t *ngx_http_zltunnel_api_answer_header(ngx_http_request_t *r,
    const char *name);
/* whether JSON is to be laid out for people: ?pretty, or Accept prefers
   text/html */
ngx_uint_t ngx_http_zltunnel_api_answer_pretty(ngx_http_request_t *r);
/* 200, with that body */
ngx_int_t ngx_http_zltunnel_api_answer_ok(ngx_http_request_t *r,
    ngx_chain_t *out, off_t size);
/* an error; code is a word for programs, text is for people */
ngx_int_t ngx_http_zltunnel_api_answer_error(ngx_http_request_t *r,
    ngx_uint_t status, const char *code, const char *text);
/* 405; allow: the methods that there are */
ngx_int_t ngx_http_zltunnel_api_answer_not_allowed(ngx_http_request_t *r,
    const char *allow, const char *code, const char *text);


#endif /* _NGX_HTTP_ZLTUNNEL_API_H_INCLUDED_ */
