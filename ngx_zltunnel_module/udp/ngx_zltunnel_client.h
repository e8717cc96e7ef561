
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_CLIENT_H_INCLUDED_
#define _NGX_ZLTUNNEL_CLIENT_H_INCLUDED_


#include "ngx_zltunnel.h"


/* where a datagram came from, and to which of our addresses */

typedef struct {
    uint64_t                     word[5];
} ngx_zltunnel_client_key_t;


struct ngx_zltunnel_client_s {
    ngx_zltunnel_client_t       *next;
    uint64_t                     hash;
    ngx_zltunnel_client_key_t    key;
    ngx_connection_t            *connection;
    ngx_zltunnel_udp_t          *udp;        /* NULL: in nginx's hands yet */
};


extern ngx_uint_t  ngx_zltunnel_client_count;


void ngx_zltunnel_client_init(void);
void ngx_zltunnel_client_cleanup(void);
/* of a datagram from sa, to the address local */
void ngx_zltunnel_client_key(ngx_zltunnel_client_key_t *key,
    ngx_listening_t *ls, struct sockaddr *sa, struct sockaddr *local);
uint64_t ngx_zltunnel_client_hash(ngx_zltunnel_client_key_t *key);
ngx_zltunnel_client_t *ngx_zltunnel_client_find(
    ngx_zltunnel_client_key_t *key, uint64_t hash);
/* until c's pool is destroyed */
ngx_int_t ngx_zltunnel_client_insert(ngx_connection_t *c,
    ngx_zltunnel_client_key_t *key, uint64_t hash);
/* what comes from that client goes right to the session, or no longer */
void ngx_zltunnel_client_attach(ngx_connection_t *c, ngx_zltunnel_udp_t *udp);


#endif /* _NGX_ZLTUNNEL_CLIENT_H_INCLUDED_ */
