
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Connects sent on control channels, each of which a fresh channel will answer.
 * All of it runs under the lock.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_pending.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_shm.h"
#include "ngx_zltunnel_zone.h"
#include "ngx_zltunnel_tunnel.h"


ngx_zltunnel_sh_pending_t *
ngx_zltunnel_pending_find(ngx_zltunnel_sh_t *sh, u_char *id)
{
    return (ngx_zltunnel_sh_pending_t *)
               ngx_zltunnel_util_id_lookup(&sh->pendings, id,
                                  offsetof(ngx_zltunnel_sh_pending_t, id));
}


ngx_zltunnel_sh_pending_t *
ngx_zltunnel_pending_add(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel, u_char *id, ngx_uint_t datagrams,
    ngx_msec_t timeout)
{
    ngx_zltunnel_sh_pending_t  *pending;

    pending = ngx_zltunnel_pending_find(registry->sh, id);

    if (pending) {
        return pending;
    }

    pending = ngx_zltunnel_zone_alloc(registry,
                                      sizeof(ngx_zltunnel_sh_pending_t));
    if (pending == NULL) {
        return NULL;
    }

    ngx_memcpy(pending->id, id, ZLT_ID_SIZE);
    ngx_memcpy(pending->tunnel_id, tunnel->id, ZLT_ID_SIZE);
    pending->slot = registry->slot;
    pending->datagrams = datagrams;
    pending->pid = ngx_pid;
    pending->expires = ngx_current_msec + timeout;

    pending->node.key = ngx_zltunnel_id_key(pending->id);
    ngx_rbtree_insert(&registry->sh->pendings, &pending->node);
    tunnel->npending++;

    return pending;
}


void
ngx_zltunnel_pending_remove(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_pending_t *pending)
{
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    tunnel = ngx_zltunnel_tunnel_find(registry->sh, pending->tunnel_id);

    if (tunnel && tunnel->npending) {
        tunnel->npending--;
    }

    ngx_rbtree_delete(&registry->sh->pendings, &pending->node);
    ngx_zltunnel_zone_free(registry, pending);
}
