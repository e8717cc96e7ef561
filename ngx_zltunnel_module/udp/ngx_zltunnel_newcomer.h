
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_NEWCOMER_H_INCLUDED_
#define _NGX_ZLTUNNEL_NEWCOMER_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_client.h"

#include "zlt_queue.h"


/* a UDP client that has no session yet, and its datagrams, the oldest first */

struct ngx_zltunnel_newcomer_s {
    ngx_queue_t                  queue;      /* in the order in which they
                                                came */
    ngx_zltunnel_newcomer_t     *next;       /* of the same hash */
    uint64_t                     hash;
    ngx_zltunnel_client_key_t    key;
    ngx_listening_t             *listening;
    u_char                       service_id[ZLT_ID_SIZE]; /* of the port */
    ngx_sockaddr_t               addr;
    socklen_t                    socklen;
    ngx_sockaddr_t               local;
    zlt_queue_item_t            *first;
    zlt_queue_item_t            *last;
};


/* 1: there is no room for one more, nor for its datagrams */
ngx_uint_t ngx_zltunnel_newcomer_full(void);
ngx_zltunnel_newcomer_t *ngx_zltunnel_newcomer_find(
    ngx_zltunnel_client_key_t *key, uint64_t hash);
/* the caller fills in the rest; NULL: there is no memory */
ngx_zltunnel_newcomer_t *ngx_zltunnel_newcomer_add(
    ngx_zltunnel_client_key_t *key, uint64_t hash);
/* keeps a datagram of it: copied; NGX_ERROR: there is no memory */
ngx_int_t ngx_zltunnel_newcomer_put(ngx_zltunnel_newcomer_t *newcomer,
    u_char *data, size_t len);
/* the one that came first, or NULL; it stays until it is removed */
ngx_zltunnel_newcomer_t *ngx_zltunnel_newcomer_first(void);
/* takes it out; ngx_zltunnel_newcomer_free() must follow */
void ngx_zltunnel_newcomer_remove(ngx_zltunnel_newcomer_t *newcomer);
void ngx_zltunnel_newcomer_free(ngx_zltunnel_newcomer_t *newcomer);
/* frees all of them */
void ngx_zltunnel_newcomer_cleanup(void);


#endif /* _NGX_ZLTUNNEL_NEWCOMER_H_INCLUDED_ */
