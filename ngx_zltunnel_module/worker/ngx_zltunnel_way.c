
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The ways to other workers.
 *
 * The master makes a SEQPACKET socketpair for each worker number before it
 * forks, so a respawned worker finds the pair of the one that died.  Every
 * worker has the sending ends of all pairs of its generation and of older ones
 * that still live.  Those of younger ones come with what their workers say
 * first.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_way.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_module.h"
#include "ngx_zltunnel_pairs.h"
#include "ngx_zltunnel_registry.h"


typedef struct {
    ngx_uint_t                   generation;
    ngx_uint_t                   n;
    ngx_zltunnel_pair_t         *pairs;
} ngx_zltunnel_way_set_t;


/* the sending end of a younger generation, as its worker said HELLO */

typedef struct {
    ngx_uint_t                   generation;
    ngx_uint_t                   worker;
    ngx_socket_t                 fd;
} ngx_zltunnel_way_young_t;


static void ngx_zltunnel_way_prune(ngx_cycle_t *cycle);
static void ngx_zltunnel_way_close(ngx_socket_t *fd);
static ngx_uint_t ngx_zltunnel_way_in_use(ngx_cycle_t *cycle,
    ngx_uint_t generation);


ngx_uint_t  ngx_zltunnel_way_generation;


static ngx_zltunnel_way_set_t    *ngx_zltunnel_way_sets;
static ngx_uint_t                 ngx_zltunnel_way_nsets;

static ngx_zltunnel_way_young_t  *ngx_zltunnel_way_young;
static ngx_uint_t                 ngx_zltunnel_way_nyoung;


ngx_int_t
ngx_zltunnel_way_prepare(ngx_uint_t workers, ngx_log_t *log)
{
    ngx_zltunnel_way_prune((ngx_cycle_t *) ngx_cycle);

    return ngx_zltunnel_pairs_prepare(workers, log);
}


ngx_int_t
ngx_zltunnel_way_init_module(ngx_cycle_t *cycle)
{
    ngx_uint_t               i, n;
    ngx_core_conf_t         *ccf;
    ngx_zltunnel_way_set_t  *set;

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    ngx_zltunnel_way_generation++;

    set = realloc(ngx_zltunnel_way_sets,
                  (ngx_zltunnel_way_nsets + 1)
                  * sizeof(ngx_zltunnel_way_set_t));
    if (set == NULL) {
        return NGX_ERROR;
    }

    ngx_zltunnel_way_sets = set;

    if (ccf->master) {

        /* no worker of these is started again: half of the descriptors */

        for (i = 0; i < ngx_zltunnel_way_nsets; i++) {

            for (n = 0; n < set[i].n; n++) {
                ngx_zltunnel_way_close(&set[i].pairs[n][0]);
            }
        }
    }

    set += ngx_zltunnel_way_nsets;

    set->generation = ngx_zltunnel_way_generation;
    set->pairs = ngx_zltunnel_pairs_take(&set->n);

    ngx_zltunnel_way_nsets++;

    return NGX_OK;
}


static void
ngx_zltunnel_way_prune(ngx_cycle_t *cycle)
{
    ngx_uint_t               i, j, k;
    ngx_zltunnel_way_set_t  *set;

    for (i = 0, j = 0; i < ngx_zltunnel_way_nsets; i++) {
        set = &ngx_zltunnel_way_sets[i];

        /* the latest one's workers may be about to start */

        if (set->generation == ngx_zltunnel_way_generation
            || ngx_zltunnel_way_in_use(cycle, set->generation))
        {
            ngx_zltunnel_way_sets[j++] = *set;
            continue;
        }

        for (k = 0; k < set->n; k++) {
            ngx_zltunnel_way_close(&set->pairs[k][0]);
            ngx_zltunnel_way_close(&set->pairs[k][1]);
        }

        ngx_free(set->pairs);
    }

    ngx_zltunnel_way_nsets = j;
}


static void
ngx_zltunnel_way_close(ngx_socket_t *fd)
{
    if (*fd != (ngx_socket_t) -1) {
        (void) ngx_close_socket(*fd);
        *fd = (ngx_socket_t) -1;
    }
}


void
ngx_zltunnel_way_tidy(void)
{
    ngx_uint_t                 i, j;
    ngx_zltunnel_way_young_t  *young;

    if (ngx_zltunnel_way_nsets == 1 && ngx_zltunnel_way_nyoung == 0) {
        return;
    }

    ngx_zltunnel_way_prune((ngx_cycle_t *) ngx_cycle);

    young = ngx_zltunnel_way_young;

    for (i = 0, j = 0; i < ngx_zltunnel_way_nyoung; i++) {

        if (ngx_zltunnel_way_in_use((ngx_cycle_t *) ngx_cycle,
                                    young[i].generation))
        {
            young[j++] = young[i];

        } else {
            (void) ngx_close_socket(young[i].fd);
        }
    }

    ngx_zltunnel_way_nyoung = j;
}


static ngx_uint_t
ngx_zltunnel_way_in_use(ngx_cycle_t *cycle, ngx_uint_t generation)
{
    ngx_uint_t                  i, j;
    ngx_zltunnel_conf_t        *conf;
    ngx_zltunnel_sh_worker_t   *w;
    ngx_zltunnel_registry_t   **registry;

    conf = (ngx_zltunnel_conf_t *) ngx_get_conf(cycle->conf_ctx,
                                                ngx_zltunnel_module);
    registry = conf->registries.elts;

    for (i = 0; i < conf->registries.nelts; i++) {

        for (j = 0; j < registry[i]->sh->nslots; j++) {
            w = ngx_zltunnel_slot(registry[i]->sh, j);

            if (w->generation == generation
                && ngx_zltunnel_worker_slot_alive(w))
            {
                return 1;
            }
        }
    }

    return 0;
}


ngx_socket_t
ngx_zltunnel_way_own(void)
{
    ngx_uint_t               i, k;
    ngx_socket_t             own;
    ngx_zltunnel_way_set_t  *set;

    own = (ngx_socket_t) -1;

    for (i = 0; i < ngx_zltunnel_way_nsets; i++) {
        set = &ngx_zltunnel_way_sets[i];

        for (k = 0; k < set->n; k++) {

            if (set->generation == ngx_zltunnel_way_generation
                && k == ngx_worker)
            {
                own = set->pairs[k][0];
                continue;
            }

            if (ngx_process == NGX_PROCESS_WORKER) {
                ngx_zltunnel_way_close(&set->pairs[k][0]);
            }
        }
    }

    return own;
}


ngx_socket_t
ngx_zltunnel_way_sender(ngx_uint_t generation, ngx_uint_t worker)
{
    ngx_uint_t  i;

    for (i = 0; i < ngx_zltunnel_way_nsets; i++) {

        if (ngx_zltunnel_way_sets[i].generation == generation
            && worker < ngx_zltunnel_way_sets[i].n)
        {
            return ngx_zltunnel_way_sets[i].pairs[worker][1];
        }
    }

    for (i = 0; i < ngx_zltunnel_way_nyoung; i++) {

        if (ngx_zltunnel_way_young[i].generation == generation
            && ngx_zltunnel_way_young[i].worker == worker)
        {
            return ngx_zltunnel_way_young[i].fd;
        }
    }

    return (ngx_socket_t) -1;
}


void
ngx_zltunnel_way_met(ngx_uint_t generation, ngx_uint_t worker,
    ngx_socket_t fd)
{
    ngx_zltunnel_way_young_t  *young;

    /* a worker of the same number and generation has the same socket */

    if (fd == (ngx_socket_t) -1) {
        return;
    }

    if (ngx_zltunnel_way_sender(generation, worker) != (ngx_socket_t) -1) {
        (void) ngx_close_socket(fd);
        return;
    }

    young = realloc(ngx_zltunnel_way_young,
                    (ngx_zltunnel_way_nyoung + 1)
                    * sizeof(ngx_zltunnel_way_young_t));
    if (young == NULL) {
        (void) ngx_close_socket(fd);
        return;
    }

    ngx_zltunnel_way_young = young;

    young += ngx_zltunnel_way_nyoung++;

    young->generation = generation;
    young->worker = worker;
    young->fd = fd;
}
