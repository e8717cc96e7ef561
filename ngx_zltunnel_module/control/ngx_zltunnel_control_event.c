
/*
 * Copyright (C) zltunnel authors
 */

/* Events of a control channel: whose they are. */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_control_event.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_control.h"
#include "ngx_zltunnel_worker.h"


ngx_zltunnel_event_t *
ngx_zltunnel_control_event(ngx_zltunnel_control_t *control,
    ngx_zltunnel_event_e type)
{
    ngx_str_t                 *name, *addr;
    ngx_zltunnel_event_t      *event;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    event = ngx_zltunnel_event_new(control->registry, type);

    if (event == NULL) {
        return NULL;
    }

    ngx_zltunnel_zone_lock_read(control->registry);

    tunnel = ngx_zltunnel_tunnel_find(control->registry->sh,
                                      control->tunnel_id);
    if (tunnel) {
        ngx_zltunnel_event_tunnel(event, tunnel);
    }

    ngx_zltunnel_zone_unlock(control->registry);

    if (tunnel == NULL) {

        /* it was lost, and the agent has not been told yet */

        name = &control->peer->name;
        addr = &control->end.connection->addr_text;

        event->tunnel = 1;
        ngx_memcpy(event->tunnel_id, control->tunnel_id, ZLT_ID_SIZE);

        ngx_zltunnel_event_text(event, &event->token, name->data, name->len);
        ngx_zltunnel_event_text(event, &event->address, addr->data, addr->len);
    }

    return event;
}


void
ngx_zltunnel_control_event_refused(ngx_zltunnel_control_t *control,
    ngx_uint_t code, const char *reason)
{
    ngx_str_t             *addr;
    ngx_zltunnel_event_t  *event;
    ngx_zltunnel_token_t  *token;

    event = ngx_zltunnel_event_new(control->registry,
                                   NGX_ZLTUNNEL_EVENT_REFUSED);
    if (event) {
        addr = &control->end.connection->addr_text;
        token = ngx_zltunnel_token_find(control->registry, control->token);

        if (token) {
            ngx_zltunnel_event_text(event, &event->token, token->name.data,
                                    token->name.len);
        }

        ngx_zltunnel_event_text(event, &event->address, addr->data, addr->len);
        ngx_zltunnel_event_reason(event, code, reason);
    }

    ngx_zltunnel_event_tell(control->end.connection->log);
}
