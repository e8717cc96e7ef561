
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Who this server is.  The id that is drawn lives as long as the master, also
 * where a reload makes another zone, so that an agent that comes again knows
 * where it is; an id that is configured is that of the workers of its
 * configuration.
 *
 * The zone remembers the last ids.  While a reload goes on, and several may
 * follow each other, agents have one of before, and workers that have not heard
 * of their end yet meet agents that have the next one.
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
    return registry->node_given ? registry->node_id
                                : registry->sh->node.drawn;
}


ngx_uint_t
ngx_zltunnel_node_is(ngx_zltunnel_registry_t *registry, const u_char *id)
{
    return ngx_memcmp(ngx_zltunnel_node_id(registry), id, ZLT_ID_SIZE) == 0;
}


ngx_uint_t
ngx_zltunnel_node_was(ngx_zltunnel_registry_t *registry, const u_char *id)
{
    ngx_uint_t               i;
    ngx_zltunnel_sh_node_t  *node;

    node = &registry->sh->node;

    for (i = 0; i < ngx_min(node->n, NGX_ZLTUNNEL_NODE_IDS); i++) {

        if (ngx_memcmp(node->ids[i], id, ZLT_ID_SIZE) == 0) {
            return 1;
        }
    }

    return 0;
}


ngx_int_t
ngx_zltunnel_node_init(ngx_zltunnel_registry_t *registry)
{
    if (RAND_bytes(registry->sh->node.drawn, ZLT_ID_SIZE) != 1) {
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
    u_char                  *id;
    ngx_zltunnel_sh_node_t  *node;

    node = &registry->sh->node;

    if (former && former->sh != registry->sh) {
        *node = former->sh->node;
    }

    id = ngx_zltunnel_node_id(registry);

    if (ngx_zltunnel_node_was(registry, id)) {
        return;
    }

    /* who reads meanwhile does not find it yet */

    ngx_memcpy(node->ids[node->n % NGX_ZLTUNNEL_NODE_IDS], id, ZLT_ID_SIZE);
    ngx_memory_barrier();
    node->n++;
}


ngx_uint_t
ngx_zltunnel_node_astray(ngx_zltunnel_registry_t *registry)
{
    time_t                     now;
    ngx_uint_t                 n;
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
