
/*
 * Copyright (C) zltunnel authors
 */

/* The socketpairs of workers to come. */


#ifndef _NGX_ZLTUNNEL_PAIRS_H_INCLUDED_
#define _NGX_ZLTUNNEL_PAIRS_H_INCLUDED_


#include "ngx_zltunnel.h"


typedef ngx_socket_t  ngx_zltunnel_pair_t[2];  /* 0 receives, 1 sends */


/* In the master, while a configuration may still be refused: n pairs for its
   workers.  NGX_ERROR, logged: refuse it.  What was made for one that has failed
   is used for the next. */
ngx_int_t ngx_zltunnel_pairs_prepare(ngx_uint_t n, ngx_log_t *log);
/* those that were made, *n of them, the caller's from now on; NULL: none */
ngx_zltunnel_pair_t *ngx_zltunnel_pairs_take(ngx_uint_t *n);


#endif /* _NGX_ZLTUNNEL_PAIRS_H_INCLUDED_ */
