
/*
 * Copyright (C) zltunnel authors
 */

/*
 * An Auth that only asks: what the token may, and who has it.  No tunnel is
 * made, and none is taken over; whoever runs an agent can try its way to the
 * server beside it.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_auth_check.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_control.h"
#include "ngx_zltunnel_control_io.h"
#include "ngx_zltunnel_registry.h"

#include "zlt_msg.h"
#include "zlt_ws.h"


#define NGX_ZLTUNNEL_AUTH_RIGHTS  1024     /* bytes */


void
ngx_zltunnel_auth_check(ngx_zltunnel_control_t *control,
    ngx_zltunnel_token_t *token)
{
    u_char                     text[NGX_ZLTUNNEL_AUTH_RIGHTS], *p, *last;
    zlt_msg_t                  m;
    ngx_uint_t                 live;
    ngx_zltunnel_sh_t         *sh;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    static u_char  nobody[ZLT_ID_SIZE];

    last = text + sizeof(text);
    p = ngx_zltunnel_rights_text(token, text, last);

    ngx_zltunnel_zone_lock_read(control->registry);

    sh = control->registry->sh;
    live = 0;

    for (tunnel = ngx_zltunnel_tunnel_next(sh, &token->name, NULL);
         tunnel;
         tunnel = ngx_zltunnel_tunnel_next(sh, &token->name, tunnel))
    {
        live += (tunnel->state == NGX_ZLTUNNEL_LIVE);
    }

    p = ngx_slprintf(p, last, "; %ui of %ui session%s in use", live,
                     token->sessions, token->sessions == 1 ? "" : "s");

    if (live) {
        p = ngx_slprintf(p, last, ", by an agent at ");
        p = ngx_zltunnel_tunnel_addresses(sh, &token->name, p, last);
    }

    ngx_zltunnel_zone_unlock(control->registry);

    ngx_memzero(&m, sizeof(zlt_msg_t));

    m.type = ZLT_AUTH_OK;
    m.tunnel_id = nobody;
    m.ext = ZLT_X_FEATURES|ZLT_X_TOKEN_NAME|ZLT_X_RIGHTS;
    m.name.data = token->name.data;
    m.name.len = token->name.len;
    m.rights.data = text;
    m.rights.len = p - text;

    ngx_log_error(NGX_LOG_INFO, control->end.connection->log, 0,
                  "token of agent \"%V\" was checked from %V", &token->name,
                  &control->end.connection->addr_text);

    ngx_zltunnel_control_io_write(control, &m);
    ngx_zltunnel_control_end(control, ZLT_WS_NORMAL, "checked");
}
