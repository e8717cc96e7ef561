
/*
 * Copyright (C) zltunnel authors
 */

/*
 * UDP clients of which the first datagram has just been read.
 *
 * A session costs as much time as it takes to read dozens of datagrams.  If it
 * were made as soon as its first datagram is read, the socket would overflow
 * while hundreds of clients come in the same moment.  So the socket is emptied
 * first, and what came from clients that nobody knows waits here meanwhile.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_newcomer.h"
#include "ngx_zltunnel_udp_session.h"


#define NGX_ZLTUNNEL_NEWCOMERS        1024
#define NGX_ZLTUNNEL_NEWCOMER_BYTES   (2 * 1024 * 1024)
#define NGX_ZLTUNNEL_NEWCOMER_HASH    256      /* a power of two */


static ngx_queue_t               ngx_zltunnel_newcomers;
static ngx_uint_t                ngx_zltunnel_newcomer_count;
static size_t                    ngx_zltunnel_newcomer_bytes;
static ngx_zltunnel_newcomer_t
                       *ngx_zltunnel_newcomer_hash[NGX_ZLTUNNEL_NEWCOMER_HASH];


ngx_uint_t
ngx_zltunnel_newcomer_full(void)
{
    return ngx_zltunnel_newcomer_count >= NGX_ZLTUNNEL_NEWCOMERS
           || ngx_zltunnel_newcomer_bytes >= NGX_ZLTUNNEL_NEWCOMER_BYTES;
}


ngx_zltunnel_newcomer_t *
ngx_zltunnel_newcomer_find(ngx_zltunnel_client_key_t *key, uint64_t hash)
{
    ngx_zltunnel_newcomer_t  *newcomer;

    newcomer = ngx_zltunnel_newcomer_hash[hash
                                          % NGX_ZLTUNNEL_NEWCOMER_HASH];

    while (newcomer
           && (newcomer->hash != hash
               || ngx_memcmp(&newcomer->key, key,
                             sizeof(ngx_zltunnel_client_key_t))
                  != 0))
    {
        newcomer = newcomer->next;
    }

    return newcomer;
}


ngx_zltunnel_newcomer_t *
ngx_zltunnel_newcomer_add(ngx_zltunnel_client_key_t *key, uint64_t hash)
{
    ngx_zltunnel_newcomer_t  *newcomer, **p;

    newcomer = ngx_calloc(sizeof(ngx_zltunnel_newcomer_t), ngx_cycle->log);
    if (newcomer == NULL) {
        return NULL;
    }

    newcomer->hash = hash;
    newcomer->key = *key;

    p = &ngx_zltunnel_newcomer_hash[hash % NGX_ZLTUNNEL_NEWCOMER_HASH];

    newcomer->next = *p;
    *p = newcomer;

    if (ngx_zltunnel_newcomers.next == NULL) {
        ngx_queue_init(&ngx_zltunnel_newcomers);
    }

    ngx_queue_insert_tail(&ngx_zltunnel_newcomers, &newcomer->queue);
    ngx_zltunnel_newcomer_count++;

    return newcomer;
}


ngx_int_t
ngx_zltunnel_newcomer_put(ngx_zltunnel_newcomer_t *newcomer, u_char *data,
    size_t len)
{
    zlt_queue_item_t  *d;

    d = ngx_alloc(sizeof(zlt_queue_item_t) + len, ngx_cycle->log);
    if (d == NULL) {
        return NGX_ERROR;
    }

    d->next = NULL;
    d->len = (uint32_t) len;
    ngx_memcpy(d->data, data, len);

    if (newcomer->first == NULL) {
        newcomer->first = d;

    } else {
        newcomer->last->next = d;
    }

    newcomer->last = d;

    ngx_zltunnel_newcomer_bytes += sizeof(zlt_queue_item_t) + len;

    return NGX_OK;
}


ngx_zltunnel_newcomer_t *
ngx_zltunnel_newcomer_first(void)
{
    if (ngx_zltunnel_newcomer_count == 0) {
        return NULL;
    }

    return ngx_queue_data(ngx_queue_head(&ngx_zltunnel_newcomers),
                          ngx_zltunnel_newcomer_t, queue);
}


void
ngx_zltunnel_newcomer_remove(ngx_zltunnel_newcomer_t *newcomer)
{
    ngx_zltunnel_newcomer_t  **p;

    p = &ngx_zltunnel_newcomer_hash[newcomer->hash
                                    % NGX_ZLTUNNEL_NEWCOMER_HASH];

    while (*p != newcomer) {
        p = &(*p)->next;
    }

    *p = newcomer->next;

    ngx_queue_remove(&newcomer->queue);
    ngx_zltunnel_newcomer_count--;
}


void
ngx_zltunnel_newcomer_free(ngx_zltunnel_newcomer_t *newcomer)
{
    zlt_queue_item_t  *d;

    while (newcomer->first) {
        d = newcomer->first;
        newcomer->first = d->next;

        ngx_zltunnel_newcomer_bytes -= sizeof(zlt_queue_item_t)
                                       + d->len;
        ngx_free(d);
    }

    ngx_free(newcomer);
}


void
ngx_zltunnel_newcomer_cleanup(void)
{
    ngx_zltunnel_newcomer_t  *newcomer;

    while ((newcomer = ngx_zltunnel_newcomer_first()) != NULL) {
        ngx_zltunnel_newcomer_remove(newcomer);
        ngx_zltunnel_newcomer_free(newcomer);
    }
}
