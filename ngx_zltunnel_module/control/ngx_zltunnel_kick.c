
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The administrator ends a tunnel: it is taken out of the registry, and each
 * worker is told to cut what it holds of it, as if its token had gone.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_kick.h"
#include "ngx_zltunnel_control.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_revoke.h"
#include "ngx_zltunnel_worker.h"

#include "zlt_msg.h"


#define NGX_ZLTUNNEL_KICK_SOON  2000        /* ms, to connect again */


static void ngx_zltunnel_kick_text(time_t until,
    char text[NGX_ZLTUNNEL_KEPT_TEXT]);


ngx_int_t
ngx_zltunnel_kick(ngx_zltunnel_registry_t *registry, u_char *id, time_t until)
{
    char                       text[NGX_ZLTUNNEL_KEPT_TEXT];
    u_char                     data[NGX_ZLTUNNEL_TOKEN_NAME];
    ngx_str_t                  name;
    ngx_zltunnel_ipc_t         msg;
    ngx_zltunnel_event_t      *event;
    ngx_zltunnel_sh_past_t    *past;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    ngx_zltunnel_zone_lock(registry);

    tunnel = ngx_zltunnel_tunnel_find(registry->sh, id);

    if (tunnel && tunnel->remote) {

        /* it is ended where its agent is */

        ngx_zltunnel_zone_unlock(registry);
        return NGX_DECLINED;
    }

    past = tunnel ? NULL : ngx_zltunnel_past_find(registry->sh, id);

    if (tunnel == NULL && (past == NULL || until == 0)) {
        ngx_zltunnel_zone_unlock(registry);
        return NGX_DECLINED;
    }

    name.data = data;
    name.len = past ? past->name_len : tunnel->name_len;
    ngx_memcpy(data, past ? past->name : tunnel->name, name.len);

    if (until && ngx_zltunnel_kept_add(registry, &name, until) != NGX_OK) {
        ngx_zltunnel_zone_unlock(registry);
        return NGX_BUSY;
    }

    ngx_zltunnel_kick_text(until, text);

    if (tunnel) {
        ngx_zltunnel_tunnel_remove(registry, tunnel, NGX_ZLTUNNEL_EVENT_KICKED,
                                   text);
    } else {
        event = ngx_zltunnel_event_new(registry, NGX_ZLTUNNEL_EVENT_KICKED);
        ngx_zltunnel_event_past(event, past);
        ngx_zltunnel_event_reason(event, 0, text);
    }

    if (until) {
        ngx_zltunnel_past_keep(registry->sh, id);
    }

    ngx_zltunnel_zone_unlock(registry);

    if (past) {
        return NGX_OK;
    }

    ngx_memzero(&msg, sizeof(ngx_zltunnel_ipc_t));

    msg.type = NGX_ZLTUNNEL_IPC_KICK;
    msg.epoch = until;
    ngx_memcpy(msg.tunnel_id, id, ZLT_ID_SIZE);

    ngx_zltunnel_ipc_broadcast(registry, &msg);
    ngx_zltunnel_ipc_handle(registry, &msg, NULL);

    return NGX_OK;
}


void
ngx_zltunnel_kick_told(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg)
{
    char        text[NGX_ZLTUNNEL_KEPT_TEXT];
    ngx_msec_t  later;

    ngx_zltunnel_kick_text(msg->epoch, text);

    /* up to twice of it, since not all of them are to come at the same moment */

    later = msg->epoch ? ngx_zltunnel_kept_retry(msg->epoch) / 2
                       : NGX_ZLTUNNEL_KICK_SOON;

    ngx_zltunnel_revoke_end(registry, msg->tunnel_id, ZLT_D_LATER, later,
                            text);
}


/* what the agent is told, and the log */

static void
ngx_zltunnel_kick_text(time_t until, char text[NGX_ZLTUNNEL_KEPT_TEXT])
{
    if (until) {
        ngx_zltunnel_kept_text(until, text);

    } else {
        (void) ngx_snprintf((u_char *) text, NGX_ZLTUNNEL_KEPT_TEXT,
                            "ended by the administrator%Z");
    }
}
