
/*
 * Copyright (C) zltunnel authors
 */

/* An end within a WebSocket. */


#ifndef _NGX_ZLTUNNEL_WS_H_INCLUDED_
#define _NGX_ZLTUNNEL_WS_H_INCLUDED_


#include "ngx_zltunnel.h"


/* Puts the end into a WebSocket, from here on; rx, tx: how what is received
   and sent begins, zlt_wsd_phase_t.  NGX_ERROR without memory. */
ngx_int_t ngx_zltunnel_ws_init(ngx_zltunnel_end_t *end, ngx_uint_t rx,
    ngx_uint_t tx);
/* the same with the state, a zlt_wsd_t, that it had in another worker */
ngx_int_t ngx_zltunnel_ws_restore(ngx_zltunnel_end_t *end, u_char *state);
void ngx_zltunnel_ws_free(ngx_zltunnel_end_t *end);
ssize_t ngx_zltunnel_ws_recv(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
ssize_t ngx_zltunnel_ws_send(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
/* bytes that go before all others, as they are: copied */
ngx_int_t ngx_zltunnel_ws_put(ngx_zltunnel_end_t *end, u_char *data,
    size_t len);
ngx_int_t ngx_zltunnel_ws_shutdown(ngx_zltunnel_end_t *end);
/* says Reset, if that can be said */
void ngx_zltunnel_ws_reset(ngx_zltunnel_end_t *end);
/* NGX_OK, NGX_AGAIN: call again when writable; NGX_ERROR */
ngx_int_t ngx_zltunnel_ws_flush(ngx_zltunnel_end_t *end);
/* after Eof was read: answers what asks for it; NGX_ERROR: it is a reset */
ngx_int_t ngx_zltunnel_ws_drain(ngx_zltunnel_end_t *end);
/* its state; NULL where there is no WebSocket */
zlt_wsd_t *ngx_zltunnel_ws_state(ngx_zltunnel_end_t *end);
/* bytes wait to be sent */
ngx_uint_t ngx_zltunnel_ws_pending(ngx_zltunnel_end_t *end);
/* nothing does, nor is a message half sent */
ngx_uint_t ngx_zltunnel_ws_between(ngx_zltunnel_end_t *end);
/* it has said how it ends, whatever else is to be read */
ngx_uint_t ngx_zltunnel_ws_ended(ngx_zltunnel_end_t *end);


#endif /* _NGX_ZLTUNNEL_WS_H_INCLUDED_ */
