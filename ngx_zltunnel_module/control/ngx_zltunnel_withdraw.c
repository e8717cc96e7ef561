
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Rights that shrink: services that the token does not allow any more go, and
 * the agent is told.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_withdraw.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_control.h"
#include "ngx_zltunnel_control_io.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_worker.h"

#include "zlt_msg.h"


#define NGX_ZLTUNNEL_WITHDRAW_BATCH  32    /* services, under one lock */


typedef struct {
    u_char                       id[ZLT_ID_SIZE];
    const char                  *reason;
    ngx_uint_t                   moves;       /* to another port */
} ngx_zltunnel_withdraw_t;


static ngx_uint_t ngx_zltunnel_withdraw_forbidden(
    ngx_zltunnel_control_t *control, ngx_zltunnel_token_t *token,
    ngx_zltunnel_withdraw_t *gone);
static void ngx_zltunnel_withdraw_tell(ngx_zltunnel_control_t *control,
    ngx_zltunnel_withdraw_t *gone);


static const char  ngx_zltunnel_withdraw_reason[] =
                                                NGX_ZLTUNNEL_WITHDRAW_REASON;


void
ngx_zltunnel_withdraw_rights(ngx_zltunnel_control_t *control)
{
    ngx_uint_t                i, n, total, moves;
    ngx_zltunnel_token_t     *token;
    ngx_zltunnel_withdraw_t   gone[NGX_ZLTUNNEL_WITHDRAW_BATCH];

    token = ngx_zltunnel_token_find(control->registry, control->token);

    if (token == NULL || control->state != NGX_ZLTUNNEL_CONTROL_OPEN) {
        return;
    }

    ngx_zltunnel_peer_token(control->peer, token);
    total = 0;
    moves = 0;

    ngx_zltunnel_control_enter(control);

    /* all that is forbidden goes, whether or not the agent can be told */

    do {
        n = ngx_zltunnel_withdraw_forbidden(control, token, gone);

        for (i = 0; i < n; i++) {

            if (gone[i].moves) {
                moves = 1;

            } else if (control->extended) {
                ngx_zltunnel_withdraw_tell(control, &gone[i]);

            } else if (gone[i].reason != ngx_zltunnel_withdraw_reason) {
                moves = 1;
            }

            total += (gone[i].reason == ngx_zltunnel_withdraw_reason);
        }

    } while (n == NGX_ZLTUNNEL_WITHDRAW_BATCH);

    if (total) {
        ngx_log_error(NGX_LOG_NOTICE, control->end.connection->log, 0,
                      "agent \"%V\" loses %ui service%s that its token does "
                      "not allow any more (tunnel %s, from %V)",
                      &control->peer->name, total, total == 1 ? "" : "s",
                      ngx_zltunnel_access_hex(control->tunnel_id),
                      &control->end.connection->addr_text);
    }

    if (total && !control->extended) {

        /* it knows no Withdraw: it registers again what it may */

        ngx_zltunnel_control_stop(control, ZLT_D_RECONNECT, 0,
                                  NGX_ZLTUNNEL_WITHDRAW_REASON);

    } else if (moves) {

        /* there is no message for another port: it registers again, and the
           server finds one */

        ngx_zltunnel_control_stop(control, ZLT_D_RECONNECT, 0,
                                  NGX_ZLTUNNEL_LOST_PORT);
    }

    ngx_zltunnel_control_leave(control);
}


ngx_uint_t
ngx_zltunnel_withdraw_allowed(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service, ngx_zltunnel_token_t *token)
{
    ngx_str_t                  name;
    ngx_queue_t               *q;
    ngx_zltunnel_sh_hosted_t  *hosted;

    for (q = ngx_queue_head(&service->hosts);
         q != ngx_queue_sentinel(&service->hosts);
         q = ngx_queue_next(q))
    {
        hosted = ngx_queue_data(q, ngx_zltunnel_sh_hosted_t, list);

        name.data = hosted->host->name;
        name.len = hosted->host->len;

        if (!ngx_zltunnel_rights_host(token, &registry->domain, &name,
                                      hosted->automatic))
        {
            return 0;
        }
    }

    return ngx_zltunnel_rights_service(token, service->name,
                                       service->name_len)
           && (service->udp ? token->udp : token->tcp)
           && (service->port == 0
               || ngx_zltunnel_rights_port(token, service->port));
}


/* notes its limits, and takes out a batch of services that the token does not allow any more */

static ngx_uint_t
ngx_zltunnel_withdraw_forbidden(ngx_zltunnel_control_t *control,
    ngx_zltunnel_token_t *token, ngx_zltunnel_withdraw_t *gone)
{
    ngx_uint_t                  n;
    const char                 *why;
    ngx_queue_t                *q, *next;
    ngx_zltunnel_sh_tunnel_t   *tunnel;
    ngx_zltunnel_sh_service_t  *service;

    n = 0;

    ngx_zltunnel_zone_lock(control->registry);

    tunnel = ngx_zltunnel_tunnel_find(control->registry->sh,
                                      control->tunnel_id);

    if (tunnel == NULL || tunnel->epoch != control->epoch) {
        ngx_zltunnel_zone_unlock(control->registry);
        return 0;
    }

    ngx_zltunnel_quota_note(tunnel, token);

    for (q = ngx_queue_head(&tunnel->services);
         q != ngx_queue_sentinel(&tunnel->services)
         && n < NGX_ZLTUNNEL_WITHDRAW_BATCH;
         q = next)
    {
        next = ngx_queue_next(q);
        service = ngx_queue_data(q, ngx_zltunnel_sh_service_t, queue);

        why = ngx_zltunnel_lost_why(service);

        if (why == NULL
            && !ngx_zltunnel_withdraw_allowed(control->registry, service,
                                              token))
        {
            why = ngx_zltunnel_withdraw_reason;
        }

        if (why) {
            ngx_memcpy(gone[n].id, service->id, ZLT_ID_SIZE);
            gone[n].reason = why;
            gone[n++].moves = ngx_zltunnel_lost_moves(service);
            ngx_zltunnel_service_withdraw(control->registry, service, why);
        }
    }

    ngx_zltunnel_zone_unlock(control->registry);

    return n;
}


static void
ngx_zltunnel_withdraw_tell(ngx_zltunnel_control_t *control,
    ngx_zltunnel_withdraw_t *gone)
{
    zlt_msg_t  m;

    ngx_memzero(&m, sizeof(zlt_msg_t));

    m.type = ZLT_WITHDRAW;
    m.service_id = gone->id;
    m.reason.data = (u_char *) gone->reason;
    m.reason.len = ngx_strlen(gone->reason);

    ngx_zltunnel_control_io_write(control, &m);
}
