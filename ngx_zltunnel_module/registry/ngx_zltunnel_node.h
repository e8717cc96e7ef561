
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The id of this server among several behind one name: as "node_id" says, or
 * drawn when the zone is made.
 */


#ifndef _NGX_ZLTUNNEL_NODE_H_INCLUDED_
#define _NGX_ZLTUNNEL_NODE_H_INCLUDED_


#include "ngx_zltunnel.h"


/* ZLT_ID_SIZE bytes */
u_char *ngx_zltunnel_node_id(ngx_zltunnel_registry_t *registry);
/* 1 if that is this server */
ngx_uint_t ngx_zltunnel_node_is(ngx_zltunnel_registry_t *registry,
    const u_char *id);
/* 1 if that was this server in a configuration of late, or is so in the next one,
   to which this worker does not belong */
ngx_uint_t ngx_zltunnel_node_was(ngx_zltunnel_registry_t *registry,
    const u_char *id);
/* draws an id for a zone that is made; NGX_ERROR: it cannot */
ngx_int_t ngx_zltunnel_node_init(ngx_zltunnel_registry_t *registry);
/* Before there are workers: the id is known from now on, and what the registry
   of the configuration before, which may be NULL, knows of former ones. */
void ngx_zltunnel_node_succeed(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_registry_t *former);
/* Counts a channel that was for another node.  Returns how many there have been
   if that is to be logged: at most once a minute in all workers, and not for a
   few; otherwise 0. */
ngx_uint_t ngx_zltunnel_node_astray(ngx_zltunnel_registry_t *registry);


#endif /* _NGX_ZLTUNNEL_NODE_H_INCLUDED_ */
