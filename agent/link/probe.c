
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A probe asks four times, each on a connection of its own: as a browser
 * would, which tells whether the path is zltunnel's, and the server's time; as
 * data channels of both kinds, with the id of no tunnel, which the server
 * refuses if the request has come as it was sent; and with the token, by an
 * Auth that is only a question.
 */


#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>

#include "conf.h"
#include "conn.h"
#include "http.h"
#include "http_hint.h"
#include "io.h"
#include "log.h"
#include "probe.h"
#include "probe_rights.h"
#include "reach.h"
#include "tls.h"
#include "tls_told.h"
#include "transport.h"
#include "version.h"
#include "zlt_ws.h"


#define ZLT_PROBE_IN     16384
#define ZLT_PROBE_OUT    8192
#define ZLT_PROBE_CLOCK  60            /* s that clocks may be apart */


typedef enum {
    ZLT_PROBE_PATH = 0,
    ZLT_PROBE_RAW,
    ZLT_PROBE_WEBSOCKET,
    ZLT_PROBE_TOKEN,
    ZLT_PROBE_STEPS
} zlt_probe_step_e;


typedef struct {
    uv_loop_t          *loop;
    zlt_conf_t         *conf;
    zlt_tls_t          *tls;
    const zlt_token_t  *token;
    zlt_probe_pt        tell;

    zlt_probe_step_e    step;
    zlt_reach_t        *reach;
    zlt_conn_t          conn;
    uv_timer_t          timer;
    char                accept[ZLT_HTTP_ACCEPT_SIZE];
    zlt_ws_parser_t     ws;

    uint8_t             out[ZLT_PROBE_OUT];
    size_t              out_pos;
    size_t              out_len;
    uint8_t             in[ZLT_PROBE_IN];
    uint8_t            *pos;
    uint8_t            *last;

    unsigned            failed;
    unsigned            named:1;       /* the name has been told */
    unsigned            upgraded:1;    /* the token's question has been sent */
    unsigned            raw:1;         /* such channels can be had */
    unsigned            over:1;        /* this step */
} zlt_probe_t;


static void zlt_probe_step(zlt_probe_t *p);
static void zlt_probe_found(void *data, const char *host,
    const zlt_addrs_t *addrs);
static void zlt_probe_reached(void *data, zlt_conn_t *conn,
    const zlt_way_t *way, const char *error);
static void zlt_probe_handshake(zlt_io_t *io);
static void zlt_probe_request(zlt_probe_t *p);
static size_t zlt_probe_text(zlt_probe_t *p, char *buf);
static void zlt_probe_event(zlt_io_t *io);
static int zlt_probe_flush(zlt_probe_t *p);
static int zlt_probe_answer(zlt_probe_t *p);
static void zlt_probe_path(zlt_probe_t *p, const zlt_http_answer_t *a,
    const char *hint);
static void zlt_probe_clock(zlt_probe_t *p, const zlt_http_answer_t *a);
static void zlt_probe_channel(zlt_probe_t *p, const zlt_http_answer_t *a);
static int zlt_probe_control(zlt_probe_t *p, const zlt_http_answer_t *a,
    const char *hint);
static int zlt_probe_auth(zlt_probe_t *p);
static void zlt_probe_message(zlt_probe_t *p);
static void zlt_probe_services(zlt_probe_t *p, zlt_str_t rights);
static void zlt_probe_said(zlt_probe_t *p, zlt_probe_result_e result,
    const char *fmt, ...) zlt_printf_like(3, 4);
static void zlt_probe_tell(zlt_probe_t *p, const char *step,
    zlt_probe_result_e result, const char *fmt, ...) zlt_printf_like(4, 5);
static void zlt_probe_expired(uv_timer_t *timer);


static const char *const  zlt_probe_names[] = {
    "path", "raw", "websocket", "token"
};


unsigned
zlt_probe(uv_loop_t *loop, zlt_conf_t *conf, zlt_tls_t *tls,
    const zlt_token_t *token, zlt_probe_pt tell)
{
    unsigned      failed;
    zlt_probe_t  *p;

    p = calloc(1, sizeof(zlt_probe_t));

    if (p == NULL) {
        tell("path", ZLT_PROBE_FAILED, "out of memory");
        return 1;
    }

    p->loop = loop;
    p->conf = conf;
    p->tls = tls;
    p->token = token;
    p->tell = tell;

    (void) uv_timer_init(loop, &p->timer);
    p->timer.data = p;

    for ( /* void */ ; p->step < ZLT_PROBE_STEPS; p->step++) {

        zlt_probe_step(p);

        if (p->failed && p->step == ZLT_PROBE_PATH) {
            /* nothing that follows would tell more */
            break;
        }
    }

    uv_close((uv_handle_t *) &p->timer, NULL);
    (void) uv_run(loop, UV_RUN_NOWAIT);

    failed = p->failed;

    OPENSSL_cleanse(p, sizeof(zlt_probe_t));
    free(p);

    return failed;
}


static void
zlt_probe_step(zlt_probe_t *p)
{
    zlt_conn_init(&p->conn);

    p->over = 0;
    p->out_pos = 0;
    p->out_len = 0;
    p->pos = p->in;
    p->last = p->in;

    p->reach = zlt_reach_start(p->loop, &p->conf->url, &p->conf->via,
                               p->conf->connect_timeout, zlt_probe_reached,
                               zlt_probe_found, p);

    if (p->reach == NULL) {
        zlt_probe_said(p, ZLT_PROBE_FAILED, "out of memory");
        return;
    }

    (void) uv_timer_start(&p->timer, zlt_probe_expired,
                          2 * (uint64_t) p->conf->connect_timeout, 0);

    zlt_io_run();

    (void) uv_timer_stop(&p->timer);

    zlt_reach_cancel(p->reach);
    p->reach = NULL;

    zlt_conn_close(&p->conn);
}


static void
zlt_probe_found(void *data, const char *host, const zlt_addrs_t *addrs)
{
    char          text[ZLT_ADDRS_TEXT];
    zlt_probe_t  *p;

    p = data;

    if (!p->named) {
        p->named = 1;
        zlt_probe_tell(p, "name", ZLT_PROBE_OK, "%s is %s", host,
                       zlt_addr_list(text, addrs));
    }
}


static void
zlt_probe_reached(void *data, zlt_conn_t *conn, const zlt_way_t *way,
    const char *error)
{
    char          text[ZLT_ADDR_TEXT];
    const char   *step;
    zlt_probe_t  *p;

    p = data;
    p->reach = NULL;
    step = p->conf->via.kind ? "proxy" : "address";

    if (conn == NULL) {
        zlt_probe_tell(p, strncmp(error, "the name ", 9) == 0 ? "name" : step,
                       ZLT_PROBE_FAILED, "%s", error);
        p->over = 1;
        zlt_io_stop();
        return;
    }

    if (p->step == ZLT_PROBE_PATH && p->conf->via.kind) {
        zlt_probe_tell(p, step, ZLT_PROBE_OK, "%s at %s, from %s",
                       p->conf->via.name, zlt_addr_text(text, &way->addr),
                       p->conf->via.source);

    } else if (p->step == ZLT_PROBE_PATH) {
        zlt_probe_tell(p, step, ZLT_PROBE_OK, "%s is connected",
                       zlt_addr_text(text, &way->addr));
    }

    if (zlt_io_move(&p->conn.io, &conn->io, zlt_probe_handshake) == -1) {
        zlt_probe_said(p, ZLT_PROBE_FAILED, "%s", strerror(errno));
        return;
    }

    p->conn.io.data = p;

    if (p->tls == NULL) {
        zlt_probe_request(p);

    } else if (zlt_tls_start(p->tls, &p->conn) == -1) {
        zlt_probe_said(p, ZLT_PROBE_FAILED, "out of memory");

    } else {
        zlt_probe_handshake(&p->conn.io);
    }
}


static void
zlt_probe_handshake(zlt_io_t *io)
{
    int           rc;
    char          text[ZLT_TLS_ERROR_SIZE];
    zlt_probe_t  *p;

    p = io->data;

    rc = zlt_tls_handshake(&p->conn, text);

    if (rc == ZLT_CONN_AGAIN) {
        return;
    }

    if (rc == ZLT_CONN_ERROR) {
        zlt_probe_tell(p, "TLS", ZLT_PROBE_FAILED, "%s", text);
        p->over = 1;
        zlt_io_stop();
        return;
    }

    if (p->step == ZLT_PROBE_PATH) {
        zlt_tls_told(&p->conn, text);
        zlt_probe_tell(p, "TLS", ZLT_PROBE_OK, "%s%s", text,
                       p->conf->insecure ? "; it is not verified" : "");
    }

    zlt_probe_request(p);
}


static void
zlt_probe_request(zlt_probe_t *p)
{
    p->out_len = zlt_probe_text(p, (char *) p->out);

    if (p->out_len == 0) {
        zlt_probe_said(p, ZLT_PROBE_FAILED, "the request could not be made");
        return;
    }

    p->conn.io.handler = zlt_probe_event;
    zlt_probe_event(&p->conn.io);
}


static size_t
zlt_probe_text(zlt_probe_t *p, char *buf)
{
    uint8_t  id[ZLT_ID_SIZE], key[ZLT_KEY_SIZE];

    if (RAND_bytes(id, sizeof(id)) != 1 || RAND_bytes(key, sizeof(key)) != 1) {
        return 0;
    }

    switch (p->step) {

    case ZLT_PROBE_PATH:
        return zlt_http_plain(buf, &p->conf->url);

    case ZLT_PROBE_RAW:
        return zlt_http_channel(buf, &p->conf->url, id, key, NULL, NULL);

    case ZLT_PROBE_WEBSOCKET:
        return zlt_http_channel(buf, &p->conf->url, id, key, NULL, p->accept);

    default:
        return zlt_http_control(buf, &p->conf->url, p->accept);
    }
}


static void
zlt_probe_event(zlt_io_t *io)
{
    ssize_t       n;
    zlt_probe_t  *p;

    p = io->data;

    while (!p->over) {

        if (zlt_probe_flush(p) == -1) {
            zlt_probe_said(p, ZLT_PROBE_FAILED, "%s", strerror(errno));
            return;
        }

        n = zlt_conn_read(&p->conn, p->last,
                          (size_t) (p->in + ZLT_PROBE_IN - p->last));

        if (n == ZLT_CONN_AGAIN) {
            return;
        }

        if (n <= 0) {
            zlt_probe_said(p, ZLT_PROBE_FAILED, "the server closed the "
                           "connection without an answer%s",
                           p->upgraded ? ""
                           : zlt_http_hint_foreign(p->in,
                                                   (size_t) (p->last - p->in),
                                                   p->tls));
            return;
        }

        p->last += n;

        if (p->upgraded || zlt_probe_answer(p)) {
            zlt_probe_message(p);
        }
    }
}


static int
zlt_probe_flush(zlt_probe_t *p)
{
    ssize_t  n;

    n = zlt_conn_flush(&p->conn);

    while (n >= 0 && p->out_pos < p->out_len) {
        n = zlt_conn_write(&p->conn, p->out + p->out_pos,
                           p->out_len - p->out_pos);

        if (n > 0) {
            p->out_pos += (size_t) n;
        }
    }

    return n == ZLT_CONN_ERROR ? -1 : 0;
}


/* 1 if messages follow. */

static int
zlt_probe_answer(zlt_probe_t *p)
{
    ssize_t             n;
    const char         *hint;
    zlt_http_answer_t   a;

    n = zlt_http_parse(&a, (char *) p->in, (size_t) (p->last - p->in));

    if (n == 0) {
        return 0;
    }

    if (n < 0) {
        zlt_probe_said(p, ZLT_PROBE_FAILED, "the server does not answer in "
                       "HTTP%s",
                       zlt_http_hint_foreign(p->in,
                                             (size_t) (p->last - p->in),
                                             p->tls));
        return 0;
    }

    hint = zlt_http_hint(&a, p->in + n, (size_t) (p->last - p->in - n),
                         p->tls, p->conf->url.path);

    switch (p->step) {

    case ZLT_PROBE_PATH:
        zlt_probe_path(p, &a, hint);
        return 0;

    case ZLT_PROBE_RAW:
    case ZLT_PROBE_WEBSOCKET:
        zlt_probe_channel(p, &a);
        return 0;

    default:
        p->pos = p->in + n;
        return zlt_probe_control(p, &a, hint);
    }
}


/* zltunnel's own answer to a request without an upgrade is 426. */

static void
zlt_probe_path(zlt_probe_t *p, const zlt_http_answer_t *a, const char *hint)
{
    if (a->workers == 0 || a->status != 426) {
        zlt_probe_said(p, ZLT_PROBE_FAILED, "the server answered %u %s%s",
                       a->status, a->reason, hint);
        return;
    }

    zlt_probe_said(p, ZLT_PROBE_OK, "zltunnel is at %s",
                   p->conf->url.path);
    zlt_probe_clock(p, a);
}


static void
zlt_probe_clock(zlt_probe_t *p, const zlt_http_answer_t *a)
{
    long  apart;

    if (a->date == 0) {
        zlt_probe_tell(p, "clock", ZLT_PROBE_NO, "the server does not tell "
                       "its time");
        return;
    }

    apart = (long) (time(NULL) - a->date);

    if (labs(apart) <= ZLT_PROBE_CLOCK) {
        zlt_probe_tell(p, "clock", ZLT_PROBE_OK, "as the server's");
        return;
    }

    zlt_probe_tell(p, "clock", ZLT_PROBE_FAILED, "this machine's is %ld s %s "
                   "the server's: set the one that is wrong", labs(apart),
                   apart > 0 ? "ahead of" : "behind");
}


static void
zlt_probe_channel(zlt_probe_t *p, const zlt_http_answer_t *a)
{
    int  passes, raw;

    raw = (p->step == ZLT_PROBE_RAW);

    /* "no such tunnel", or a server that has its hands full; anything else is
       said of another request than was sent */

    passes = (a->workers && (a->status == 403 || a->status == 421
                             || a->status == 503));

    if (passes) {
        p->raw |= raw;
        zlt_probe_said(p, ZLT_PROBE_OK, raw
                       ? "\"Upgrade: zltunnel\" passes"
                       : "data channels within a WebSocket pass");

    } else if (raw && p->conf->transport != ZLT_TRANSPORT_RAW) {
        zlt_probe_said(p, ZLT_PROBE_NO, "\"Upgrade: zltunnel\" does not pass "
                       "(the server answered %u %s): data channels go within "
                       "a WebSocket", a->status, a->reason);

    } else if (!raw && p->raw && p->conf->transport != ZLT_TRANSPORT_WEBSOCKET)
    {
        zlt_probe_said(p, ZLT_PROBE_NO, "data channels within a WebSocket do "
                       "not pass (the server answered %u %s), nor are they "
                       "needed", a->status, a->reason);

    } else {
        zlt_probe_said(p, ZLT_PROBE_FAILED, "the server answered %u %s: does "
                       "a proxy on the way pass on %s?", a->status, a->reason,
                       raw ? "\"Upgrade: zltunnel\"" : "WebSockets");
    }
}


static int
zlt_probe_control(zlt_probe_t *p, const zlt_http_answer_t *a,
    const char *hint)
{
    if (a->status != 101 || !a->websocket || !a->upgrade
        || strcmp(a->accept, p->accept) != 0)
    {
        zlt_probe_tell(p, "upgrade", ZLT_PROBE_FAILED, "the server answered "
                       "%u %s%s", a->status, a->reason, hint);
        p->over = 1;
        zlt_io_stop();
        return 0;
    }

    zlt_probe_tell(p, "upgrade", ZLT_PROBE_OK, "the control channel's "
                   "WebSocket passes");

    p->upgraded = 1;

    if (zlt_probe_auth(p) == -1 || zlt_probe_flush(p) == -1) {
        zlt_probe_said(p, ZLT_PROBE_FAILED, "the question could not be sent");
        return 0;
    }

    zlt_ws_init(&p->ws, ZLT_WS_CLIENT, ZLT_MAX_MESSAGE_SIZE);

    return 1;
}


static int
zlt_probe_auth(zlt_probe_t *p)
{
    size_t     n, len;
    uint8_t    client_id[ZLT_ID_SIZE], mask[4], msg[ZLT_PROBE_OUT / 2];
    zlt_msg_t  m;

    static const char  agent[] = "zltunnel-agent/" ZLT_AGENT_VERSION;

    if (RAND_bytes(client_id, sizeof(client_id)) != 1
        || RAND_bytes(mask, sizeof(mask)) != 1)
    {
        return -1;
    }

    memset(&m, 0, sizeof(zlt_msg_t));

    m.type = ZLT_AUTH;
    m.token.data = (const uint8_t *) p->token->text;
    m.token.len = p->token->len;
    m.client_id = client_id;
    m.ext = ZLT_X_FEATURES|ZLT_X_AGENT|ZLT_X_CHECK;
    m.features = ZLT_F_CHANNELS;
    m.agent.data = (const uint8_t *) agent;
    m.agent.len = sizeof(agent) - 1;
    m.check = 1;

    len = zlt_msg_encode(&m, msg, sizeof(msg));

    if (len == 0) {
        return -1;
    }

    n = zlt_ws_header(p->out, ZLT_WS_OP_BINARY, len, mask);
    memcpy(p->out + n, msg, len);
    zlt_ws_mask(p->out + n, len, mask, 0);
    OPENSSL_cleanse(msg, sizeof(msg));

    p->out_pos = 0;
    p->out_len = n + len;

    return 0;
}


static void
zlt_probe_message(zlt_probe_t *p)
{
    char       text[ZLT_LOG_TEXT_SIZE], rights[ZLT_LOG_TEXT_SIZE];
    size_t     used;
    zlt_msg_t  m;

    if (zlt_ws_parse(&p->ws, &p->pos, p->last) != ZLT_WS_DATA) {
        return;
    }

    if (zlt_msg_decode(&m, p->ws.chunk, p->ws.chunk_len, ZLT_MAX_PAYLOAD,
                       &used)
        != ZLT_OK)
    {
        zlt_probe_said(p, ZLT_PROBE_FAILED, "the server's answer is not "
                       "valid");
        return;
    }

    if (m.type == ZLT_AUTH_FAIL) {
        zlt_probe_said(p, ZLT_PROBE_FAILED, "%s%s",
                       zlt_log_text(text, m.reason),
                       (m.ext & ZLT_X_CODE) && m.code == ZLT_E_BAD_TOKEN
                       ? " (not in the server's token file, or added less "
                         "than 3 s ago)" : "");

    } else if (m.type == ZLT_AUTH_OK && (m.ext & ZLT_X_RIGHTS)) {
        zlt_probe_said(p, ZLT_PROBE_OK, "\"%s\": %s",
                       zlt_log_text(text, m.name),
                       zlt_log_text(rights, m.rights));
        zlt_probe_services(p, m.rights);

    } else if (m.type == ZLT_AUTH_OK) {
        zlt_probe_said(p, ZLT_PROBE_OK, "it is right; the server, an older "
                       "one, does not tell what it may");
    }
}


static void
zlt_probe_services(zlt_probe_t *p, zlt_str_t rights)
{
    char  *text;

    text = strndup((const char *) rights.data, rights.len);

    if (text) {
        p->failed += zlt_probe_rights(p->conf, text, p->tell);
        free(text);
    }
}


/* What this step has come to. */

static void
zlt_probe_said(zlt_probe_t *p, zlt_probe_result_e result, const char *fmt,
    ...)
{
    char     text[3 * ZLT_LOG_TEXT_SIZE];
    va_list  ap;

    va_start(ap, fmt);
    (void) vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);

    p->over = 1;

    zlt_probe_tell(p, zlt_probe_names[p->step], result, "%s", text);
    zlt_io_stop();
}


static void
zlt_probe_tell(zlt_probe_t *p, const char *step, zlt_probe_result_e result,
    const char *fmt, ...)
{
    char     text[3 * ZLT_LOG_TEXT_SIZE];
    va_list  ap;

    va_start(ap, fmt);
    (void) vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);

    p->failed += (result == ZLT_PROBE_FAILED);
    p->tell(step, result, text);
}


static void
zlt_probe_expired(uv_timer_t *timer)
{
    zlt_probe_t  *p;

    p = timer->data;

    zlt_probe_said(p, ZLT_PROBE_FAILED, "the server did not answer within "
                   "%u s", (p->conf->connect_timeout * 2 + 999) / 1000);
}
