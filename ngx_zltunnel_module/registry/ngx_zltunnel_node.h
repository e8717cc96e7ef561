
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
/* 1 if that is this server, or was so before the configuration was loaded
   again */
ngx_uint_t ngx_zltunnel_node_is(ngx_zltunnel_registry_t *registry,
    const u_char *id);
/* Takes over what is known from the configuration before, which may be NULL.
   NGX_ERROR: no id can be drawn. */
ngx_int_t ngx_zltunnel_node_init(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_registry_t *former);


#endif /* _NGX_ZLTUNNEL_NODE_H_INCLUDED_ */
