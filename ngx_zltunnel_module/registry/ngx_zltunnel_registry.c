
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The registry: tunnels, the workers' slots, pending dials, and the sweep
 * that removes what has expired and what dead workers have left behind.
 *
 * A worker takes a slot when it starts, and everything that it puts into the
 * registry bears that slot.  Slots are freed by the sweep alone, once kill()
 * says that the process is gone: {generation, worker} does not identify a
 * process, since WINCH followed by HUP starts workers beside draining ones
 * of the same generation.
 */


#include "ngx_zltunnel_access.h"


static ngx_int_t ngx_zltunnel_sh_reset(ngx_zltunnel_registry_t *registry);
static void ngx_zltunnel_worker_purge(ngx_zltunnel_registry_t *registry,
    ngx_uint_t slot);
static void ngx_zltunnel_counters_purge(ngx_zltunnel_registry_t *registry,
    ngx_queue_t *counters, ngx_uint_t slot);
static void ngx_zltunnel_tunnel_expire(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel, ngx_msec_t now);


#define ngx_zltunnel_due(when, now)                                           \
    ((ngx_msec_int_t) ((now) - (when)) >= 0)


static ngx_uint_t  ngx_zltunnel_broken;


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
         * reload fails later.  Nothing is changed here.
         */

        registry->sh = oregistry->sh;
        return NGX_OK;
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

    return ngx_zltunnel_sh_reset(registry);
}


static ngx_int_t
ngx_zltunnel_sh_reset(ngx_zltunnel_registry_t *registry)
{
    ngx_zltunnel_sh_t  *sh;

    sh = registry->sh;

    /* core's insert function: this module may be mapped elsewhere later */

    ngx_rbtree_init(&sh->tunnels, &sh->sentinel, ngx_rbtree_insert_value);
    ngx_rbtree_init(&sh->names, &sh->sentinel, ngx_rbtree_insert_value);
    ngx_rbtree_init(&sh->ports, &sh->sentinel, ngx_rbtree_insert_value);
    ngx_rbtree_init(&sh->pendings, &sh->sentinel, ngx_rbtree_insert_value);
    ngx_rbtree_init(&sh->accesses, &sh->sentinel, ngx_rbtree_insert_value);
    ngx_queue_init(&sh->list);
    ngx_queue_init(&sh->orphans);
    sh->changes++;
    sh->resets++;
    sh->ntunnels = 0;

    return NGX_OK;
}


void
ngx_zltunnel_lock(ngx_zltunnel_registry_t *registry)
{
    ngx_zltunnel_lock_read(registry);
    ngx_zltunnel_change(registry);
}


void
ngx_zltunnel_lock_read(ngx_zltunnel_registry_t *registry)
{
    ngx_uint_t          i;
    ngx_zltunnel_sh_t  *sh;

    ngx_shmtx_lock(&registry->shpool->mutex);

    sh = registry->sh;

    if (sh->dirty) {

        /*
         * A worker died within a change: no tree can be trusted, so the
         * entries are left where they are and all is begun anew.  Their
         * memory is lost until the zone is made again.  Who dies here leaves
         * it dirty.
         */

        (void) ngx_zltunnel_sh_reset(registry);

        for (i = 0; i < NGX_ZLTUNNEL_MAX_WORKERS; i++) {
            sh->workers[i].nidle = 0;
        }

        /* the agents are to come again, as after a reload that began anew */

        sh->started = ngx_current_msec;
        sh->expecting = 1;
        sh->unsettled = 1;

        ngx_memory_barrier();
        sh->dirty = 0;

        ngx_zltunnel_broken = 1;
    }
}


void
ngx_zltunnel_change(ngx_zltunnel_registry_t *registry)
{
    registry->sh->dirty = 1;
    ngx_memory_barrier();
}


#if (NGX_DEBUG)

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
ngx_zltunnel_unlock(ngx_zltunnel_registry_t *registry)
{
    ngx_zltunnel_ipc_t  msg;

#if (NGX_DEBUG)
    ngx_zltunnel_debug_stop(registry);
#endif

    ngx_memory_barrier();
    registry->sh->dirty = 0;

    ngx_shmtx_unlock(&registry->shpool->mutex);

    if (ngx_zltunnel_broken) {
        ngx_zltunnel_broken = 0;

        ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, 0,
                      "zltunnel registry \"%V\" was left broken by a worker "
                      "that died, agents have to register again",
                      &registry->name);

        ngx_memzero(&msg, sizeof(ngx_zltunnel_ipc_t));
        msg.type = NGX_ZLTUNNEL_IPC_LOST;

        ngx_zltunnel_ipc_broadcast(registry, &msg);
        (void) ngx_zltunnel_ipc_send(registry, registry->slot, &msg, NULL,
                                     -1);
    }

    ngx_zltunnel_ports_notify(registry);
}


ngx_uint_t
ngx_zltunnel_worker_alive(ngx_zltunnel_sh_worker_t *worker)
{
    return worker->pid
           && (kill(worker->pid, 0) == 0 || ngx_errno != NGX_ESRCH);
}


ngx_int_t
ngx_zltunnel_worker_attach(ngx_zltunnel_registry_t *registry)
{
    ngx_uint_t                 i;
    ngx_zltunnel_sh_t         *sh;
    ngx_zltunnel_sh_worker_t  *w;

    sh = registry->sh;

    for (i = 0; i < NGX_ZLTUNNEL_MAX_WORKERS; i++) {
        w = &sh->workers[i];

        if (w->pid && !ngx_zltunnel_worker_alive(w)) {
            ngx_zltunnel_worker_purge(registry, i);
        }
    }

    for (i = 0; i < NGX_ZLTUNNEL_MAX_WORKERS; i++) {
        w = &sh->workers[i];

        if (w->pid == 0) {
            ngx_memzero(w, sizeof(ngx_zltunnel_sh_worker_t));

            w->generation = ngx_zltunnel_generation;
            w->worker = ngx_worker;
            w->pid = ngx_pid;

            registry->slot = i;

            return NGX_OK;
        }
    }

    registry->slot = NGX_ZLTUNNEL_NO_SLOT;

    return NGX_ERROR;
}


static void
ngx_zltunnel_worker_purge(ngx_zltunnel_registry_t *registry, ngx_uint_t slot)
{
    ngx_uint_t                  i;
    ngx_queue_t                *q, *sq;
    ngx_rbtree_node_t          *node;
    ngx_zltunnel_sh_t          *sh;
    ngx_zltunnel_sh_access_t   *access;
    ngx_zltunnel_sh_worker_t   *w;
    ngx_zltunnel_sh_tunnel_t   *tunnel;
    ngx_zltunnel_sh_service_t  *service;
    ngx_zltunnel_sh_pending_t  *pending;

    ngx_zltunnel_change(registry);

    sh = registry->sh;
    w = &sh->workers[slot];

    for (q = ngx_queue_head(&sh->list);
         q != ngx_queue_sentinel(&sh->list);
         q = ngx_queue_next(q))
    {
        tunnel = ngx_queue_data(q, ngx_zltunnel_sh_tunnel_t, queue);

        tunnel->nidle -= tunnel->idle[slot];
        tunnel->idle[slot] = 0;

        if (tunnel->state == NGX_ZLTUNNEL_LIVE && tunnel->slot == slot) {
            ngx_zltunnel_tunnel_down(registry, tunnel);
        }

        for (sq = ngx_queue_head(&tunnel->services);
             sq != ngx_queue_sentinel(&tunnel->services);
             sq = ngx_queue_next(sq))
        {
            service = ngx_queue_data(sq, ngx_zltunnel_sh_service_t, queue);

            ngx_zltunnel_counters_purge(registry, &service->counters, slot);
        }

        for (sq = ngx_queue_head(&tunnel->accesses);
             sq != ngx_queue_sentinel(&tunnel->accesses);
             sq = ngx_queue_next(sq))
        {
            access = ngx_queue_data(sq, ngx_zltunnel_sh_access_t, queue);

            ngx_zltunnel_counters_purge(registry, &access->counters, slot);
        }
    }

    ngx_zltunnel_counters_purge(registry, &sh->orphans, slot);

    if (sh->pendings.root != &sh->sentinel) {

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

    for (i = 0; i < NGX_ZLTUNNEL_WAYS; i++) {
        sh->gone.acquired[i] += w->acquired[i];
    }

    sh->gone.repeated += w->repeated;
    sh->gone.reused += w->reused;
    sh->gone.left += w->left;
    sh->gone.spliced += w->spliced;

    ngx_memzero(w, sizeof(ngx_zltunnel_sh_worker_t));
}


static void
ngx_zltunnel_counters_purge(ngx_zltunnel_registry_t *registry,
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


ngx_zltunnel_sh_tunnel_t *
ngx_zltunnel_tunnel_find(ngx_zltunnel_sh_t *sh, u_char *id)
{
    return (ngx_zltunnel_sh_tunnel_t *)
               ngx_zltunnel_id_lookup(&sh->tunnels, id,
                                      offsetof(ngx_zltunnel_sh_tunnel_t, id));
}


ngx_zltunnel_sh_tunnel_t *
ngx_zltunnel_tunnel_create(ngx_zltunnel_registry_t *registry, u_char *random)
{
    ngx_zltunnel_sh_t         *sh;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    sh = registry->sh;

    tunnel = ngx_slab_calloc_locked(registry->shpool,
                                    sizeof(ngx_zltunnel_sh_tunnel_t));
    if (tunnel == NULL) {
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
    ngx_zltunnel_sh_tunnel_t *tunnel)
{
    ngx_uint_t                  i;
    ngx_queue_t                *q;
    ngx_zltunnel_sh_t          *sh;
    ngx_zltunnel_sh_service_t  *service;

    sh = registry->sh;

    while (!ngx_queue_empty(&tunnel->services)) {
        q = ngx_queue_head(&tunnel->services);
        service = ngx_queue_data(q, ngx_zltunnel_sh_service_t, queue);
        ngx_zltunnel_service_remove(registry, service);
    }

    ngx_zltunnel_accesses_remove(registry, tunnel);

    /* its idle channels are dropped by the workers that hold them */

    for (i = 0; i < NGX_ZLTUNNEL_MAX_WORKERS; i++) {
        sh->workers[i].nidle -= tunnel->idle[i];
    }

    ngx_rbtree_delete(&sh->tunnels, &tunnel->node);
    ngx_queue_remove(&tunnel->queue);
    sh->ntunnels--;

    ngx_slab_free_locked(registry->shpool, tunnel);
}


void
ngx_zltunnel_tunnel_down(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel)
{
    ngx_msec_t  grace;

    grace = registry->reconnect_grace;

    if (!tunnel->extended) {
        grace = ngx_max(grace, NGX_ZLTUNNEL_V1_GRACE);
    }

    tunnel->state = NGX_ZLTUNNEL_GRACE;
    tunnel->slot = NGX_ZLTUNNEL_NO_SLOT;
    tunnel->expires = ngx_current_msec + grace;
    tunnel->stale = 0;
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
    registry->sh->workers[registry->slot].nidle += n;
}


ngx_uint_t
ngx_zltunnel_tunnel_nidle(ngx_zltunnel_sh_t *sh,
    ngx_zltunnel_sh_tunnel_t *tunnel)
{
    ngx_uint_t  i, n;

    n = tunnel->nidle;

    for (i = 0; i < NGX_ZLTUNNEL_MAX_WORKERS; i++) {

        if (sh->workers[i].exiting) {
            n -= tunnel->idle[i];
        }
    }

    return n;
}


ngx_zltunnel_sh_pending_t *
ngx_zltunnel_pending_find(ngx_zltunnel_sh_t *sh, u_char *id)
{
    return (ngx_zltunnel_sh_pending_t *)
               ngx_zltunnel_id_lookup(&sh->pendings, id,
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

    pending = ngx_slab_calloc_locked(registry->shpool,
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
    ngx_slab_free_locked(registry->shpool, pending);
}


void
ngx_zltunnel_sweep(ngx_zltunnel_registry_t *registry)
{
    ngx_uint_t                  i;
    ngx_msec_t                  now;
    ngx_queue_t                *q, *next;
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

    for (i = 0; i < NGX_ZLTUNNEL_MAX_WORKERS; i++) {
        w = &sh->workers[i];

        if (w->pid && !ngx_zltunnel_worker_alive(w)) {
            ngx_zltunnel_worker_purge(registry, i);
        }
    }

    for (q = ngx_queue_head(&sh->list);
         q != ngx_queue_sentinel(&sh->list);
         q = next)
    {
        next = ngx_queue_next(q);

        ngx_zltunnel_tunnel_expire(registry,
                       ngx_queue_data(q, ngx_zltunnel_sh_tunnel_t, queue),
                       now);
    }

    if (sh->pendings.root != &sh->sentinel) {

        for (node = ngx_rbtree_min(sh->pendings.root, &sh->sentinel);
             node;
             /* void */ )
        {
            pending = (ngx_zltunnel_sh_pending_t *) node;
            node = ngx_rbtree_next(&sh->pendings, node);

            if (ngx_zltunnel_due(pending->expires, now)) {
                ngx_zltunnel_change(registry);
                ngx_zltunnel_pending_remove(registry, pending);
            }
        }
    }

    ngx_zltunnel_ports_sweep(registry);

    if (ngx_zltunnel_overlapping) {

        /* the other binary may serve them */

        return;
    }

    if (sh->unsettled && now - sh->started >= registry->reconnect_grace) {
        ngx_zltunnel_ports_reconcile(registry, 0);

    } else if (sh->unclosed) {
        ngx_zltunnel_ports_reconcile(registry, 1);
    }
}


static void
ngx_zltunnel_tunnel_expire(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel, ngx_msec_t now)
{
    ngx_queue_t                *q, *next;
    ngx_zltunnel_sh_service_t  *service;

    if (tunnel->state == NGX_ZLTUNNEL_GRACE
        && ngx_zltunnel_due(tunnel->expires, now))
    {
        ngx_zltunnel_change(registry);
        ngx_zltunnel_tunnel_remove(registry, tunnel);
        return;
    }

    if (tunnel->state == NGX_ZLTUNNEL_GRACE) {
        ngx_zltunnel_accesses_sweep(registry, tunnel);
        return;
    }

    if (tunnel->stale == 0 || !ngx_zltunnel_due(tunnel->stale, now)) {
        return;
    }

    ngx_zltunnel_change(registry);

    tunnel->stale = 0;

    ngx_zltunnel_accesses_stale(registry, tunnel);

    for (q = ngx_queue_head(&tunnel->services);
         q != ngx_queue_sentinel(&tunnel->services);
         q = next)
    {
        next = ngx_queue_next(q);
        service = ngx_queue_data(q, ngx_zltunnel_sh_service_t, queue);

        if (service->stale) {
            ngx_zltunnel_service_remove(registry, service);
        }
    }
}
