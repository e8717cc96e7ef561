
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_LOG_H_INCLUDED_
#define _NGX_ZLTUNNEL_LOG_H_INCLUDED_


#include "ngx_zltunnel.h"


/* A warning with one string, logged at most once a minute for each fmt,
   which must be a literal. */
void ngx_zltunnel_log_complain(ngx_log_t *log, const char *fmt,
    const char *arg);
/* 1 if one more line of that kind may be logged in this minute; "what" is a
   plural, and says so: the same literal for each of the kind */
ngx_uint_t ngx_zltunnel_log_paced(ngx_log_t *log, const char *what);
/* that somebody wants a service which no agent has registered, or whose tunnels
   are drained; token may be empty.  Some lines a minute, whatever the names are. */
void ngx_zltunnel_log_missing(ngx_log_t *log, ngx_uint_t level,
    ngx_zltunnel_registry_t *registry, ngx_str_t *service, ngx_str_t *token,
    ngx_uint_t drained);
/* what a peer has sent, cut to size bytes, other than printable ASCII and
   UTF-8 escaped as \xXX; returns the length */
size_t ngx_zltunnel_log_printable(u_char *dst, size_t size, const u_char *src,
    size_t len);


#endif /* _NGX_ZLTUNNEL_LOG_H_INCLUDED_ */
