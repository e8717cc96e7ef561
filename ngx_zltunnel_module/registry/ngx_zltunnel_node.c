
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Who this server is.  The id lives as long as the registry in the zone, so
 * that an agent that comes again knows where it is; an id that is configured
 * counts from the reload on that brought it.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_node.h"
#include "ngx_zltunnel_shm.h"

#include <openssl/rand.h>


u_char *
ngx_zltunnel_node_id(ngx_zltunnel_registry_t *registry)
{
    return registry->node_given ? registry->node_id : registry->sh->node;
}


ngx_uint_t
ngx_zltunnel_node_is(ngx_zltunnel_registry_t *registry, const u_char *id)
{
    return ngx_memcmp(ngx_zltunnel_node_id(registry), id, ZLT_ID_SIZE) == 0
           || (registry->node_changed
               && ngx_memcmp(registry->node_former, id, ZLT_ID_SIZE) == 0);
}


ngx_int_t
ngx_zltunnel_node_init(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_registry_t *former)
{
    u_char  *id;

    if (former == NULL) {
        return RAND_bytes(registry->sh->node, ZLT_ID_SIZE) == 1 ? NGX_OK
                                                                : NGX_ERROR;
    }

    id = ngx_zltunnel_node_id(former);

    if (ngx_memcmp(id, ngx_zltunnel_node_id(registry), ZLT_ID_SIZE) != 0) {
        registry->node_changed = 1;
        ngx_memcpy(registry->node_former, id, ZLT_ID_SIZE);
    }

    return NGX_OK;
}
