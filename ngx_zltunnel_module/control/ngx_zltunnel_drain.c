
/*
 * Copyright (C) zltunnel authors
 */

/* The administrator has a tunnel drained. */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_drain.h"
#include "ngx_zltunnel_registry.h"


static ngx_int_t ngx_zltunnel_drain_let_in(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_past_t *past);


ngx_int_t
ngx_zltunnel_drain(ngx_zltunnel_registry_t *registry, u_char *id,
    ngx_uint_t on)
{
    ngx_int_t                  rc;
    ngx_zltunnel_event_t      *event;
    ngx_zltunnel_sh_past_t    *past;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    ngx_zltunnel_zone_lock_read(registry);

    tunnel = ngx_zltunnel_tunnel_find(registry->sh, id);

    if (tunnel) {
        tunnel->draining = on;
        rc = NGX_OK;

        event = ngx_zltunnel_event_new(registry,
                                       on ? NGX_ZLTUNNEL_EVENT_DRAINED
                                          : NGX_ZLTUNNEL_EVENT_RESUMED);
        ngx_zltunnel_event_tunnel(event, tunnel);

    } else {
        past = on ? NULL : ngx_zltunnel_past_find(registry->sh, id);
        rc = past ? ngx_zltunnel_drain_let_in(registry, past) : NGX_DECLINED;
    }

    ngx_zltunnel_zone_unlock(registry);

    return rc;
}


/* its agents need not be kept out any longer */

static ngx_int_t
ngx_zltunnel_drain_let_in(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_past_t *past)
{
    ngx_str_t  name;

    name.data = past->name;
    name.len = past->name_len;

    return ngx_zltunnel_kept_remove(registry->sh, &name);
}
