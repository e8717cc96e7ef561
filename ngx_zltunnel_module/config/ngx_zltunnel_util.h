
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_UTIL_H_INCLUDED_
#define _NGX_ZLTUNNEL_UTIL_H_INCLUDED_


#include "ngx_zltunnel.h"


/* A warning with one string, logged at most once a minute for each fmt,
   which must be a literal. */
void ngx_zltunnel_complain(ngx_log_t *log, const char *fmt, const char *arg);
/* what a peer has sent, cut to size bytes, other than printable ASCII and
   UTF-8 escaped as \xXX; returns the length */
size_t ngx_zltunnel_printable(u_char *dst, size_t size, const u_char *src,
    size_t len);
/* 1 if the client is on this host: for services that are internal */
ngx_uint_t ngx_zltunnel_client_local(ngx_connection_t *c);
/* at most 1024 bytes; aborts the process if there is no randomness */
void ngx_zltunnel_random(u_char *dst, size_t len);
/* the node (first member of its struct) whose id, at offset, is equal */

ngx_rbtree_node_t *ngx_zltunnel_id_lookup(ngx_rbtree_t *tree, u_char *id,
    size_t offset);


#endif /* _NGX_ZLTUNNEL_UTIL_H_INCLUDED_ */
