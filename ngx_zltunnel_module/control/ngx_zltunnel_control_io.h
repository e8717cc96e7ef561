
/*
 * Copyright (C) zltunnel authors
 */

/* What comes and goes on a control channel. */


#ifndef _NGX_ZLTUNNEL_CONTROL_IO_H_INCLUDED_
#define _NGX_ZLTUNNEL_CONTROL_IO_H_INCLUDED_


#include "ngx_zltunnel.h"


/* reads, and acts on what has come, within the budget of an event */
void ngx_zltunnel_control_io_read(ngx_zltunnel_control_t *control);
/* goes on reading after a probe */
void ngx_zltunnel_control_io_resume(ngx_zltunnel_control_t *control);
/* what was read behind an Auth that waits, or beyond the event's budget */
void ngx_zltunnel_control_io_hold(ngx_zltunnel_control_t *control,
    u_char *data, size_t len);
/* queues a message, to be written when the handler returns */
void ngx_zltunnel_control_io_write(ngx_zltunnel_control_t *control,
    zlt_msg_t *m);
/* queues a frame of the WebSocket */
void ngx_zltunnel_control_io_put(ngx_zltunnel_control_t *control,
    unsigned opcode, u_char *data, size_t len);
/* writes what is queued; what fails is marked */
void ngx_zltunnel_control_io_flush(ngx_zltunnel_control_t *control);
/* frees what is kept: it may have been an Auth */
void ngx_zltunnel_control_io_free(ngx_zltunnel_control_t *control);


#endif /* _NGX_ZLTUNNEL_CONTROL_IO_H_INCLUDED_ */
