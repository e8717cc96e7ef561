
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_BUFFER_H_INCLUDED_
#define _NGX_ZLTUNNEL_BUFFER_H_INCLUDED_


#include "ngx_zltunnel.h"

#include "zlt_frames.h"


#define NGX_ZLTUNNEL_BUFFER_SIZE  (ZLT_FRAMES_ROOM + 65536)


/* nginx's, for proto/: a failure is logged */
extern const zlt_memory_t  ngx_zltunnel_buffer_memory;


u_char *ngx_zltunnel_buffer_get(ngx_log_t *log);
void ngx_zltunnel_buffer_put(u_char *buffer);
void ngx_zltunnel_buffer_cleanup(void);


#endif /* _NGX_ZLTUNNEL_BUFFER_H_INCLUDED_ */
