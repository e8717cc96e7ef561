
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The workers' slots.
 *
 * A worker takes a slot when it starts, and everything that it puts into the
 * registry bears that slot.  Slots are freed by the sweep alone, once kill()
 * says that the process is gone: {generation, worker} does not identify a
 * process, since WINCH followed by HUP starts workers beside draining ones
 * of the same generation.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_worker_slot.h"
#include "ngx_zltunnel_shm.h"
#include "ngx_zltunnel_worker_death.h"


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

    for (i = 0; i < NGX_ZLTUNNEL_MAX_WORKERS; i++) {
        w = &sh->workers[i];

        if (w->pid && !ngx_zltunnel_worker_slot_alive(w)) {
            ngx_zltunnel_worker_death(registry, i);
        }
    }

    for (i = 0; i < NGX_ZLTUNNEL_MAX_WORKERS; i++) {
        w = &sh->workers[i];

        if (w->pid == 0) {
            ngx_memzero(w, sizeof(ngx_zltunnel_sh_worker_t));

            w->generation = generation;
            w->worker = ngx_worker;
            w->pid = ngx_pid;

            registry->slot = i;

            return NGX_OK;
        }
    }

    registry->slot = NGX_ZLTUNNEL_NO_SLOT;

    return NGX_ERROR;
}
