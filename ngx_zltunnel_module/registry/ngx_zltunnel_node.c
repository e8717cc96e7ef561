
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Who this server is.  The id that is drawn lives as long as the master, also
 * where a reload makes another zone, so that an agent that comes again knows
 * where it is; an id that is configured counts from the reload on that brought
 * it.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_node.h"
#include "ngx_zltunnel_shm.h"
#include "ngx_zltunnel_zone.h"

#include <openssl/rand.h>


/* in so many seconds so many channels are more than the last ones of agents
   that knew a server which has just gone */

#define NGX_ZLTUNNEL_NODE_TIME    60
#define NGX_ZLTUNNEL_NODE_ASTRAY  3


u_char *
ngx_zltunnel_node_id(ngx_zltunnel_registry_t *registry)
{
    return registry->node_given ? registry->node_id : registry->sh->node;
}


ngx_uint_t
ngx_zltunnel_node_is(ngx_zltunnel_registry_t *registry, const u_char *id)
{
    return ngx_memcmp(ngx_zltunnel_node_id(registry), id, ZLT_ID_SIZE) == 0;
}


ngx_uint_t
ngx_zltunnel_node_was(ngx_zltunnel_registry_t *registry, const u_char *id)
{
    return registry->node_changed
           && ngx_memcmp(registry->node_former, id, ZLT_ID_SIZE) == 0;
}


ngx_int_t
ngx_zltunnel_node_init(ngx_zltunnel_registry_t *registry)
{
    if (RAND_bytes(registry->sh->node, ZLT_ID_SIZE) != 1) {
        ngx_log_error(NGX_LOG_EMERG, ngx_cycle->log, 0,
                      "RAND_bytes() failed for the id of zltunnel \"%V\"",
                      &registry->name);
        return NGX_ERROR;
    }

    return NGX_OK;
}


void
ngx_zltunnel_node_succeed(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_registry_t *former)
{
    u_char  *id;

    if (registry->sh != former->sh) {
        ngx_memcpy(registry->sh->node, former->sh->node, ZLT_ID_SIZE);
    }

    id = ngx_zltunnel_node_id(former);

    if (!ngx_zltunnel_node_is(registry, id)) {
        registry->node_changed = 1;
        ngx_memcpy(registry->node_former, id, ZLT_ID_SIZE);

    } else if (former->node_changed) {
        registry->node_changed = 1;
        ngx_memcpy(registry->node_former, former->node_former, ZLT_ID_SIZE);
    }
}


ngx_uint_t
ngx_zltunnel_node_astray(ngx_zltunnel_registry_t *registry)
{
    time_t                    now;
    ngx_uint_t                n;
    ngx_zltunnel_sh_astray_t  *astray;

    n = 0;
    now = ngx_time();
    astray = &registry->sh->astray;

    ngx_zltunnel_zone_lock_read(registry);

    if (now - astray->since >= NGX_ZLTUNNEL_NODE_TIME) {
        astray->since = now;
        astray->lately = 0;
    }

    astray->total++;
    astray->lately++;

    if (astray->lately >= NGX_ZLTUNNEL_NODE_ASTRAY
        && now - astray->said >= NGX_ZLTUNNEL_NODE_TIME)
    {
        astray->said = now;
        n = astray->total;
    }

    ngx_zltunnel_zone_unlock(registry);

    return n;
}
