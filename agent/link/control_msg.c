
/*
 * Copyright (C) zltunnel authors
 */

/* What the messages on the control channel mean. */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel.h"
#include "control_heartbeat.h"
#include "control_msg.h"
#include "control_register.h"
#include "control_ws.h"
#include "link.h"


static void zlt_session_auth_ok(zlt_session_t *s, const zlt_msg_t *m);
static void zlt_session_auth_fail(zlt_session_t *s, const zlt_msg_t *m);
static void zlt_session_connect(zlt_session_t *s, const zlt_msg_t *m);
static void zlt_session_disconnect(zlt_session_t *s, const zlt_msg_t *m);


void
zlt_session_message(zlt_session_t *s, const uint8_t *data, size_t len)
{
    int        rc;
    size_t     used;
    zlt_msg_t  m;

    rc = zlt_msg_decode(&m, data, len, ZLT_MAX_PAYLOAD, &used);

    if (rc != ZLT_OK) {
        zlt_session_fail(s, ZLT_DOWN_LOST, 0, "the server sent an invalid "
                         "message: %s", rc == ZLT_AGAIN ? "it is not complete"
                                                        : zlt_strerror(rc));
        return;
    }

    if (s->closing) {
        return;
    }

    switch (m.type) {

    case ZLT_AUTH_OK:
        if (!s->up) {
            zlt_session_auth_ok(s, &m);
        }

        return;

    case ZLT_AUTH_FAIL:
        zlt_session_auth_fail(s, &m);
        return;

    case ZLT_DISCONNECT:
        zlt_session_disconnect(s, &m);
        return;

    case ZLT_HEARTBEAT:
        zlt_control_heartbeat_answer(s, &m);
        return;

    case ZLT_HEARTBEAT_ACK:
        zlt_control_heartbeat_answered(s, &m);
        return;
    }

    if (s->up && m.type == ZLT_CONNECT) {
        zlt_session_connect(s, &m);
        return;
    }

    if (s->kept) {
        /* services are the business of the session that follows it */
        return;
    }

    if (s->up) {
        switch (m.type) {

        case ZLT_REGISTER_OK:
            zlt_session_register_ok(s, &m);
            return;

        case ZLT_REGISTER_FAIL:
            zlt_session_register_fail(s, &m);
            return;

        case ZLT_WITHDRAW:
            zlt_session_withdraw(s, &m);
            return;

        case ZLT_ACCESS_OK:
            zlt_session_access_ok(s, &m);
            return;

        case ZLT_ACCESS_FAIL:
            zlt_session_access_fail(s, &m);
            return;

        case ZLT_ACCESS_CLOSE:
            zlt_session_access_close(s, &m);
            return;
        }
    }

    zlt_log_warn("a message of type %s from the server is ignored",
                 zlt_msg_name(m.type));
}


static void
zlt_session_auth_ok(zlt_session_t *s, const zlt_msg_t *m)
{
    zlt_link_t  *l;

    l = s->link;

    s->up = 1;
    s->up_since = zlt_io_now();
    s->deadline = 0;

    memcpy(s->param.tunnel_id, m->tunnel_id, ZLT_ID_SIZE);

    if (m->ext & ZLT_X_FEATURES) {
        s->features = m->features & (ZLT_F_CHANNELS|ZLT_F_HEARTBEATS
                                     |ZLT_F_DATAGRAMS|ZLT_F_ACCESS
                                     |ZLT_F_REUSE|ZLT_F_LANES);
    }

    if (m->ext & ZLT_X_DATA_KEY) {
        memcpy(s->param.key, m->data_key, ZLT_KEY_SIZE);

    } else {
        s->features &= ~(uint32_t) ZLT_F_CHANNELS;
    }

    if (m->ext & ZLT_X_RESUME_KEY) {
        memcpy(l->resume_key, m->resume_key, ZLT_KEY_SIZE);
        l->resumable = 1;
    }

    s->param.least = 1;
    s->param.most = 16;

    if (m->ext & ZLT_X_IDLE) {
        s->param.least = m->idle_least;
        s->param.most = m->idle_most;
    }

    zlt_control_heartbeat_start(s, m);

    zlt_agent_up(l, s);
}


static void
zlt_session_auth_fail(zlt_session_t *s, const zlt_msg_t *m)
{
    char      text[ZLT_LOG_TEXT_SIZE];
    uint32_t  retry;

    retry = (m->ext & ZLT_X_RETRY) ? m->retry_after : 0;

    (void) zlt_log_text(text, m->reason);

    switch ((m->ext & ZLT_X_CODE) ? m->code : 0) {

    case ZLT_E_BAD_TOKEN:
    case ZLT_E_EXPIRED:
    case ZLT_E_FORBIDDEN:
        zlt_session_fail(s, ZLT_DOWN_REFUSED, retry,
                         "the server refuses the token: %s", text);
        return;

    case ZLT_E_IN_USE:
        zlt_session_fail(s, ZLT_DOWN_IN_USE, retry,
                         "the server refuses the token for now: %s", text);
        return;
    }

    zlt_session_fail(s, ZLT_DOWN_LOST, retry,
                     "the server refuses the tunnel: %s", text);
}


static void
zlt_session_connect(zlt_session_t *s, const zlt_msg_t *m)
{
    if (!(s->features & ZLT_F_CHANNELS)) {
        zlt_session_connect_fail(s, m->connection_id, ZLT_E_REFUSED,
                                 "no data channel");
        return;
    }

    if (s->link->owner.pool && !s->kept) {
        zlt_pool_demand(s->link->owner.pool);
    }

    zlt_channel_fresh(&s->link->owner, s->serial, &s->param, m);
}


void
zlt_session_connect_fail(zlt_session_t *s, const uint8_t *id, unsigned code,
    const char *reason)
{
    zlt_msg_t  m;

    memset(&m, 0, sizeof(zlt_msg_t));
    m.type = ZLT_CONNECT_FAIL;
    m.connection_id = id;
    m.reason.data = (const uint8_t *) reason;
    m.reason.len = strlen(reason);

    if (s->features) {
        m.ext = ZLT_X_CODE;
        m.code = (uint8_t) code;
    }

    zlt_session_send(s, &m);
}


static void
zlt_session_disconnect(zlt_session_t *s, const zlt_msg_t *m)
{
    char         text[ZLT_LOG_TEXT_SIZE];
    uint32_t     retry;
    zlt_link_t  *l;

    l = s->link;
    retry = (m->ext & ZLT_X_RETRY) ? m->retry_after : 0;

    (void) zlt_log_text(text, m->reason);

    switch ((m->ext & ZLT_X_ACTION) ? m->action : ZLT_D_LATER) {

    case ZLT_D_STOP:
        zlt_session_fail(s, ZLT_DOWN_REFUSED, retry,
                         "the server has ended the tunnel: %s", text);
        return;

    case ZLT_D_RECONNECT:

        if (s->kept || !s->up) {
            return;
        }

        zlt_log_info("%sthe server asks to connect anew: %s", l->label, text);
        zlt_agent_down(l, s, ZLT_DOWN_RECONNECT, retry,
                       zlt_io_now() - s->up_since);
        return;
    }

    zlt_session_fail(s, ZLT_DOWN_LOST, retry,
                     "the server has ended the session: %s", text);
}
