
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Which tunnel a control channel is of: authentication and takeover, all of it
 * under the lock.
 *
 * A token's name has a number of sessions.  An Auth finds its place by
 * (1) the resume key of a tunnel of that name, which is then taken over,
 * alive or not; (2) a tunnel of that name whose agent is away; (3) a free
 * session; (4) the place of a tunnel whose agent turns out to be dead: it is
 * sent a heartbeat, and the Auth waits for what comes of it.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_auth_place.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_control.h"
#include "ngx_zltunnel_registry.h"

#include "zlt_msg.h"

#include <openssl/crypto.h>


#define NGX_ZLTUNNEL_HEARD_LATELY  5000    /* ms */


static ngx_uint_t ngx_zltunnel_auth_place_kept(ngx_zltunnel_sh_t *sh,
    ngx_zltunnel_auth_t *session);
static void ngx_zltunnel_auth_place_in_use(ngx_zltunnel_control_t *control,
    ngx_zltunnel_auth_t *session);
static ngx_zltunnel_sh_tunnel_t *ngx_zltunnel_auth_place_resumed(
    ngx_zltunnel_sh_t *sh, zlt_msg_t *m, ngx_zltunnel_token_t *token);
static ngx_int_t ngx_zltunnel_auth_place_create(
    ngx_zltunnel_control_t *control, zlt_msg_t *m,
    ngx_zltunnel_auth_t *session);
static void ngx_zltunnel_auth_place_take(ngx_zltunnel_control_t *control,
    zlt_msg_t *m, ngx_zltunnel_auth_t *session,
    ngx_zltunnel_sh_tunnel_t *tunnel);
static void ngx_zltunnel_auth_place_own(ngx_zltunnel_control_t *control,
    zlt_msg_t *m, ngx_zltunnel_auth_t *session,
    ngx_zltunnel_sh_tunnel_t *tunnel);


ngx_int_t
ngx_zltunnel_auth_place_find(ngx_zltunnel_control_t *control, zlt_msg_t *m,
    ngx_zltunnel_auth_t *session)
{
    ngx_msec_t                 now;
    ngx_uint_t                 live;
    ngx_zltunnel_sh_t         *sh;
    ngx_zltunnel_token_t      *token;
    ngx_zltunnel_sh_tunnel_t  *tunnel, *away, *oldest;

    sh = control->registry->sh;
    token = session->token;
    now = ngx_current_msec;

    tunnel = ngx_zltunnel_auth_place_resumed(sh, m, token);

    if (tunnel) {
        session->resume = 1;
        ngx_zltunnel_auth_place_take(control, m, session, tunnel);
        return NGX_OK;
    }

    if (ngx_zltunnel_auth_place_kept(sh, session)) {
        return NGX_DECLINED;
    }

    live = 0;
    away = NULL;
    oldest = NULL;

    for (tunnel = ngx_zltunnel_tunnel_next(sh, &token->name, NULL);
         tunnel;
         tunnel = ngx_zltunnel_tunnel_next(sh, &token->name, tunnel))
    {
        if (tunnel->state == NGX_ZLTUNNEL_GRACE) {

            if (away == NULL) {
                away = tunnel;
            }

            continue;
        }

        live++;

        if (oldest == NULL || now - tunnel->heard > now - oldest->heard) {
            oldest = tunnel;
        }
    }

    if (away) {
        ngx_zltunnel_auth_place_take(control, m, session, away);
        return NGX_OK;
    }

    if (live < token->sessions) {
        return ngx_zltunnel_auth_place_create(control, m, session);
    }

    if (control->state == NGX_ZLTUNNEL_CONTROL_PROBING
        && ngx_memcmp(oldest->id, control->tunnel_id, ZLT_ID_SIZE) == 0
        && oldest->heard == control->heard)
    {
        /* it did not answer */

        ngx_zltunnel_auth_place_take(control, m, session, oldest);
        return NGX_OK;
    }

    if (control->state != NGX_ZLTUNNEL_CONTROL_PROBING
        && now - oldest->heard >= NGX_ZLTUNNEL_HEARD_LATELY)
    {
        ngx_memcpy(control->tunnel_id, oldest->id, ZLT_ID_SIZE);
        control->heard = oldest->heard;
        return NGX_AGAIN;
    }

    session->code = ZLT_E_IN_USE;
    session->reason = "Token already in use";

    if (control->extended) {
        ngx_zltunnel_auth_place_in_use(control, session);
    }

    return NGX_DECLINED;
}


/* What is there goes on: only one that is new is kept out. */

static ngx_uint_t
ngx_zltunnel_auth_place_kept(ngx_zltunnel_sh_t *sh,
    ngx_zltunnel_auth_t *session)
{
    time_t  until;

    until = ngx_zltunnel_kept_until(sh, &session->token->name);

    if (until == 0) {
        return 0;
    }

    ngx_zltunnel_kept_text(until, session->text);

    session->code = ZLT_E_BUSY;
    session->reason = session->text;
    session->retry = ngx_zltunnel_kept_retry(until);

    return 1;
}


/* Whoever has the token may know who else has it.  Under the lock. */

static void
ngx_zltunnel_auth_place_in_use(ngx_zltunnel_control_t *control,
    ngx_zltunnel_auth_t *session)
{
    u_char  *p, *last;

    p = (u_char *) session->text;
    last = p + sizeof(session->text) - 1;

    p = ngx_slprintf(p, last, "%s by an agent at ", session->reason);
    p = ngx_zltunnel_tunnel_addresses(control->registry->sh,
                                      &session->token->name, p, last);
    p = ngx_slprintf(p, last, "; sessions=%ui in its line, or a token for "
                     "each", session->token->sessions + 1);
    *p = '\0';

    session->reason = session->text;
}


static ngx_zltunnel_sh_tunnel_t *
ngx_zltunnel_auth_place_resumed(ngx_zltunnel_sh_t *sh, zlt_msg_t *m,
    ngx_zltunnel_token_t *token)
{
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    if (!(m->ext & ZLT_X_FEATURES) || !(m->ext & ZLT_X_RESUME_KEY)) {
        return NULL;
    }

    for (tunnel = ngx_zltunnel_tunnel_next(sh, &token->name, NULL);
         tunnel;
         tunnel = ngx_zltunnel_tunnel_next(sh, &token->name, tunnel))
    {
        if (tunnel->extended
            && CRYPTO_memcmp(tunnel->resume_key, m->resume_key, ZLT_KEY_SIZE)
               == 0)
        {
            return tunnel;
        }
    }

    return NULL;
}


static ngx_int_t
ngx_zltunnel_auth_place_create(ngx_zltunnel_control_t *control, zlt_msg_t *m,
    ngx_zltunnel_auth_t *session)
{
    u_char                     random[ZLT_ID_SIZE + 2 * ZLT_KEY_SIZE];
    ngx_zltunnel_event_t      *event;
    ngx_zltunnel_registry_t   *registry;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    registry = control->registry;

    if (registry->sh->ntunnels >= registry->max_tunnels) {
        session->code = ZLT_E_LIMIT;
        session->reason = "The server has reached its limit of tunnels";
        return NGX_DECLINED;
    }

    ngx_zltunnel_util_random(random, sizeof(random));

    /* ids are UUIDs: version 4, RFC 9562 section 5.4 */

    random[6] = (random[6] & 0x0f) | 0x40;
    random[8] = (random[8] & 0x3f) | 0x80;

    tunnel = ngx_zltunnel_tunnel_create(registry, random);

    ngx_explicit_memzero(random, sizeof(random));

    if (tunnel == NULL) {
        session->code = ZLT_E_BUSY;
        session->reason = NGX_ZLTUNNEL_ZONE_FULL;
        return NGX_DECLINED;
    }

    ngx_zltunnel_auth_place_own(control, m, session, tunnel);

    event = ngx_zltunnel_event_new(registry, NGX_ZLTUNNEL_EVENT_CONNECTED);
    ngx_zltunnel_event_tunnel(event, tunnel);

    return NGX_OK;
}


static void
ngx_zltunnel_auth_place_take(ngx_zltunnel_control_t *control, zlt_msg_t *m,
    ngx_zltunnel_auth_t *session, ngx_zltunnel_sh_tunnel_t *tunnel)
{
    ngx_msec_t                  stale, expires;
    ngx_queue_t                *q;
    ngx_zltunnel_event_t       *event;
    ngx_zltunnel_sh_access_t   *access;
    ngx_zltunnel_sh_service_t  *service;

    session->taken = 1;

    event = ngx_zltunnel_event_new(control->registry,
                          (tunnel->state == NGX_ZLTUNNEL_GRACE)
                          ? NGX_ZLTUNNEL_EVENT_BACK
                          : session->resume ? NGX_ZLTUNNEL_EVENT_MOVED
                                            : NGX_ZLTUNNEL_EVENT_TAKEN_OVER);
    if (event) {
        ngx_zltunnel_event_text(event, &event->former, tunnel->address,
                                tunnel->address_len);
    }

    session->slot = (tunnel->state == NGX_ZLTUNNEL_LIVE)
                    ? tunnel->slot : NGX_ZLTUNNEL_NO_SLOT;

    stale = ngx_current_msec + NGX_ZLTUNNEL_STALE_TIME;

    if (!session->resume && session->token->sessions > 1) {

        /* what is there may be of another agent, who still has its grace */

        expires = (tunnel->state == NGX_ZLTUNNEL_GRACE)
                  ? tunnel->expires
                  : ngx_zltunnel_tunnel_grace(control->registry, tunnel);

        if ((ngx_msec_int_t) (expires - stale) > 0) {
            stale = expires;
        }
    }

    tunnel->state = NGX_ZLTUNNEL_LIVE;
    tunnel->slot = control->registry->slot;
    tunnel->heard = ngx_current_msec;
    tunnel->epoch++;

    if (!session->resume) {

        /* another process: what the former one knows is worth nothing now */

        ngx_zltunnel_util_random(tunnel->data_key, ZLT_KEY_SIZE);
        ngx_zltunnel_util_random(tunnel->resume_key, ZLT_KEY_SIZE);
    }

    tunnel->stale = (tunnel->nservices || tunnel->naccesses) ? stale : 0;

    for (q = ngx_queue_head(&tunnel->services);
         q != ngx_queue_sentinel(&tunnel->services);
         q = ngx_queue_next(q))
    {
        service = ngx_queue_data(q, ngx_zltunnel_sh_service_t, queue);
        service->stale = 1;
    }

    for (q = ngx_queue_head(&tunnel->accesses);
         q != ngx_queue_sentinel(&tunnel->accesses);
         q = ngx_queue_next(q))
    {
        access = ngx_queue_data(q, ngx_zltunnel_sh_access_t, queue);
        access->stale = 1;
    }

    ngx_zltunnel_auth_place_own(control, m, session, tunnel);
    ngx_zltunnel_event_tunnel(event, tunnel);
}


static void
ngx_zltunnel_auth_place_own(ngx_zltunnel_control_t *control, zlt_msg_t *m,
    ngx_zltunnel_auth_t *session, ngx_zltunnel_sh_tunnel_t *tunnel)
{
    ngx_str_t  *addr;

    control->features = control->extended
                        ? m->features & (ZLT_F_CHANNELS|ZLT_F_HEARTBEATS
                                         |ZLT_F_DATAGRAMS|ZLT_F_ACCESS
                                         |ZLT_F_HOSTS|ZLT_F_HEALTH) : 0;
    control->epoch = tunnel->epoch;
    ngx_memcpy(control->tunnel_id, tunnel->id, ZLT_ID_SIZE);

    ngx_memcpy(session->data_key, tunnel->data_key, ZLT_KEY_SIZE);
    ngx_memcpy(session->resume_key, tunnel->resume_key, ZLT_KEY_SIZE);

    ngx_memcpy(tunnel->token, control->token, 32);
    ngx_zltunnel_quota_note(tunnel, session->token);

    tunnel->name_len = ngx_min(session->token->name.len,
                               NGX_ZLTUNNEL_TOKEN_NAME);
    ngx_memcpy(tunnel->name, session->token->name.data, tunnel->name_len);

    tunnel->agent_len = ngx_zltunnel_log_printable(tunnel->agent,
                                                   NGX_ZLTUNNEL_AGENT_NAME,
                                                   m->agent.data, m->agent.len);

    addr = &control->end.connection->addr_text;
    tunnel->address_len = ngx_min(addr->len, NGX_SOCKADDR_STRLEN);
    ngx_memcpy(tunnel->address, addr->data, tunnel->address_len);

    tunnel->since = ngx_time();
    tunnel->left = 0;
    tunnel->rtt = 0;
    tunnel->extended = control->extended;
    tunnel->features = control->features;
}
