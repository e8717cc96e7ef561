
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
#include <openssl/crypto.h>
#include <openssl/rand.h>

#include "io.h"
#include "log.h"
#include "probe_answer.h"
#include "probe_state.h"
#include "probe_token.h"
#include "tls.h"
#include "tls_told.h"


static void zlt_probe_step(zlt_probe_t *p);
static void zlt_probe_found(void *data, const char *host, zlt_addrs_t *addrs);
static void zlt_probe_passed(void *data, zlt_upgrade_step_e step,
    const zlt_way_t *way);
static size_t zlt_probe_request(void *data, char *buf, zlt_http_want_t *want);
static void zlt_probe_done(void *data, const zlt_upgrade_end_t *end);
static void zlt_probe_event(zlt_io_t *io);
static int zlt_probe_flush(zlt_probe_t *p);
static void zlt_probe_second(uv_timer_t *timer);
static void zlt_probe_expired(zlt_timer_t *timer);


static const zlt_upgrade_ops_t  zlt_probe_upgrade = {
    zlt_probe_request,
    zlt_probe_done,
    zlt_probe_found,
    zlt_probe_passed
};


static const char *const  zlt_probe_names[] = {
    "path", "raw", "websocket", "token"
};


unsigned
zlt_probe(uv_loop_t *loop, zlt_conf_t *conf, zlt_tls_t *tls,
    const zlt_token_t *token, zlt_addrs_t *at, zlt_probe_pt tell)
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
    p->at = at;
    p->tell = tell;

    zlt_timer_init(&p->late);

    (void) uv_timer_init(loop, &p->timer);
    (void) uv_timer_start(&p->timer, zlt_probe_second, 1000, 1000);

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
    unsigned             seconds;
    zlt_upgrade_param_t  param;

    zlt_conn_init(&p->conn);

    p->over = 0;
    p->out_pos = 0;
    p->out_len = 0;

    seconds = (p->conf->connect_timeout + 999) / 1000;

    param.loop = p->loop;
    param.conn = &p->conn;
    param.url = &p->conf->url;
    param.via = &p->conf->via;
    param.tls = &p->tls;
    param.header = &p->conf->header;
    param.header_file = &p->conf->header_file;
    param.way = NULL;
    param.only = p->at && p->at->n ? &p->at->addrs[0] : NULL;
    param.reach = seconds;
    param.answer = 2 * seconds;

    p->upgrade = zlt_upgrade_start(&param, &zlt_probe_upgrade, p);

    if (p->upgrade == NULL) {
        zlt_probe_said(p, ZLT_PROBE_FAILED, "out of memory");
        return;
    }

    zlt_timer_start(&p->late, (p->conf->connect_timeout * 2 + 999) / 1000,
                    zlt_probe_expired);

    zlt_io_run();

    zlt_timer_stop(&p->late);

    zlt_upgrade_cancel(p->upgrade);
    p->upgrade = NULL;

    zlt_conn_close(&p->conn);
}


static void
zlt_probe_found(void *data, const char *host, zlt_addrs_t *addrs)
{
    char          text[ZLT_WHERE_TEXT];
    unsigned      i;
    zlt_addr_t    first;
    zlt_probe_t  *p;

    p = data;

    if (!p->named) {
        p->named = 1;
        zlt_probe_tell(p, "name", ZLT_PROBE_OK, "%s",
                       zlt_where_text(text, host, addrs));
    }

    if (p->at && p->conf->via.kind == ZLT_PROXY_NONE) {

        for (i = 1; i < addrs->n && !zlt_addr_has_route(&addrs->addrs[0]); i++) {
            first = addrs->addrs[i];
            addrs->addrs[i] = addrs->addrs[0];
            addrs->addrs[0] = first;
        }

        *p->at = *addrs;
        addrs->n = 1;
    }
}


static void
zlt_probe_passed(void *data, zlt_upgrade_step_e step, const zlt_way_t *way)
{
    char          text[ZLT_ADDR_TEXT], told[ZLT_TLS_ERROR_SIZE];
    zlt_probe_t  *p;

    p = data;

    if (p->step != ZLT_PROBE_PATH) {
        return;
    }

    if (step == ZLT_UPGRADE_TLS) {
        zlt_tls_told(&p->conn, told);
        zlt_probe_tell(p, "TLS", ZLT_PROBE_OK, "%s%s", told,
                       p->conf->insecure ? "; it is not verified" : "");

    } else if (p->conf->via.kind) {
        zlt_probe_tell(p, "proxy", ZLT_PROBE_OK, "%s at %s, from %s",
                       p->conf->via.name, zlt_addr_text(text, &way->addr),
                       p->conf->via.source);

    } else {
        zlt_probe_tell(p, "address", ZLT_PROBE_OK, "%s is connected",
                       zlt_addr_text(text, &way->addr));
    }
}


static size_t
zlt_probe_request(void *data, char *buf, zlt_http_want_t *want)
{
    uint8_t            id[ZLT_ID_SIZE], key[ZLT_KEY_SIZE];
    zlt_probe_t       *p;
    zlt_http_tunnel_t  tunnel;

    p = data;

    tunnel.id = id;
    tunnel.key = key;
    tunnel.node = NULL;

    if (RAND_bytes(id, sizeof(id)) != 1 || RAND_bytes(key, sizeof(key)) != 1) {
        return 0;
    }

    switch (p->step) {

    case ZLT_PROBE_PATH:
        return zlt_http_plain(buf, &p->conf->url, want);

    case ZLT_PROBE_RAW:
    case ZLT_PROBE_WEBSOCKET:
        return zlt_http_channel(buf, &p->conf->url, &tunnel, NULL,
                                p->step == ZLT_PROBE_WEBSOCKET, want);

    default:
        return zlt_http_control(buf, &p->conf->url, want);
    }
}


static void
zlt_probe_done(void *data, const zlt_upgrade_end_t *end)
{
    char          text[ZLT_UPGRADE_ERROR_SIZE];
    zlt_probe_t  *p;

    p = data;
    p->upgrade = NULL;

    switch (end->step) {

    case ZLT_UPGRADE_REACH:
        zlt_probe_failed(p, strncmp(end->error, "the name ", 9) == 0 ? "name"
                            : p->conf->via.kind ? "proxy" : "address",
                         end->error);
        break;

    case ZLT_UPGRADE_TLS:
        zlt_probe_failed(p, "TLS", end->error);
        break;

    case ZLT_UPGRADE_REFUSED:
    case ZLT_UPGRADE_OPEN:
        if (!zlt_probe_answer(p, end)) {
            break;
        }

        memcpy(p->in, end->data, end->len);
        p->pos = p->in;
        p->last = p->in + end->len;

        p->conn.io.data = p;
        p->conn.io.handler = zlt_probe_event;

        zlt_probe_token_ask(p);
        zlt_probe_token_input(p);
        zlt_probe_event(&p->conn.io);
        break;

    default:
        zlt_probe_said(p, ZLT_PROBE_FAILED, "%s",
                       zlt_upgrade_told(end, text));
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
                           "connection without an answer");
            return;
        }

        p->last += n;

        zlt_probe_token_input(p);
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


void
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


void
zlt_probe_failed(zlt_probe_t *p, const char *step, const char *why)
{
    zlt_probe_tell(p, step, ZLT_PROBE_FAILED, "%s", why);

    p->over = 1;
    zlt_io_stop();
}


void
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
zlt_probe_second(uv_timer_t *timer)
{
    (void) timer;

    zlt_timer_tick();
}


static void
zlt_probe_expired(zlt_timer_t *timer)
{
    zlt_probe_t  *p;

    p = zlt_list_data(timer, zlt_probe_t, late);

    zlt_probe_said(p, ZLT_PROBE_FAILED, "the server did not answer within "
                   "%u s", (p->conf->connect_timeout * 2 + 999) / 1000);
}
