
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A session: the control channel, from dialling to its end.
 *
 * Reach, TLS, the upgrade, Auth, and from AuthOk on it is up.  The handler of
 * its connection is the step.
 */


#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>

#include "channel.h"
#include "conf.h"
#include "control.h"
#include "control_heartbeat.h"
#include "control_register.h"
#include "control_ws.h"
#include "link.h"
#include "tls.h"
#include "version.h"


#define ZLT_SESSION_AUTH_TIMEOUT   15000       /* ms, upgrade and Auth each */
#define ZLT_SESSION_CLOSE_TIMEOUT  2000


static void zlt_session_reached(void *data, zlt_conn_t *c,
    const zlt_way_t *way, const char *error);
static void zlt_session_handshaking(zlt_io_t *io);
static void zlt_session_request(zlt_session_t *s);
static void zlt_session_answer(zlt_io_t *io);
static int zlt_session_upgraded(zlt_session_t *s, zlt_http_answer_t *a);
static void zlt_session_auth(zlt_session_t *s);
static void zlt_session_event(zlt_io_t *io);
static void zlt_session_forget(zlt_session_t *s);
static void zlt_session_freed(zlt_task_t *task);
static void zlt_session_end(zlt_session_t *s, zlt_down_e how,
    uint32_t retry_after);


static uint32_t  zlt_session_serials;


zlt_session_t *
zlt_session_start(zlt_link_t *l)
{
    zlt_session_t     *s;
    const zlt_conf_t  *conf;

    s = calloc(1, sizeof(zlt_session_t));
    if (s == NULL) {
        return NULL;
    }

    s->link = l;
    s->serial = ++zlt_session_serials;

    zlt_conn_init(&s->conn);
    zlt_list_init(&s->node);
    zlt_list_init(&s->asks);
    zlt_list_init(&s->task.link);
    zlt_ws_init(&s->ws, ZLT_WS_CLIENT, ZLT_MAX_MESSAGE_SIZE);

    conf = l->owner.conf;

    s->reach = zlt_reach_start(l->owner.loop, &conf->url, &conf->via,
                               conf->connect_timeout, zlt_session_reached, s);

    if (s->reach == NULL) {
        free(s);
        return NULL;
    }

    return s;
}


static void
zlt_session_reached(void *data, zlt_conn_t *c, const zlt_way_t *way,
    const char *error)
{
    zlt_session_t  *s;

    s = data;
    s->reach = NULL;

    if (c == NULL) {
        zlt_session_fail(s, ZLT_DOWN_LOST, 0,
                         "the server cannot be reached: %s", error);
        return;
    }

    s->param.way = *way;

    if (zlt_io_move(&s->conn.io, &c->io, zlt_session_handshaking) == -1) {
        zlt_session_fail(s, ZLT_DOWN_LOST, 0, "%s", strerror(errno));
        return;
    }

    s->conn.io.data = s;
    s->deadline = zlt_io_now() + ZLT_SESSION_AUTH_TIMEOUT;

    zlt_conn_keepalive(&s->conn);

    if (s->link->owner.tls == NULL) {
        zlt_session_request(s);
        return;
    }

    if (zlt_tls_start(s->link->owner.tls, &s->conn) == -1) {
        zlt_session_fail(s, ZLT_DOWN_LOST, 0, "out of memory");
        return;
    }

    zlt_session_handshaking(&s->conn.io);
}


static void
zlt_session_handshaking(zlt_io_t *io)
{
    int             rc;
    char            error[ZLT_TLS_ERROR_SIZE];
    zlt_session_t  *s;

    s = io->data;

    rc = zlt_tls_handshake(&s->conn, error);

    if (rc == ZLT_CONN_ERROR) {
        zlt_session_fail(s, ZLT_DOWN_LOST, 0, "TLS with \"%s\" failed: %s",
                         s->link->owner.conf->url.host, error);

    } else if (rc == 0) {
        zlt_session_request(s);
    }
}


static void
zlt_session_request(zlt_session_t *s)
{
    char    buf[ZLT_HTTP_REQUEST_SIZE];
    size_t  n;

    n = zlt_http_control(buf, &s->link->owner.conf->url, s->accept);

    if (n == 0 || zlt_session_output(s, buf, n) == -1) {
        zlt_session_fail(s, ZLT_DOWN_LOST, 0,
                         "the request could not be made");
        return;
    }

    s->conn.io.handler = zlt_session_answer;

    zlt_session_answer(&s->conn.io);
}


static void
zlt_session_answer(zlt_io_t *io)
{
    size_t              len;
    ssize_t             n;
    zlt_session_t      *s;
    zlt_http_answer_t   answer;

    s = io->data;

    if (zlt_session_flush(s) == -1) {
        return;
    }

    /* what there is so far is kept in the buffer for messages */

    if (s->message_len) {
        memcpy(zlt_scratch, s->message, s->message_len);
    }

    n = zlt_conn_read(&s->conn, zlt_scratch + s->message_len,
                      ZLT_HTTP_HEADER_MAX);

    if (n == ZLT_CONN_AGAIN) {
        return;
    }

    if (n <= 0) {
        zlt_session_fail(s, ZLT_DOWN_LOST, 0, "the server closed the "
                         "connection without an answer%s",
                         zlt_tls_hint(s->link->owner.tls));
        return;
    }

    len = s->message_len + (size_t) n;

    n = zlt_http_parse(&answer, (char *) zlt_scratch, len);

    if (n < 0) {
        zlt_session_fail(s, ZLT_DOWN_LOST, 0,
                         "the server does not answer in HTTP");
        return;
    }

    if (n == 0) {
        if (zlt_session_keep(s, zlt_scratch + s->message_len,
                             len - s->message_len)
            == -1)
        {
            zlt_session_fail(s, ZLT_DOWN_LOST, 0, "out of memory");
            return;
        }

        zlt_session_answer(io);
        return;
    }

    if (zlt_session_upgraded(s, &answer) == -1) {
        return;
    }

    s->message_len = 0;
    s->conn.io.handler = zlt_session_event;
    s->deadline = zlt_io_now() + ZLT_SESSION_AUTH_TIMEOUT;

    zlt_session_auth(s);

    if (s->conn.io.fd != -1 && len > (size_t) n) {
        zlt_session_input(s, zlt_scratch + n, len - (size_t) n);
    }

    if (s->conn.io.fd != -1) {
        zlt_session_event(io);
    }
}


/* What went wrong should lead to the line of nginx.conf that does it. */

static int
zlt_session_upgraded(zlt_session_t *s, zlt_http_answer_t *a)
{
    const char  *hint;
    zlt_down_e   how;

    if (a->status == 101 && a->websocket && a->upgrade
        && strcmp(a->accept, s->accept) == 0)
    {
        return 0;
    }

    how = ZLT_DOWN_LOST;
    hint = "";

    switch (a->status) {

    case 101:
        zlt_session_fail(s, how, 0, "the server's upgrade to WebSocket is "
                         "not valid");
        return -1;

    case 200:
    case 404:
    case 405:
        hint = ": is the path the one where zltunnel is served?";
        break;

    case 301:
    case 302:
    case 307:
    case 308:
        hint = ": redirects are not followed";
        break;

    case 401:
    case 403:
        hint = ": something in front of the tunnel refuses us";
        break;

    case 426:
        hint = ": does a proxy on the way pass on the upgrade?";
        break;

    case 400:
        hint = zlt_tls_hint(s->link->owner.tls);

        if (*hint == '\0') {
            hint = ": does a proxy on the way pass on the upgrade?";
        }

        break;
    }

    zlt_session_fail(s, how, a->retry_after, "the server answered %u %s%s",
                     a->status, a->reason, hint);
    return -1;
}


static void
zlt_session_auth(zlt_session_t *s)
{
    uint8_t      client_id[ZLT_ID_SIZE];
    zlt_msg_t    m;
    zlt_link_t  *l;

    static const char  agent[] = "zltunnel-agent/" ZLT_AGENT_VERSION;

    l = s->link;

    memset(&m, 0, sizeof(zlt_msg_t));

    if (RAND_bytes(client_id, sizeof(client_id)) != 1) {
        zlt_session_fail(s, ZLT_DOWN_LOST, 0, "no random numbers");
        return;
    }

    /* a UUID of version 4 */

    client_id[6] = (client_id[6] & 0x0f) | 0x40;
    client_id[8] = (client_id[8] & 0x3f) | 0x80;

    m.type = ZLT_AUTH;
    m.token.data = (const uint8_t *) l->token.text;
    m.token.len = l->token.len;
    m.client_id = client_id;

    m.ext = ZLT_X_FEATURES|ZLT_X_AGENT;
    m.features = ZLT_F_CHANNELS|ZLT_F_HEARTBEATS|ZLT_F_DATAGRAMS
                 |ZLT_F_ACCESS;

    if (l->owner.conf->max_idle != 0) {
        /* a channel that is used again is idle in between */
        m.features |= ZLT_F_REUSE|ZLT_F_LANES;
    }

    m.agent.data = (const uint8_t *) agent;
    m.agent.len = sizeof(agent) - 1;

    if (l->resumable) {
        m.ext |= ZLT_X_RESUME_KEY;
        m.resume_key = l->resume_key;
    }

    zlt_session_send(s, &m);
}


static void
zlt_session_event(zlt_io_t *io)
{
    ssize_t         n;
    zlt_session_t  *s;

    s = io->data;

    if (zlt_session_flush(s) == -1) {
        return;
    }

    for ( ;; ) {
        n = zlt_conn_read(&s->conn, zlt_scratch, ZLT_RELAY_SCRATCH);

        if (n == ZLT_CONN_AGAIN) {
            return;
        }

        if (n <= 0) {
            if (s->closing) {
                zlt_session_end(s, ZLT_DOWN_CLOSED, 0);

            } else {
                zlt_session_fail(s, ZLT_DOWN_LOST, 0, "the control channel "
                                 "was closed%s%s",
                                 n == 0 ? "" : ": ",
                                 n == 0 ? "" : strerror(errno));
            }

            return;
        }

        zlt_session_input(s, zlt_scratch, (size_t) n);

        if (s->conn.io.fd == -1) {
            return;
        }
    }
}


void
zlt_session_fail(zlt_session_t *s, zlt_down_e how, uint32_t retry_after,
    const char *fmt, ...)
{
    char     text[1024];
    va_list  ap;

    va_start(ap, fmt);
    (void) vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);

    if (s->closing || s->link->owner.stopping) {
        zlt_log_debug("%s", text);

    } else if (s->kept) {
        zlt_log_info("%sthe earlier control channel has ended: %s",
                     s->link->label, text);

    } else if (how == ZLT_DOWN_REFUSED) {
        zlt_log_error("%s%s", s->link->label, text);

    } else {
        zlt_log_warn("%s%s", s->link->label, text);
    }

    if (s == s->link->session && !s->closing && !s->link->owner.stopping) {
        zlt_agent_reason(s->link, text);
    }

    zlt_session_end(s, how, retry_after);
}


static void
zlt_session_end(zlt_session_t *s, zlt_down_e how, uint32_t retry_after)
{
    uint64_t     healthy;
    zlt_link_t  *l;

    l = s->link;
    healthy = s->up ? zlt_io_now() - s->up_since : 0;

    zlt_session_abort(s);

    zlt_agent_down(l, s, how, retry_after, healthy);
}


void
zlt_session_abort(zlt_session_t *s)
{
    if (s->freed) {
        return;
    }

    s->freed = 1;

    zlt_reach_cancel(s->reach);
    s->reach = NULL;

    zlt_conn_close(&s->conn);
    zlt_list_remove(&s->node);

    zlt_session_forget(s);

    free(s->message);
    free(s->out);

    s->message = NULL;
    s->message_len = 0;
    s->out = NULL;
    s->out_len = 0;

    OPENSSL_cleanse(&s->param, sizeof(zlt_pool_param_t));

    s->task.handler = zlt_session_freed;
    zlt_io_later(&s->task);
}


/* No answers are waited for any more. */

static void
zlt_session_forget(zlt_session_t *s)
{
    zlt_control_register_lost(s);
    zlt_session_access_lost(s);
    zlt_channel_registered(&s->link->owner);
}


static void
zlt_session_freed(zlt_task_t *task)
{
    free(zlt_list_data(task, zlt_session_t, task));
}


void
zlt_session_close(zlt_session_t *s, const char *reason)
{
    size_t   n;
    uint8_t  payload[ZLT_WS_MAX_CONTROL];

    if (s->closing) {
        return;
    }

    s->closing = 1;

    if (s->conn.io.fd == -1 || s->conn.io.handler != zlt_session_event) {
        zlt_session_end(s, ZLT_DOWN_CLOSED, 0);
        return;
    }

    n = zlt_ws_close_payload(payload, ZLT_WS_GOING_AWAY, reason);

    s->deadline = zlt_io_now() + ZLT_SESSION_CLOSE_TIMEOUT;

    zlt_session_frame(s, ZLT_WS_OP_CLOSE, payload, n);
}


void
zlt_session_tick(zlt_session_t *s)
{
    uint64_t  now;

    now = zlt_io_now();

    if (s->deadline && now >= s->deadline) {

        if (s->closing) {
            zlt_session_end(s, ZLT_DOWN_CLOSED, 0);
            return;
        }

        zlt_session_fail(s, ZLT_DOWN_LOST, 0,
                         "the server did not answer in time");
        return;
    }

    if (s->up && !s->closing) {
        zlt_control_heartbeat_tick(s, now);
    }
}


int
zlt_session_is_up(const zlt_session_t *s)
{
    return s->up && !s->closing && !s->freed;
}


int
zlt_session_registers(const zlt_session_t *s)
{
    return s->npending != 0;
}


void
zlt_session_keep_aside(zlt_session_t *s, zlt_list_t *kept)
{
    s->kept = 1;
    zlt_session_forget(s);
    zlt_list_append(kept, &s->node);
}


zlt_session_t *
zlt_session_of_link(zlt_list_t *node)
{
    return zlt_list_data(node, zlt_session_t, node);
}


const zlt_pool_param_t *
zlt_session_param(const zlt_session_t *s)
{
    return (s->features & ZLT_F_CHANNELS) ? &s->param : NULL;
}


zlt_session_t *
zlt_session_find(zlt_link_t *l, uint32_t serial)
{
    zlt_list_t     *link;
    zlt_session_t  *s;

    if (l->session && l->session->serial == serial
        && zlt_session_is_up(l->session))
    {
        return l->session;
    }

    zlt_list_each(link, &l->kept) {
        s = zlt_session_of_link(link);

        if (s->serial == serial && zlt_session_is_up(s)) {
            return s;
        }
    }

    return NULL;
}
