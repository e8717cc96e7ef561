
/*
 * Copyright (C) zltunnel authors
 */

/* What a worker counts of its dials and heartbeats, for the metrics. */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_figure.h"


static ngx_zltunnel_sh_figures_t *ngx_zltunnel_figure_own(
    ngx_zltunnel_registry_t *registry);
static void ngx_zltunnel_figure_time(ngx_zltunnel_sh_times_t *times,
    ngx_msec_t msec);


const ngx_msec_t  ngx_zltunnel_figure_limits[NGX_ZLTUNNEL_BUCKETS - 1] = {
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 30000
};


void
ngx_zltunnel_figure_dial(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_dial_e rc, ngx_msec_t msec)
{
    ngx_zltunnel_sh_figures_t  *figures;

    figures = ngx_zltunnel_figure_own(registry);

    if (figures == NULL) {
        return;
    }

    figures->dials[rc]++;

    if (rc == NGX_ZLTUNNEL_DIAL_OK) {
        ngx_zltunnel_figure_time(&figures->connects, msec);
    }
}


void
ngx_zltunnel_figure_heartbeat(ngx_zltunnel_registry_t *registry,
    ngx_msec_t msec)
{
    ngx_zltunnel_sh_figures_t  *figures;

    figures = ngx_zltunnel_figure_own(registry);

    if (figures) {
        ngx_zltunnel_figure_time(&figures->heartbeats, msec);
    }
}


void
ngx_zltunnel_figure_notified(ngx_zltunnel_registry_t *registry,
    ngx_uint_t result, ngx_uint_t n)
{
    ngx_zltunnel_sh_figures_t  *figures;

    figures = ngx_zltunnel_figure_own(registry);

    if (figures) {
        figures->notified[result] += n;
    }
}


void
ngx_zltunnel_figure_asked(ngx_zltunnel_registry_t *registry, ngx_uint_t result)
{
    ngx_zltunnel_sh_figures_t  *figures;

    figures = ngx_zltunnel_figure_own(registry);

    if (figures) {
        figures->asked[result]++;
    }
}


static ngx_zltunnel_sh_figures_t *
ngx_zltunnel_figure_own(ngx_zltunnel_registry_t *registry)
{
    if (registry->slot == NGX_ZLTUNNEL_NO_SLOT) {
        return NULL;
    }

    return ngx_zltunnel_slot(registry->sh, registry->slot)->figures;
}


static void
ngx_zltunnel_figure_time(ngx_zltunnel_sh_times_t *times, ngx_msec_t msec)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_ZLTUNNEL_BUCKETS - 1; i++) {

        if (msec <= ngx_zltunnel_figure_limits[i]) {
            break;
        }
    }

    times->bucket[i]++;
    times->sum += msec;
}


void
ngx_zltunnel_figure_add_worker(ngx_zltunnel_sh_worker_t *to,
    ngx_zltunnel_sh_worker_t *from)
{
    ngx_uint_t  way;

    for (way = 0; way < NGX_ZLTUNNEL_WAYS; way++) {
        to->acquired[way] += from->acquired[way];
    }

    to->repeated += from->repeated;
    to->reused += from->reused;
    to->left += from->left;
    to->spliced += from->spliced;
}


void
ngx_zltunnel_figure_add(ngx_zltunnel_sh_figures_t *to,
    ngx_zltunnel_sh_figures_t *from)
{
    ngx_uint_t   i;
    uint64_t    *sum, *value;

    if (to == NULL || from == NULL) {
        return;
    }

    /* nothing but numbers of one kind */

    sum = (uint64_t *) to;
    value = (uint64_t *) from;

    for (i = 0; i < sizeof(ngx_zltunnel_sh_figures_t) / sizeof(uint64_t); i++)
    {
        sum[i] += value[i];
    }
}
