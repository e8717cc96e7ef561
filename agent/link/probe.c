
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

#include "http_hint.h"
#include "io.h"
#include "log.h"
#include "probe_answer.h"
#include "probe_state.h"
#include "probe_token.h"
#include "tls.h"
#include "tls_told.h"


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

        if (p->upgraded) {
            zlt_probe_token_input(p);

        } else if (zlt_probe_answer(p)) {
            zlt_probe_token_ask(p);
            zlt_probe_token_input(p);
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
