
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Text into a chain of buffers, for the body of an answer.  An error of memory
 * is kept until the end, so that callers need not look in between.
 */


#ifndef _NGX_ZLTUNNEL_TEXT_H_INCLUDED_
#define _NGX_ZLTUNNEL_TEXT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* bytes, the most that may be asked for at a time */
#define NGX_ZLTUNNEL_TEXT_BUFFER  16384


typedef struct {
    ngx_pool_t                  *pool;
    ngx_chain_t                 *out;
    ngx_chain_t                **last;
    ngx_buf_t                   *buf;
    ngx_uint_t                   error;
} ngx_zltunnel_text_t;


void ngx_zltunnel_text_init(ngx_zltunnel_text_t *text, ngx_pool_t *pool);
/* Room for len bytes, at text->buf->last, which the caller moves behind what it
   wrote.  NULL: there is no memory. */
u_char *ngx_zltunnel_text_need(ngx_zltunnel_text_t *text, size_t len);
/* The whole of it: the last buffer has no flags set.  NGX_ERROR if there was no
   memory for it. */
ngx_int_t ngx_zltunnel_text_end(ngx_zltunnel_text_t *text, ngx_chain_t **out,
    off_t *size);


#endif /* _NGX_ZLTUNNEL_TEXT_H_INCLUDED_ */
