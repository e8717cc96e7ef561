
/*
 * Copyright (C) zltunnel authors
 */

/* What goes out on datagram channels. */


#ifndef _NGX_ZLTUNNEL_DATAGRAMS_OUT_H_INCLUDED_
#define _NGX_ZLTUNNEL_DATAGRAMS_OUT_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_datagrams.h"


/*
 * Where size bytes of frames may be put, to be followed by a commit.  NULL if
 * there is no memory, or if the other end has long stopped to read.
 */
u_char *ngx_zltunnel_datagrams_out_room(ngx_zltunnel_datagrams_t *d,
    size_t size);
void ngx_zltunnel_datagrams_out_commit(ngx_zltunnel_datagrams_t *d,
    u_char *end);
/* a DatagramClose, a heartbeat, or the answer (type) to that timestamp: NGX_OK,
   or NGX_ERROR where there is no room */
ngx_int_t ngx_zltunnel_datagrams_out_close(ngx_zltunnel_datagrams_t *d,
    uint32_t number, ngx_uint_t cause);
ngx_int_t ngx_zltunnel_datagrams_out_beat(ngx_zltunnel_datagrams_t *d,
    ngx_uint_t type, uint64_t timestamp);
/* for a sign of life, within so many ms; 0: as on any channel */
void ngx_zltunnel_datagrams_out_ask(ngx_zltunnel_datagrams_t *d,
    ngx_msec_t time);
/* 1 if frames go out as they come */
ngx_uint_t ngx_zltunnel_datagrams_out_ready(ngx_zltunnel_datagrams_t *d);
/* writes what was put since the last time, on whichever channel */
void ngx_zltunnel_datagrams_out_flush(void);
/* writes what waits, as far as the channel takes it, and what is put then */
void ngx_zltunnel_datagrams_out_write(ngx_zltunnel_datagrams_t *d);
void ngx_zltunnel_datagrams_out_handler(ngx_event_t *ev);
/* gives the channel up, soon: lost() is called */
void ngx_zltunnel_datagrams_out_fail(ngx_zltunnel_datagrams_t *d);
/* forgets all of it */
void ngx_zltunnel_datagrams_out_drop(ngx_zltunnel_datagrams_t *d);


#endif /* _NGX_ZLTUNNEL_DATAGRAMS_OUT_H_INCLUDED_ */
