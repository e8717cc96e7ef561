
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The zone that all workers share, and its lock.
 *
 * The lock is the slab pool's own mutex, the only one that nginx unlocks when
 * a worker dies inside it.  A change is bracketed by "dirty": who finds it set
 * after taking the lock knows that a worker died within a change, and begins
 * the registry anew.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_zone.h"
#include "ngx_zltunnel_node.h"
#include "ngx_zltunnel_notice.h"
#include "ngx_zltunnel_shm.h"


#define NGX_ZLTUNNEL_ZONE_WORK    1500      /* less than half a ms of it */
#define NGX_ZLTUNNEL_ZONE_MOMENT  50        /* us */


static void ngx_zltunnel_zone_hosts(ngx_zltunnel_sh_hosts_t *hosts);
static ngx_int_t ngx_zltunnel_zone_cluster(ngx_zltunnel_registry_t *registry);
static ngx_int_t ngx_zltunnel_sh_reset(ngx_zltunnel_registry_t *registry);
#if (NGX_DEBUG)
static ngx_uint_t ngx_zltunnel_debug_time(void);
static void ngx_zltunnel_debug_stop(ngx_zltunnel_registry_t *registry);


static ngx_uint_t  ngx_zltunnel_debug_taken;
#endif


ngx_int_t
ngx_zltunnel_zone_init(ngx_shm_zone_t *zone, void *data)
{
    ngx_zltunnel_registry_t *oregistry = data;

    ngx_zltunnel_registry_t  *registry;

    registry = zone->data;

    registry->shpool = (ngx_slab_pool_t *) zone->shm.addr;

    if (oregistry) {

        /*
         * A reload: old workers still use it, and so they will if the
         * reload fails later.  Nothing that they know is changed here.
         */

        registry->sh = oregistry->sh;

        return ngx_zltunnel_zone_cluster(registry);
    }

    /* a full zone is reported by those who meet it, once a minute */
    registry->shpool->log_nomem = 0;

    registry->sh = ngx_slab_calloc(registry->shpool,
                                   sizeof(ngx_zltunnel_sh_t));
    if (registry->sh == NULL) {
        return NGX_ERROR;
    }

    registry->shpool->data = registry->sh;
    registry->sh->started = ngx_current_msec;

    if (ngx_zltunnel_node_init(registry) != NGX_OK
        || ngx_zltunnel_zone_cluster(registry) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_zltunnel_sh_reset(registry);
}


/* what is known of the engine, once there is one */

static ngx_int_t
ngx_zltunnel_zone_cluster(ngx_zltunnel_registry_t *registry)
{
    if (registry->cluster && registry->sh->cluster == NULL) {
        registry->sh->cluster = ngx_slab_calloc(registry->shpool,
                                            sizeof(ngx_zltunnel_sh_cluster_t));

        if (registry->sh->cluster == NULL) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_sh_reset(ngx_zltunnel_registry_t *registry)
{
    ngx_zltunnel_sh_t  *sh;

    sh = registry->sh;

    /* core's insert function: this module may be mapped elsewhere later */

    ngx_rbtree_init(&sh->tunnels, &sh->sentinel, ngx_rbtree_insert_value);
    ngx_rbtree_init(&sh->names, &sh->sentinel, ngx_rbtree_insert_value);
    ngx_rbtree_init(&sh->ids, &sh->sentinel, ngx_rbtree_insert_value);
    ngx_rbtree_init(&sh->ports, &sh->sentinel, ngx_rbtree_insert_value);
    ngx_rbtree_init(&sh->pendings, &sh->sentinel, ngx_rbtree_insert_value);
    ngx_rbtree_init(&sh->accesses, &sh->sentinel, ngx_rbtree_insert_value);
    ngx_rbtree_init(&sh->grants, &sh->sentinel, ngx_rbtree_insert_value);
    ngx_queue_init(&sh->grants_new);
    ngx_queue_init(&sh->grants_turn);
    ngx_rbtree_init(&sh->rates, &sh->sentinel, ngx_rbtree_insert_value);
    ngx_zltunnel_zone_hosts(&sh->hosts);
    ngx_queue_init(&sh->list);
    ngx_queue_init(&sh->nodes);
    ngx_queue_init(&sh->orphans);
    ngx_queue_init(&sh->rate_list);
    sh->changes++;
    sh->resets++;
    sh->ntunnels = 0;
    sh->lost = 0;
    sh->nremote = 0;
    sh->remote_lost++;

    /* its text is asked for again */

    if (sh->cluster) {
        sh->cluster->tokens = NULL;
    }

    return NGX_OK;
}


static void
ngx_zltunnel_zone_hosts(ngx_zltunnel_sh_hosts_t *hosts)
{
    ngx_uint_t  i, added;

    /* whoever has seen it compares it with what comes */

    added = hosts->added;

    ngx_memzero(hosts, sizeof(ngx_zltunnel_sh_hosts_t));

    for (i = 0; i < NGX_ZLTUNNEL_HOST_RESTS; i++) {
        ngx_queue_init(&hosts->resting[i]);
    }

    hosts->added = added;
}


void
ngx_zltunnel_zone_lock(ngx_zltunnel_registry_t *registry)
{
    ngx_zltunnel_zone_lock_read(registry);
    ngx_zltunnel_zone_change(registry);
}


void
ngx_zltunnel_zone_lock_read(ngx_zltunnel_registry_t *registry)
{
    ngx_uint_t          i;
    ngx_zltunnel_sh_t  *sh;

    ngx_shmtx_lock(&registry->shpool->mutex);

#if (NGX_DEBUG)
    ngx_zltunnel_debug_taken = ngx_zltunnel_debug_time();
#endif

    sh = registry->sh;

    if (sh->dirty) {

        /*
         * A worker died within a change: no tree can be trusted, so the
         * entries are left where they are and all is begun anew.  Their
         * memory is lost until the zone is made again.  Who dies here leaves
         * it dirty.
         */

        (void) ngx_zltunnel_sh_reset(registry);

        for (i = 0; i < sh->nslots; i++) {
            ngx_zltunnel_slot(sh, i)->nidle = 0;
        }

        /* the agents are to come again, as after a reload that began anew */

        sh->started = ngx_current_msec;
        sh->expecting = 1;
        sh->unsettled = 1;

        ngx_memory_barrier();
        sh->dirty = 0;

        ngx_zltunnel_notice_emptied(registry);
    }
}


void
ngx_zltunnel_zone_change(ngx_zltunnel_registry_t *registry)
{
    registry->sh->dirty = 1;
    ngx_memory_barrier();
}


#if (NGX_DEBUG)

/*
 * For "error_log FILE debug_mutex": microseconds of this process alone, as who
 * has to wait for a processor does not do more under the lock.  0: not asked for.
 */

static ngx_uint_t
ngx_zltunnel_debug_time(void)
{
    struct timespec  ts;

    if (!(ngx_cycle->log->log_level & NGX_LOG_DEBUG_MUTEX)
        || clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts) != 0)
    {
        return 0;
    }

    return ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}


/*
 * So that a test can kill a worker that holds the lock: stops at the first
 * opportunity after there was a file of that name, with ".read" or ".change"
 * behind it.
 */

static void
ngx_zltunnel_debug_stop(ngx_zltunnel_registry_t *registry)
{
    u_char  name[NGX_MAX_PATH];

    if (registry->debug_stop.len == 0) {
        return;
    }

    (void) ngx_snprintf(name, sizeof(name), "%V.%s%Z", &registry->debug_stop,
                        registry->sh->dirty ? "change" : "read");

    if (ngx_delete_file(name) != NGX_FILE_ERROR) {
        (void) raise(SIGSTOP);
    }
}

#endif


void
ngx_zltunnel_zone_unlock(ngx_zltunnel_registry_t *registry)
{
#if (NGX_DEBUG)
    ngx_uint_t  held;

    held = ngx_zltunnel_debug_time() - ngx_zltunnel_debug_taken;

    ngx_zltunnel_debug_stop(registry);
#endif

    ngx_memory_barrier();
    registry->sh->dirty = 0;

    ngx_shmtx_unlock(&registry->shpool->mutex);

    ngx_log_debug2(NGX_LOG_DEBUG_MUTEX, ngx_cycle->log, 0,
                   "zltunnel: the lock was held for %ui us, by %p", held,
                   __builtin_return_address(0));
}


ngx_uint_t
ngx_zltunnel_zone_unlock_briefly(ngx_zltunnel_registry_t *registry,
    ngx_uint_t *work)
{
    if (*work < NGX_ZLTUNNEL_ZONE_WORK) {
        return 0;
    }

    *work = 0;

    ngx_zltunnel_zone_unlock(registry);

    /* who waits is woken by this, and needs a moment to take it */

    (void) usleep(NGX_ZLTUNNEL_ZONE_MOMENT);

    ngx_zltunnel_zone_lock_read(registry);

    return 1;
}


ngx_msec_t
ngx_zltunnel_zone_since(ngx_msec_t at)
{
    ngx_msec_int_t  since;

    since = (ngx_msec_int_t) (ngx_current_msec - at);

    return ngx_max(since, 0);
}


void *
ngx_zltunnel_zone_alloc(ngx_zltunnel_registry_t *registry, size_t size)
{
    return ngx_slab_calloc_locked(registry->shpool, size);
}


void
ngx_zltunnel_zone_free(ngx_zltunnel_registry_t *registry, void *p)
{
    ngx_slab_free_locked(registry->shpool, p);
}
