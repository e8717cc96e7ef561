
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The sweep, once a second in one worker: what has expired goes, and what the
 * dead have left.  All of it runs under the lock, which others get in between
 * where that takes long.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_sweep.h"
#include "ngx_zltunnel_access.h"
#include "ngx_zltunnel_counter.h"
#include "ngx_zltunnel_event.h"
#include "ngx_zltunnel_overlap.h"
#include "ngx_zltunnel_pending.h"
#include "ngx_zltunnel_grant.h"
#include "ngx_zltunnel_host.h"
#include "ngx_zltunnel_port.h"
#include "ngx_zltunnel_port_socket.h"
#include "ngx_zltunnel_remote.h"
#include "ngx_zltunnel_service.h"
#include "ngx_zltunnel_shm.h"
#include "ngx_zltunnel_tunnel.h"
#include "ngx_zltunnel_worker_death.h"
#include "ngx_zltunnel_worker_slot.h"
#include "ngx_zltunnel_zone.h"


/* the zone is short of memory if no more than such a part of it is free */
#define NGX_ZLTUNNEL_SWEEP_SHORT  8

/* what it costs to remove a service, compared to a look at it */
#define NGX_ZLTUNNEL_SWEEP_REMOVAL  8

#define ngx_zltunnel_due(when, now)                                           \
    ((ngx_msec_int_t) ((now) - (when)) >= 0)


static void ngx_zltunnel_sweep_tunnels(ngx_zltunnel_registry_t *registry,
    ngx_msec_t now);
static void ngx_zltunnel_sweep_counters(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel);
static ngx_uint_t ngx_zltunnel_sweep_due(ngx_zltunnel_sh_tunnel_t *tunnel,
    ngx_msec_t now);
static void ngx_zltunnel_sweep_expire(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel);


void
ngx_zltunnel_sweep(ngx_zltunnel_registry_t *registry)
{
    ngx_uint_t                  i;
    ngx_msec_t                  now;
    ngx_rbtree_node_t          *node;
    ngx_zltunnel_sh_t          *sh;
    ngx_zltunnel_sh_worker_t   *w;
    ngx_zltunnel_sh_pending_t  *pending;

    sh = registry->sh;
    now = ngx_current_msec;

    if (now - sh->swept < 900) {
        return;
    }

    sh->swept = now;

    for (i = 0; i < sh->nslots; i++) {
        w = ngx_zltunnel_slot(sh, i);

        if (w->pid && !ngx_zltunnel_worker_slot_alive(w)) {
            ngx_zltunnel_worker_death(registry, i);
        }
    }

    ngx_zltunnel_sweep_tunnels(registry, now);

    if (sh->pendings.root != &sh->sentinel) {

        for (node = ngx_rbtree_min(sh->pendings.root, &sh->sentinel);
             node;
             /* void */ )
        {
            pending = (ngx_zltunnel_sh_pending_t *) node;
            node = ngx_rbtree_next(&sh->pendings, node);

            if (ngx_zltunnel_due(pending->expires, now)) {
                ngx_zltunnel_zone_change(registry);
                ngx_zltunnel_pending_remove(registry, pending);
            }
        }
    }

    ngx_zltunnel_port_sweep(registry);
    ngx_zltunnel_host_sweep(registry);
    ngx_zltunnel_grant_sweep(registry);

    if (ngx_zltunnel_overlap) {

        /* the other binary may serve them */

        return;
    }

    if (sh->unsettled && now - sh->started >= registry->reconnect_grace) {
        ngx_zltunnel_port_socket_reconcile(registry, 0);

    } else if (sh->unclosed) {
        ngx_zltunnel_port_socket_reconcile(registry, 1);
    }
}


static void
ngx_zltunnel_sweep_tunnels(ngx_zltunnel_registry_t *registry, ngx_msec_t now)
{
    ngx_uint_t                 work, tight;
    ngx_rbtree_key_t           key;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    work = 0;

    tight = registry->shpool->pfree
            < registry->shm_zone->shm.size / ngx_pagesize
              / NGX_ZLTUNNEL_SWEEP_SHORT;

    for (tunnel = ngx_zltunnel_tunnel_after(registry->sh, NULL);
         tunnel;
         tunnel = ngx_zltunnel_tunnel_after(registry->sh, &key))
    {
        key = tunnel->node.key;
        work++;

        if (tight) {
            work += tunnel->nservices + tunnel->naccesses;
            ngx_zltunnel_sweep_counters(registry, tunnel);
        }

        if (ngx_zltunnel_sweep_due(tunnel, now)) {
            work += NGX_ZLTUNNEL_SWEEP_REMOVAL * (1 + tunnel->nservices);
            ngx_zltunnel_sweep_expire(registry, tunnel);

        } else if (tunnel->state == NGX_ZLTUNNEL_GRACE) {
            work += tunnel->naccesses;
            ngx_zltunnel_access_sweep(registry, tunnel);

        } else if (tunnel->nwanting) {
            work += tunnel->nservices;
            ngx_zltunnel_remote_sweep(registry, tunnel);
        }

        (void) ngx_zltunnel_zone_unlock_briefly(registry, &work);
    }
}


/*
 * The zone is short of memory: where many workers serve many services, most of
 * it are counters of those that have no connection now.
 */

static void
ngx_zltunnel_sweep_counters(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel)
{
    ngx_queue_t                *q;
    ngx_zltunnel_sh_access_t   *access;
    ngx_zltunnel_sh_service_t  *service;

    ngx_zltunnel_zone_change(registry);

    for (q = ngx_queue_head(&tunnel->services);
         q != ngx_queue_sentinel(&tunnel->services);
         q = ngx_queue_next(q))
    {
        service = ngx_queue_data(q, ngx_zltunnel_sh_service_t, queue);
        ngx_zltunnel_counter_fold_idle(registry, &service->counters);
    }

    for (q = ngx_queue_head(&tunnel->accesses);
         q != ngx_queue_sentinel(&tunnel->accesses);
         q = ngx_queue_next(q))
    {
        access = ngx_queue_data(q, ngx_zltunnel_sh_access_t, queue);
        ngx_zltunnel_counter_fold_idle(registry, &access->counters);
    }
}


/* its grace is over, or its time to register everything again */

static ngx_uint_t
ngx_zltunnel_sweep_due(ngx_zltunnel_sh_tunnel_t *tunnel, ngx_msec_t now)
{
    if (tunnel->state == NGX_ZLTUNNEL_GRACE) {
        return ngx_zltunnel_due(tunnel->expires, now);
    }

    return tunnel->stale && ngx_zltunnel_due(tunnel->stale, now);
}


static void
ngx_zltunnel_sweep_expire(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel)
{
    ngx_queue_t                *q, *next;
    ngx_zltunnel_sh_service_t  *service;

    ngx_zltunnel_zone_change(registry);

    if (tunnel->state == NGX_ZLTUNNEL_GRACE) {
        ngx_zltunnel_tunnel_remove(registry, tunnel, NGX_ZLTUNNEL_EVENT_GONE,
                                   NULL);
        return;
    }

    tunnel->stale = 0;

    ngx_zltunnel_access_stale(registry, tunnel);

    for (q = ngx_queue_head(&tunnel->services);
         q != ngx_queue_sentinel(&tunnel->services);
         q = next)
    {
        next = ngx_queue_next(q);
        service = ngx_queue_data(q, ngx_zltunnel_sh_service_t, queue);

        if (service->stale) {
            ngx_zltunnel_service_withdraw(registry, service,
                                          "not registered again in time");
        }
    }
}
