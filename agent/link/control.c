
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A session: the control channel, from dialling to its end.
 *
 * Reach, TLS, the upgrade, Auth, and from AuthOk on it is up.  The handler of
 * its connection is the step.  Answers to Register carry nothing that tells
 * which they answer, so a queue remembers the order of the requests.
 *
 * The server is alive if anything comes from it.  We ask for that, by
 * Heartbeat, or by a WebSocket Ping at a server of version 1, and when
 * nothing has come within the timeout after asking, the session is dead.
 */


#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>

#include "agent.h"
#include "http.h"
#include "session.h"
#include "version.h"


#define ZLT_SESSION_AUTH_TIMEOUT   15000       /* ms, upgrade and Auth each */
#define ZLT_SESSION_CLOSE_TIMEOUT  2000
#define ZLT_SESSION_PING           25000       /* without features */


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
static void zlt_session_check(zlt_session_t *s, uint64_t now);


static uint32_t  zlt_session_serials;


zlt_session_t *
zlt_session_start(zlt_agent_t *a)
{
    zlt_session_t  *s;

    s = calloc(1, sizeof(zlt_session_t));
    if (s == NULL) {
        return NULL;
    }

    s->agent = a;
    s->serial = ++zlt_session_serials;

    zlt_conn_init(&s->conn);
    zlt_list_init(&s->link);
    zlt_list_init(&s->asks);
    zlt_list_init(&s->task.link);
    zlt_ws_init(&s->ws, ZLT_WS_CLIENT, ZLT_MAX_MESSAGE_SIZE);

    s->reach = zlt_reach_start(a->loop, &a->conf->url, &a->conf->via,
                               a->conf->connect_timeout, zlt_session_reached,
                               s);

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

    if (s->agent->tls == NULL) {
        zlt_session_request(s);
        return;
    }

    if (zlt_tls_start(s->agent->tls, &s->conn) == -1) {
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
                         s->agent->conf->url.host, error);

    } else if (rc == 0) {
        zlt_session_request(s);
    }
}


static void
zlt_session_request(zlt_session_t *s)
{
    char    buf[ZLT_HTTP_REQUEST_SIZE];
    size_t  n;

    n = zlt_http_control(buf, &s->agent->conf->url, s->accept);

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
                         zlt_tls_hint(s->agent->tls));
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
        hint = zlt_tls_hint(s->agent->tls);

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
    uint8_t       client_id[ZLT_ID_SIZE];
    zlt_msg_t     m;
    zlt_agent_t  *a;

    static const char  agent[] = "zltunnel-agent/" ZLT_AGENT_VERSION;

    a = s->agent;

    memset(&m, 0, sizeof(zlt_msg_t));

    if (RAND_bytes(client_id, sizeof(client_id)) != 1) {
        zlt_session_fail(s, ZLT_DOWN_LOST, 0, "no random numbers");
        return;
    }

    /* a UUID of version 4 */

    client_id[6] = (client_id[6] & 0x0f) | 0x40;
    client_id[8] = (client_id[8] & 0x3f) | 0x80;

    m.type = ZLT_AUTH;
    m.token.data = (const uint8_t *) a->token.text;
    m.token.len = a->token.len;
    m.client_id = client_id;

    m.ext = ZLT_X_FEATURES|ZLT_X_AGENT;
    m.features = ZLT_F_CHANNELS|ZLT_F_HEARTBEATS|ZLT_F_DATAGRAMS
                 |ZLT_F_ACCESS;

    if (a->conf->max_idle != 0) {
        /* a channel that is used again is idle in between */
        m.features |= ZLT_F_REUSE|ZLT_F_LANES;
    }

    m.agent.data = (const uint8_t *) agent;
    m.agent.len = sizeof(agent) - 1;

    if (a->resumable) {
        m.ext |= ZLT_X_RESUME_KEY;
        m.resume_key = a->resume_key;
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

    if (s->closing || s->agent->stopping) {
        zlt_link_log(s->agent->label, ZLT_LOG_DEBUG, "%s", text);

    } else if (s->kept) {
        zlt_link_log(s->agent->label, ZLT_LOG_INFO, "the earlier control "
                     "channel has ended: %s", text);

    } else if (how == ZLT_DOWN_REFUSED) {
        zlt_link_log(s->agent->label, ZLT_LOG_ERROR, "%s", text);

    } else {
        zlt_link_log(s->agent->label, ZLT_LOG_WARN, "%s", text);
    }

    if (s == s->agent->session && !s->closing && !s->agent->stopping) {
        zlt_agent_reason(s->agent, text);
    }

    zlt_session_end(s, how, retry_after);
}


static void
zlt_session_end(zlt_session_t *s, zlt_down_e how, uint32_t retry_after)
{
    uint64_t      healthy;
    zlt_agent_t  *a;

    a = s->agent;
    healthy = s->up ? zlt_io_now() - s->up_since : 0;

    zlt_session_abort(s);

    zlt_agent_down(a, s, how, retry_after, healthy);
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
    zlt_list_remove(&s->link);

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


/* No answer to a Register is waited for any more. */

static void
zlt_session_forget(zlt_session_t *s)
{
    unsigned  i;

    for (i = 0; i < s->npending; i++) {
        if (s->pending[i]) {
            s->pending[i]->state = ZLT_SERVICE_DOWN;
            zlt_service_release(s->pending[i]);
        }
    }

    free(s->pending);

    s->pending = NULL;
    s->npending = 0;
    s->pending_size = 0;

    zlt_session_access_lost(s);
    zlt_channel_registered(s->agent);
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
        zlt_session_check(s, now);
    }
}


static void
zlt_session_check(zlt_session_t *s, uint64_t now)
{
    uint32_t  interval;

    if (s->asked && now >= s->asked) {
        zlt_session_fail(s, ZLT_DOWN_LOST, 0, "nothing was heard from the "
                         "server, though asked");
        return;
    }

    if (now < s->next_beat) {
        return;
    }

    interval = s->interval ? s->interval : ZLT_SESSION_PING;

    s->next_beat = now + interval - interval / 5
                   + zlt_agent_random(interval * 2 / 5 + 1);

    zlt_session_probe(s, s->timeout ? s->timeout : ZLT_SESSION_TIMEOUT);
}


/* Asks for a sign of life within so many ms. */

void
zlt_session_probe(zlt_session_t *s, unsigned timeout)
{
    uint64_t         deadline;
    zlt_msg_t        m;
    struct timespec  ts;

    if (!s->up || s->closing) {
        return;
    }

    deadline = zlt_io_now() + timeout;

    if (s->asked == 0 || deadline < s->asked) {
        s->asked = deadline;
    }

    if (!(s->features & ZLT_F_HEARTBEATS)) {
        zlt_session_frame(s, ZLT_WS_OP_PING, NULL, 0);
        return;
    }

    (void) clock_gettime(CLOCK_REALTIME, &ts);

    memset(&m, 0, sizeof(zlt_msg_t));
    m.type = ZLT_HEARTBEAT;
    m.timestamp = (uint64_t) ts.tv_sec * 1000
                  + (uint64_t) ts.tv_nsec / 1000000;

    s->beat = m.timestamp;
    s->beat_at = uv_hrtime();

    zlt_session_send(s, &m);
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


uint32_t
zlt_session_serial(const zlt_session_t *s)
{
    return s->serial;
}


void
zlt_session_keep_aside(zlt_session_t *s, zlt_list_t *kept)
{
    s->kept = 1;
    zlt_session_forget(s);
    zlt_list_append(kept, &s->link);
}


zlt_session_t *
zlt_session_of_link(zlt_list_t *link)
{
    return zlt_list_data(link, zlt_session_t, link);
}


const zlt_pool_param_t *
zlt_session_param(const zlt_session_t *s)
{
    return (s->features & ZLT_F_CHANNELS) ? &s->param : NULL;
}


zlt_session_t *
zlt_session_find(zlt_agent_t *a, uint32_t serial)
{
    zlt_list_t     *link;
    zlt_session_t  *s;

    if (a->session && a->session->serial == serial
        && zlt_session_is_up(a->session))
    {
        return a->session;
    }

    zlt_list_each(link, &a->kept) {
        s = zlt_session_of_link(link);

        if (s->serial == serial && zlt_session_is_up(s)) {
            return s;
        }
    }

    return NULL;
}
