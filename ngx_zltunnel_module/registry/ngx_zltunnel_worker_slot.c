
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The workers' slots.
 *
 * A worker takes a slot when it starts, and everything that it puts into the
 * registry bears that slot.  There are as many as there have been workers at a
 * time, of all generations: tables are added, up to as many as a master can
 * have processes, and stay where they are, since what is counted there is
 * counted without the lock.  Slots are freed by the sweep alone, once kill()
 * says that the process is gone: {generation, worker} does not identify a
 * process, since WINCH followed by HUP starts workers beside draining ones
 * of the same generation.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_worker_slot.h"
#include "ngx_zltunnel_shm.h"
#include "ngx_zltunnel_tunnel.h"
#include "ngx_zltunnel_worker_death.h"
#include "ngx_zltunnel_zone.h"


static ngx_int_t ngx_zltunnel_worker_slot_add(
    ngx_zltunnel_registry_t *registry);
static ngx_zltunnel_sh_figures_t *ngx_zltunnel_worker_slot_figures(
    ngx_zltunnel_registry_t *registry);


ngx_uint_t
ngx_zltunnel_worker_slot_alive(ngx_zltunnel_sh_worker_t *worker)
{
    return worker->pid
           && (kill(worker->pid, 0) == 0 || ngx_errno != NGX_ESRCH);
}


ngx_int_t
ngx_zltunnel_worker_slot_take(ngx_zltunnel_registry_t *registry,
    ngx_uint_t generation)
{
    ngx_uint_t                 i;
    ngx_zltunnel_sh_t         *sh;
    ngx_zltunnel_sh_worker_t  *w;

    sh = registry->sh;

    for (i = 0; i < sh->nslots; i++) {
        w = ngx_zltunnel_slot(sh, i);

        if (w->pid && !ngx_zltunnel_worker_slot_alive(w)) {
            ngx_zltunnel_worker_death(registry, i);
        }
    }

    for (i = 0; i < sh->nslots; i++) {

        if (ngx_zltunnel_slot(sh, i)->pid == 0) {
            break;
        }
    }

    if (i == sh->nslots && ngx_zltunnel_worker_slot_add(registry) != NGX_OK) {
        registry->slot = NGX_ZLTUNNEL_NO_SLOT;
        return NGX_ERROR;
    }

    w = ngx_zltunnel_slot(sh, i);

    ngx_memzero(w, sizeof(ngx_zltunnel_sh_worker_t));

    w->generation = generation;
    sh->manned = ngx_max(sh->manned, generation);
    w->worker = ngx_worker;
    w->figures = ngx_zltunnel_worker_slot_figures(registry);
    w->pid = ngx_pid;

    if (sh->gone.figures == NULL) {
        sh->gone.figures = ngx_zltunnel_worker_slot_figures(registry);
    }

    registry->slot = i;

    return NGX_OK;
}


/* One more table.  It is there before anybody is told that it is. */

static ngx_int_t
ngx_zltunnel_worker_slot_add(ngx_zltunnel_registry_t *registry)
{
    ngx_uint_t                 n;
    ngx_zltunnel_sh_t         *sh;
    ngx_zltunnel_sh_worker_t  *table;

    sh = registry->sh;
    n = sh->nslots / NGX_ZLTUNNEL_SLOTS;

    if (n == NGX_ZLTUNNEL_TABLES) {
        return NGX_ERROR;
    }

    table = ngx_zltunnel_zone_alloc(registry, NGX_ZLTUNNEL_SLOTS
                                    * sizeof(ngx_zltunnel_sh_worker_t));
    if (table == NULL) {
        return NGX_ERROR;
    }

    if (ngx_zltunnel_tunnel_widen(registry, sh->nslots + NGX_ZLTUNNEL_SLOTS)
        != NGX_OK)
    {
        ngx_zltunnel_zone_free(registry, table);
        return NGX_ERROR;
    }

    sh->slots[n] = table;
    ngx_memory_barrier();
    sh->nslots += NGX_ZLTUNNEL_SLOTS;

    return NGX_OK;
}


/* NULL: the zone is full, and nothing is counted */

static ngx_zltunnel_sh_figures_t *
ngx_zltunnel_worker_slot_figures(ngx_zltunnel_registry_t *registry)
{
    ngx_zltunnel_sh_figures_t  *figures;

    figures = ngx_zltunnel_zone_alloc(registry,
                                      sizeof(ngx_zltunnel_sh_figures_t));
    if (figures) {
        ngx_memzero(figures, sizeof(ngx_zltunnel_sh_figures_t));
    }

    return figures;
}
