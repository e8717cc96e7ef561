
/*
 * Copyright (C) zltunnel authors
 */

/* What the messages on the control channel mean. */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session.h"


#define ZLT_SESSION_AGAIN  30000       /* ms, a refused service */


static void zlt_session_beaten(zlt_session_t *s, const zlt_msg_t *m);
static void zlt_session_auth_ok(zlt_session_t *s, const zlt_msg_t *m);
static void zlt_session_auth_fail(zlt_session_t *s, const zlt_msg_t *m);
static void zlt_session_register_ok(zlt_session_t *s, const zlt_msg_t *m);
static void zlt_session_register_fail(zlt_session_t *s, const zlt_msg_t *m);
static zlt_service_t *zlt_session_answered(zlt_session_t *s, int *gone);
static void zlt_session_registered(zlt_session_t *s);
static void zlt_session_connect(zlt_session_t *s, const zlt_msg_t *m);
static void zlt_session_withdraw(zlt_session_t *s, const zlt_msg_t *m);
static void zlt_session_disconnect(zlt_session_t *s, const zlt_msg_t *m);


void
zlt_session_message(zlt_session_t *s, const uint8_t *data, size_t len)
{
    int        rc;
    size_t     used;
    zlt_msg_t  m, ack;

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
        memset(&ack, 0, sizeof(zlt_msg_t));
        ack.type = ZLT_HEARTBEAT_ACK;
        ack.timestamp = m.timestamp;
        zlt_session_send(s, &ack);
        return;

    case ZLT_HEARTBEAT_ACK:
        zlt_session_beaten(s, &m);
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

    zlt_link_log(s->agent->label, ZLT_LOG_WARN, "a message of type %s from "
                 "the server is ignored", zlt_msg_name(m.type));
}


/* The answer to the latest Heartbeat tells how far away the server is. */

static void
zlt_session_beaten(zlt_session_t *s, const zlt_msg_t *m)
{
    if (s->beat_at == 0 || m->timestamp != s->beat) {
        return;
    }

    if (s == s->agent->session) {
        zlt_agent_latency(s->agent, (uv_hrtime() - s->beat_at) / 1000);
    }

    s->beat_at = 0;
}


static void
zlt_session_auth_ok(zlt_session_t *s, const zlt_msg_t *m)
{
    zlt_agent_t  *a;

    a = s->agent;

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
        memcpy(a->resume_key, m->resume_key, ZLT_KEY_SIZE);
        a->resumable = 1;
    }

    if ((m->ext & ZLT_X_HEARTBEAT) && m->heartbeat_interval
        && m->heartbeat_timeout)
    {
        s->interval = m->heartbeat_interval;
        s->timeout = m->heartbeat_timeout;

        /* a timeout that a late packet exceeds would be of no use */

        if (s->interval < 1000) {
            s->interval = 1000;
        }

        if (s->timeout < 2000) {
            s->timeout = 2000;
        }

        if (s->interval > 3600000) {
            s->interval = 3600000;
        }

        if (s->timeout > 3600000) {
            s->timeout = 3600000;
        }
    }

    s->param.least = 1;
    s->param.most = 16;

    if (m->ext & ZLT_X_IDLE) {
        s->param.least = m->idle_least;
        s->param.most = m->idle_most;
    }

    s->next_beat = s->up_since
                   + zlt_agent_random(s->interval ? s->interval : 25000);

    zlt_agent_up(a, s);
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


void
zlt_session_register(zlt_session_t *s, zlt_service_t *service)
{
    unsigned             size;
    zlt_msg_t            m;
    zlt_service_t      **pending;
    zlt_service_conf_t  *conf;

    if (s->npending == s->pending_size) {
        size = s->pending_size ? s->pending_size * 2 : 8;
        pending = realloc(s->pending, size * sizeof(zlt_service_t *));

        if (pending == NULL) {
            zlt_link_log(s->agent->label, ZLT_LOG_ERROR, "out of memory");
            return;
        }

        s->pending = pending;
        s->pending_size = size;
    }

    zlt_service_hold(service);
    s->pending[s->npending++] = service;

    service->state = ZLT_SERVICE_PENDING;

    conf = &service->conf;

    memset(&m, 0, sizeof(zlt_msg_t));
    m.type = ZLT_REGISTER;
    m.name.data = (const uint8_t *) conf->name;
    m.name.len = strlen(conf->name);
    m.protocol = conf->protocol;
    m.local_port = conf->port;
    m.remote_port = conf->remote_port;

    if (s->features) {
        if (conf->flags) {
            m.ext |= ZLT_X_FLAGS;
            m.flags = conf->flags;
        }

        if (conf->allow_access[0]) {
            m.ext |= ZLT_X_ALLOW;
            m.allow.data = (const uint8_t *) conf->allow_access;
            m.allow.len = strlen(conf->allow_access);
        }

        /* the port that it had last, so that it keeps it if it can */

        if (conf->remote_port == 0 && !(conf->flags & ZLT_R_PRIVATE)) {
            m.preferred_port = service->port ? service->port
                                             : conf->preferred_port;
            if (m.preferred_port) {
                m.ext |= ZLT_X_PREFERRED;
            }
        }
    }

    zlt_session_send(s, &m);
}


/* The service that the next answer is for; NULL if it was removed since. */

static zlt_service_t *
zlt_session_answered(zlt_session_t *s, int *gone)
{
    zlt_service_t  *service;

    *gone = 0;

    if (s->npending == 0) {
        zlt_link_log(s->agent->label, ZLT_LOG_WARN, "an answer from the "
                     "server that nothing had asked for is ignored");
        return NULL;
    }

    service = s->pending[0];
    s->npending--;

    memmove(&s->pending[0], &s->pending[1],
            s->npending * sizeof(zlt_service_t *));

    *gone = (service == NULL);

    return service;
}


static void
zlt_session_register_ok(zlt_session_t *s, const zlt_msg_t *m)
{
    int             gone;
    char            public_addr[ZLT_SERVICE_PUBLIC],
                    text[ZLT_LOG_TEXT_SIZE];
    zlt_msg_t       un;
    const char     *host;
    zlt_service_t  *service;
    zlt_url_t      *url;

    service = zlt_session_answered(s, &gone);

    if (service == NULL) {
        if (gone) {
            memset(&un, 0, sizeof(zlt_msg_t));
            un.type = ZLT_UNREGISTER;
            un.service_id = m->service_id;
            zlt_session_send(s, &un);
        }

        return;
    }

    service->state = ZLT_SERVICE_UP;
    service->again = 0;
    service->refused[0] = '\0';

    zlt_service_add_id(service, m->service_id);

    service->port = (m->ext & ZLT_X_PORT) ? m->port : 0;

    if (!(s->features & ZLT_F_CHANNELS)) {
        (void) strcpy(public_addr, "unknown");

    } else if (m->ext & ZLT_X_PUBLIC) {
        (void) snprintf(public_addr, sizeof(public_addr), "%.270s",
                        zlt_log_text(text, m->public_addr));

    } else if (service->port) {
        url = &s->agent->conf->url;
        host = url->is_unix ? url->authority : url->host;

        (void) snprintf(public_addr, sizeof(public_addr),
                        strchr(host, ':') ? "[%s]:%u" : "%s:%u", host,
                        (unsigned) service->port);

    } else {
        (void) strcpy(public_addr, "(no port)");
    }

    zlt_agent_announce(s->agent, service, public_addr);
    zlt_service_release(service);

    zlt_session_registered(s);
}


static void
zlt_session_register_fail(zlt_session_t *s, const zlt_msg_t *m)
{
    int             gone;
    char            text[ZLT_LOG_TEXT_SIZE];
    unsigned        code;
    zlt_service_t  *service;

    service = zlt_session_answered(s, &gone);

    if (service == NULL) {
        return;
    }

    code = (m->ext & ZLT_X_CODE) ? m->code : 0;

    service->state = ZLT_SERVICE_REFUSED;
    service->again = (code == ZLT_E_PORT_TAKEN || code == ZLT_E_LIMIT
                      || code == ZLT_E_BUSY);
    service->again_at = zlt_io_now() + ZLT_SESSION_AGAIN;

    (void) zlt_log_text(text, m->reason);

    /* a complaint that has not changed is made once */

    if (strncmp(service->refused, text, sizeof(service->refused) - 1) != 0) {
        (void) snprintf(service->refused, sizeof(service->refused), "%.270s",
                        text);

        zlt_link_log(s->agent->label, ZLT_LOG_ERROR, "the server refuses the "
                     "service \"%s\": %s%s", service->conf.name, text,
                     service->again ? "; it is tried again every 30 s" : "");
    }

    zlt_service_release(service);

    zlt_session_registered(s);
}


/* An answer has come: were it the last, the link is what it is. */

static void
zlt_session_registered(zlt_session_t *s)
{
    zlt_channel_registered(s->agent);

    if (s->npending) {
        return;
    }

    zlt_agent_registered(s->agent);

    /* the first time for the latency alone */

    if (s->beat == 0 && (s->features & ZLT_F_HEARTBEATS)) {
        zlt_session_probe(s, s->timeout ? s->timeout : ZLT_SESSION_TIMEOUT);
    }
}


void
zlt_session_unregister(zlt_session_t *s, zlt_service_t *service)
{
    unsigned   i;
    zlt_msg_t  m;

    for (i = 0; i < s->npending; i++) {
        if (s->pending[i] == service) {
            s->pending[i] = NULL;
            service->state = ZLT_SERVICE_DOWN;
            zlt_service_release(service);
            return;
        }
    }

    if (service->state != ZLT_SERVICE_UP || service->nids == 0) {
        return;
    }

    service->state = ZLT_SERVICE_DOWN;

    memset(&m, 0, sizeof(zlt_msg_t));
    m.type = ZLT_UNREGISTER;
    m.service_id = service->ids[0];

    zlt_session_send(s, &m);
}


static void
zlt_session_connect(zlt_session_t *s, const zlt_msg_t *m)
{
    if (!(s->features & ZLT_F_CHANNELS)) {
        zlt_session_connect_fail(s, m->connection_id, ZLT_E_REFUSED,
                                 "no data channel");
        return;
    }

    if (s->agent->pool && !s->kept) {
        zlt_pool_demand(s->agent->pool);
    }

    zlt_channel_fresh(s->agent, s, &s->param, m);
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
zlt_session_withdraw(zlt_session_t *s, const zlt_msg_t *m)
{
    char            text[ZLT_LOG_TEXT_SIZE];
    zlt_service_t  *service;

    service = zlt_service_by_id(&s->agent->services, m->service_id);

    if (service == NULL || service->state != ZLT_SERVICE_UP) {
        return;
    }

    service->state = ZLT_SERVICE_REFUSED;
    service->again = 0;

    (void) zlt_log_text(text, m->reason);
    (void) snprintf(service->refused, sizeof(service->refused), "%.270s",
                    text);

    zlt_link_log(s->agent->label, ZLT_LOG_ERROR, "the server has withdrawn "
                 "the service \"%s\": %s", service->conf.name, text);

    zlt_session_registered(s);
}


static void
zlt_session_disconnect(zlt_session_t *s, const zlt_msg_t *m)
{
    char          text[ZLT_LOG_TEXT_SIZE];
    uint32_t      retry;
    zlt_agent_t  *a;

    a = s->agent;
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

        zlt_link_log(a->label, ZLT_LOG_INFO, "the server asks to connect "
                     "anew: %s", text);
        zlt_agent_down(a, s, ZLT_DOWN_RECONNECT, retry,
                       zlt_io_now() - s->up_since);
        return;
    }

    zlt_session_fail(s, ZLT_DOWN_LOST, retry,
                     "the server has ended the session: %s", text);
}
