
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
/* the same of what ngx_zltunnel_end_state() told another worker */
ngx_int_t ngx_zltunnel_ws_restore(ngx_zltunnel_end_t *end, u_char *state);


#endif /* _NGX_ZLTUNNEL_WS_H_INCLUDED_ */
