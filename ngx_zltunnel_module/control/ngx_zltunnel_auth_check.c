
/*
 * Copyright (C) zltunnel authors
 */

/*
 * An Auth that only asks: what the token may, and who has it.  No tunnel is
 * made, and none is taken over; whoever runs an agent can try its way to the
 * server beside it.  An agent that is at this node already, and has dialled for
 * another one, is answered so as well.
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
#define NGX_ZLTUNNEL_AUTH_HELD    16       /* nodes */


void
ngx_zltunnel_auth_check(ngx_zltunnel_control_t *control,
    ngx_zltunnel_token_t *token, ngx_uint_t held)
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

    ngx_zltunnel_auth_check_node(control, &m);

    ngx_log_error(NGX_LOG_INFO, control->end.connection->log, 0,
                  "token of agent \"%V\" was checked from %V%s", &token->name,
                  &control->end.connection->addr_text,
                  held ? ", which is at this node already" : "");

    ngx_zltunnel_control_io_write(control, &m);
    ngx_zltunnel_control_end(control, ZLT_WS_NORMAL, "checked");
}


void
ngx_zltunnel_auth_check_node(ngx_zltunnel_control_t *control, zlt_msg_t *m)
{
    m->ext |= ZLT_X_NODE;
    m->node = ngx_zltunnel_node_id(control->registry);

    if (control->registry->nodes) {
        m->ext |= ZLT_X_NODES;
        m->nodes = (uint16_t) control->registry->nodes;
    }
}


ngx_uint_t
ngx_zltunnel_auth_check_held(ngx_zltunnel_control_t *control, zlt_msg_t *m)
{
    size_t   i;
    u_char  *id;

    if (!(m->ext & ZLT_X_HELD)
        || m->held.len % ZLT_ID_SIZE
        || m->held.len > NGX_ZLTUNNEL_AUTH_HELD * ZLT_ID_SIZE)
    {
        return 0;
    }

    id = ngx_zltunnel_node_id(control->registry);

    for (i = 0; i < m->held.len; i += ZLT_ID_SIZE) {

        if (ngx_memcmp(m->held.data + i, id, ZLT_ID_SIZE) == 0) {
            return 1;
        }
    }

    return 0;
}
