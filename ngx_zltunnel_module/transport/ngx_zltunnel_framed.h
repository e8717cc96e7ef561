
/*
 * Copyright (C) zltunnel authors
 */

/* An end whose bytes are messages. */


#ifndef _NGX_ZLTUNNEL_FRAMED_H_INCLUDED_
#define _NGX_ZLTUNNEL_FRAMED_H_INCLUDED_


#include "ngx_zltunnel.h"

#include "zlt_frames.h"


/* from here on; frames lasts as long as the end has it */
void ngx_zltunnel_framed_start(ngx_zltunnel_end_t *end, zlt_frames_t *frames);
/* Takes bytes that were read from it already: the payload among them is at the
   start of buf then.  Its length, or NGX_ERROR. */
ssize_t ngx_zltunnel_framed_take(ngx_zltunnel_end_t *end, u_char *buf,
    size_t len);
/* Reads behind the peer's Eof, while our direction goes on: what is of the next
   connection is kept, and what is beneath it has an answer.  NGX_ERROR: the
   channel has ended, which is a reset. */
ngx_int_t ngx_zltunnel_framed_behind(ngx_zltunnel_end_t *end);
/* for ngx_zltunnel_end.c */
ssize_t ngx_zltunnel_framed_recv(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
ssize_t ngx_zltunnel_framed_send(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
/* sends what is unsent: NGX_OK, NGX_AGAIN, NGX_ERROR */
ngx_int_t ngx_zltunnel_framed_flush(ngx_zltunnel_end_t *end);
/* Eof, Reset or Raw, if there was none yet; then as flush */
ngx_int_t ngx_zltunnel_framed_end(ngx_zltunnel_end_t *end,
    zlt_frames_end_e how);


#endif /* _NGX_ZLTUNNEL_FRAMED_H_INCLUDED_ */
