
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Services that are down, as their agents have found by checks.  All of it runs
 * under the lock.
 *
 * What an agent has said holds while it is there.  When it is away clients wait
 * for it, as they do for any; but a port that it has had closed stays so.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_health.h"
#include "ngx_zltunnel_port_socket.h"
#include "ngx_zltunnel_service.h"
#include "ngx_zltunnel_zone.h"

#include "zlt_msg.h"


#define NGX_ZLTUNNEL_HEALTH_TEXT  255


static void ngx_zltunnel_health_port(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service);


ngx_uint_t
ngx_zltunnel_health_set(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service, ngx_uint_t health, ngx_str_t *why)
{
    ngx_uint_t  was;

    if (service->udp) {
        /* nothing can be known of it */
        return 0;
    }

    was = service->health;
    service->health = (uint8_t) ngx_min(health, ZLT_H_REFUSE);

    ngx_zltunnel_health_free(registry, service);

    if (service->health != ZLT_H_UP) {
        service->ill_len = (uint8_t) ngx_min(why->len,
                                             NGX_ZLTUNNEL_HEALTH_TEXT);
        service->ill = ngx_zltunnel_zone_alloc(registry, service->ill_len + 1);

        if (service->ill) {
            ngx_memcpy(service->ill, why->data, service->ill_len);
        }
    }

    if ((was == ZLT_H_UP) != (service->health == ZLT_H_UP)) {
        service->ill_since = ngx_time();
        service->fails = 0;
    }

    ngx_zltunnel_health_port(registry, service);

    return was != service->health;
}


/* One that cannot be opened now, in a worker that exits, is when the agent
   registers again, which it does next. */

static void
ngx_zltunnel_health_port(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service)
{
    if (service->port == 0
        || service->shut == (service->health == ZLT_H_REFUSE))
    {
        return;
    }

    if (service->health == ZLT_H_REFUSE) {
        service->shut = 1;
        ngx_zltunnel_port_socket_close(registry, service->port, 0);
        return;
    }

    if (ngx_zltunnel_port_socket_open(registry, service->port, 0) == NGX_OK) {
        service->shut = 0;
    }
}


void
ngx_zltunnel_health_free(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service)
{
    if (service->ill) {
        ngx_zltunnel_zone_free(registry, service->ill);
        service->ill = NULL;
    }

    service->ill_len = 0;
}


ngx_uint_t
ngx_zltunnel_health_down(ngx_zltunnel_sh_service_t *service)
{
    return service->health != ZLT_H_UP && !ngx_zltunnel_service_waits(service);
}
