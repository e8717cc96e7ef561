
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The module as nginx sees it, and what happens every second: the sweep of
 * the registry, the token file, and what revoked tokens leave behind.
 */


#include "ngx_zltunnel_access.h"
#include "ngx_zltunnel_udp.h"
#include "ngx_zltunnel_upstream.h"


#define NGX_ZLTUNNEL_TICK  1000    /* ms */


static ngx_int_t ngx_zltunnel_init_module(ngx_cycle_t *cycle);
static ngx_uint_t ngx_zltunnel_succeeds(ngx_cycle_t *cycle);
static ngx_int_t ngx_zltunnel_init_process(ngx_cycle_t *cycle);
static void ngx_zltunnel_exit_process(ngx_cycle_t *cycle);
static void ngx_zltunnel_registry_start(ngx_zltunnel_registry_t *registry,
    ngx_cycle_t *cycle);
static void ngx_zltunnel_tick(ngx_event_t *ev);
static void ngx_zltunnel_tick_accesses(ngx_zltunnel_registry_t *registry);
static void ngx_zltunnel_tick_peers(ngx_zltunnel_registry_t *registry,
    ngx_uint_t changed);
static void ngx_zltunnel_tick_away(ngx_zltunnel_registry_t *registry);
static ngx_uint_t ngx_zltunnel_moved(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel);
static ngx_int_t ngx_zltunnel_rotated(ngx_zltunnel_peer_t *peer);
static ngx_uint_t ngx_zltunnel_bound(ngx_zltunnel_peer_t *peer,
    ngx_zltunnel_token_t *token);
static void ngx_zltunnel_revoke(ngx_zltunnel_peer_t *peer);
static ngx_zltunnel_conf_t *ngx_zltunnel_conf(ngx_cycle_t *cycle);


static ngx_core_module_t  ngx_zltunnel_module_ctx = {
    ngx_string("zltunnel"),
    ngx_zltunnel_create_conf,
    ngx_zltunnel_init_conf
};


ngx_module_t  ngx_zltunnel_module = {
    NGX_MODULE_V1,
    &ngx_zltunnel_module_ctx,              /* module context */
    ngx_zltunnel_commands,                 /* module directives */
    NGX_CORE_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_zltunnel_init_module,              /* init module */
    ngx_zltunnel_init_process,             /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_zltunnel_exit_process,             /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_zltunnel_conf_t *
ngx_zltunnel_conf(ngx_cycle_t *cycle)
{
    return (ngx_zltunnel_conf_t *) ngx_get_conf(cycle->conf_ctx,
                                                ngx_zltunnel_module);
}


static ngx_int_t
ngx_zltunnel_init_module(ngx_cycle_t *cycle)
{
    ngx_uint_t                 i;
    ngx_zltunnel_conf_t       *conf;
    ngx_zltunnel_registry_t  **registry;

    conf = ngx_zltunnel_conf(cycle);

    if (ngx_test_config || conf->registries.nelts == 0) {
        return NGX_OK;
    }

    if (ngx_zltunnel_ipc_init_module(cycle) != NGX_OK) {
        return NGX_ERROR;
    }

    registry = conf->registries.elts;

    for (i = 0; i < conf->registries.nelts; i++) {

        if (registry[i]->sh->generation == 0) {
            registry[i]->sh->expecting = ngx_zltunnel_succeeds(cycle);
        }

        registry[i]->sh->generation = ngx_zltunnel_generation;
    }

    ngx_zltunnel_ports_init_module(cycle);

    return NGX_OK;
}


/* a reload, or a binary upgrade: there have been other workers before */

static ngx_uint_t
ngx_zltunnel_succeeds(ngx_cycle_t *cycle)
{
    ngx_uint_t        i;
    ngx_listening_t  *ls;

    if (!ngx_is_init_cycle(cycle->old_cycle)) {
        return 1;
    }

    ls = cycle->listening.elts;

    for (i = 0; i < cycle->listening.nelts; i++) {

        if (ls[i].inherited) {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
ngx_zltunnel_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                 i;
    ngx_zltunnel_conf_t       *conf;
    ngx_zltunnel_registry_t  **registry;

    conf = ngx_zltunnel_conf(cycle);

    /* the cache manager and loader come here, too */

    if (conf->registries.nelts == 0
        || (ngx_process != NGX_PROCESS_WORKER
            && ngx_process != NGX_PROCESS_SINGLE))
    {
        return NGX_OK;
    }

    if (ngx_zltunnel_ipc_init_process(cycle) != NGX_OK) {
        return NGX_ERROR;
    }

    registry = conf->registries.elts;

    for (i = 0; i < conf->registries.nelts; i++) {
        ngx_zltunnel_registry_start(registry[i], cycle);
    }

    /* after the slots were taken: what changes now comes as a message */

    if (ngx_zltunnel_ports_init_process(cycle) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_zltunnel_gate_init(cycle);

    return NGX_OK;
}


static void
ngx_zltunnel_registry_start(ngx_zltunnel_registry_t *registry,
    ngx_cycle_t *cycle)
{
    ngx_int_t  rc;

    ngx_rbtree_init(&registry->peers, &registry->peers_sentinel,
                    ngx_rbtree_insert_value);

    ngx_zltunnel_lock(registry);
    rc = ngx_zltunnel_worker_attach(registry);
    ngx_zltunnel_unlock(registry);

    ngx_zltunnel_ipc_hello(registry);

    if (rc != NGX_OK) {
        ngx_log_error(NGX_LOG_ALERT, cycle->log, 0,
                      "zltunnel registry \"%V\" has no place for one more "
                      "worker, %d are alive", &registry->name,
                      NGX_ZLTUNNEL_MAX_WORKERS);
    }

    registry->tick.handler = ngx_zltunnel_tick;
    registry->tick.data = registry;
    registry->tick.log = cycle->log;
    registry->tick.cancelable = 1;

    ngx_add_timer(&registry->tick, NGX_ZLTUNNEL_TICK);
}


static void
ngx_zltunnel_exit_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                 i;
    ngx_zltunnel_conf_t       *conf;
    ngx_zltunnel_registry_t  **registry;

    conf = ngx_zltunnel_conf(cycle);

    if (conf->registries.nelts == 0
        || (ngx_process != NGX_PROCESS_WORKER
            && ngx_process != NGX_PROCESS_SINGLE))
    {
        return;
    }

    ngx_zltunnel_carriers_exit();
    ngx_zltunnel_visits_exit(1);
    ngx_zltunnel_controls_exit();
    ngx_zltunnel_shareds_exit();
    ngx_zltunnel_channels_exit();
    ngx_zltunnel_ipc_exit();
    ngx_zltunnel_relay_cleanup();
    ngx_zltunnel_udp_cleanup();

    /* the slot is left to the sweep, which knows what else to clean up */

    registry = conf->registries.elts;

    for (i = 0; i < conf->registries.nelts; i++) {

        if (registry[i]->tick.timer_set) {
            ngx_del_timer(&registry[i]->tick);
        }
    }
}


/* the worker has begun to exit gracefully: its listening sockets are closed */

void
ngx_zltunnel_exiting(void)
{
    ngx_uint_t                 i;
    ngx_zltunnel_conf_t       *conf;
    ngx_zltunnel_registry_t  **registry;

    conf = ngx_zltunnel_conf((ngx_cycle_t *) ngx_cycle);
    registry = conf->registries.elts;

    for (i = 0; i < conf->registries.nelts; i++) {

        if (registry[i]->slot != NGX_ZLTUNNEL_NO_SLOT) {
            registry[i]->sh->workers[registry[i]->slot].exiting = 1;
        }
    }

    /* before these, since the clients' sockets are closed */

    ngx_zltunnel_carriers_exit();
    ngx_zltunnel_visits_exit(0);

    ngx_zltunnel_controls_quit();
}


static void
ngx_zltunnel_tick(ngx_event_t *ev)
{
    ngx_uint_t                changed;
    ngx_zltunnel_registry_t  *registry;

    registry = ev->data;

    changed = ngx_zltunnel_tokens_follow(registry, ev->log);

    (void) ngx_zltunnel_overlap();
    ngx_zltunnel_gate_update(registry);

    if (!ngx_exiting) {
        ngx_zltunnel_lock_read(registry);
        ngx_zltunnel_sweep(registry);
        ngx_zltunnel_unlock(registry);

        if (changed) {
            ngx_zltunnel_tick_away(registry);
            ngx_zltunnel_access_away(registry);
        }

        ngx_zltunnel_ports_tick(registry);
    }

    ngx_zltunnel_carriers_check(registry);

    ngx_zltunnel_tick_peers(registry, changed);
    ngx_zltunnel_tick_accesses(registry);
    ngx_zltunnel_dials_check(registry);
    ngx_zltunnel_ipc_tidy();
    ngx_zltunnel_conns_check();

    ngx_add_timer(ev, NGX_ZLTUNNEL_TICK);
}


void
ngx_zltunnel_lost(ngx_zltunnel_registry_t *registry)
{
    if (!ngx_exiting) {
        ngx_zltunnel_gate_lower(registry);
    }

    ngx_zltunnel_carriers_check(registry);
    ngx_zltunnel_tick_peers(registry, 0);
}


/* tunnels whose agent is away have no worker to look after them */

static void
ngx_zltunnel_tick_away(ngx_zltunnel_registry_t *registry)
{
    ngx_queue_t               *q, *next;
    ngx_zltunnel_token_t      *token;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    ngx_zltunnel_lock(registry);

    for (q = ngx_queue_head(&registry->sh->list);
         q != ngx_queue_sentinel(&registry->sh->list);
         q = next)
    {
        next = ngx_queue_next(q);
        tunnel = ngx_queue_data(q, ngx_zltunnel_sh_tunnel_t, queue);

        if (tunnel->state != NGX_ZLTUNNEL_GRACE) {
            continue;
        }

        token = ngx_zltunnel_token_find(registry, tunnel->token);

        if (token == NULL || ngx_zltunnel_token_expired(token)) {
            ngx_zltunnel_tunnel_remove(registry, tunnel);
        }
    }

    ngx_zltunnel_unlock(registry);
}


static void
ngx_zltunnel_tick_peers(ngx_zltunnel_registry_t *registry, ngx_uint_t changed)
{
    ngx_uint_t                 gone, moved;
    ngx_rbtree_key_t           key;
    ngx_zltunnel_peer_t       *peer;
    ngx_zltunnel_token_t      *token;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    for (peer = ngx_zltunnel_peer_next(registry, NULL);
         peer;
         peer = ngx_zltunnel_peer_next(registry, &key))
    {
        key = peer->node.key;

        if (changed) {
            token = ngx_zltunnel_token_find(registry, peer->token);
            gone = (token == NULL || !ngx_zltunnel_bound(peer, token));
            peer->expires = token ? token->expires : 0;

        } else {
            gone = 0;
        }

        if (gone || (peer->expires && ngx_time() >= peer->expires)) {

            if (ngx_zltunnel_rotated(peer) != NGX_OK) {
                ngx_zltunnel_revoke(peer);
            }

            continue;
        }

        if (changed && peer->control) {
            ngx_zltunnel_control_rights(peer->control);
            continue;
        }

        if (peer->nidle == 0 && peer->shared == NULL && peer->control == NULL) {
            continue;
        }

        ngx_zltunnel_lock_read(registry);
        tunnel = ngx_zltunnel_tunnel_find(registry->sh, peer->id);
        moved = tunnel && ngx_exiting && ngx_zltunnel_moved(registry, tunnel);
        ngx_zltunnel_unlock(registry);

        if (moved) {

            /* what still needs a channel here gets a fresh one */

            ngx_zltunnel_channels_drop(registry, peer->id, (uint64_t) -1);
            continue;
        }

        if (tunnel) {
            continue;
        }

        /* its grace is over, or the registry had to be emptied */

        if (peer->control) {
            ngx_zltunnel_control_stop(peer->control, ZLT_D_LATER,
                                      "the tunnel was lost");

        } else {
            ngx_zltunnel_channels_drop(registry, peer->id, (uint64_t) -1);
        }
    }
}


/* access sessions end where the control channel is, visits where they are */

static void
ngx_zltunnel_tick_accesses(ngx_zltunnel_registry_t *registry)
{
    ngx_rbtree_key_t      key;
    ngx_zltunnel_peer_t  *peer;

    for (peer = ngx_zltunnel_peer_next(registry, NULL);
         peer;
         peer = ngx_zltunnel_peer_next(registry, &key))
    {
        key = peer->node.key;

        if (peer->control) {
            ngx_zltunnel_access_check(peer->control);
        }
    }

    ngx_zltunnel_visits_check(registry);
}


/* the agent's certificate is still one that its token is bound to */

static ngx_uint_t
ngx_zltunnel_bound(ngx_zltunnel_peer_t *peer, ngx_zltunnel_token_t *token)
{
    const char  *reason;

    return peer->control == NULL
           || ngx_zltunnel_cert_allows(token, peer->control->end.connection,
                                       &reason);
}


/* under the lock: its control channel is in a worker that stays */

static ngx_uint_t
ngx_zltunnel_moved(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel)
{
    return tunnel->state == NGX_ZLTUNNEL_LIVE
           && tunnel->slot != NGX_ZLTUNNEL_NO_SLOT
           && tunnel->slot != registry->slot
           && !registry->sh->workers[tunnel->slot].exiting;
}


/*
 * NGX_OK: its tunnel has been taken over with another token of its name, which
 * is the peer's from now on; what began with the former one goes on.
 */

static ngx_int_t
ngx_zltunnel_rotated(ngx_zltunnel_peer_t *peer)
{
    u_char                     hash[32];
    ngx_uint_t                 found;
    ngx_zltunnel_token_t      *token;
    ngx_zltunnel_registry_t   *registry;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    registry = peer->registry;
    found = 0;

    ngx_zltunnel_lock_read(registry);

    tunnel = ngx_zltunnel_tunnel_find(registry->sh, peer->id);

    if (tunnel && ngx_memcmp(tunnel->token, peer->token, 32) != 0) {
        ngx_memcpy(hash, tunnel->token, 32);
        found = 1;
    }

    ngx_zltunnel_unlock(registry);

    if (!found) {
        return NGX_DECLINED;
    }

    token = ngx_zltunnel_token_find(registry, hash);

    if (token == NULL || ngx_zltunnel_token_expired(token)
        || token->name.len != peer->name.len
        || ngx_memcmp(token->name.data, peer->name.data, token->name.len) != 0)
    {
        return NGX_DECLINED;
    }

    ngx_memcpy(peer->token, hash, 32);
    peer->expires = token->expires;

    return NGX_OK;
}


static void
ngx_zltunnel_revoke(ngx_zltunnel_peer_t *peer)
{
    u_char                     id[ZLT_ID_SIZE];
    ngx_zltunnel_registry_t   *registry;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    registry = peer->registry;
    ngx_memcpy(id, peer->id, ZLT_ID_SIZE);

    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "token of agent \"%V\" was removed or has expired, "
                  "its tunnel ends", &peer->name);

    ngx_zltunnel_lock(registry);

    tunnel = ngx_zltunnel_tunnel_find(registry->sh, id);

    if (tunnel && ngx_memcmp(tunnel->token, peer->token, 32) == 0) {
        ngx_zltunnel_tunnel_remove(registry, tunnel);
    }

    ngx_zltunnel_unlock(registry);

    if (peer->control) {
        ngx_zltunnel_control_stop(peer->control, ZLT_D_STOP,
                                  "The token was revoked or has expired");
    }

    /* with its control channel the peer may have gone */

    peer = ngx_zltunnel_peer_find(registry, id);

    if (peer) {
        ngx_zltunnel_peer_cut(peer);
    }
}
