
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_UTIL_H_INCLUDED_
#define _NGX_ZLTUNNEL_UTIL_H_INCLUDED_


#include "ngx_zltunnel.h"


#define NGX_ZLTUNNEL_UTIL_TIME  64


/* seconds as nginx and the token file read them, as "1d12h"; into text, of
   NGX_ZLTUNNEL_UTIL_TIME bytes, which it returns */
u_char *ngx_zltunnel_util_time(u_char *text, time_t seconds);
/* 1 if the client is on this host: for services that are internal */
ngx_uint_t ngx_zltunnel_util_client_local(ngx_connection_t *c);
/* at most 1024 bytes; aborts the process if there is no randomness */
void ngx_zltunnel_util_random(u_char *dst, size_t len);
/* the node (first member of its struct) whose id, at offset, is equal */

ngx_rbtree_node_t *ngx_zltunnel_util_id_lookup(ngx_rbtree_t *tree, u_char *id,
    size_t offset);


#endif /* _NGX_ZLTUNNEL_UTIL_H_INCLUDED_ */
