
/*
 * Copyright (C) zltunnel authors
 */

/* What the API answers to GET. */


#ifndef _NGX_ZLTUNNEL_API_H_INCLUDED_
#define _NGX_ZLTUNNEL_API_H_INCLUDED_


#include "ngx_zltunnel.h"


typedef struct {
    ngx_zltunnel_registry_t     *registry;
    ngx_pool_t                  *pool;
    ngx_str_t                    name;        /* of the list; empty: the root */
    u_char                      *id;          /* of one tunnel, or NULL */
    ngx_str_t                    fields;      /* empty: all */
    unsigned                     pretty:1;    /* for people */
    unsigned                     write:1;     /* what the root says */
} ngx_zltunnel_api_t;


/*
 * JSON in buffers of the pool, as ngx_zltunnel_status() has it.  NGX_DECLINED:
 * there is no list of that name, or no such tunnel; NGX_ERROR: not enough
 * memory.
 */
ngx_int_t ngx_zltunnel_api(ngx_zltunnel_api_t *api, ngx_chain_t **out,
    off_t *size);
/* whether there is a list of that name, or it is the root's, which is empty */
ngx_uint_t ngx_zltunnel_api_known(ngx_str_t *name);


#endif /* _NGX_ZLTUNNEL_API_H_INCLUDED_ */
