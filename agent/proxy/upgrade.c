
/*
 * Copyright (C) zltunnel authors
 */

/*
 * From the server's address to its 101: a connection (reach.c), TLS, the
 * request, and the head of the answer.  Control channels, data channels of all
 * kinds and "check --connect" go this way; what they ask for, and what they
 * make of the answer, is theirs.
 *
 * zlt_upgrade_step_e is the state.  It only grows.
 */


#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/crypto.h>

#include "conn.h"
#include "headers.h"
#include "http_hint.h"
#include "timer.h"
#include "tls.h"
#include "upgrade.h"
#include "url.h"


struct zlt_upgrade_s {
    zlt_upgrade_param_t       param;
    const zlt_upgrade_ops_t  *ops;
    void                     *data;

    zlt_upgrade_end_t         end;     /* end.step is the state */
    zlt_reach_t               reach;
    zlt_timer_t               timer;
    zlt_http_want_t           want;
    zlt_buf_t                *out;     /* of the request, not sent yet */
    zlt_buf_t                *in;      /* of the answer, not complete */
    unsigned                  done:1;
};


static void zlt_upgrade_found(zlt_reach_t *reach, const char *host,
    zlt_addrs_t *addrs);
static void zlt_upgrade_reached(zlt_reach_t *reach, const char *error);
static void zlt_upgrade_event(zlt_io_t *io);
static void zlt_upgrade_handshake(zlt_upgrade_t *u);
static void zlt_upgrade_request(zlt_upgrade_t *u);
static int zlt_upgrade_headers(const zlt_upgrade_t *u, zlt_text_t *t,
    const char *request, size_t len, char *error);
static int zlt_upgrade_flush(zlt_upgrade_t *u);
static void zlt_upgrade_answer(zlt_upgrade_t *u);
static void zlt_upgrade_judge(zlt_upgrade_t *u, ssize_t header);
static int zlt_upgrade_keep(zlt_buf_t **buf, const void *data, size_t len);
static void zlt_upgrade_late(zlt_timer_t *timer);
static void zlt_upgrade_finish(zlt_upgrade_t *u, zlt_upgrade_step_e step,
    const char *error);


zlt_upgrade_t *
zlt_upgrade_start(const zlt_upgrade_param_t *param,
    const zlt_upgrade_ops_t *ops, void *data)
{
    int             rc, err;
    zlt_upgrade_t  *u;

    u = calloc(1, sizeof(zlt_upgrade_t));
    if (u == NULL) {
        return NULL;
    }

    u->param = *param;
    u->ops = ops;
    u->data = data;

    u->end.param = &u->param;
    u->end.way = &u->reach.way;

    u->reach.loop = param->loop;
    u->reach.conn = param->conn;
    u->reach.url = param->url;
    u->reach.via = param->via;
    u->reach.only = param->only;
    u->reach.limit = param->reach;
    u->reach.handler = zlt_upgrade_reached;
    u->reach.found = zlt_upgrade_found;

    zlt_timer_init(&u->timer);

    if (param->way) {
        u->reach.way = *param->way;
        rc = zlt_reach_start_known(&u->reach);

    } else {
        rc = zlt_reach_start(&u->reach);
    }

    if (rc == -1) {
        err = errno;
        zlt_upgrade_cancel(u);
        errno = err;

        return NULL;
    }

    if (param->reach) {
        zlt_timer_start(&u->timer, param->reach, zlt_upgrade_late);
    }

    return u;
}


void
zlt_upgrade_presume(zlt_upgrade_t *u)
{
    zlt_conn_presume(u->param.conn);
    zlt_reach_event(&u->param.conn->io);
}


static void
zlt_upgrade_found(zlt_reach_t *reach, const char *host,
    zlt_addrs_t *addrs)
{
    zlt_upgrade_t  *u;

    u = zlt_list_data(reach, zlt_upgrade_t, reach);

    if (u->ops->found) {
        u->ops->found(u->data, host, addrs);
    }
}


static void
zlt_upgrade_reached(zlt_reach_t *reach, const char *error)
{
    zlt_io_t       *io;
    zlt_upgrade_t  *u;

    u = zlt_list_data(reach, zlt_upgrade_t, reach);

    if (error) {
        zlt_upgrade_finish(u, ZLT_UPGRADE_REACH, error);
        return;
    }

    io = &u->param.conn->io;
    io->data = u;
    io->handler = zlt_upgrade_event;

    if (u->param.answer) {
        zlt_timer_start(&u->timer, u->param.answer, zlt_upgrade_late);
    }

    if (u->ops->passed) {
        u->ops->passed(u->data, ZLT_UPGRADE_REACH, &reach->way);
    }

    if (*u->param.tls == NULL) {
        zlt_upgrade_request(u);
        return;
    }

    u->end.step = ZLT_UPGRADE_TLS;

    if (zlt_tls_start(*u->param.tls, u->param.conn) == -1) {
        zlt_upgrade_finish(u, ZLT_UPGRADE_TLS, "out of memory");
        return;
    }

    zlt_upgrade_handshake(u);
}


static void
zlt_upgrade_event(zlt_io_t *io)
{
    zlt_upgrade_t  *u;

    u = io->data;

    if (u->end.step == ZLT_UPGRADE_TLS) {
        zlt_upgrade_handshake(u);

    } else if (zlt_upgrade_flush(u) == -1) {
        zlt_upgrade_finish(u, ZLT_UPGRADE_REQUEST, strerror(errno));

    } else {
        zlt_upgrade_answer(u);
    }
}


static void
zlt_upgrade_handshake(zlt_upgrade_t *u)
{
    char  error[ZLT_TLS_ERROR_SIZE];

    switch (zlt_tls_handshake(u->param.conn, error)) {

    case ZLT_CONN_AGAIN:
        return;

    case 0:
        if (u->ops->passed) {
            u->ops->passed(u->data, ZLT_UPGRADE_TLS, &u->reach.way);
        }

        zlt_upgrade_request(u);
        return;

    default:
        zlt_upgrade_finish(u, ZLT_UPGRADE_TLS, error);
    }
}


static void
zlt_upgrade_request(zlt_upgrade_t *u)
{
    int         rc;
    char        buf[ZLT_HTTP_REQUEST_SIZE], error[ZLT_HEADERS_ERROR];
    size_t      n;
    zlt_text_t  t;

    u->end.step = ZLT_UPGRADE_REQUEST;

    n = u->ops->request(u->data, buf, &u->want);

    if (n == 0) {
        zlt_upgrade_finish(u, ZLT_UPGRADE_REQUEST,
                         "the request could not be made");
        return;
    }

    memset(&t, 0, sizeof(zlt_text_t));

    rc = zlt_upgrade_headers(u, &t, buf, n, error);

    if (rc == 0 && zlt_upgrade_keep(&u->out, t.data, t.len) == -1) {
        (void) strcpy(error, "out of memory");
        rc = -1;
    }

    if (t.data) {
        OPENSSL_cleanse(t.data, t.len);
    }

    zlt_text_free(&t);

    if (rc == -1) {
        zlt_upgrade_finish(u, ZLT_UPGRADE_REQUEST, error);
        return;
    }

    u->end.step = ZLT_UPGRADE_ANSWER;

    zlt_upgrade_event(&u->param.conn->io);
}


/* The request with what the user adds, before the empty line at its end: 0, or
   -1 with a text in error (ZLT_HEADERS_ERROR bytes). */

static int
zlt_upgrade_headers(const zlt_upgrade_t *u, zlt_text_t *t, const char *request,
    size_t len, char *error)
{
    zlt_text_t   more;
    const char  *header, *file;

    header = *u->param.header;
    file = *u->param.header_file;

    memset(&more, 0, sizeof(zlt_text_t));

    if (file && zlt_headers_file(&more, file, 0, error) == -1) {
        return -1;
    }

    zlt_text_append(t, request, len - 2);

    if (header) {
        zlt_text_append(t, header, strlen(header));
    }

    if (more.len) {
        zlt_text_append(t, more.data, more.len);
        OPENSSL_cleanse(more.data, more.len);
    }

    zlt_text_append(t, "\r\n", 2);
    zlt_text_free(&more);

    if (t->failed) {
        (void) strcpy(error, "out of memory");
        return -1;
    }

    return 0;
}


/* What there is of the request: 0 or -1. */

static int
zlt_upgrade_flush(zlt_upgrade_t *u)
{
    ssize_t  n;

    n = zlt_conn_flush(u->param.conn);

    while (n >= 0 && u->out) {
        n = zlt_conn_write(u->param.conn, u->out->data + u->out->pos,
                           u->out->last - u->out->pos);

        if (n > 0) {
            u->out->pos += (uint32_t) n;

            if (u->out->pos == u->out->last) {
                free(u->out);
                u->out = NULL;
            }
        }
    }

    return n == ZLT_CONN_ERROR ? -1 : 0;
}


static void
zlt_upgrade_answer(zlt_upgrade_t *u)
{
    size_t    len;
    ssize_t   n, header;
    uint8_t   in[ZLT_UPGRADE_IN];

    len = 0;

    if (u->in) {
        /* less than a header may have */
        len = u->in->last;
        memcpy(in, u->in->data, len);
    }

    do {
        n = zlt_conn_read(u->param.conn, in + len, sizeof(in) - len);

        if (n <= 0) {
            break;
        }

        len += (size_t) n;
        header = zlt_http_parse(&u->end.answer, (char *) in, len);

    } while (header == 0);

    u->end.data = in;
    u->end.len = len;

    if (n > 0) {
        zlt_upgrade_judge(u, header);

    } else if (n != ZLT_CONN_AGAIN) {
        zlt_upgrade_finish(u, ZLT_UPGRADE_ANSWER,
                           n == 0 ? "the connection was closed"
                                  : strerror(errno));

    } else if (len && zlt_upgrade_keep(&u->in, in, len) == -1) {
        zlt_upgrade_finish(u, ZLT_UPGRADE_REQUEST, "out of memory");
    }
}


static void
zlt_upgrade_judge(zlt_upgrade_t *u, ssize_t header)
{
    char                error[128];
    zlt_http_answer_t  *a;

    a = &u->end.answer;

    if (header == -1) {
        memset(a, 0, sizeof(zlt_http_answer_t));
        zlt_upgrade_finish(u, ZLT_UPGRADE_FOREIGN, "the answer is not HTTP");
        return;
    }

    u->end.data += header;
    u->end.len -= (size_t) header;

    if (zlt_http_upgraded(a, &u->want)) {
        zlt_upgrade_finish(u, ZLT_UPGRADE_OPEN, "");
        return;
    }

    (void) snprintf(error, sizeof(error), "the server answered %u %s",
                    a->status, a->reason);

    zlt_upgrade_finish(u, ZLT_UPGRADE_REFUSED, error);
}


/* Copies, in the place of what was kept before: 0 or -1. */

static int
zlt_upgrade_keep(zlt_buf_t **buf, const void *data, size_t len)
{
    free(*buf);

    *buf = malloc(sizeof(zlt_buf_t) + len);

    if (*buf == NULL) {
        return -1;
    }

    (*buf)->pos = 0;
    (*buf)->last = (uint32_t) len;
    memcpy((*buf)->data, data, len);

    return 0;
}


static void
zlt_upgrade_late(zlt_timer_t *timer)
{
    char            error[ZLT_UPGRADE_ERROR_SIZE];
    zlt_upgrade_t  *u;

    u = zlt_list_data(timer, zlt_upgrade_t, timer);
    u->end.late = 1;

    if (u->end.step == ZLT_UPGRADE_REACH) {
        zlt_reach_late(&u->reach, error);

    } else {
        (void) strcpy(error, "the server did not answer in time");
    }

    zlt_upgrade_finish(u, u->end.step, error);
}


static void
zlt_upgrade_finish(zlt_upgrade_t *u, zlt_upgrade_step_e step,
    const char *error)
{
    u->end.step = step;
    u->end.error = error;
    u->done = 1;

    u->ops->done(u->data, &u->end);

    u->done = 0;

    zlt_upgrade_cancel(u);
}


void
zlt_upgrade_cancel(zlt_upgrade_t *u)
{
    if (u == NULL || u->done) {
        return;
    }

    zlt_reach_cancel(&u->reach);
    zlt_timer_stop(&u->timer);

    free(u->out);
    free(u->in);
    free(u);
}


const char *
zlt_upgrade_told(const zlt_upgrade_end_t *end, char *text)
{
    const char       *says, *hint;
    const zlt_tls_t  *tls;

    tls = *end->param->tls;
    says = end->error;
    hint = "";

    if (end->late) {
        /* that says it */

    } else if (end->step == ZLT_UPGRADE_ANSWER) {
        says = "the server closed the connection without an answer";
        hint = zlt_http_hint_foreign(end->data, end->len, tls);

    } else if (end->step == ZLT_UPGRADE_FOREIGN) {
        says = "the server does not answer in HTTP";
        hint = zlt_http_hint_foreign(end->data, end->len, tls);

    } else if (end->step == ZLT_UPGRADE_REFUSED) {
        hint = zlt_http_hint(&end->answer, end->data, end->len, tls,
                             end->param->url->path);
    }

    (void) snprintf(text, ZLT_UPGRADE_ERROR_SIZE, "%s%s", says, hint);

    return text;
}
