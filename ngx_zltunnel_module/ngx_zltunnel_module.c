
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The module as nginx sees it, and the top floor: here alone is wired together
 * what a message of another worker leads to, what happens every second, and
 * what is done when a worker exits.  The parts below know nothing of each
 * other but what their headers say, and nothing of who is above them.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_module.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_control.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_transport.h"
#include "ngx_zltunnel_udp.h"
#include "ngx_zltunnel_upstream.h"
#include "ngx_zltunnel_visit.h"
#include "ngx_zltunnel_worker.h"


#define NGX_ZLTUNNEL_TICK  1000    /* ms */


static void *ngx_zltunnel_create(ngx_cycle_t *cycle);
static ngx_int_t ngx_zltunnel_init_zone(ngx_shm_zone_t *zone, void *data);
static ngx_int_t ngx_zltunnel_init_module(ngx_cycle_t *cycle);
static ngx_uint_t ngx_zltunnel_succeeds(ngx_cycle_t *cycle);
static ngx_zltunnel_registry_t *ngx_zltunnel_former(ngx_cycle_t *cycle,
    ngx_zltunnel_registry_t *registry);
static ngx_int_t ngx_zltunnel_init_process(ngx_cycle_t *cycle);
static void ngx_zltunnel_exit_process(ngx_cycle_t *cycle);
static void ngx_zltunnel_registry_start(ngx_zltunnel_registry_t *registry,
    ngx_cycle_t *cycle);
static ngx_int_t ngx_zltunnel_registry_join(
    ngx_zltunnel_registry_t *registry);
static void ngx_zltunnel_tick(ngx_event_t *ev);
static void ngx_zltunnel_tick_accesses(ngx_zltunnel_registry_t *registry);
static void ngx_zltunnel_exiting(void);
static void ngx_zltunnel_emptied(ngx_zltunnel_registry_t *registry);
static void ngx_zltunnel_on_port(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t *fd);
static void ngx_zltunnel_on_take(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t *fd);
static void ngx_zltunnel_on_given(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t *fd);
static void ngx_zltunnel_on_none(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t *fd);
static void ngx_zltunnel_on_connect(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t *fd);
static void ngx_zltunnel_on_fail(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t *fd);
static void ngx_zltunnel_on_up(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t *fd);
static void ngx_zltunnel_on_probe(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t *fd);
static void ngx_zltunnel_on_close(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t *fd);
static void ngx_zltunnel_on_drop(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t *fd);
static void ngx_zltunnel_on_lost(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t *fd);
static void ngx_zltunnel_on_access(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t *fd);
static void ngx_zltunnel_on_kick(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t *fd);
static ngx_zltunnel_conf_t *ngx_zltunnel_conf(ngx_cycle_t *cycle);


/* what each message of another worker leads to */

static const ngx_zltunnel_ipc_pt
                           ngx_zltunnel_messages[NGX_ZLTUNNEL_IPC_TYPES] = {
    [NGX_ZLTUNNEL_IPC_PORT]    = ngx_zltunnel_on_port,
    [NGX_ZLTUNNEL_IPC_TAKE]    = ngx_zltunnel_on_take,
    [NGX_ZLTUNNEL_IPC_CHANNEL] = ngx_zltunnel_on_given,
    [NGX_ZLTUNNEL_IPC_BRIDGE]  = ngx_zltunnel_on_given,
    [NGX_ZLTUNNEL_IPC_NONE]    = ngx_zltunnel_on_none,
    [NGX_ZLTUNNEL_IPC_CONNECT] = ngx_zltunnel_on_connect,
    [NGX_ZLTUNNEL_IPC_FAIL]    = ngx_zltunnel_on_fail,
    [NGX_ZLTUNNEL_IPC_UP]      = ngx_zltunnel_on_up,
    [NGX_ZLTUNNEL_IPC_PROBE]   = ngx_zltunnel_on_probe,
    [NGX_ZLTUNNEL_IPC_CLOSE]   = ngx_zltunnel_on_close,
    [NGX_ZLTUNNEL_IPC_DROP]    = ngx_zltunnel_on_drop,
    [NGX_ZLTUNNEL_IPC_LOST]    = ngx_zltunnel_on_lost,
    [NGX_ZLTUNNEL_IPC_ACCESS]  = ngx_zltunnel_on_access,
    [NGX_ZLTUNNEL_IPC_KICK]    = ngx_zltunnel_on_kick
};


/* what a change of the registry leaves to be done */

static const ngx_zltunnel_notice_handlers_t  ngx_zltunnel_notices = {
    ngx_zltunnel_listener_changed,
    ngx_zltunnel_emptied
};


/* who reads the UDP sockets of ports */

static const ngx_zltunnel_listener_datagrams_t  ngx_zltunnel_datagrams = {
    ngx_zltunnel_udp_init_process,
    ngx_zltunnel_udp_arm,
    ngx_zltunnel_udp_receive,
    ngx_zltunnel_udp_recheck
};


static ngx_core_module_t  ngx_zltunnel_module_ctx = {
    ngx_string("zltunnel"),
    ngx_zltunnel_create,
    ngx_zltunnel_conf_init
};


ngx_module_t  ngx_zltunnel_module = {
    NGX_MODULE_V1,
    &ngx_zltunnel_module_ctx,              /* module context */
    ngx_zltunnel_block_commands,                /* module directives */
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


static void *
ngx_zltunnel_create(ngx_cycle_t *cycle)
{
    ngx_zltunnel_conf_t  *conf;

    conf = ngx_zltunnel_conf_create(cycle);

    if (conf) {
        conf->zone_init = ngx_zltunnel_init_zone;
    }

    return conf;
}


/* the last moment at which a configuration can be refused by a module */

static ngx_int_t
ngx_zltunnel_init_zone(ngx_shm_zone_t *zone, void *data)
{
    ngx_zltunnel_registry_t  *registry;

    registry = zone->data;

    if (!ngx_test_config
        && ngx_zltunnel_way_prepare(registry->workers, zone->shm.log)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_zltunnel_zone_init(zone, data);
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

    if (ngx_zltunnel_way_init_module(cycle) != NGX_OK) {
        return NGX_ERROR;
    }

    registry = conf->registries.elts;

    for (i = 0; i < conf->registries.nelts; i++) {

        if (registry[i]->sh->generation == 0) {
            registry[i]->sh->expecting = ngx_zltunnel_succeeds(cycle);
        }

        registry[i]->sh->generation = ngx_zltunnel_way_generation;

        ngx_zltunnel_node_succeed(registry[i],
                                  ngx_zltunnel_former(cycle, registry[i]));
    }

    ngx_zltunnel_listener_init_module(cycle);
    ngx_zltunnel_udp_socket_init_module(cycle);

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


/* the registry of that name in the configuration before, or NULL */

static ngx_zltunnel_registry_t *
ngx_zltunnel_former(ngx_cycle_t *cycle, ngx_zltunnel_registry_t *registry)
{
    ngx_uint_t                 i;
    ngx_zltunnel_conf_t       *conf;
    ngx_zltunnel_registry_t  **former;

    if (ngx_is_init_cycle(cycle->old_cycle)) {
        return NULL;
    }

    /* the module may not have been loaded */

    conf = ngx_zltunnel_conf(cycle->old_cycle);

    if (conf == NULL) {
        return NULL;
    }

    former = conf->registries.elts;

    for (i = 0; i < conf->registries.nelts; i++) {

        if (former[i]->name.len == registry->name.len
            && ngx_memcmp(former[i]->name.data, registry->name.data,
                          registry->name.len)
               == 0)
        {
            return former[i];
        }
    }

    return NULL;
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

    if (ngx_zltunnel_ipc_init_process(cycle, ngx_zltunnel_messages,
                                      ngx_zltunnel_exiting)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_zltunnel_notice_init(cycle, &ngx_zltunnel_notices);
    ngx_zltunnel_event_init(cycle);

    registry = conf->registries.elts;

    for (i = 0; i < conf->registries.nelts; i++) {
        ngx_zltunnel_registry_start(registry[i], cycle);
    }

    ngx_zltunnel_room_init(ngx_zltunnel_channel_evict);

    /* after the slots were taken: what changes now comes as a message */

    if (ngx_zltunnel_listener_init_process(cycle, &ngx_zltunnel_datagrams)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_zltunnel_gate_init(cycle);

    return NGX_OK;
}


static void
ngx_zltunnel_registry_start(ngx_zltunnel_registry_t *registry,
    ngx_cycle_t *cycle)
{
    ngx_rbtree_init(&registry->peers, &registry->peers_sentinel,
                    ngx_rbtree_insert_value);
    ngx_queue_init(&registry->shares);

    (void) ngx_zltunnel_token_text_follow(registry, cycle->log);

    if (ngx_zltunnel_registry_join(registry) != NGX_OK) {
        ngx_log_error(NGX_LOG_CRIT, cycle->log, 0,
                      "zltunnel registry \"%V\" has no slot for one more "
                      "worker, there are %ui: its \"zone\" is full; it "
                      "accepts nobody until there is one",
                      &registry->name, registry->sh->nslots);
    }

    registry->tick.handler = ngx_zltunnel_tick;
    registry->tick.data = registry;
    registry->tick.log = cycle->log;
    registry->tick.cancelable = 1;

    ngx_add_timer(&registry->tick, NGX_ZLTUNNEL_TICK);
}


static ngx_int_t
ngx_zltunnel_registry_join(ngx_zltunnel_registry_t *registry)
{
    ngx_int_t  rc;

    ngx_zltunnel_zone_lock(registry);
    rc = ngx_zltunnel_worker_slot_take(registry, ngx_zltunnel_way_generation);
    ngx_zltunnel_zone_unlock(registry);

    if (rc == NGX_OK) {
        ngx_zltunnel_ipc_hello(registry);
    }

    return rc;
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

    ngx_zltunnel_udp_exit();
    ngx_zltunnel_visit_exit(1);
    ngx_zltunnel_forward_exit(1);
    ngx_zltunnel_reach_exit();
    ngx_zltunnel_control_exit();
    ngx_zltunnel_shared_exit();
    ngx_zltunnel_channel_exit();
    ngx_zltunnel_notice_flush();
    ngx_zltunnel_event_tell(cycle->log);
    ngx_zltunnel_ipc_exit();
    ngx_zltunnel_relay_cleanup();
    ngx_zltunnel_udp_cleanup();

    /* the slot is left to the sweep, which knows what else to clean up */

    registry = conf->registries.elts;

    for (i = 0; i < conf->registries.nelts; i++) {

        if (registry[i]->tick.timer_set) {
            ngx_del_timer(&registry[i]->tick);
        }

        ngx_zltunnel_granted_tidy(registry[i], 1);
    }
}


/* the worker has begun to exit gracefully: its listening sockets are closed */

static void
ngx_zltunnel_exiting(void)
{
    ngx_uint_t                 i;
    ngx_zltunnel_conf_t       *conf;
    ngx_zltunnel_registry_t  **registry;

    conf = ngx_zltunnel_conf((ngx_cycle_t *) ngx_cycle);
    registry = conf->registries.elts;

    for (i = 0; i < conf->registries.nelts; i++) {

        ngx_zltunnel_stay_begin(registry[i]);
    }

    /* before these, since the clients' sockets are closed */

    ngx_zltunnel_udp_exit();
    ngx_zltunnel_visit_exit(0);
    ngx_zltunnel_forward_exit(0);
    ngx_zltunnel_shared_quit();

    ngx_zltunnel_control_quit_all();
}


static void
ngx_zltunnel_tick(ngx_event_t *ev)
{
    ngx_uint_t                changed;
    ngx_zltunnel_registry_t  *registry;

    registry = ev->data;

    changed = ngx_zltunnel_token_file_follow(registry, ev->log);
    changed |= ngx_zltunnel_token_text_follow(registry, ev->log);
    changed |= ngx_zltunnel_grant_follow(registry);

    if (registry->slot == NGX_ZLTUNNEL_NO_SLOT && !ngx_exiting
        && ngx_zltunnel_registry_join(registry) == NGX_OK)
    {
        ngx_log_error(NGX_LOG_NOTICE, ev->log, 0,
                      "zltunnel registry \"%V\" has a slot for this worker "
                      "now", &registry->name);
    }

    (void) ngx_zltunnel_overlap_look();
    ngx_zltunnel_gate_update(registry);

    if (!ngx_exiting) {
        ngx_zltunnel_zone_lock_read(registry);
        ngx_zltunnel_sweep(registry);
        ngx_zltunnel_zone_unlock(registry);

        if (changed) {
            ngx_zltunnel_revoke_away(registry);
            ngx_zltunnel_access_end_away(registry);
        }

        ngx_zltunnel_listener_tick(registry);

    } else {
        ngx_zltunnel_stay_look(registry);
    }

    ngx_zltunnel_udp_check(registry);

    ngx_zltunnel_revoke_peers(registry, changed);
    ngx_zltunnel_tick_accesses(registry);
    ngx_zltunnel_ask_again(registry);
    ngx_zltunnel_dial_told_check(registry);
    ngx_zltunnel_ipc_tidy();
    ngx_zltunnel_conn_check();

    ngx_add_timer(ev, NGX_ZLTUNNEL_TICK);
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
            ngx_zltunnel_access_end_check(peer->control);
        }
    }

    ngx_zltunnel_visit_check_all(registry);
}


/* it was found broken, by this worker, and emptied: all are told */

static void
ngx_zltunnel_emptied(ngx_zltunnel_registry_t *registry)
{
    ngx_zltunnel_ipc_t  msg;

    ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, 0,
                  "zltunnel registry \"%V\" was left broken by a worker "
                  "that died, agents have to register again",
                  &registry->name);

    ngx_memzero(&msg, sizeof(ngx_zltunnel_ipc_t));
    msg.type = NGX_ZLTUNNEL_IPC_LOST;

    ngx_zltunnel_ipc_broadcast(registry, &msg);
    ngx_zltunnel_ipc_handle(registry, &msg, NULL);
}


/* messages of other workers */

static void
ngx_zltunnel_on_port(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t *fd)
{
    ngx_zltunnel_listener_update_port(registry, msg->port, msg->code);
}


static void
ngx_zltunnel_on_take(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t *fd)
{
    ngx_zltunnel_bridge_give(registry, msg);
}


static void
ngx_zltunnel_on_given(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t *fd)
{
    ngx_zltunnel_dial_told_given(registry, msg, *fd, data);

    *fd = (ngx_socket_t) -1;
}


static void
ngx_zltunnel_on_none(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t *fd)
{
    ngx_zltunnel_dial_told_none(registry, msg);
}


static void
ngx_zltunnel_on_connect(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t *fd)
{
    (void) ngx_zltunnel_control_connect(registry, msg, data);
}


static void
ngx_zltunnel_on_fail(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t *fd)
{
    ngx_zltunnel_dial_told_failed(registry, msg);
}


static void
ngx_zltunnel_on_up(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t *fd)
{
    if (msg->code) {

        /* it has moved to another tunnel: carriers follow it */

        ngx_zltunnel_udp_check(registry);
    }

    ngx_zltunnel_dial_told_up(registry, msg);
    ngx_zltunnel_gate_update(registry);
}


static void
ngx_zltunnel_on_probe(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t *fd)
{
    ngx_zltunnel_control_probe(registry, msg);
}


static void
ngx_zltunnel_on_close(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t *fd)
{
    ngx_zltunnel_control_replaced(registry, msg);
}


static void
ngx_zltunnel_on_drop(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t *fd)
{
    ngx_zltunnel_channel_drop(registry, msg->tunnel_id, msg->epoch);
}


static void
ngx_zltunnel_on_lost(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t *fd)
{
    if (!ngx_exiting) {
        ngx_zltunnel_gate_lower(registry);
    }

    ngx_zltunnel_udp_check(registry);
    ngx_zltunnel_revoke_peers(registry, 0);
}


static void
ngx_zltunnel_on_access(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t *fd)
{
    if (msg->code) {
        ngx_zltunnel_tick_accesses(registry);

    } else {
        ngx_zltunnel_visit_check_all(registry);
    }
}


static void
ngx_zltunnel_on_kick(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, u_char *data, ngx_socket_t *fd)
{
    ngx_zltunnel_kick_told(registry, msg);
}
