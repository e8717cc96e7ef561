
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Tunnels, in the registry.  All of it runs under the lock.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_tunnel.h"
#include "ngx_zltunnel_access.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_event.h"
#include "ngx_zltunnel_past.h"
#include "ngx_zltunnel_service.h"
#include "ngx_zltunnel_shm.h"
#include "ngx_zltunnel_zone.h"


#define NGX_ZLTUNNEL_TUNNEL_ADDRESSES  3       /* that are told */


ngx_zltunnel_sh_tunnel_t *
ngx_zltunnel_tunnel_find(ngx_zltunnel_sh_t *sh, u_char *id)
{
    return (ngx_zltunnel_sh_tunnel_t *)
               ngx_zltunnel_util_id_lookup(&sh->tunnels, id,
                                  offsetof(ngx_zltunnel_sh_tunnel_t, id));
}


ngx_zltunnel_sh_tunnel_t *
ngx_zltunnel_tunnel_next(ngx_zltunnel_sh_t *sh, ngx_str_t *name,
    ngx_zltunnel_sh_tunnel_t *prev)
{
    ngx_queue_t               *q;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    for (q = ngx_queue_next(prev ? &prev->queue : &sh->list);
         q != ngx_queue_sentinel(&sh->list);
         q = ngx_queue_next(q))
    {
        tunnel = ngx_queue_data(q, ngx_zltunnel_sh_tunnel_t, queue);

        if (tunnel->remote == NULL && ngx_zltunnel_tunnel_of(tunnel, name)) {
            return tunnel;
        }
    }

    return NULL;
}


ngx_zltunnel_sh_tunnel_t *
ngx_zltunnel_tunnel_after(ngx_zltunnel_sh_t *sh, ngx_rbtree_key_t *after)
{
    ngx_rbtree_node_t  *node, *found;

    found = NULL;
    node = sh->tunnels.root;

    while (node != &sh->sentinel) {

        if (after && node->key <= *after) {
            node = node->right;
            continue;
        }

        found = node;
        node = node->left;
    }

    return (ngx_zltunnel_sh_tunnel_t *) found;
}


ngx_uint_t
ngx_zltunnel_tunnel_sum(ngx_zltunnel_sh_t *sh, ngx_str_t *name, size_t offset)
{
    ngx_uint_t                 n;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    n = 0;

    for (tunnel = ngx_zltunnel_tunnel_next(sh, name, NULL);
         tunnel;
         tunnel = ngx_zltunnel_tunnel_next(sh, name, tunnel))
    {
        n += *(ngx_uint_t *) ((u_char *) tunnel + offset);
    }

    return n;
}


ngx_zltunnel_sh_tunnel_t *
ngx_zltunnel_tunnel_create(ngx_zltunnel_registry_t *registry, u_char *random)
{
    ngx_zltunnel_sh_t         *sh;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    sh = registry->sh;

    tunnel = ngx_zltunnel_zone_alloc(registry,
                                     sizeof(ngx_zltunnel_sh_tunnel_t));
    if (tunnel == NULL) {
        return NULL;
    }

    tunnel->idle = ngx_zltunnel_zone_alloc(registry,
                                           sh->nslots * sizeof(uint16_t));
    if (tunnel->idle == NULL) {
        ngx_zltunnel_zone_free(registry, tunnel);
        return NULL;
    }

    ngx_memcpy(tunnel->id, random, ZLT_ID_SIZE);
    random += ZLT_ID_SIZE;

    ngx_memcpy(tunnel->data_key, random, ZLT_KEY_SIZE);
    random += ZLT_KEY_SIZE;

    ngx_memcpy(tunnel->resume_key, random, ZLT_KEY_SIZE);

    tunnel->state = NGX_ZLTUNNEL_LIVE;
    tunnel->slot = registry->slot;
    tunnel->heard = ngx_current_msec;
    tunnel->epoch = 1;
    ngx_queue_init(&tunnel->services);
    ngx_queue_init(&tunnel->accesses);

    tunnel->node.key = ngx_zltunnel_id_key(tunnel->id);
    ngx_rbtree_insert(&sh->tunnels, &tunnel->node);
    ngx_queue_insert_tail(&sh->list, &tunnel->queue);
    sh->ntunnels++;

    return tunnel;
}


void
ngx_zltunnel_tunnel_remove(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel, ngx_zltunnel_event_e type,
    const char *reason)
{
    ngx_uint_t                  i;
    ngx_queue_t                *q;
    ngx_zltunnel_sh_t          *sh;
    ngx_zltunnel_event_t       *event;
    ngx_zltunnel_sh_service_t  *service;

    sh = registry->sh;

    if (tunnel->remote == NULL) {
        event = ngx_zltunnel_event_new(registry, type);

        ngx_zltunnel_event_tunnel(event, tunnel);
        ngx_zltunnel_event_reason(event, 0, reason);

        if (reason) {
            ngx_zltunnel_tunnel_error(tunnel, reason);
        }

        ngx_zltunnel_past_add(registry, tunnel);
        sh->ntunnels--;

    } else {

        /* what comes and goes at another node is told there */

        sh->nremote--;
        sh->remote_lost++;
    }

    while (!ngx_queue_empty(&tunnel->services)) {
        q = ngx_queue_head(&tunnel->services);
        service = ngx_queue_data(q, ngx_zltunnel_sh_service_t, queue);
        ngx_zltunnel_service_remove(registry, service);
    }

    ngx_zltunnel_access_remove_all(registry, tunnel);

    /* its idle channels are dropped by the workers that hold them */

    for (i = 0; i < sh->nslots; i++) {
        ngx_zltunnel_slot(sh, i)->nidle -= tunnel->idle[i];
    }

    ngx_rbtree_delete(&sh->tunnels, &tunnel->node);
    ngx_queue_remove(&tunnel->queue);

    ngx_zltunnel_zone_free(registry, tunnel->idle);
    ngx_zltunnel_zone_free(registry, tunnel);
}


ngx_int_t
ngx_zltunnel_tunnel_widen(ngx_zltunnel_registry_t *registry,
    ngx_uint_t nslots)
{
    uint16_t                  *idle;
    ngx_queue_t               *q;
    ngx_zltunnel_sh_t         *sh;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    sh = registry->sh;

    for (q = ngx_queue_head(&sh->list);
         q != ngx_queue_sentinel(&sh->list);
         q = ngx_queue_next(q))
    {
        tunnel = ngx_queue_data(q, ngx_zltunnel_sh_tunnel_t, queue);

        idle = ngx_zltunnel_zone_alloc(registry, nslots * sizeof(uint16_t));
        if (idle == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(idle, tunnel->idle, sh->nslots * sizeof(uint16_t));

        ngx_zltunnel_zone_free(registry, tunnel->idle);
        tunnel->idle = idle;
    }

    return NGX_OK;
}


ngx_msec_t
ngx_zltunnel_tunnel_grace(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel)
{
    ngx_msec_t  grace;

    grace = registry->reconnect_grace;

    if (!tunnel->extended) {
        grace = ngx_max(grace, NGX_ZLTUNNEL_V1_GRACE);
    }

    return ngx_current_msec + grace;
}


void
ngx_zltunnel_tunnel_down(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel, const char *reason)
{
    ngx_zltunnel_event_t  *event;

    tunnel->state = NGX_ZLTUNNEL_GRACE;
    tunnel->left = ngx_time();
    tunnel->slot = NGX_ZLTUNNEL_NO_SLOT;
    tunnel->expires = ngx_zltunnel_tunnel_grace(registry, tunnel);
    tunnel->stale = 0;

    event = ngx_zltunnel_event_new(registry, NGX_ZLTUNNEL_EVENT_DISCONNECTED);

    ngx_zltunnel_event_tunnel(event, tunnel);
    ngx_zltunnel_event_reason(event, 0, reason);

    if (reason) {
        ngx_zltunnel_tunnel_error(tunnel, reason);
    }
}


void
ngx_zltunnel_tunnel_error(ngx_zltunnel_sh_tunnel_t *tunnel, const char *text)
{
    tunnel->failed = ngx_time();
    tunnel->error_len = ngx_zltunnel_log_printable(tunnel->error,
                                                   NGX_ZLTUNNEL_ERROR_TEXT,
                                                   (u_char *) text,
                                                   ngx_strlen(text));
}


void
ngx_zltunnel_tunnel_idle(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel, ngx_int_t n)
{
    if (registry->slot == NGX_ZLTUNNEL_NO_SLOT) {
        return;
    }

    if (n < 0 && tunnel->idle[registry->slot] == 0) {
        /* the registry was emptied meanwhile */
        return;
    }

    tunnel->idle[registry->slot] += n;
    tunnel->nidle += n;
    ngx_zltunnel_slot(registry->sh, registry->slot)->nidle += n;
}


ngx_uint_t
ngx_zltunnel_tunnel_nidle(ngx_zltunnel_sh_t *sh,
    ngx_zltunnel_sh_tunnel_t *tunnel)
{
    ngx_uint_t  i, n;

    n = tunnel->nidle;

    for (i = 0; i < sh->nslots; i++) {

        if (ngx_zltunnel_slot(sh, i)->exiting) {
            n -= tunnel->idle[i];
        }
    }

    return n;
}


u_char *
ngx_zltunnel_tunnel_addresses(ngx_zltunnel_sh_t *sh, ngx_str_t *name,
    u_char *p, u_char *last)
{
    ngx_uint_t                 n;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    n = 0;

    for (tunnel = ngx_zltunnel_tunnel_next(sh, name, NULL);
         tunnel;
         tunnel = ngx_zltunnel_tunnel_next(sh, name, tunnel))
    {
        if (tunnel->state != NGX_ZLTUNNEL_LIVE) {
            continue;
        }

        if (++n > NGX_ZLTUNNEL_TUNNEL_ADDRESSES) {
            return ngx_slprintf(p, last, ", ...");
        }

        p = ngx_slprintf(p, last, "%s%*s", n == 1 ? "" : ", ",
                         (size_t) tunnel->address_len, tunnel->address);
    }

    return p;
}
