
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Authentication: whether a control channel's agent is let in, what it is told,
 * and what follows from a takeover.  Which tunnel is its own,
 * ngx_zltunnel_auth_place.c says.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_auth.h"
#include "ngx_zltunnel_auth_check.h"
#include "ngx_zltunnel_auth_place.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_control.h"
#include "ngx_zltunnel_control_event.h"
#include "ngx_zltunnel_control_io.h"
#include "ngx_zltunnel_control_place.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_worker.h"

#include "zlt_msg.h"
#include "zlt_ws.h"

#include <openssl/sha.h>


#define NGX_ZLTUNNEL_PROBE_TIME    3000    /* ms */

#define NGX_ZLTUNNEL_ASK_QUEUE     5000    /* ms, beside the time to answer */
#define NGX_ZLTUNNEL_ASK_RETRY     2000    /* ms, twice at the most */


static ngx_int_t ngx_zltunnel_auth_ask(ngx_zltunnel_control_t *control,
    zlt_msg_t *m, u_char *data, size_t len);
static void ngx_zltunnel_auth_again(ngx_zltunnel_control_t *control);
static ngx_int_t ngx_zltunnel_auth_keep(ngx_zltunnel_control_t *control,
    u_char *data, size_t len);
static void ngx_zltunnel_auth_forget(ngx_str_t *auth);
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
static void ngx_zltunnel_auth_put_off(ngx_zltunnel_control_t *control,
    ngx_uint_t code, const char *reason, ngx_msec_t retry);


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

    if (control->asks
        && !ngx_zltunnel_token_line_of(control->registry, control->token)
        && ngx_zltunnel_auth_ask(control, m, data, len) != NGX_OK)
    {
        return;
    }

    ngx_zltunnel_auth_enter(control, m);

    if (control->state == NGX_ZLTUNNEL_CONTROL_PROBING) {
        ngx_zltunnel_auth_probe(control, data, len);
    }
}


/* NGX_OK: the token is known to be let in */

static ngx_int_t
ngx_zltunnel_auth_ask(ngx_zltunnel_control_t *control, zlt_msg_t *m,
    u_char *data, size_t len)
{
    ngx_int_t  rc;
    ngx_str_t  token, agent;

    token.data = (u_char *) m->token.data;
    token.len = m->token.len;
    agent.data = (u_char *) m->agent.data;
    agent.len = m->agent.len;

    rc = ngx_zltunnel_ask_keep(control, &token, &agent);

    if (rc == NGX_DECLINED) {
        ngx_zltunnel_auth_refuse(control, ZLT_E_BAD_TOKEN, "Invalid token");
        return NGX_DECLINED;
    }

    if (rc != NGX_OK || ngx_zltunnel_auth_keep(control, data, len) != NGX_OK) {
        control->failed = 1;
        return NGX_ERROR;
    }

    if (ngx_zltunnel_ask_known(control)) {
        ngx_zltunnel_auth_forget(&control->auth);
        return NGX_OK;
    }

    control->state = NGX_ZLTUNNEL_CONTROL_ASKING;

    ngx_add_timer(&control->timer, control->asks->timeout
                                   + NGX_ZLTUNNEL_ASK_QUEUE);

    ngx_zltunnel_ask_begin(control, ngx_zltunnel_auth_asked);

    return NGX_AGAIN;
}


void
ngx_zltunnel_auth_asked(ngx_zltunnel_control_t *control,
    ngx_zltunnel_ask_verdict_e verdict, const char *reason)
{
    ngx_zltunnel_control_enter(control);

    if (verdict == NGX_ZLTUNNEL_ASK_REFUSED) {
        ngx_zltunnel_auth_refuse(control, ZLT_E_FORBIDDEN,
                                 reason ? reason : "The token is not let in");

    } else if (verdict == NGX_ZLTUNNEL_ASK_FAILED
               && !ngx_zltunnel_ask_holds(control))
    {
        ngx_zltunnel_auth_put_off(control, ZLT_E_BUSY,
                                  "The token cannot be verified at the moment",
                                  NGX_ZLTUNNEL_ASK_RETRY
                                  + ngx_random() % NGX_ZLTUNNEL_ASK_RETRY);
    } else {
        ngx_zltunnel_auth_again(control);
        ngx_zltunnel_control_io_resume(control);
    }

    ngx_zltunnel_control_leave(control);
}


/* enters with the Auth that has waited */

static void
ngx_zltunnel_auth_again(ngx_zltunnel_control_t *control)
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

    if (control->state == NGX_ZLTUNNEL_CONTROL_PROBING
        && !control->probed)
    {
        ngx_zltunnel_auth_probe(control, auth.data, auth.len);
    }

    ngx_zltunnel_auth_forget(&auth);
}


static ngx_int_t
ngx_zltunnel_auth_keep(ngx_zltunnel_control_t *control, u_char *data,
    size_t len)
{
    control->auth.data = ngx_alloc(len, control->end.connection->log);
    if (control->auth.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(control->auth.data, data, len);
    control->auth.len = len;

    return NGX_OK;
}


static void
ngx_zltunnel_auth_forget(ngx_str_t *auth)
{
    ngx_explicit_memzero(auth->data, auth->len);
    ngx_free(auth->data);
    ngx_str_null(auth);
}


static void
ngx_zltunnel_auth_enter(ngx_zltunnel_control_t *control, zlt_msg_t *m)
{
    ngx_int_t             rc;
    ngx_uint_t            held;
    const char           *reason;
    ngx_zltunnel_auth_t   session;

    ngx_memzero(&session, sizeof(ngx_zltunnel_auth_t));

    session.token = control->secret.len
                    ? ngx_zltunnel_token_find(control->registry,
                                              control->token)
                    : ngx_zltunnel_token_line_of(control->registry,
                                                 control->token);

    if (session.token == NULL
        && ngx_zltunnel_token_text_awaited(control->registry))
    {
        ngx_zltunnel_auth_put_off(control, ZLT_E_BUSY,
                                  "The token cannot be verified at the moment",
                                  NGX_ZLTUNNEL_ASK_RETRY
                                  + ngx_random() % NGX_ZLTUNNEL_ASK_RETRY);
        return;
    }

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

    held = control->extended && ngx_zltunnel_auth_check_held(control, m);

    if (held || (control->extended && (m->ext & ZLT_X_CHECK))) {
        ngx_zltunnel_auth_check(control, session.token, held);
        return;
    }

    ngx_zltunnel_zone_lock(control->registry);
    rc = ngx_zltunnel_auth_place_find(control, m, &session);
    ngx_zltunnel_zone_unlock(control->registry);

    if (rc == NGX_OK) {
        ngx_zltunnel_auth_open(control, &session);

    } else if (rc == NGX_AGAIN) {
        control->state = NGX_ZLTUNNEL_CONTROL_PROBING;

    } else {
        ngx_zltunnel_auth_put_off(control, session.code, session.reason,
                                  session.retry);
    }

    ngx_explicit_memzero(&session, sizeof(ngx_zltunnel_auth_t));
}


static void
ngx_zltunnel_auth_probe(ngx_zltunnel_control_t *control, u_char *data,
    size_t len)
{
    ngx_uint_t                 slot;
    ngx_zltunnel_ipc_t         msg;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    if (ngx_zltunnel_auth_keep(control, data, len) != NGX_OK) {
        control->failed = 1;
        return;
    }

    control->probed = 1;

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
    ngx_zltunnel_auth_again(control);

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

    ngx_zltunnel_peer_token(peer, session->token);

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

    ngx_zltunnel_event_tell(control->end.connection->log);

    ngx_zltunnel_auth_ok(control, session);

    /* a heartbeat at once, and then at intervals */

    control->acked = ngx_current_msec;
    control->beaten = ngx_current_msec
                      - control->registry->heartbeat_interval;
    ngx_add_timer(&control->timer, 1);

    if (control->asks) {
        ngx_zltunnel_ask_opened(control);
    }
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

        ngx_zltunnel_auth_check_node(control, &m);
    }

    ngx_zltunnel_control_io_write(control, &m);
}


static void
ngx_zltunnel_auth_refuse(ngx_zltunnel_control_t *control, ngx_uint_t code,
    const char *reason)
{
    ngx_zltunnel_auth_put_off(control, code, reason, 0);
}


/* the same for retry milliseconds; 0: the agent knows by itself */

static void
ngx_zltunnel_auth_put_off(ngx_zltunnel_control_t *control, ngx_uint_t code,
    const char *reason, ngx_msec_t retry)
{
    zlt_msg_t  m;

    ngx_zltunnel_control_event_refused(control, code, reason);

    ngx_memzero(&m, sizeof(zlt_msg_t));

    m.type = ZLT_AUTH_FAIL;
    m.reason.data = (u_char *) reason;
    m.reason.len = ngx_strlen(reason);

    if (code && control->extended) {
        m.ext = ZLT_X_CODE;
        m.code = code;
    }

    if (retry && control->extended) {
        m.ext |= ZLT_X_RETRY;
        m.retry_after = retry;
    }

    ngx_zltunnel_control_io_write(control, &m);
    ngx_zltunnel_control_end(control, ZLT_WS_POLICY, reason);
}
