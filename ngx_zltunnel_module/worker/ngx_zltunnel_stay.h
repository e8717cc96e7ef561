
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_STAY_H_INCLUDED_
#define _NGX_ZLTUNNEL_STAY_H_INCLUDED_


#include "ngx_zltunnel.h"


/* this worker begins to exit */
void ngx_zltunnel_stay_begin(ngx_zltunnel_registry_t *registry);
/* each second, from then on: whether it stays for the clients of others */
void ngx_zltunnel_stay_look(ngx_zltunnel_registry_t *registry);
/* 1: it exits, and so do all that have its registry: no agent can open a channel
   to any of them */
ngx_uint_t ngx_zltunnel_stay_last(ngx_zltunnel_registry_t *registry);


#endif /* _NGX_ZLTUNNEL_STAY_H_INCLUDED_ */
