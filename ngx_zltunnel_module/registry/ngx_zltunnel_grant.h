
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_GRANT_H_INCLUDED_
#define _NGX_ZLTUNNEL_GRANT_H_INCLUDED_


#include "ngx_zltunnel.h"


/* None of these under the lock. */

/* A token was let in: all workers are to know.  NGX_ERROR: the zone is full. */
ngx_int_t ngx_zltunnel_grant_set(ngx_zltunnel_registry_t *registry,
    u_char hash[32], ngx_str_t *text, time_t fresh, time_t until);
/* .. is not let in any more; lapsed: since nobody could say */
void ngx_zltunnel_grant_end(ngx_zltunnel_registry_t *registry,
    u_char hash[32], ngx_uint_t lapsed);
/* takes over what other workers have been told */
void ngx_zltunnel_grant_sync(ngx_zltunnel_registry_t *registry);
/* .. and, once a second: 1 if rights have changed since the last time */
ngx_uint_t ngx_zltunnel_grant_follow(ngx_zltunnel_registry_t *registry);


/* Under the lock: some of those that nobody needs any more go. */
void ngx_zltunnel_grant_sweep(ngx_zltunnel_registry_t *registry);


#endif /* _NGX_ZLTUNNEL_GRANT_H_INCLUDED_ */
