
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Who accepts clients while a registry begins anew.
 *
 * After a binary upgrade, or a reload with another size of the zone, the
 * registry is empty, and agents come to it when the former workers exit.
 * Until then a new worker could only refuse clients, so it leaves the
 * listening sockets of zltunnel_ports and zltunnel_pass out of epoll as long
 * as no agent that is connected has the service.  They are accepted by the
 * former workers, who share the sockets; and when these have gone, and the
 * agents are on their way, they wait in the sockets' queues, and are not
 * refused either.
 *
 * The same is done by workers that the former binary starts again, on the way
 * back from an upgrade, and by all when a worker has died within a change, upon
 * which the registry was emptied.  A worker's gates are open for good when
 * there is but one binary, and the agents have had as long as the grace.
 *
 * A worker that found no slot in the registry accepts nobody until it has one.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_gate.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_listener.h"
#include "ngx_zltunnel_module.h"
#include "ngx_zltunnel_registry.h"


static ngx_uint_t ngx_zltunnel_gate_closed(ngx_zltunnel_registry_t *registry);
static void ngx_zltunnel_gate_look(ngx_zltunnel_registry_t *registry,
    ngx_array_t *listeners);
static ngx_uint_t ngx_zltunnel_gate_served(ngx_zltunnel_sh_t *sh,
    ngx_zltunnel_listener_t *listener);


/* the pid file that the master of a former binary leaves while it lives */


void
ngx_zltunnel_gate_init(ngx_cycle_t *cycle)
{
    ngx_uint_t                 i;
    ngx_zltunnel_conf_t       *conf;
    ngx_zltunnel_registry_t  **registry;

    conf = (ngx_zltunnel_conf_t *) ngx_get_conf(cycle->conf_ctx,
                                                ngx_zltunnel_module);
    registry = conf->registries.elts;

    (void) ngx_zltunnel_overlap_look();

    for (i = 0; i < conf->registries.nelts; i++) {

        registry[i]->gated = ngx_zltunnel_gate_closed(registry[i]);

        ngx_zltunnel_gate_update(registry[i]);
    }
}


void
ngx_zltunnel_gate_lower(ngx_zltunnel_registry_t *registry)
{
    registry->gated = 1;

    ngx_zltunnel_gate_update(registry);
}


/* a worker without a slot can have no channel, whoever is there */

static ngx_uint_t
ngx_zltunnel_gate_closed(ngx_zltunnel_registry_t *registry)
{
    return registry->slot == NGX_ZLTUNNEL_NO_SLOT
           || ngx_zltunnel_gate_expecting(registry);
}


ngx_uint_t
ngx_zltunnel_gate_expecting(ngx_zltunnel_registry_t *registry)
{
    if (ngx_zltunnel_overlap) {
        return 1;
    }

    return registry->sh->expecting
           && ngx_zltunnel_zone_since(registry->sh->started)
              < registry->reconnect_grace;
}


void
ngx_zltunnel_gate_update(ngx_zltunnel_registry_t *registry)
{
    ngx_uint_t                i;
    ngx_zltunnel_listener_t  *pass;

    if (!registry->gated || ngx_exiting) {
        return;
    }

    if (!ngx_zltunnel_gate_closed(registry)) {
        registry->gated = 0;

    } else {
        ngx_zltunnel_zone_lock_read(registry);

        ngx_zltunnel_gate_look(registry, &registry->listeners);
        ngx_zltunnel_gate_look(registry, &registry->passes);

        ngx_zltunnel_zone_unlock(registry);
    }

    ngx_zltunnel_listener_update_port(registry, 0, 0);

    pass = registry->passes.elts;

    for (i = 0; i < registry->passes.nelts; i++) {
        ngx_zltunnel_listener_update(&pass[i]);
    }
}


static void
ngx_zltunnel_gate_look(ngx_zltunnel_registry_t *registry,
    ngx_array_t *listeners)
{
    ngx_uint_t                i;
    ngx_zltunnel_listener_t  *listener;

    listener = listeners->elts;

    for (i = 0; i < listeners->nelts; i++) {
        listener[i].served = registry->slot != NGX_ZLTUNNEL_NO_SLOT
                             && ngx_zltunnel_gate_served(registry->sh,
                                                         &listener[i]);
    }
}


/* by an agent that is connected and has registered the service */

static ngx_uint_t
ngx_zltunnel_gate_served(ngx_zltunnel_sh_t *sh,
    ngx_zltunnel_listener_t *listener)
{
    ngx_queue_t                *q;
    ngx_zltunnel_sh_tunnel_t   *tunnel;
    ngx_zltunnel_sh_service_t  *service;

    if (listener->pass && listener->service.len == 0) {

        /* a variable: whichever it will name */

        for (q = ngx_queue_head(&sh->list);
             q != ngx_queue_sentinel(&sh->list);
             q = ngx_queue_next(q))
        {
            tunnel = ngx_queue_data(q, ngx_zltunnel_sh_tunnel_t, queue);

            if (tunnel->state == NGX_ZLTUNNEL_LIVE && tunnel->nservices) {
                return 1;
            }
        }

        return 0;
    }

    if (listener->pass) {
        service = ngx_zltunnel_service_by_name(sh, &listener->service,
                                               listener->udp,
                                               listener->token.len
                                               ? &listener->token : NULL);

    } else {
        service = ngx_zltunnel_port_service(sh, listener->port,
                                            listener->udp);
    }

    return service && !service->stale
           && service->tunnel->state == NGX_ZLTUNNEL_LIVE;
}
