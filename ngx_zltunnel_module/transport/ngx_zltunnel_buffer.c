
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Buffers that relays borrow for bytes that could not be written at once.  They
 * are of one worker, and a few are kept for the next relay.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_buffer.h"


#define NGX_ZLTUNNEL_BUFFERS_KEPT   32


typedef struct ngx_zltunnel_buffer_s  ngx_zltunnel_buffer_t;

struct ngx_zltunnel_buffer_s {
    ngx_zltunnel_buffer_t       *next;
};


static void *ngx_zltunnel_buffer_alloc(size_t size);


static ngx_zltunnel_buffer_t  *ngx_zltunnel_buffers;
static ngx_uint_t              ngx_zltunnel_nbuffers;

const zlt_memory_t  ngx_zltunnel_buffer_memory = {
    ngx_zltunnel_buffer_alloc,
    free
};


u_char *
ngx_zltunnel_buffer_get(ngx_log_t *log)
{
    ngx_zltunnel_buffer_t  *b;

    b = ngx_zltunnel_buffers;

    if (b == NULL) {
        return ngx_alloc(NGX_ZLTUNNEL_BUFFER_SIZE, log);
    }

    ngx_zltunnel_buffers = b->next;
    ngx_zltunnel_nbuffers--;

    return (u_char *) b;
}


void
ngx_zltunnel_buffer_put(u_char *buffer)
{
    ngx_zltunnel_buffer_t  *b;

    if (ngx_zltunnel_nbuffers == NGX_ZLTUNNEL_BUFFERS_KEPT) {
        ngx_free(buffer);
        return;
    }

    b = (ngx_zltunnel_buffer_t *) buffer;

    b->next = ngx_zltunnel_buffers;
    ngx_zltunnel_buffers = b;
    ngx_zltunnel_nbuffers++;
}


void
ngx_zltunnel_buffer_cleanup(void)
{
    ngx_zltunnel_buffer_t  *b;

    while (ngx_zltunnel_buffers) {
        b = ngx_zltunnel_buffers;
        ngx_zltunnel_buffers = b->next;
        ngx_zltunnel_nbuffers--;

        ngx_free(b);
    }
}


static void *
ngx_zltunnel_buffer_alloc(size_t size)
{
    return ngx_alloc(size, ngx_cycle->log);
}
