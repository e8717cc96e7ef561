
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
#include "log.h"
#include "often.h"
#include "tls.h"
#include "zlt_hex.h"


static void zlt_control_msg_auth_ok(zlt_control_t *c, const zlt_msg_t *m);
static int zlt_control_msg_node(zlt_link_t *l, const zlt_msg_t *m);
static void zlt_control_msg_auth_fail(zlt_control_t *c, const zlt_msg_t *m);
static void zlt_control_msg_connect(zlt_control_t *c, const zlt_msg_t *m);
static void zlt_control_msg_disconnect(zlt_control_t *c, const zlt_msg_t *m);


void
zlt_control_msg(zlt_control_t *c, const uint8_t *data, size_t len)
{
    int        rc;
    size_t     used;
    zlt_msg_t  m;

    rc = zlt_msg_decode(&m, data, len, ZLT_MAX_PAYLOAD, &used);

    if (rc != ZLT_OK) {
        zlt_control_fail(c, ZLT_DOWN_LOST, 0, "the server sent an invalid "
                         "message: %s", rc == ZLT_AGAIN ? "it is not complete"
                                                        : zlt_msg_strerror(rc));
        return;
    }

    if (c->state == ZLT_CONTROL_CLOSING) {
        return;
    }

    switch (m.type) {

    case ZLT_AUTH_OK:
        if (c->state == ZLT_CONTROL_OPENING) {
            zlt_control_msg_auth_ok(c, &m);
        }

        return;

    case ZLT_AUTH_FAIL:
        zlt_control_msg_auth_fail(c, &m);
        return;

    case ZLT_DISCONNECT:
        zlt_control_msg_disconnect(c, &m);
        return;

    case ZLT_HEARTBEAT:
        zlt_control_heartbeat_answer(c, &m);
        return;

    case ZLT_HEARTBEAT_ACK:
        zlt_control_heartbeat_answered(c, &m);
        return;
    }

    if (c->state == ZLT_CONTROL_UP && m.type == ZLT_CONNECT) {
        zlt_control_msg_connect(c, &m);
        return;
    }

    if (c->place != ZLT_CONTROL_CURRENT) {
        /* services are the business of the control channel that follows */
        return;
    }

    if (c->state == ZLT_CONTROL_UP) {
        switch (m.type) {

        case ZLT_REGISTER_OK:
            zlt_control_register_ok(c, &m);
            return;

        case ZLT_REGISTER_FAIL:
            zlt_control_register_fail(c, &m);
            return;

        case ZLT_WITHDRAW:
            zlt_control_register_withdrawn(c, &m);
            return;

        case ZLT_ACCESS_OK:
            zlt_control_access_ok(c, &m);
            return;

        case ZLT_ACCESS_FAIL:
            zlt_control_access_fail(c, &m);
            return;

        case ZLT_ACCESS_CLOSE:
            zlt_control_access_close(c, &m);
            return;
        }
    }

    zlt_often_warn(c->link->owner.label, "", "a message of type %s from the "
                   "server is ignored", zlt_msg_name(m.type));
}


static void
zlt_control_msg_auth_ok(zlt_control_t *c, const zlt_msg_t *m)
{
    char         text[ZLT_LOG_TEXT_SIZE], node[ZLT_LINK_PLACE_NODE];
    zlt_link_t  *l;

    l = c->link;

    if (zlt_control_msg_node(l, m)) {
        zlt_hex_encode(node, m->node, ZLT_ID_SIZE);
        zlt_control_fail(c, ZLT_DOWN_DOUBLE, 0, "the server is the node %.32s, "
                         "where another link is", node);
        return;
    }

    zlt_control_state(c, ZLT_CONTROL_UP);
    c->up_since = zlt_io_now();
    c->deadline = 0;

    memcpy(c->param.tunnel_id, m->tunnel_id, ZLT_ID_SIZE);

    if (m->ext & ZLT_X_FEATURES) {
        c->features = m->features & (ZLT_F_CHANNELS|ZLT_F_HEARTBEATS
                                     |ZLT_F_DATAGRAMS|ZLT_F_ACCESS
                                     |ZLT_F_HOSTS|ZLT_F_HEALTH);
    }

    if (m->ext & ZLT_X_DATA_KEY) {
        memcpy(c->param.key, m->data_key, ZLT_KEY_SIZE);

    } else {
        c->features &= ~(uint32_t) ZLT_F_CHANNELS;
    }

    if (m->ext & ZLT_X_RESUME_KEY) {
        memcpy(l->resume_key, m->resume_key, ZLT_KEY_SIZE);
        l->resumable = 1;
    }

    l->token_name[0] = '\0';

    if (m->ext & ZLT_X_TOKEN_NAME) {
        (void) snprintf(l->token_name, sizeof(l->token_name), "%.255s",
                        zlt_log_text(text, m->name));
    }

    c->param.has_node = (m->ext & ZLT_X_NODE) != 0;

    if (c->param.has_node) {
        memcpy(c->param.node, m->node, ZLT_ID_SIZE);
    }

    c->param.least = 1;
    c->param.most = 16;

    if (m->ext & ZLT_X_IDLE) {
        c->param.least = m->idle_least;
        c->param.most = m->idle_most;
    }

    zlt_control_heartbeat_start(c, m);

    if (l->ops->settle(l)) {
        c->ops->up(l, c);

    } else {
        zlt_control_close(c, "not wanted");
    }
}


/* Who the server is: 1 if it is one where another link is, and has made no
   tunnel. */

static int
zlt_control_msg_node(zlt_link_t *l, const zlt_msg_t *m)
{
    static const uint8_t  none[ZLT_ID_SIZE];

    l->nodes = (m->ext & ZLT_X_NODES) ? m->nodes : 0;

    if ((m->ext & ZLT_X_NODE) && l->spread
        && memcmp(m->tunnel_id, none, ZLT_ID_SIZE) == 0)
    {
        memcpy(l->met, m->node, ZLT_ID_SIZE);
        return 1;
    }

    l->has_node = (m->ext & ZLT_X_NODE) ? 1 : 0;

    if (l->has_node) {
        memcpy(l->node_id, m->node, ZLT_ID_SIZE);
    }

    return 0;
}


static void
zlt_control_msg_auth_fail(zlt_control_t *c, const zlt_msg_t *m)
{
    char      text[ZLT_LOG_TEXT_SIZE];
    uint32_t  retry;

    retry = (m->ext & ZLT_X_RETRY) ? m->retry_after : 0;

    (void) zlt_log_text(text, m->reason);

    switch ((m->ext & ZLT_X_CODE) ? m->code : 0) {

    case ZLT_E_BAD_TOKEN:
        zlt_control_fail(c, ZLT_DOWN_REFUSED, retry, "the server refuses the "
                         "token: %s (%snot in the server's token file, %s)",
                         text, zlt_token_is_hash(&c->link->token)
                         ? "its 64 digits look like the hash of a token, which "
                         "is for the server; " : "",
                         *zlt_tls_hint(c->link->owner.tls)
                         ? "added less than 3 s ago, or bound to a certificate"
                         : "or added less than 3 s ago");
        return;

    case ZLT_E_EXPIRED:
    case ZLT_E_FORBIDDEN:
        zlt_control_fail(c, ZLT_DOWN_REFUSED, retry,
                         "the server refuses the token: %s", text);
        return;

    case ZLT_E_IN_USE:
        zlt_control_fail(c, ZLT_DOWN_IN_USE, retry,
                         "the server refuses the token for now: %s", text);
        return;
    }

    zlt_control_fail(c, ZLT_DOWN_LOST, retry,
                     "the server refuses the tunnel: %s", text);
}


static void
zlt_control_msg_connect(zlt_control_t *c, const zlt_msg_t *m)
{
    if (!(c->features & ZLT_F_CHANNELS)) {
        zlt_control_msg_connect_fail(c, m->connection_id, ZLT_E_REFUSED,
                                     "no data channel");
        return;
    }

    if (c->link->owner.pool && c->place == ZLT_CONTROL_CURRENT) {
        zlt_pool_demand(c->link->owner.pool);
    }

    zlt_channel_connect_fresh(&c->link->owner, c->serial, &c->param, m);
}


void
zlt_control_msg_connect_fail(zlt_control_t *c, const uint8_t *id,
    unsigned code, const char *reason)
{
    zlt_msg_t  m;

    memset(&m, 0, sizeof(zlt_msg_t));
    m.type = ZLT_CONNECT_FAIL;
    m.connection_id = id;
    m.reason.data = (const uint8_t *) reason;
    m.reason.len = strlen(reason);

    if (c->features) {
        m.ext = ZLT_X_CODE;
        m.code = (uint8_t) code;
    }

    zlt_control_ws_send(c, &m);
}


static void
zlt_control_msg_disconnect(zlt_control_t *c, const zlt_msg_t *m)
{
    char         text[ZLT_LOG_TEXT_SIZE];
    uint32_t     retry;
    zlt_link_t  *l;

    l = c->link;
    retry = (m->ext & ZLT_X_RETRY) ? m->retry_after : 0;

    (void) zlt_log_text(text, m->reason);

    switch ((m->ext & ZLT_X_ACTION) ? m->action : ZLT_D_LATER) {

    case ZLT_D_STOP:
        zlt_control_fail(c, ZLT_DOWN_REFUSED, retry,
                         "the server has ended the tunnel: %s", text);
        return;

    case ZLT_D_RECONNECT:

        if (c->place != ZLT_CONTROL_CURRENT || c->state != ZLT_CONTROL_UP) {
            return;
        }

        zlt_log_link(l->owner.label, ZLT_LOG_INFO,
                     "the server asks to connect anew: %s", text);
        c->ops->down(l, c, ZLT_DOWN_RECONNECT, retry,
                     zlt_io_now() - c->up_since);
        return;
    }

    zlt_control_fail(c, ZLT_DOWN_LOST, retry,
                     "the server has ended the session: %s", text);
}
