
/*
 * Copyright (C) zltunnel authors
 */

/* Buffers and pipes that relays borrow. */


#ifndef _NGX_ZLTUNNEL_PIPE_H_INCLUDED_
#define _NGX_ZLTUNNEL_PIPE_H_INCLUDED_


#include "ngx_zltunnel.h"

#include "zlt_frames.h"


#define NGX_ZLTUNNEL_BUFFER_SIZE  (ZLT_FRAMES_ROOM + 65536)


u_char *ngx_zltunnel_buffer_get(ngx_log_t *log);
void ngx_zltunnel_buffer_put(u_char *buffer);
/* NGX_DECLINED: there is none, copy. */
ngx_int_t ngx_zltunnel_pipe_get(int fd[2], size_t *size, ngx_log_t *log);
/* Takes the pipe back; one with residue is closed. */
void ngx_zltunnel_pipe_put(int fd[2], size_t size, size_t residue);
void ngx_zltunnel_pipe_cleanup(void);


#endif /* _NGX_ZLTUNNEL_PIPE_H_INCLUDED_ */
