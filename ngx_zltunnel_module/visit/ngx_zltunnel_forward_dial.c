
/*
 * Copyright (C) zltunnel authors
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_forward_dial.h"
#include "ngx_zltunnel_registry.h"


ngx_int_t
ngx_zltunnel_forward_dial_begin(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_registry_t *registry, ngx_connection_t *c, zlt_msg_t *m)
{
    ngx_memzero(dial, sizeof(ngx_zltunnel_dial_t));

    dial->registry = registry;
    dial->log = c->log;

    dial->pool = ngx_create_pool(512, c->log);
    if (dial->pool == NULL) {
        return NGX_ERROR;
    }

    dial->client_addr.data = ngx_pnalloc(dial->pool, m->client_addr.len + 1);
    if (dial->client_addr.data == NULL) {
        return NGX_ERROR;
    }

    dial->client_addr.len = m->client_addr.len;
    ngx_memcpy(dial->client_addr.data, m->client_addr.data,
               m->client_addr.len);

    return NGX_OK;
}


void
ngx_zltunnel_forward_dial(ngx_zltunnel_dial_t *dial, u_char *id,
    ngx_uint_t udp)
{
    ngx_zltunnel_registry_t    *registry;
    ngx_zltunnel_admission_t    admission;
    ngx_zltunnel_sh_service_t  *service;

    registry = dial->registry;

    ngx_zltunnel_zone_lock(registry);

    service = ngx_zltunnel_service_own(registry->sh, id);

    if (service && (service->udp != udp
                    || (service->flags & (ZLT_R_OPEN|ZLT_R_INTERNAL))))
    {
        service = NULL;
    }

    ngx_zltunnel_dial_start_admit(dial, service, &admission);

    ngx_zltunnel_zone_unlock(registry);

    ngx_zltunnel_dial_start(dial, &admission);
}


void
ngx_zltunnel_forward_dial_done(ngx_zltunnel_dial_t *dial)
{
    ngx_pool_t  *pool;

    pool = dial->pool;

    if (pool == NULL) {
        return;
    }

    ngx_zltunnel_dial_done(dial);

    dial->pool = NULL;
    ngx_destroy_pool(pool);
}
