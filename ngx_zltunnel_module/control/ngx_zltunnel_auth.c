
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Authentication and takeover: which tunnel a control channel is of.
 *
 * A token's name has a number of sessions.  An Auth finds its place by
 * (1) the resume key of a tunnel of that name, which is then taken over,
 * alive or not; (2) a tunnel of that name whose agent is away; (3) a free
 * session; (4) the place of a tunnel whose agent turns out to be dead: it is
 * sent a heartbeat, and the Auth waits for what comes of it.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_auth.h"
#include "ngx_zltunnel_auth_check.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_control.h"
#include "ngx_zltunnel_control_io.h"
#include "ngx_zltunnel_control_place.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_worker.h"

#include "zlt_msg.h"
#include "zlt_ws.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>


#define NGX_ZLTUNNEL_HEARD_LATELY  5000    /* ms */
#define NGX_ZLTUNNEL_PROBE_TIME    3000    /* ms */
#define NGX_ZLTUNNEL_IN_USE        256     /* bytes, with who uses a token */


typedef struct {
    ngx_zltunnel_token_t      *token;
    ngx_uint_t                 resume;     /* taken over with its key */
    ngx_uint_t                 taken;      /* over, from slot */
    ngx_uint_t                 slot;
    u_char                     data_key[ZLT_KEY_SIZE];
    u_char                     resume_key[ZLT_KEY_SIZE];
    ngx_uint_t                 code;       /* of AuthFail */
    const char                *reason;
    char                       text[NGX_ZLTUNNEL_IN_USE];  /* .. if it says
                                                              more */
} ngx_zltunnel_auth_t;


static ngx_int_t ngx_zltunnel_auth_place(ngx_zltunnel_control_t *control,
    zlt_msg_t *m, ngx_zltunnel_auth_t *session);
static void ngx_zltunnel_auth_in_use(ngx_zltunnel_control_t *control,
    ngx_zltunnel_auth_t *session);
static ngx_zltunnel_sh_tunnel_t *ngx_zltunnel_auth_resumed(
    ngx_zltunnel_sh_t *sh, zlt_msg_t *m, ngx_zltunnel_token_t *token);
static ngx_int_t ngx_zltunnel_auth_create(ngx_zltunnel_control_t *control,
    zlt_msg_t *m, ngx_zltunnel_auth_t *session);
static void ngx_zltunnel_auth_take(ngx_zltunnel_control_t *control,
    zlt_msg_t *m, ngx_zltunnel_auth_t *session,
    ngx_zltunnel_sh_tunnel_t *tunnel);
static void ngx_zltunnel_auth_own(ngx_zltunnel_control_t *control,
    zlt_msg_t *m, ngx_zltunnel_auth_t *session,
    ngx_zltunnel_sh_tunnel_t *tunnel);
static void ngx_zltunnel_auth_enter(ngx_zltunnel_control_t *control,
    zlt_msg_t *m);
static void ngx_zltunnel_auth_probe(ngx_zltunnel_control_t *control,
    u_char *data, size_t len);
static void ngx_zltunnel_auth_open(ngx_zltunnel_control_t *control,
    ngx_zltunnel_auth_t *session);
static void ngx_zltunnel_auth_replace(ngx_zltunnel_control_t *control,
    ngx_zltunnel_auth_t *session);
static void ngx_zltunnel_auth_ok(ngx_zltunnel_control_t *control,
    ngx_zltunnel_auth_t *session);
static void ngx_zltunnel_auth_refuse(ngx_zltunnel_control_t *control,
    ngx_uint_t code, const char *reason);


void
ngx_zltunnel_auth_message(ngx_zltunnel_control_t *control, zlt_msg_t *m,
    u_char *data, size_t len)
{
    if (m->type != ZLT_AUTH) {
        ngx_zltunnel_auth_refuse(control, 0, "Expected AUTH message");
        return;
    }

    control->extended = (m->ext & ZLT_X_FEATURES) ? 1 : 0;

    SHA256(m->token.data, m->token.len, control->token);

    ngx_zltunnel_auth_enter(control, m);

    if (control->state == NGX_ZLTUNNEL_CONTROL_PROBING) {
        ngx_zltunnel_auth_probe(control, data, len);
    }
}


static void
ngx_zltunnel_auth_enter(ngx_zltunnel_control_t *control, zlt_msg_t *m)
{
    ngx_int_t                rc;
    const char              *reason;
    ngx_zltunnel_auth_t   session;

    ngx_memzero(&session, sizeof(ngx_zltunnel_auth_t));

    session.token = ngx_zltunnel_token_find(control->registry,
                                            control->token);

    if (session.token == NULL) {
        ngx_zltunnel_auth_refuse(control, ZLT_E_BAD_TOKEN,
                                 "Invalid token");
        return;
    }

    if (!ngx_zltunnel_cert_allows(session.token, control->end.connection,
                                  &reason))
    {
        /* who has a token without its certificate learns nothing of it */

        ngx_log_error(NGX_LOG_WARN, control->end.connection->log, 0,
                      "token of agent \"%V\" is bound to a certificate: %s",
                      &session.token->name, reason);
        ngx_zltunnel_auth_refuse(control, ZLT_E_BAD_TOKEN,
                                 "Invalid token");
        return;
    }

    if (ngx_zltunnel_token_expired(session.token)) {
        ngx_zltunnel_auth_refuse(control, ZLT_E_EXPIRED,
                                 "The token has expired");
        return;
    }

    if (control->extended && (m->ext & ZLT_X_CHECK)) {
        ngx_zltunnel_auth_check(control, session.token);
        return;
    }

    ngx_zltunnel_zone_lock(control->registry);
    rc = ngx_zltunnel_auth_place(control, m, &session);
    ngx_zltunnel_zone_unlock(control->registry);

    if (rc == NGX_OK) {
        ngx_zltunnel_auth_open(control, &session);

    } else if (rc == NGX_AGAIN) {
        control->state = NGX_ZLTUNNEL_CONTROL_PROBING;

    } else {
        ngx_zltunnel_auth_refuse(control, session.code, session.reason);
    }

    ngx_explicit_memzero(&session, sizeof(ngx_zltunnel_auth_t));
}


/* under the lock: NGX_OK, NGX_AGAIN to probe first, NGX_DECLINED */

static ngx_int_t
ngx_zltunnel_auth_place(ngx_zltunnel_control_t *control, zlt_msg_t *m,
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

    tunnel = ngx_zltunnel_auth_resumed(sh, m, token);

    if (tunnel) {
        session->resume = 1;
        ngx_zltunnel_auth_take(control, m, session, tunnel);
        return NGX_OK;
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
        ngx_zltunnel_auth_take(control, m, session, away);
        return NGX_OK;
    }

    if (live < token->sessions) {
        return ngx_zltunnel_auth_create(control, m, session);
    }

    if (control->state == NGX_ZLTUNNEL_CONTROL_PROBING
        && ngx_memcmp(oldest->id, control->tunnel_id, ZLT_ID_SIZE) == 0
        && oldest->heard == control->heard)
    {
        /* it did not answer */

        ngx_zltunnel_auth_take(control, m, session, oldest);
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
        ngx_zltunnel_auth_in_use(control, session);
    }

    return NGX_DECLINED;
}


/* Whoever has the token may know who else has it.  Under the lock. */

static void
ngx_zltunnel_auth_in_use(ngx_zltunnel_control_t *control,
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
ngx_zltunnel_auth_resumed(ngx_zltunnel_sh_t *sh, zlt_msg_t *m,
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
ngx_zltunnel_auth_create(ngx_zltunnel_control_t *control, zlt_msg_t *m,
    ngx_zltunnel_auth_t *session)
{
    u_char                     random[ZLT_ID_SIZE + 2 * ZLT_KEY_SIZE];
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

    ngx_zltunnel_auth_own(control, m, session, tunnel);

    return NGX_OK;
}


static void
ngx_zltunnel_auth_take(ngx_zltunnel_control_t *control, zlt_msg_t *m,
    ngx_zltunnel_auth_t *session, ngx_zltunnel_sh_tunnel_t *tunnel)
{
    ngx_msec_t                  stale, expires;
    ngx_queue_t                *q;
    ngx_zltunnel_sh_access_t   *access;
    ngx_zltunnel_sh_service_t  *service;

    session->taken = 1;
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

    ngx_zltunnel_auth_own(control, m, session, tunnel);
}


static void
ngx_zltunnel_auth_own(ngx_zltunnel_control_t *control, zlt_msg_t *m,
    ngx_zltunnel_auth_t *session, ngx_zltunnel_sh_tunnel_t *tunnel)
{
    ngx_str_t  *addr;

    control->features = control->extended
                        ? m->features & (ZLT_F_CHANNELS|ZLT_F_HEARTBEATS
                                         |ZLT_F_DATAGRAMS|ZLT_F_ACCESS
                                         |ZLT_F_HOSTS) : 0;
    control->epoch = tunnel->epoch;
    ngx_memcpy(control->tunnel_id, tunnel->id, ZLT_ID_SIZE);

    ngx_memcpy(session->data_key, tunnel->data_key, ZLT_KEY_SIZE);
    ngx_memcpy(session->resume_key, tunnel->resume_key, ZLT_KEY_SIZE);

    ngx_memcpy(tunnel->token, control->token, 32);

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
    tunnel->extended = control->extended;
    tunnel->features = control->features;
}


static void
ngx_zltunnel_auth_probe(ngx_zltunnel_control_t *control, u_char *data,
    size_t len)
{
    ngx_uint_t                 slot;
    ngx_zltunnel_ipc_t         msg;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    control->auth.data = ngx_alloc(len, control->end.connection->log);
    if (control->auth.data == NULL) {
        control->failed = 1;
        return;
    }

    ngx_memcpy(control->auth.data, data, len);
    control->auth.len = len;

    slot = NGX_ZLTUNNEL_NO_SLOT;

    ngx_zltunnel_zone_lock_read(control->registry);

    tunnel = ngx_zltunnel_tunnel_find(control->registry->sh,
                                      control->tunnel_id);
    if (tunnel) {
        slot = tunnel->slot;
    }

    ngx_zltunnel_zone_unlock(control->registry);

    ngx_memzero(&msg, sizeof(ngx_zltunnel_ipc_t));

    msg.type = NGX_ZLTUNNEL_IPC_PROBE;
    ngx_memcpy(msg.tunnel_id, control->tunnel_id, ZLT_ID_SIZE);

    (void) ngx_zltunnel_ipc_send(control->registry, slot, &msg, NULL, -1);

    ngx_add_timer(&control->timer, NGX_ZLTUNNEL_PROBE_TIME);
}


void
ngx_zltunnel_auth_probed(ngx_zltunnel_control_t *control)
{
    size_t     used;
    ngx_str_t  auth;
    zlt_msg_t  m;

    auth = control->auth;
    ngx_str_null(&control->auth);

    if (zlt_msg_decode(&m, auth.data, auth.len, ZLT_MAX_PAYLOAD, &used)
        == ZLT_OK)
    {
        ngx_zltunnel_auth_enter(control, &m);
    }

    ngx_explicit_memzero(auth.data, auth.len);
    ngx_free(auth.data);

    if (control->state == NGX_ZLTUNNEL_CONTROL_PROBING) {

        /* somebody else has taken that place meanwhile */

        ngx_zltunnel_auth_refuse(control, ZLT_E_IN_USE,
                                 "Token already in use");
        return;
    }

    ngx_zltunnel_control_io_resume(control);
}


static void
ngx_zltunnel_auth_open(ngx_zltunnel_control_t *control,
    ngx_zltunnel_auth_t *session)
{
    ngx_zltunnel_peer_t     *peer;
    ngx_zltunnel_control_t  *old;

    peer = ngx_zltunnel_peer_get(control->registry, control->tunnel_id,
                                 control->token, &session->token->name);
    if (peer == NULL) {
        control->failed = 1;
        return;
    }

    peer->expires = session->token->expires;

    old = peer->control;

    peer->control = control;
    control->peer = peer;

    control->state = NGX_ZLTUNNEL_CONTROL_OPEN;

    ngx_zltunnel_control_place_leave(control);

    if (session->taken) {
        ngx_zltunnel_auth_replace(control, session);
    }

    if (old) {
        old->peer = NULL;
        old->state = NGX_ZLTUNNEL_CONTROL_REPLACED;
        ngx_zltunnel_control_end(old, ZLT_WS_NORMAL, "taken over");
    }

    ngx_log_error(NGX_LOG_NOTICE, control->end.connection->log, 0,
                  "agent \"%V\" %s from %V", &peer->name,
                  session->taken ? "is back" : "connected",
                  &control->end.connection->addr_text);

    ngx_zltunnel_auth_ok(control, session);

    /* a heartbeat at once, and then at intervals */

    control->acked = ngx_current_msec;
    control->beaten = ngx_current_msec
                      - control->registry->heartbeat_interval;
    ngx_add_timer(&control->timer, 1);
}


/* tells the workers that hold something of the former control channel */

static void
ngx_zltunnel_auth_replace(ngx_zltunnel_control_t *control,
    ngx_zltunnel_auth_t *session)
{
    ngx_zltunnel_ipc_t  msg;

    ngx_memzero(&msg, sizeof(ngx_zltunnel_ipc_t));

    msg.epoch = control->epoch;
    ngx_memcpy(msg.tunnel_id, control->tunnel_id, ZLT_ID_SIZE);

    if (session->slot != NGX_ZLTUNNEL_NO_SLOT
        && session->slot != control->registry->slot)
    {
        msg.type = NGX_ZLTUNNEL_IPC_CLOSE;
        msg.code = !session->resume;

        (void) ngx_zltunnel_ipc_send(control->registry, session->slot, &msg,
                                     NULL, -1);
    }

    if (!session->resume) {
        msg.type = NGX_ZLTUNNEL_IPC_DROP;

        ngx_zltunnel_ipc_broadcast(control->registry, &msg);
        ngx_zltunnel_channel_drop(control->registry, control->tunnel_id,
                                  control->epoch);
    }
}


static void
ngx_zltunnel_auth_ok(ngx_zltunnel_control_t *control,
    ngx_zltunnel_auth_t *session)
{
    zlt_msg_t                 m;
    ngx_uint_t                least;
    ngx_core_conf_t          *ccf;
    ngx_zltunnel_registry_t  *registry;

    registry = control->registry;

    ngx_memzero(&m, sizeof(zlt_msg_t));

    m.type = ZLT_AUTH_OK;
    m.tunnel_id = control->tunnel_id;

    if (control->extended) {
        ccf = (ngx_core_conf_t *) ngx_get_conf(ngx_cycle->conf_ctx,
                                               ngx_core_module);
        least = ccf->master ? ccf->worker_processes : 1;

        m.ext = ZLT_X_FEATURES|ZLT_X_DATA_KEY|ZLT_X_RESUME_KEY
                |ZLT_X_HEARTBEAT|ZLT_X_IDLE|ZLT_X_TOKEN_NAME;

        m.features = control->features;
        m.data_key = session->data_key;
        m.resume_key = session->resume_key;
        m.heartbeat_interval = registry->heartbeat_interval;
        m.heartbeat_timeout = registry->heartbeat_timeout;
        m.idle_least = ngx_min(least, registry->max_idle_channels);
        m.idle_most = registry->max_idle_channels;
        m.name.data = session->token->name.data;
        m.name.len = session->token->name.len;
    }

    ngx_zltunnel_control_io_write(control, &m);
}


static void
ngx_zltunnel_auth_refuse(ngx_zltunnel_control_t *control, ngx_uint_t code,
    const char *reason)
{
    zlt_msg_t  m;

    ngx_log_error(NGX_LOG_WARN, control->end.connection->log, 0,
                  "agent from %V refused: %s",
                  &control->end.connection->addr_text, reason);

    ngx_memzero(&m, sizeof(zlt_msg_t));

    m.type = ZLT_AUTH_FAIL;
    m.reason.data = (u_char *) reason;
    m.reason.len = ngx_strlen(reason);

    if (code && control->extended) {
        m.ext = ZLT_X_CODE;
        m.code = code;
    }

    ngx_zltunnel_control_io_write(control, &m);
    ngx_zltunnel_control_end(control, ZLT_WS_POLICY, reason);
}
