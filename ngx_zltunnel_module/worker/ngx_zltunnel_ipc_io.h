
/*
 * Copyright (C) zltunnel authors
 */

/* A message between workers, sent and received. */


#ifndef _NGX_ZLTUNNEL_IPC_IO_H_INCLUDED_
#define _NGX_ZLTUNNEL_IPC_IO_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_transport.h"


/* the most that goes with one, bytes */
#define NGX_ZLTUNNEL_IPC_IO_DATA  (ZLT_MAX_CHANNEL_FRAME + ZLT_HEADER_SIZE    \
                                   + NGX_ZLTUNNEL_END_STATE)


/* NGX_OK and NGX_ERROR: fd, if it is not -1, is closed; NGX_AGAIN: there is no
   room */
ngx_int_t ngx_zltunnel_ipc_io_write(ngx_socket_t to, ngx_zltunnel_ipc_t *msg,
    u_char *data, ngx_socket_t fd);
/* at most NGX_ZLTUNNEL_IPC_IO_DATA to data, what came with it, or -1, to *fd;
   NGX_AGAIN: there is none */
ngx_int_t ngx_zltunnel_ipc_io_read(ngx_socket_t from, ngx_zltunnel_ipc_t *msg,
    u_char *data, ngx_socket_t *fd);


#endif /* _NGX_ZLTUNNEL_IPC_IO_H_INCLUDED_ */
