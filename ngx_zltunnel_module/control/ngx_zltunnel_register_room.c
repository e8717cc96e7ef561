
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What a token's services take of what it may have, and who gives way.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_register_room.h"
#include "ngx_zltunnel_registry.h"


ngx_uint_t
ngx_zltunnel_register_room_evict(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel, ngx_zltunnel_sh_service_t *but)
{
    ngx_queue_t                *q;
    ngx_zltunnel_sh_service_t  *service;

    for (q = ngx_queue_head(&tunnel->services);
         q != ngx_queue_sentinel(&tunnel->services);
         q = ngx_queue_next(q))
    {
        service = ngx_queue_data(q, ngx_zltunnel_sh_service_t, queue);

        if (service->stale && service != but) {
            ngx_zltunnel_service_withdraw(registry, service,
                                          "another service has its place");
            return 1;
        }
    }

    return 0;
}


ngx_uint_t
ngx_zltunnel_register_room_services(ngx_zltunnel_sh_t *sh, ngx_str_t *name)
{
    return ngx_zltunnel_tunnel_sum(sh, name,
                                   offsetof(ngx_zltunnel_sh_tunnel_t,
                                            nservices));
}


size_t
ngx_zltunnel_register_room_lists(ngx_zltunnel_sh_t *sh, ngx_str_t *name,
    ngx_zltunnel_sh_service_t *but)
{
    size_t  n;

    n = ngx_zltunnel_tunnel_sum(sh, name,
                                offsetof(ngx_zltunnel_sh_tunnel_t, lists));

    if (but && but->allow) {
        n -= ngx_zltunnel_service_list_size(but->allow_len);
    }

    return n;
}
