
/*
 * Copyright (C) zltunnel authors
 */

/* Services that another node's have displaced. */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_lost.h"
#include "ngx_zltunnel_host.h"
#include "ngx_zltunnel_port.h"
#include "ngx_zltunnel_service.h"
#include "ngx_zltunnel_shm.h"


#define NGX_ZLTUNNEL_LOST_A_PORT  1
#define NGX_ZLTUNNEL_LOST_A_HOST  2


void
ngx_zltunnel_lost_service(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service, ngx_str_t *host, ngx_str_t *holder)
{
    service->lost = host ? NGX_ZLTUNNEL_LOST_A_HOST : NGX_ZLTUNNEL_LOST_A_PORT;

    registry->sh->lost++;

    /* what it leaves rests for the one who has it */

    if (host) {
        ngx_zltunnel_host_lose(service, host, holder);

    } else {
        ngx_zltunnel_port_lose(registry, service, holder);
    }

    if (service->tunnel->state == NGX_ZLTUNNEL_GRACE) {
        ngx_zltunnel_service_withdraw(registry, service,
                                      ngx_zltunnel_lost_why(service));
    }
}


const char *
ngx_zltunnel_lost_why(ngx_zltunnel_sh_service_t *service)
{
    switch (service->lost) {

    case NGX_ZLTUNNEL_LOST_A_PORT:
        return NGX_ZLTUNNEL_LOST_PORT;

    case NGX_ZLTUNNEL_LOST_A_HOST:
        return NGX_ZLTUNNEL_LOST_HOST;

    default:
        return NULL;
    }
}


ngx_uint_t
ngx_zltunnel_lost_moves(ngx_zltunnel_sh_service_t *service)
{
    return service->lost == NGX_ZLTUNNEL_LOST_A_PORT
           && service->remote_port == 0;
}
