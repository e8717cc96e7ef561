
/*
 * Copyright (C) zltunnel authors
 */

/* An end under TLS. */


#ifndef _NGX_ZLTUNNEL_TLS_H_INCLUDED_
#define _NGX_ZLTUNNEL_TLS_H_INCLUDED_


#include "ngx_zltunnel.h"


#if (NGX_SSL)

/* as a connection's recv() */
ssize_t ngx_zltunnel_tls_recv(ngx_connection_t *c, u_char *buf, size_t size);
/* for ngx_zltunnel_end.c; flush: NGX_OK, NGX_AGAIN: call again when writable,
   NGX_ERROR */
ssize_t ngx_zltunnel_tls_send(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
ngx_int_t ngx_zltunnel_tls_flush(ngx_zltunnel_end_t *end);
ngx_int_t ngx_zltunnel_tls_shutdown(ngx_zltunnel_end_t *end);
/* forgets what could not be sent: nothing may be sent any more then */
void ngx_zltunnel_tls_drop(ngx_zltunnel_end_t *end);

#endif


#endif /* _NGX_ZLTUNNEL_TLS_H_INCLUDED_ */
