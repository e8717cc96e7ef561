
/*
 * Copyright (C) zltunnel authors
 */

/* What an agent says of its services' health, in Register and afterwards. */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_health_control.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_worker.h"

#include "zlt_msg.h"


void
ngx_zltunnel_health_control(ngx_zltunnel_control_t *control, zlt_msg_t *m)
{
    u_char                      text[NGX_ZLTUNNEL_TEXT_MAX],
                                name[ZLT_MAX_NAME];
    ngx_str_t                   why, service_name;
    ngx_uint_t                  changed, down;
    ngx_zltunnel_sh_tunnel_t   *tunnel;
    ngx_zltunnel_sh_service_t  *service;

    why.data = text;
    why.len = ngx_zltunnel_log_printable(text, sizeof(text), m->reason.data,
                                         m->reason.len);
    service_name.data = name;
    service_name.len = 0;
    changed = 0;
    down = (m->health != ZLT_H_UP);

    ngx_zltunnel_zone_lock(control->registry);

    tunnel = ngx_zltunnel_tunnel_find(control->registry->sh,
                                      control->tunnel_id);

    service = (tunnel && tunnel->epoch == control->epoch)
              ? ngx_zltunnel_service_by_id(tunnel, (u_char *) m->service_id)
              : NULL;

    if (service) {
        changed = ngx_zltunnel_health_set(control->registry, service,
                                          m->health, &why);

        service_name.len = service->name_len;
        ngx_memcpy(name, service->name, service->name_len);
    }

    ngx_zltunnel_zone_unlock(control->registry);

    if (!changed) {
        return;
    }

    if (down && ngx_zltunnel_log_paced(control->end.connection->log,
                                       "services that are down"))
    {
        ngx_log_error(NGX_LOG_WARN, control->end.connection->log, 0,
                      "service \"%V\" of agent \"%V\" is down: %V",
                      &service_name, &control->peer->name, &why);

    } else if (!down && ngx_zltunnel_log_paced(control->end.connection->log,
                                               "services that are up again"))
    {
        ngx_log_error(NGX_LOG_INFO, control->end.connection->log, 0,
                      "service \"%V\" of agent \"%V\" is up again",
                      &service_name, &control->peer->name);
    }
}


void
ngx_zltunnel_health_control_register(ngx_zltunnel_control_t *control,
    ngx_zltunnel_sh_service_t *service, zlt_msg_t *m)
{
    u_char      text[NGX_ZLTUNNEL_TEXT_MAX];
    ngx_str_t   why;
    ngx_uint_t  told;

    told = (m->ext & ZLT_X_HEALTH) && (control->features & ZLT_F_HEALTH);

    why.data = text;
    why.len = told ? ngx_zltunnel_log_printable(text, sizeof(text),
                                                m->reason.data, m->reason.len)
                   : 0;

    (void) ngx_zltunnel_health_set(control->registry, service,
                                   told ? m->health : ZLT_H_UP, &why);
}
