
/*
 * Copyright (C) zltunnel authors
 */

/* What a registry holds, as JSON. */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_status.h"
#include "ngx_zltunnel_cluster_status.h"
#include "ngx_zltunnel_status_copy.h"
#include "ngx_zltunnel_status_sum.h"
#include "ngx_zltunnel_access_status.h"
#include "ngx_zltunnel_kept.h"
#include "ngx_zltunnel_node.h"
#include "ngx_zltunnel_zone.h"


static void ngx_zltunnel_status_head(ngx_zltunnel_status_t *st);
static void ngx_zltunnel_status_limits(ngx_zltunnel_status_t *st);
static void ngx_zltunnel_status_workers(ngx_zltunnel_status_t *st);
static void ngx_zltunnel_status_totals(ngx_zltunnel_status_t *st);
static void ngx_zltunnel_status_tunnel(ngx_zltunnel_status_t *st);
static ngx_int_t ngx_zltunnel_status_kept(ngx_zltunnel_status_t *st);
static void ngx_zltunnel_status_check(ngx_zltunnel_json_t *j,
    ngx_zltunnel_status_service_t *service);
static void ngx_zltunnel_status_service(ngx_zltunnel_status_t *st,
    ngx_zltunnel_status_service_t *service);


ngx_int_t
ngx_zltunnel_status(ngx_zltunnel_registry_t *registry, ngx_pool_t *pool,
    ngx_chain_t **out, off_t *size)
{
    ngx_int_t               rc;
    ngx_uint_t              i;
    ngx_zltunnel_json_t    *j;
    ngx_zltunnel_status_t  *st;

    st = ngx_pcalloc(pool, sizeof(ngx_zltunnel_status_t));
    if (st == NULL) {
        return NGX_ERROR;
    }

    st->registry = registry;
    st->pool = pool;
    j = &st->json;

    ngx_zltunnel_json_init(j, pool);

    if (ngx_zltunnel_status_copy(st) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_zltunnel_json_open(j, NULL, '{');

    ngx_zltunnel_status_head(st);
    ngx_zltunnel_status_workers(st);
    ngx_zltunnel_status_limits(st);
    ngx_zltunnel_cluster_status(registry, &st->json, 0);
    ngx_zltunnel_status_totals(st);

    ngx_zltunnel_json_open(j, "tunnels", '[');

    for (i = 0; i < st->nids; i++) {

        rc = ngx_zltunnel_status_copy_tunnel(st, st->ids[i].id);

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (rc == NGX_OK) {
            ngx_zltunnel_status_tunnel(st);
        }
    }

    ngx_zltunnel_json_close(j, ']');

    if (ngx_zltunnel_status_kept(st) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_zltunnel_json_open(j, "access", '[');

    for (i = 0; i < st->nids; i++) {

        if (ngx_zltunnel_access_status(registry, j, st->ids[i].id) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    ngx_zltunnel_json_close(j, ']');
    ngx_zltunnel_json_close(j, '}');

    return ngx_zltunnel_json_end(j, out, size);
}


static void
ngx_zltunnel_status_head(ngx_zltunnel_status_t *st)
{
    ngx_zltunnel_json_t  *j;

    j = &st->json;

    ngx_zltunnel_json_string(j, "version", (u_char *) NGX_ZLTUNNEL_VERSION,
                             sizeof(NGX_ZLTUNNEL_VERSION) - 1);
    ngx_zltunnel_json_string(j, "registry", st->registry->name.data,
                             st->registry->name.len);
    ngx_zltunnel_json_hex(j, "node_id", ngx_zltunnel_node_id(st->registry),
                          ZLT_ID_SIZE);
    ngx_zltunnel_json_number(j, "generation", st->generation);
}


static void
ngx_zltunnel_status_workers(ngx_zltunnel_status_t *st)
{
    ngx_uint_t                 i;
    ngx_zltunnel_json_t       *j;
    ngx_zltunnel_sh_worker_t  *worker;

    j = &st->json;

    ngx_zltunnel_json_open(j, "workers", '[');

    for (i = 0; i < st->nworkers; i++) {

        worker = &st->workers[i];

        if (worker->pid == 0) {
            continue;
        }

        ngx_zltunnel_json_open(j, NULL, '{');
        ngx_zltunnel_json_number(j, "slot", i);
        ngx_zltunnel_json_number(j, "worker", worker->worker);
        ngx_zltunnel_json_number(j, "generation", worker->generation);
        ngx_zltunnel_json_number(j, "pid", worker->pid);
        ngx_zltunnel_json_bool(j, "exiting", worker->exiting);
        ngx_zltunnel_json_number(j, "idle_channels", worker->nidle);
        ngx_zltunnel_json_close(j, '}');
    }

    ngx_zltunnel_json_close(j, ']');
}


static void
ngx_zltunnel_status_limits(ngx_zltunnel_status_t *st)
{
    size_t                    size;
    ngx_zltunnel_json_t      *j;
    ngx_zltunnel_registry_t  *registry;

    j = &st->json;
    registry = st->registry;
    size = registry->shm_zone->shm.size;

    ngx_zltunnel_json_open(j, "zone", '{');
    ngx_zltunnel_json_number(j, "size", size);
    ngx_zltunnel_json_number(j, "used", size - st->free);
    ngx_zltunnel_json_number(j, "free", st->free);
    ngx_zltunnel_json_close(j, '}');

    ngx_zltunnel_json_open(j, "limits", '{');
    ngx_zltunnel_json_number(j, "max_tunnels", registry->max_tunnels);
    ngx_zltunnel_json_number(j, "max_services", registry->max_services);
    ngx_zltunnel_json_number(j, "max_unauthenticated",
                             registry->max_unauthenticated);
    ngx_zltunnel_json_number(j, "max_idle_channels",
                             registry->max_idle_channels);
    ngx_zltunnel_json_number(j, "max_pending", registry->max_pending);
    ngx_zltunnel_json_number(j, "max_connections", registry->max_connections);
    ngx_zltunnel_json_number(j, "max_udp_sessions",
                             registry->max_udp_sessions);
    ngx_zltunnel_json_number(j, "max_channel_share",
                             registry->max_channel_share);
    ngx_zltunnel_json_close(j, '}');

    ngx_zltunnel_json_open(j, "ports", '{');
    ngx_zltunnel_json_number(j, "configured",
                             ngx_zltunnel_status_sum_ports(registry));
    ngx_zltunnel_json_number(j, "open", st->open);
    ngx_zltunnel_json_close(j, '}');
}


static void
ngx_zltunnel_status_totals(ngx_zltunnel_status_t *st)
{
    ngx_uint_t                 i, way;
    ngx_zltunnel_json_t       *j;
    ngx_zltunnel_sh_worker_t   sum;

    j = &st->json;

    ngx_zltunnel_status_sum(st, &sum);

    ngx_zltunnel_json_open(j, "acquired", '{');

    for (way = 0; way < NGX_ZLTUNNEL_WAYS; way++) {
        ngx_zltunnel_json_number(j,
                           (char *) ngx_zltunnel_status_sum_ways[way].data,
                           sum.acquired[way]);
    }

    ngx_zltunnel_json_close(j, '}');

    ngx_zltunnel_json_number(j, "repeated", sum.repeated);
    ngx_zltunnel_json_number(j, "reused", sum.reused);
    ngx_zltunnel_json_number(j, "left_lane", sum.left);
    ngx_zltunnel_json_number(j, "spliced", sum.spliced);

    ngx_zltunnel_json_open(j, "notifications", '{');

    for (i = 0; i < NGX_ZLTUNNEL_NOTIFIED; i++) {
        ngx_zltunnel_json_number(j,
                        (char *) ngx_zltunnel_status_sum_notified[i].data,
                        st->figures.notified[i]);
    }

    ngx_zltunnel_json_close(j, '}');
}


static void
ngx_zltunnel_status_tunnel(ngx_zltunnel_status_t *st)
{
    ngx_uint_t                 i;
    ngx_str_t                  state;
    ngx_zltunnel_json_t       *j;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    j = &st->json;
    tunnel = &st->tunnel;

    if (tunnel->state == NGX_ZLTUNNEL_LIVE) {
        ngx_str_set(&state, "connected");

    } else {
        ngx_str_set(&state, "disconnected");
    }

    ngx_zltunnel_json_open(j, NULL, '{');

    ngx_zltunnel_json_hex(j, "id", tunnel->id, ZLT_ID_SIZE);
    ngx_zltunnel_json_string(j, "name", tunnel->name, tunnel->name_len);
    ngx_zltunnel_json_string(j, "state", state.data, state.len);

    if (tunnel->remote) {
        ngx_zltunnel_json_hex(j, "remote_node", tunnel->remote_id,
                              ZLT_ID_SIZE);
    }

    ngx_zltunnel_json_bool(j, "draining", tunnel->draining);
    ngx_zltunnel_json_string(j, "agent", tunnel->agent, tunnel->agent_len);
    ngx_zltunnel_json_string(j, "address", tunnel->address,
                             tunnel->address_len);
    ngx_zltunnel_json_number(j, "connected_since", tunnel->since);
    ngx_zltunnel_json_number(j, "last_activity",
                             ngx_zltunnel_status_sum_time(tunnel->heard));
    ngx_zltunnel_json_number(j, "features", tunnel->features);
    ngx_zltunnel_json_number(j, "idle_channels", tunnel->nidle);
    ngx_zltunnel_json_number(j, "pending", tunnel->npending);

    ngx_zltunnel_json_open(j, "services", '[');

    for (i = 0; i < st->nservices; i++) {
        ngx_zltunnel_status_service(st, &st->services[i]);
    }

    ngx_zltunnel_json_close(j, ']');
    ngx_zltunnel_json_close(j, '}');

    /* keys are not to lie about in the memory of requests */

    ngx_explicit_memzero(tunnel, sizeof(ngx_zltunnel_sh_tunnel_t));
}


/* the tokens whose agents are kept out */

static ngx_int_t
ngx_zltunnel_status_kept(ngx_zltunnel_status_t *st)
{
    ngx_uint_t               i, n;
    ngx_zltunnel_json_t     *j;
    ngx_zltunnel_sh_kept_t  *kept;

    kept = ngx_palloc(st->pool, NGX_ZLTUNNEL_KEPT
                                * sizeof(ngx_zltunnel_sh_kept_t));
    if (kept == NULL) {
        return NGX_ERROR;
    }

    ngx_zltunnel_zone_lock_read(st->registry);
    n = ngx_zltunnel_kept_copy(st->registry->sh, kept);
    ngx_zltunnel_zone_unlock(st->registry);

    j = &st->json;

    ngx_zltunnel_json_open(j, "kept_out", '[');

    for (i = 0; i < n; i++) {
        ngx_zltunnel_json_open(j, NULL, '{');
        ngx_zltunnel_json_string(j, "name", kept[i].name, kept[i].len);
        ngx_zltunnel_json_number(j, "until", (uint64_t) kept[i].until);
        ngx_zltunnel_json_close(j, '}');
    }

    ngx_zltunnel_json_close(j, ']');

    return NGX_OK;
}


/* which fails, as its agent says */

static void
ngx_zltunnel_status_check(ngx_zltunnel_json_t *j,
    ngx_zltunnel_status_service_t *service)
{
    if (!service->down) {
        ngx_zltunnel_json_null(j, "check");
        return;
    }

    ngx_zltunnel_json_open(j, "check", '{');
    ngx_zltunnel_json_number(j, "since", (uint64_t) service->ill_since);
    ngx_zltunnel_json_string(j, "error", service->ill, service->ill_len);
    ngx_zltunnel_json_close(j, '}');
}


static void
ngx_zltunnel_status_service(ngx_zltunnel_status_t *st,
    ngx_zltunnel_status_service_t *service)
{
    ngx_uint_t                   i;
    const char                  *cause, *state;
    ngx_zltunnel_json_t         *j;
    ngx_zltunnel_status_host_t  *host;

    j = &st->json;

    ngx_zltunnel_json_open(j, NULL, '{');

    ngx_zltunnel_json_hex(j, "id", service->id, ZLT_ID_SIZE);
    ngx_zltunnel_json_string(j, "name", service->name, service->name_len);
    ngx_zltunnel_json_string(j, "protocol",
                             (u_char *) (service->udp ? "udp" : "tcp"), 3);
    state = ngx_zltunnel_status_copy_state(st, service);
    ngx_zltunnel_json_string(j, "state", (u_char *) state, ngx_strlen(state));
    ngx_zltunnel_status_check(j, service);

    ngx_zltunnel_json_number(j, "port", service->port);
    ngx_zltunnel_json_number(j, "local_port", service->local_port);

    ngx_zltunnel_json_open(j, "hosts", '[');

    for (i = 0; i < service->nhosts; i++) {
        host = &st->hosts[service->hosts + i];
        ngx_zltunnel_json_string(j, NULL, host->name, host->len);
    }

    ngx_zltunnel_json_close(j, ']');

    ngx_zltunnel_json_number(j, "active", service->active);
    ngx_zltunnel_json_number(j, "total", service->total);
    ngx_zltunnel_json_number(j, "bytes_in", service->bytes[0]);
    ngx_zltunnel_json_number(j, "bytes_out", service->bytes[1]);

    if (service->unreached) {
        ngx_zltunnel_json_open(j, "last_failure", '{');
        ngx_zltunnel_json_number(j, "time",
                                 (uint64_t) service->unreached);
        cause = ngx_zltunnel_status_sum_cause(service->cause);
        ngx_zltunnel_json_string(j, "cause", (u_char *) cause,
                                 ngx_strlen(cause));
        ngx_zltunnel_json_close(j, '}');

    } else {
        ngx_zltunnel_json_null(j, "last_failure");
    }

    if (service->udp) {
        ngx_zltunnel_json_number(j, "datagrams_in", service->datagrams[0]);
        ngx_zltunnel_json_number(j, "datagrams_out", service->datagrams[1]);

        ngx_zltunnel_json_open(j, "dropped", '{');

        for (i = 0; i < NGX_ZLTUNNEL_DROPS; i++) {
            ngx_zltunnel_json_number(j,
                             (char *) ngx_zltunnel_status_sum_drops[i].data,
                             service->dropped[i]);
        }

        ngx_zltunnel_json_close(j, '}');
    }

    ngx_zltunnel_json_close(j, '}');
}
