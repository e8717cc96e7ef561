
/*
 * Copyright (C) zltunnel authors
 */

/* When a relay splices, and the pipes that it borrows for that. */


#ifndef _NGX_ZLTUNNEL_SPLICE_H_INCLUDED_
#define _NGX_ZLTUNNEL_SPLICE_H_INCLUDED_


#include "ngx_zltunnel.h"


/* NGX_DECLINED: there is none, copy. */
ngx_int_t ngx_zltunnel_splice_pipe_get(int fd[2], size_t *size,
    ngx_log_t *log);
/* Takes the pipe back; one with residue is closed. */
void ngx_zltunnel_splice_pipe_put(int fd[2], size_t size, size_t residue);
void ngx_zltunnel_splice_cleanup(void);
/* whether bytes may go from one to the other by splice() */
ngx_uint_t ngx_zltunnel_splice_possible(ngx_zltunnel_end_t *one,
    ngx_zltunnel_end_t *other);


#endif /* _NGX_ZLTUNNEL_SPLICE_H_INCLUDED_ */
