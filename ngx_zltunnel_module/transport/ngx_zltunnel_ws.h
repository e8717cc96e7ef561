
/*
 * Copyright (C) zltunnel authors
 */

/* An end within a WebSocket. */


#ifndef _NGX_ZLTUNNEL_WS_H_INCLUDED_
#define _NGX_ZLTUNNEL_WS_H_INCLUDED_


#include "ngx_zltunnel.h"

#include "zlt_ws_stream.h"


/* bytes of a state */
#define NGX_ZLTUNNEL_WS_STATE  sizeof(zlt_ws_stream_t)


/* Puts the end into a WebSocket that has been accepted.  *len bytes of it that
   came already are at data, and *len bytes of the stream afterwards.  NGX_ERROR
   without memory. */
ngx_int_t ngx_zltunnel_ws_start(ngx_zltunnel_end_t *end, u_char *data,
    size_t *len);
/* what another worker is to know of it, of which nothing is pending; returns
   its length */
size_t ngx_zltunnel_ws_state(ngx_zltunnel_end_t *end, u_char *buf);
ngx_int_t ngx_zltunnel_ws_restore(ngx_zltunnel_end_t *end, u_char *state);
void ngx_zltunnel_ws_free(ngx_zltunnel_end_t *end);
ssize_t ngx_zltunnel_ws_recv(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
ssize_t ngx_zltunnel_ws_send(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
/* NGX_OK, NGX_AGAIN: call again when writable; NGX_ERROR */
ngx_int_t ngx_zltunnel_ws_flush(ngx_zltunnel_end_t *end);
/* Says Close, once, behind all that was taken, unless the end was aborted; as
   ngx_zltunnel_ws_flush().  NGX_ERROR also if a message is half sent. */
ngx_int_t ngx_zltunnel_ws_close(ngx_zltunnel_end_t *end);
void ngx_zltunnel_ws_abort(ngx_zltunnel_end_t *end);
/* bytes wait to be sent */
ngx_uint_t ngx_zltunnel_ws_pending(ngx_zltunnel_end_t *end);
/* a frame has come in part */
ngx_uint_t ngx_zltunnel_ws_amid(ngx_zltunnel_end_t *end);


#endif /* _NGX_ZLTUNNEL_WS_H_INCLUDED_ */
