
/*
 * Copyright (C) zltunnel authors
 */

/* The ways to other workers. */


#ifndef _NGX_ZLTUNNEL_WAY_H_INCLUDED_
#define _NGX_ZLTUNNEL_WAY_H_INCLUDED_


#include "ngx_zltunnel.h"


/* of this process's configuration */
extern ngx_uint_t  ngx_zltunnel_way_generation;


/* in the master, while a configuration with so many workers may still be
   refused; NGX_ERROR, logged: refuse it */
ngx_int_t ngx_zltunnel_way_prepare(ngx_uint_t workers, ngx_log_t *log);
ngx_int_t ngx_zltunnel_way_init_module(ngx_cycle_t *cycle);
/* in a worker, now and then: forgets generations of which no worker is left */
void ngx_zltunnel_way_tidy(void);
/* what this worker receives from, and closes what others do; -1: none */
ngx_socket_t ngx_zltunnel_way_own(void);
/* what sends to that worker; -1: none, or its HELLO has not come */
ngx_socket_t ngx_zltunnel_way_sender(ngx_uint_t generation,
    ngx_uint_t worker);
/* a HELLO from there: fd, or -1, is taken */
void ngx_zltunnel_way_met(ngx_uint_t generation, ngx_uint_t worker,
    ngx_socket_t fd);


#endif /* _NGX_ZLTUNNEL_WAY_H_INCLUDED_ */
