
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Tokens that the system behind zltunnel_auth has let in, as this worker knows
 * them: each with its rights in the words of the token file.  What all workers
 * share is in registry/ngx_zltunnel_grant.c.
 */


#ifndef _NGX_ZLTUNNEL_GRANTED_H_INCLUDED_
#define _NGX_ZLTUNNEL_GRANTED_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_token.h"


#define NGX_ZLTUNNEL_GRANTED_TEXT  4096     /* bytes of rights */


typedef struct {
    ngx_rbtree_node_t            node;
    u_char                       hash[32];    /* SHA-256 of the token */
    ngx_zltunnel_tokens_t       *set;         /* of one; NULL: it is over */
    ngx_str_t                    text;        /* in the set's pool */
    time_t                       fresh;       /* not asked for again before */
    time_t                       until;       /* holds without an answer */
    unsigned                     lapsed:1;    /* over, since nobody answered */
} ngx_zltunnel_granted_t;


/* NULL: it was never let in */
ngx_zltunnel_granted_t *ngx_zltunnel_granted_find(
    ngx_zltunnel_registry_t *registry, u_char hash[32]);
/* the one behind granted, or the first one, that is let in; NULL: none is */
ngx_zltunnel_granted_t *ngx_zltunnel_granted_next(
    ngx_zltunnel_registry_t *registry, ngx_zltunnel_granted_t *granted);
/* Its rights from now on, "NAME key=value ...".  NGX_OK; NGX_DECLINED: they are
   the same as before; NGX_ERROR: they are wrong, or there is no memory, *e says
   so, and nothing has changed. */
ngx_int_t ngx_zltunnel_granted_set(ngx_zltunnel_registry_t *registry,
    u_char hash[32], ngx_str_t *text, time_t fresh, time_t until,
    ngx_zltunnel_token_error_t *e);
/* It is not let in any more; lapsed: since nobody could say.  NGX_DECLINED: it
   was not. */
ngx_int_t ngx_zltunnel_granted_end(ngx_zltunnel_registry_t *registry,
    u_char hash[32], ngx_uint_t lapsed);
/* forgets those that are over for long, to be called now and then; or all */
void ngx_zltunnel_granted_tidy(ngx_zltunnel_registry_t *registry,
    ngx_uint_t all);


#endif /* _NGX_ZLTUNNEL_GRANTED_H_INCLUDED_ */
