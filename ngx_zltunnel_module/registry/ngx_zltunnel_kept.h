
/*
 * Copyright (C) zltunnel authors
 */

/* Whose agents the administrator keeps out for a while. */


#ifndef _NGX_ZLTUNNEL_KEPT_H_INCLUDED_
#define _NGX_ZLTUNNEL_KEPT_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_shm.h"


#define NGX_ZLTUNNEL_KEPT_TEXT  80            /* bytes, of what they are told */


/* under the lock: until when those of a token's name are; 0: they are not */
time_t ngx_zltunnel_kept_until(ngx_zltunnel_sh_t *sh, ngx_str_t *name);
/* under the lock; NGX_ERROR: there is no room for one more name */
ngx_int_t ngx_zltunnel_kept_add(ngx_zltunnel_registry_t *registry,
    ngx_str_t *name, time_t until);
/* under the lock; NGX_DECLINED: they were not */
ngx_int_t ngx_zltunnel_kept_remove(ngx_zltunnel_sh_t *sh, ngx_str_t *name);
/* under the lock: a copy of those that are, at most NGX_ZLTUNNEL_KEPT; how many
   they are */
ngx_uint_t ngx_zltunnel_kept_copy(ngx_zltunnel_sh_t *sh,
    ngx_zltunnel_sh_kept_t *copy);
/* what an agent is told, ended by a 0 */
void ngx_zltunnel_kept_text(time_t until, char text[NGX_ZLTUNNEL_KEPT_TEXT]);
/* milliseconds after which it may ask again: it may be let in earlier */
ngx_msec_t ngx_zltunnel_kept_retry(time_t until);


#endif /* _NGX_ZLTUNNEL_KEPT_H_INCLUDED_ */
