
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The module for "cluster": a directory of what many servers have, in an engine
 * that speaks Redis' protocol.
 *
 * It is a module of its own, so that the other one needs no library for it.  It
 * uses that one, whose functions it finds once nginx has loaded both, and is
 * not used by it: all that others see of a directory is in the zone.
 *
 * One worker speaks to the engine.  It says in the zone each second that it does;
 * when it has not for a while, or is dead, or exits, another one takes over with
 * what is in the zone and in the engine.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_cluster.h"
#include "ngx_zltunnel_gather.h"
#include "ngx_zltunnel_lease.h"
#include "ngx_zltunnel_module.h"
#include "ngx_zltunnel_publish.h"
#include "ngx_zltunnel_tokens.h"

#include "zlt_hex.h"


#define NGX_ZLTUNNEL_CLUSTER_TICK  250        /* ms */
#define NGX_ZLTUNNEL_CLUSTER_HELD  2000       /* .. without a word of it */


static ngx_int_t ngx_zltunnel_cluster_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_zltunnel_cluster_init_process(ngx_cycle_t *cycle);
static void ngx_zltunnel_cluster_exit_process(ngx_cycle_t *cycle);
static ngx_zltunnel_cluster_t *ngx_zltunnel_cluster_create(
    ngx_zltunnel_registry_t *registry, ngx_cycle_t *cycle);
static void ngx_zltunnel_cluster_tick(ngx_event_t *ev);
static void ngx_zltunnel_cluster_hold(ngx_zltunnel_cluster_t *cluster);
static ngx_uint_t ngx_zltunnel_cluster_last(ngx_zltunnel_cluster_t *cluster);
static void ngx_zltunnel_cluster_take(ngx_zltunnel_cluster_t *cluster);
static void ngx_zltunnel_cluster_leave(ngx_zltunnel_cluster_t *cluster);
static void ngx_zltunnel_cluster_ready(void *data);
static void ngx_zltunnel_cluster_lost(void *data);
static void ngx_zltunnel_cluster_heard(void *data, ngx_str_t *text);


static ngx_core_module_t  ngx_zltunnel_cluster_module_ctx = {
    ngx_string("zltunnel_cluster"),
    NULL,
    NULL
};


ngx_module_t  ngx_zltunnel_cluster_module = {
    NGX_MODULE_V1,
    &ngx_zltunnel_cluster_module_ctx,      /* module context */
    NULL,                                  /* module directives */
    NGX_CORE_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_zltunnel_cluster_init_module,      /* init module */
    ngx_zltunnel_cluster_init_process,     /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_zltunnel_cluster_exit_process,     /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_zltunnel_cluster_t  **ngx_zltunnel_clusters;
static ngx_uint_t                ngx_zltunnel_nclusters;


/* nginx knows that a module fits it, not that two of them fit each other */

static ngx_int_t
ngx_zltunnel_cluster_init_module(ngx_cycle_t *cycle)
{
    if (ngx_zltunnel_cluster_status_layout() == NGX_ZLTUNNEL_CLUSTER_LAYOUT) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                  NGX_ZLTUNNEL_CLUSTER_MODULE " and ngx_zltunnel_module are of "
                  "different builds: install both of the same one");

    return NGX_ERROR;
}


static ngx_int_t
ngx_zltunnel_cluster_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                 i;
    ngx_zltunnel_conf_t       *conf;
    ngx_zltunnel_cluster_t    *cluster;
    ngx_zltunnel_registry_t  **registry;

    conf = (ngx_zltunnel_conf_t *) ngx_get_conf(cycle->conf_ctx,
                                                ngx_zltunnel_module);

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    registry = conf->registries.elts;

    ngx_zltunnel_clusters = ngx_palloc(cycle->pool, (conf->registries.nelts + 1)
                                       * sizeof(ngx_zltunnel_cluster_t *));
    if (ngx_zltunnel_clusters == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < conf->registries.nelts; i++) {

        if (registry[i]->cluster == NULL) {
            continue;
        }

        cluster = ngx_zltunnel_cluster_create(registry[i], cycle);
        if (cluster == NULL) {
            return NGX_ERROR;
        }

        ngx_zltunnel_clusters[ngx_zltunnel_nclusters++] = cluster;
    }

    return NGX_OK;
}


static ngx_zltunnel_cluster_t *
ngx_zltunnel_cluster_create(ngx_zltunnel_registry_t *registry,
    ngx_cycle_t *cycle)
{
    ngx_zltunnel_cluster_t  *cluster;

    cluster = ngx_pcalloc(cycle->pool, sizeof(ngx_zltunnel_cluster_t));
    if (cluster == NULL) {
        return NULL;
    }

    cluster->registry = registry;
    cluster->conf = registry->cluster;
    cluster->log = cycle->log;

    ngx_memcpy(cluster->id, ngx_zltunnel_node_id(registry), ZLT_ID_SIZE);
    zlt_hex_encode((char *) cluster->hex, cluster->id, ZLT_ID_SIZE);

    ngx_zltunnel_cluster_module_key(cluster, cluster->channel_text,
                                    &cluster->engine.channel, "changes", NULL,
                                    0);
    ngx_zltunnel_cluster_module_key(cluster, cluster->nodes_text,
                                    &cluster->nodes, "nodes", NULL, 0);
    ngx_zltunnel_cluster_module_key(cluster, cluster->key_text, &cluster->key,
                                    "node:", cluster->hex,
                                    NGX_ZLTUNNEL_CLUSTER_HEX);

    cluster->engine.registry = registry;
    cluster->engine.log = cycle->log;
    cluster->engine.data = cluster;
    cluster->engine.ready = ngx_zltunnel_cluster_ready;
    cluster->engine.lost = ngx_zltunnel_cluster_lost;
    cluster->engine.heard = ngx_zltunnel_cluster_heard;

    ngx_zltunnel_publish_init(cluster);
    ngx_zltunnel_gather_init(cluster);
    ngx_zltunnel_lease_init(cluster);

    cluster->tick.handler = ngx_zltunnel_cluster_tick;
    cluster->tick.data = cluster;
    cluster->tick.log = cycle->log;
    cluster->tick.cancelable = 1;

    ngx_add_timer(&cluster->tick, 1);

    return cluster;
}


void
ngx_zltunnel_cluster_module_key(ngx_zltunnel_cluster_t *cluster, u_char *buf,
    ngx_str_t *key, const char *text, u_char *more, size_t len)
{
    u_char  *p;

    p = ngx_cpymem(buf, cluster->conf->prefix.data, cluster->conf->prefix.len);
    p = ngx_cpymem(p, text, ngx_strlen(text));

    if (more) {
        p = ngx_cpymem(p, more, len);
    }

    key->data = buf;
    key->len = p - buf;
}


static void
ngx_zltunnel_cluster_exit_process(ngx_cycle_t *cycle)
{
    ngx_uint_t               i;
    ngx_zltunnel_cluster_t  *cluster;

    for (i = 0; i < ngx_zltunnel_nclusters; i++) {
        cluster = ngx_zltunnel_clusters[i];

        if (cluster->tick.timer_set) {
            ngx_del_timer(&cluster->tick);
        }

        if (!cluster->owner) {
            continue;
        }

        if (cluster->ready && !ngx_zltunnel_overlap_look()
            && (ngx_terminate || ngx_zltunnel_cluster_last(cluster)))
        {
            ngx_zltunnel_publish_bye(cluster);
        }

        ngx_zltunnel_cluster_leave(cluster);
    }
}


/* each second whether it is this worker that speaks to the engine, and four times
   what there is to say */

static void
ngx_zltunnel_cluster_tick(ngx_event_t *ev)
{
    ngx_zltunnel_cluster_t  *cluster;

    cluster = ev->data;

    ngx_zltunnel_cluster_hold(cluster);

    if (cluster->owner) {

        if (cluster->ready) {
            ngx_zltunnel_publish_tick(cluster);
            ngx_zltunnel_lease_tick(cluster);
            ngx_zltunnel_tokens_tick(cluster);
        }

        ngx_zltunnel_gather_tick(cluster);

        if (ngx_current_msec - cluster->second >= 1000) {
            cluster->second = ngx_current_msec;
            ngx_zltunnel_engine_tick(&cluster->engine);
        }
    }

    ngx_add_timer(ev, cluster->owner ? NGX_ZLTUNNEL_CLUSTER_TICK
                                     : 4 * NGX_ZLTUNNEL_CLUSTER_TICK);
}


/* one that exits goes on until another one has taken over */

static void
ngx_zltunnel_cluster_hold(ngx_zltunnel_cluster_t *cluster)
{
    ngx_uint_t                  i, held, owner;
    ngx_msec_t                  now;
    ngx_zltunnel_sh_t          *sh;
    ngx_zltunnel_sh_worker_t   *w;
    ngx_zltunnel_sh_cluster_t  *state;

    sh = cluster->registry->sh;
    state = sh->cluster;
    now = ngx_current_msec;
    held = 0;

    ngx_zltunnel_zone_lock_read(cluster->registry);

    if (state->pid == ngx_pid) {
        state->held = now;

    } else if (!ngx_exiting) {

        for (i = 0; i < sh->nslots; i++) {
            w = ngx_zltunnel_slot(sh, i);

            if (w->pid && w->pid == state->pid && !w->exiting) {
                held = ngx_zltunnel_worker_slot_alive(w)
                       && ngx_zltunnel_zone_since(state->held)
                          < NGX_ZLTUNNEL_CLUSTER_HELD;
                break;
            }
        }

        if (!held) {
            state->pid = ngx_pid;
            state->held = now;
        }
    }

    owner = (state->pid == ngx_pid);

    ngx_zltunnel_zone_unlock(cluster->registry);

    if (owner && !cluster->owner) {
        ngx_zltunnel_cluster_take(cluster);

    } else if (!owner && cluster->owner) {
        ngx_zltunnel_cluster_leave(cluster);
    }
}


/* No workers have come after this one: it exits since the server does.  Others
   that exit with it need not know of that yet. */

static ngx_uint_t
ngx_zltunnel_cluster_last(ngx_zltunnel_cluster_t *cluster)
{
    ngx_uint_t                 i, last, generation;
    ngx_zltunnel_sh_t         *sh;
    ngx_zltunnel_sh_worker_t  *w;

    if (cluster->registry->slot == NGX_ZLTUNNEL_NO_SLOT) {
        return 0;
    }

    sh = cluster->registry->sh;
    last = 1;

    ngx_zltunnel_zone_lock_read(cluster->registry);

    generation = ngx_zltunnel_slot(sh, cluster->registry->slot)->generation;

    for (i = 0; i < sh->nslots; i++) {
        w = ngx_zltunnel_slot(sh, i);

        if (w->pid && w->generation > generation) {
            last = 0;
        }
    }

    ngx_zltunnel_zone_unlock(cluster->registry);

    return last;
}


static void
ngx_zltunnel_cluster_take(ngx_zltunnel_cluster_t *cluster)
{
    cluster->owner = 1;
    cluster->ready = 0;

    ngx_log_error(NGX_LOG_INFO, cluster->log, 0,
                  "zltunnel \"%V\": this worker speaks to the engine of "
                  "\"cluster\" from now on, as node %*s",
                  &cluster->registry->name,
                  (size_t) NGX_ZLTUNNEL_CLUSTER_HEX, cluster->hex);

    if (ngx_zltunnel_cluster_shares(cluster)) {
        ngx_zltunnel_gather_begin(cluster);
    }

    ngx_zltunnel_engine_start(&cluster->engine);
}


static void
ngx_zltunnel_cluster_leave(ngx_zltunnel_cluster_t *cluster)
{
    cluster->owner = 0;
    cluster->ready = 0;

    ngx_zltunnel_engine_stop(&cluster->engine);

    cluster->publish.loaded = 0;
    ngx_zltunnel_publish_forget(cluster);
    ngx_zltunnel_gather_end(cluster);
    ngx_zltunnel_lease_end(cluster);
}


static void
ngx_zltunnel_cluster_ready(void *data)
{
    ngx_zltunnel_cluster_t *cluster = data;

    cluster->ready = 1;

    ngx_zltunnel_publish_ready(cluster);
    ngx_zltunnel_lease_ready(cluster);

    if (ngx_zltunnel_cluster_shares(cluster)) {
        ngx_zltunnel_gather_ready(cluster);
    }
}


static void
ngx_zltunnel_cluster_lost(void *data)
{
    ngx_zltunnel_cluster_t *cluster = data;

    cluster->ready = 0;
    cluster->publish.loaded = 0;

    ngx_zltunnel_gather_lost(cluster);
}


static void
ngx_zltunnel_cluster_heard(void *data, ngx_str_t *text)
{
    ngx_zltunnel_gather_heard(data, text);
}


void
ngx_zltunnel_cluster_module_emptied(ngx_zltunnel_cluster_t *cluster)
{
    ngx_log_error(NGX_LOG_WARN, cluster->log, 0,
                  "zltunnel \"%V\": the engine of \"cluster\" has lost what "
                  "this node had told it, it is told again",
                  &cluster->registry->name);

    cluster->gather.emptied = ngx_current_msec | 1;

    ngx_zltunnel_publish_forget(cluster);
    ngx_zltunnel_lease_ready(cluster);
}
