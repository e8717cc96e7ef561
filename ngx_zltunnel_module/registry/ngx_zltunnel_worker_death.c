
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What is done when a worker has died, by the sweep of another one: its
 * connections went with its process, so here its tunnels begin their grace,
 * its idle channels and pending dials are forgotten, and its counters are
 * folded in.  Others get the lock in between, and find some tunnels as they
 * were and some done; another one may do the same at once.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_worker_death.h"
#include "ngx_zltunnel_access.h"
#include "ngx_zltunnel_counter.h"
#include "ngx_zltunnel_figure.h"
#include "ngx_zltunnel_pending.h"
#include "ngx_zltunnel_shm.h"
#include "ngx_zltunnel_tunnel.h"
#include "ngx_zltunnel_zone.h"


static void ngx_zltunnel_worker_death_tunnel(
    ngx_zltunnel_registry_t *registry, ngx_zltunnel_sh_tunnel_t *tunnel,
    ngx_uint_t slot);
static void ngx_zltunnel_worker_death_pendings(
    ngx_zltunnel_registry_t *registry, ngx_uint_t slot);
static void ngx_zltunnel_worker_death_figures(
    ngx_zltunnel_registry_t *registry, ngx_zltunnel_sh_worker_t *w);
static void ngx_zltunnel_worker_death_counters(
    ngx_zltunnel_registry_t *registry, ngx_queue_t *counters, ngx_uint_t slot);


void
ngx_zltunnel_worker_death(ngx_zltunnel_registry_t *registry, ngx_uint_t slot)
{
    ngx_pid_t                   pid;
    ngx_uint_t                  work;
    ngx_rbtree_key_t            key;
    ngx_zltunnel_sh_t          *sh;
    ngx_zltunnel_sh_worker_t   *w;
    ngx_zltunnel_sh_tunnel_t   *tunnel;

    sh = registry->sh;
    w = ngx_zltunnel_slot(sh, slot);
    pid = w->pid;
    work = 0;

    for (tunnel = ngx_zltunnel_tunnel_after(sh, NULL);
         tunnel;
         tunnel = ngx_zltunnel_tunnel_after(sh, &key))
    {
        key = tunnel->node.key;
        work += 1 + tunnel->nservices + tunnel->naccesses;

        ngx_zltunnel_zone_change(registry);
        ngx_zltunnel_worker_death_tunnel(registry, tunnel, slot);

        if (ngx_zltunnel_zone_unlock_briefly(registry, &work)
            && w->pid != pid)
        {
            /* another worker has done all of it meanwhile */
            ngx_zltunnel_zone_change(registry);
            return;
        }
    }

    ngx_zltunnel_zone_change(registry);

    ngx_zltunnel_worker_death_counters(registry, &sh->orphans, slot);
    ngx_zltunnel_worker_death_pendings(registry, slot);
    ngx_zltunnel_worker_death_figures(registry, w);

    ngx_memzero(w, sizeof(ngx_zltunnel_sh_worker_t));
}


static void
ngx_zltunnel_worker_death_tunnel(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel, ngx_uint_t slot)
{
    ngx_queue_t                *q;
    ngx_zltunnel_sh_access_t   *access;
    ngx_zltunnel_sh_service_t  *service;

    tunnel->nidle -= tunnel->idle[slot];
    tunnel->idle[slot] = 0;

    if (tunnel->state == NGX_ZLTUNNEL_LIVE && tunnel->slot == slot) {
        ngx_zltunnel_tunnel_down(registry, tunnel,
                                 "a worker of the server died");
    }

    for (q = ngx_queue_head(&tunnel->services);
         q != ngx_queue_sentinel(&tunnel->services);
         q = ngx_queue_next(q))
    {
        service = ngx_queue_data(q, ngx_zltunnel_sh_service_t, queue);

        ngx_zltunnel_worker_death_counters(registry, &service->counters, slot);
    }

    for (q = ngx_queue_head(&tunnel->accesses);
         q != ngx_queue_sentinel(&tunnel->accesses);
         q = ngx_queue_next(q))
    {
        access = ngx_queue_data(q, ngx_zltunnel_sh_access_t, queue);

        ngx_zltunnel_worker_death_counters(registry, &access->counters, slot);
    }
}


static void
ngx_zltunnel_worker_death_pendings(ngx_zltunnel_registry_t *registry,
    ngx_uint_t slot)
{
    ngx_rbtree_node_t          *node;
    ngx_zltunnel_sh_t          *sh;
    ngx_zltunnel_sh_pending_t  *pending;

    sh = registry->sh;

    if (sh->pendings.root == &sh->sentinel) {
        return;
    }

    for (node = ngx_rbtree_min(sh->pendings.root, &sh->sentinel);
         node;
         /* void */ )
    {
        pending = (ngx_zltunnel_sh_pending_t *) node;
        node = ngx_rbtree_next(&sh->pendings, node);

        if (pending->slot == slot) {
            ngx_zltunnel_pending_remove(registry, pending);
        }
    }
}


static void
ngx_zltunnel_worker_death_figures(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_worker_t *w)
{
    ngx_zltunnel_sh_t          *sh;
    ngx_zltunnel_sh_figures_t  *figures;

    sh = registry->sh;

    ngx_zltunnel_figure_add_worker(&sh->gone, w);

    /* who dies here leaves a registry that is emptied, and the slot: the memory
       is lost then, but is not freed twice */

    figures = w->figures;
    w->figures = NULL;
    ngx_memory_barrier();

    ngx_zltunnel_figure_add(sh->gone.figures, figures);

    if (figures) {
        ngx_zltunnel_zone_free(registry, figures);
    }
}


static void
ngx_zltunnel_worker_death_counters(ngx_zltunnel_registry_t *registry,
    ngx_queue_t *counters, ngx_uint_t slot)
{
    ngx_queue_t                *q, *next;
    ngx_zltunnel_sh_counter_t  *counter;

    for (q = ngx_queue_head(counters);
         q != ngx_queue_sentinel(counters);
         q = next)
    {
        next = ngx_queue_next(q);
        counter = ngx_queue_data(q, ngx_zltunnel_sh_counter_t, queue);

        if (counter->slot == slot) {
            ngx_zltunnel_counter_fold(registry, counter);
        }
    }
}
