
/*
 * Copyright (C) zltunnel authors
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_text.h"


void
ngx_zltunnel_text_init(ngx_zltunnel_text_t *text, ngx_pool_t *pool)
{
    ngx_memzero(text, sizeof(ngx_zltunnel_text_t));

    text->pool = pool;
    text->last = &text->out;
}


u_char *
ngx_zltunnel_text_need(ngx_zltunnel_text_t *text, size_t len)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    if (text->error) {
        return NULL;
    }

    if (text->buf && (size_t) (text->buf->end - text->buf->last) >= len) {
        return text->buf->last;
    }

    b = ngx_create_temp_buf(text->pool, NGX_ZLTUNNEL_TEXT_BUFFER);
    cl = ngx_alloc_chain_link(text->pool);

    if (b == NULL || cl == NULL) {
        text->error = 1;
        return NULL;
    }

    cl->buf = b;
    cl->next = NULL;

    *text->last = cl;
    text->last = &cl->next;
    text->buf = b;

    return b->last;
}


ngx_int_t
ngx_zltunnel_text_end(ngx_zltunnel_text_t *text, ngx_chain_t **out,
    off_t *size)
{
    ngx_chain_t  *cl;

    if (text->error || text->out == NULL) {
        return NGX_ERROR;
    }

    *size = 0;

    for (cl = text->out; cl; cl = cl->next) {
        *size += cl->buf->last - cl->buf->pos;
    }

    *out = text->out;

    return NGX_OK;
}
