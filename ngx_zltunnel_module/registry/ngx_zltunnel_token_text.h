
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The text of a token file that comes from an engine: the worker that reads it
 * there puts it into the zone, where all find it, and where it outlives the
 * engine's absence and a reload.
 */


#ifndef _NGX_ZLTUNNEL_TOKEN_TEXT_H_INCLUDED_
#define _NGX_ZLTUNNEL_TOKEN_TEXT_H_INCLUDED_


#include "ngx_zltunnel.h"


#define NGX_ZLTUNNEL_TOKEN_TEXT_MAX  (4 * 1024 * 1024)


/* a text that is new, with the SHA-1 of it by which that is known; NGX_ERROR: the
   zone is full */
ngx_int_t ngx_zltunnel_token_text_put(ngx_zltunnel_registry_t *registry,
    u_char *data, size_t len, u_char *sum);
/* 1 if it is that text which the zone has */
ngx_uint_t ngx_zltunnel_token_text_is(ngx_zltunnel_registry_t *registry,
    u_char *sum);
/* to be called when a worker starts, and every second: 1 if a changed text has
   been taken over */
ngx_uint_t ngx_zltunnel_token_text_follow(ngx_zltunnel_registry_t *registry,
    ngx_log_t *log);
/* 1: whose tokens there are is not known yet, or is known */
ngx_uint_t ngx_zltunnel_token_text_awaited(ngx_zltunnel_registry_t *registry);


#endif /* _NGX_ZLTUNNEL_TOKEN_TEXT_H_INCLUDED_ */
