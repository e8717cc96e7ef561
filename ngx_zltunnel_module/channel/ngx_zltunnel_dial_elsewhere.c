
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A dial goes from one node to another that has the same service.
 *
 * Which one that is, is chosen as for a client that comes now: nodes that were
 * not reached of late come last.  So a dial leaves this node, too, which waits
 * for an agent that is away, if another node has one with the same port.  A channel
 * with datagrams is for one service alone, and so who wants it looks for another by
 * itself.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_dial_elsewhere.h"
#include "ngx_zltunnel_dial.h"
#include "ngx_zltunnel_dial_search.h"
#include "ngx_zltunnel_dial_turn.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_worker.h"

#include "zlt_msg.h"


#define NGX_ZLTUNNEL_DIAL_NODES  7         /* that a dial goes to */


static ngx_zltunnel_sh_service_t *ngx_zltunnel_dial_elsewhere_service(
    ngx_zltunnel_dial_t *dial);
static ngx_int_t ngx_zltunnel_dial_elsewhere_count(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_sh_service_t *service);


ngx_int_t
ngx_zltunnel_dial_elsewhere(ngx_zltunnel_dial_t *dial)
{
    u_char                      id[ZLT_ID_SIZE], token[32];
    ngx_zltunnel_registry_t    *registry;
    ngx_zltunnel_sh_service_t  *service;

    registry = dial->registry;

    if (dial->datagrams || (dial->lost && dial->last)
        || dial->nodes == NGX_ZLTUNNEL_DIAL_NODES)
    {
        return NGX_DECLINED;
    }

    ngx_zltunnel_zone_lock(registry);

    service = ngx_zltunnel_dial_elsewhere_service(dial);

    if (service
        && ngx_zltunnel_dial_elsewhere_count(dial, service) != NGX_OK)
    {
        service = NULL;
    }

    if (service) {
        service->used = ngx_zltunnel_turn(registry->sh);

        ngx_memcpy(id, service->tunnel->id, ZLT_ID_SIZE);
        ngx_memcpy(token, service->tunnel->token, 32);
        ngx_memcpy(dial->service_id, service->id, ZLT_ID_SIZE);

        dial->channels = (service->tunnel->features & ZLT_F_CHANNELS) ? 1 : 0;
    }

    ngx_zltunnel_zone_unlock(registry);

    if (service == NULL
        || ngx_zltunnel_dial_search_move(dial, id, token) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    dial->reaching = 0;
    dial->nodes++;

    ngx_zltunnel_dial_search(dial, 0);

    return NGX_OK;
}


/* under the lock */

static ngx_zltunnel_sh_service_t *
ngx_zltunnel_dial_elsewhere_service(ngx_zltunnel_dial_t *dial)
{
    in_port_t                   port;
    ngx_zltunnel_sh_t          *sh;
    ngx_zltunnel_sh_tunnel_t   *tunnel;
    ngx_zltunnel_sh_service_t  *service, *best;

    sh = dial->registry->sh;
    best = NULL;
    port = 0;

    if (!dial->remote) {
        tunnel = ngx_zltunnel_tunnel_find(sh, dial->tunnel_id);
        service = tunnel ? ngx_zltunnel_service_by_id(tunnel, dial->service_id)
                         : NULL;
        if (service == NULL) {
            return NULL;
        }

        port = service->port;
    }

    for (service = ngx_zltunnel_service_named(sh, &dial->service, 0,
                                              &dial->tunnel, NULL);
         service;
         service = ngx_zltunnel_service_named(sh, &dial->service, 0,
                                              &dial->tunnel, service))
    {
        if (ngx_memcmp(service->tunnel->id, dial->tunnel_id, ZLT_ID_SIZE) == 0
            || ((service->flags & ZLT_R_INTERNAL) && !dial->local)
            || ngx_zltunnel_health_down(service))
        {
            continue;
        }

        if (!dial->remote && (service->tunnel->remote == NULL
                              || service->remote_port != port))
        {
            continue;
        }

        if (ngx_zltunnel_service_before(service, best)) {
            best = service;
        }
    }

    return best;
}


/* the connection is one of that service now */

static ngx_int_t
ngx_zltunnel_dial_elsewhere_count(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_sh_service_t *service)
{
    ngx_zltunnel_sh_counter_t  *counter;

    if (dial->counter == NULL) {
        return NGX_OK;
    }

    counter = ngx_zltunnel_counter_get(dial->registry, service);
    if (counter == NULL) {
        return NGX_ERROR;
    }

    counter->total++;

    ngx_zltunnel_counter_put(dial->registry, dial->counter);
    dial->counter = counter;

    return NGX_OK;
}
