
/*
 * Copyright (C) zltunnel authors
 */

/* The pipes that a relay borrows when it splices. */


#ifndef _NGX_ZLTUNNEL_SPLICE_H_INCLUDED_
#define _NGX_ZLTUNNEL_SPLICE_H_INCLUDED_


#include "ngx_zltunnel.h"


/* NGX_DECLINED: there is none, copy. */
ngx_int_t ngx_zltunnel_splice_pipe_get(int fd[2], size_t *size,
    ngx_log_t *log);
/* Takes the pipe back; one with residue is closed. */
void ngx_zltunnel_splice_pipe_put(int fd[2], size_t size, size_t residue);
void ngx_zltunnel_splice_cleanup(void);


#endif /* _NGX_ZLTUNNEL_SPLICE_H_INCLUDED_ */
