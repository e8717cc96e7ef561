
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What comes and goes on a control channel, within its WebSocket.
 *
 * Input is read into one buffer of the worker and parsed there; only a
 * message that comes in pieces is collected, and what an event has no budget
 * for is held until the next turn.  Output is queued and written
 * when a handler is done, so that the answers to many requests go out
 * together; an agent that does not read ends its tunnel once the queue is
 * longer than NGX_ZLTUNNEL_CONTROL_IO_OUT.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_control_io.h"
#include "ngx_zltunnel_auth.h"
#include "ngx_zltunnel_control.h"
#include "ngx_zltunnel_control_message.h"
#include "ngx_zltunnel_transport.h"

#include "zlt_msg.h"
#include "zlt_ws.h"


#define NGX_ZLTUNNEL_CONTROL_IO_READ   16384
#define NGX_ZLTUNNEL_CONTROL_IO_OUT    262144    /* bytes */
#define NGX_ZLTUNNEL_CONTROL_IO_EARLY  (2 * ZLT_MAX_MESSAGE_SIZE)
                                                 /* bytes before Auth, at
                                                    most */


static void ngx_zltunnel_control_io_take(ngx_zltunnel_control_t *control,
    u_char *data, size_t len);
static void ngx_zltunnel_control_io_input(ngx_zltunnel_control_t *control,
    u_char *data, size_t len);
static void ngx_zltunnel_control_io_chunk(ngx_zltunnel_control_t *control);
static void ngx_zltunnel_control_io_decode(ngx_zltunnel_control_t *control,
    u_char *data, size_t len);
static void ngx_zltunnel_control_io_frame(ngx_zltunnel_control_t *control);
static void ngx_zltunnel_control_io_forget(ngx_zltunnel_control_t *control);
static void ngx_zltunnel_control_io_discard(ngx_zltunnel_control_t *control);


void
ngx_zltunnel_control_io_read(ngx_zltunnel_control_t *control)
{
    ssize_t            n;
    ngx_str_t          held;
    ngx_connection_t  *c;

    static u_char  buf[NGX_ZLTUNNEL_CONTROL_IO_READ];

    c = control->end.connection;

    ngx_memzero(&control->budget, sizeof(ngx_zltunnel_budget_t));

    while (!control->dead && !control->failed) {

        if (ngx_zltunnel_control_waits(control)) {

            /* its requests wait in the socket until the Auth is answered */

            break;
        }

        if (control->state == NGX_ZLTUNNEL_CONTROL_CLOSING) {
            ngx_zltunnel_control_io_discard(control);
            return;
        }

        if (ngx_zltunnel_budget_spent(&control->budget)) {
            ngx_zltunnel_budget_post(c->read);
            break;
        }

        if (control->held.len) {
            held = control->held;
            ngx_str_null(&control->held);

            ngx_zltunnel_control_io_take(control, held.data, held.len);
            ngx_free(held.data);
            continue;
        }

        n = ngx_zltunnel_end_recv(&control->end, buf, sizeof(buf));

        if (n == NGX_AGAIN) {
            break;
        }

        if (n <= 0) {
            ngx_zltunnel_control_close(control);
            return;
        }

        ngx_zltunnel_control_io_take(control, buf, n);

        control->budget.bytes += n;
    }

    if (!control->dead && ngx_handle_read_event(c->read, 0) != NGX_OK) {
        ngx_zltunnel_control_close(control);
    }
}


void
ngx_zltunnel_control_io_resume(ngx_zltunnel_control_t *control)
{
    ngx_zltunnel_control_enter(control);
    ngx_zltunnel_control_io_read(control);
    ngx_zltunnel_control_leave(control);
}


/* Nobody may say much before Auth, and what was said is forgotten: it may be
   the token. */

static void
ngx_zltunnel_control_io_take(ngx_zltunnel_control_t *control, u_char *data,
    size_t len)
{
    if (control->state != NGX_ZLTUNNEL_CONTROL_AUTH) {
        ngx_zltunnel_control_io_input(control, data, len);
        return;
    }

    control->early += len;

    if (control->early > NGX_ZLTUNNEL_CONTROL_IO_EARLY) {
        ngx_log_error(NGX_LOG_INFO, control->end.connection->log, 0,
                      "agent sent too much before Auth");
        ngx_zltunnel_control_end(control, ZLT_WS_POLICY,
                                 "too much before Auth");
        return;
    }

    ngx_zltunnel_control_io_input(control, data, len);

    ngx_explicit_memzero(data, len);
}


static void
ngx_zltunnel_control_io_input(ngx_zltunnel_control_t *control, u_char *data,
    size_t len)
{
    u_char          *pos, *end;
    zlt_ws_event_t   event;

    pos = data;
    end = data + len;

    for ( ;; ) {

        if (control->dead
            || control->state == NGX_ZLTUNNEL_CONTROL_CLOSING)
        {
            return;
        }

        if (ngx_zltunnel_control_waits(control)) {
            ngx_zltunnel_control_io_hold(control, pos, end - pos);
            return;
        }

        if (control->failed) {
            return;
        }

        if (ngx_zltunnel_budget_spent(&control->budget)) {
            ngx_zltunnel_control_io_hold(control, pos, end - pos);
            return;
        }

        event = zlt_ws_parse(&control->parser, &pos, end);

        if (event == ZLT_WS_AGAIN) {
            return;
        }

        control->budget.messages++;

        switch (event) {

        case ZLT_WS_DATA:
            ngx_zltunnel_control_io_chunk(control);
            break;

        case ZLT_WS_CONTROL:
            ngx_zltunnel_control_io_frame(control);
            break;

        default: /* ZLT_WS_ERROR */
            ngx_log_error(NGX_LOG_INFO, control->end.connection->log, 0,
                          "websocket error: %s", control->parser.error);
            ngx_zltunnel_control_end(control, control->parser.close_code,
                                     control->parser.error);
            return;
        }
    }
}


static void
ngx_zltunnel_control_io_chunk(ngx_zltunnel_control_t *control)
{
    u_char           *p;
    size_t            size, len, have;
    zlt_ws_parser_t  *parser;

    parser = &control->parser;

    if (control->in_len == 0 && parser->message_end) {

        /* whole, as nearly all are */

        ngx_zltunnel_control_io_decode(control, parser->chunk,
                                    parser->chunk_len);
        return;
    }

    len = control->in_len + parser->chunk_len;

    if (len > control->in_size) {
        size = ngx_max(len, 2 * control->in_size);

        p = ngx_alloc(size, control->end.connection->log);
        if (p == NULL) {
            ngx_zltunnel_control_close(control);
            return;
        }

        have = control->in_len;

        if (control->in) {
            ngx_memcpy(p, control->in, have);
        }

        ngx_zltunnel_control_io_forget(control);

        control->in = p;
        control->in_len = have;
        control->in_size = size;
    }

    ngx_memcpy(control->in + control->in_len, parser->chunk,
               parser->chunk_len);
    control->in_len = len;

    if (!parser->message_end) {
        return;
    }

    ngx_zltunnel_control_io_decode(control, control->in, len);
    ngx_zltunnel_control_io_forget(control);
}


static void
ngx_zltunnel_control_io_decode(ngx_zltunnel_control_t *control, u_char *data,
    size_t len)
{
    int        rc;
    size_t     used;
    zlt_msg_t  m;

    rc = zlt_msg_decode(&m, data, len, ZLT_MAX_PAYLOAD, &used);

    if (rc == ZLT_AGAIN) {
        rc = ZLT_ERR_SHORT;
    }

    if (rc != ZLT_OK) {
        ngx_log_error(NGX_LOG_INFO, control->end.connection->log, 0,
                      "bad message on a control channel: %s",
                      zlt_msg_strerror(rc));

        ngx_zltunnel_control_end(control, rc == ZLT_ERR_SIZE
                                          ? ZLT_WS_TOO_BIG : ZLT_WS_PROTOCOL,
                                 zlt_msg_strerror(rc));
        return;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, control->end.connection->log, 0,
                   "zltunnel control: %s", zlt_msg_name(m.type));

    if (control->state == NGX_ZLTUNNEL_CONTROL_AUTH) {
        ngx_zltunnel_auth_message(control, &m, data, used);
        return;
    }

    ngx_zltunnel_control_message(control, &m);
}


static void
ngx_zltunnel_control_io_frame(ngx_zltunnel_control_t *control)
{
    switch (control->parser.opcode) {

    case ZLT_WS_OP_PING:
        ngx_zltunnel_control_io_put(control, ZLT_WS_OP_PONG,
                                 control->parser.control,
                                 control->parser.control_len);

        if (control->peer) {
            ngx_zltunnel_control_message_heard(control);
        }

        break;

    case ZLT_WS_OP_CLOSE:
        ngx_zltunnel_control_end(control, ZLT_WS_NORMAL, "");
        break;

    default: /* Pong */
        break;
    }
}


/* what was read behind an Auth that waits, or beyond the event's budget */

void
ngx_zltunnel_control_io_hold(ngx_zltunnel_control_t *control, u_char *data,
    size_t len)
{
    if (len == 0) {
        return;
    }

    control->held.data = ngx_alloc(len, control->end.connection->log);
    if (control->held.data == NULL) {
        ngx_zltunnel_control_close(control);
        return;
    }

    ngx_memcpy(control->held.data, data, len);
    control->held.len = len;
}


/* the message that came in pieces: it may have been an Auth */

static void
ngx_zltunnel_control_io_forget(ngx_zltunnel_control_t *control)
{
    if (control->in) {
        ngx_explicit_memzero(control->in, control->in_size);
        ngx_free(control->in);
    }

    control->in = NULL;
    control->in_len = 0;
    control->in_size = 0;
}


/* a close with unread input would make a reset of it, and lose what was sent */

static void
ngx_zltunnel_control_io_discard(ngx_zltunnel_control_t *control)
{
    ssize_t            n;
    ngx_connection_t  *c;

    static u_char  buf[4096];

    c = control->end.connection;

    while (!ngx_zltunnel_budget_spent(&control->budget)) {
        n = ngx_zltunnel_end_recv(&control->end, buf, sizeof(buf));

        if (n == NGX_AGAIN) {

            if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
                ngx_zltunnel_control_close(control);
            }

            return;
        }

        if (n <= 0) {
            ngx_zltunnel_control_close(control);
            return;
        }

        control->budget.bytes += n;
    }

    /* the timer ends it */

    ngx_zltunnel_budget_post(c->read);
}


void
ngx_zltunnel_control_io_write(ngx_zltunnel_control_t *control, zlt_msg_t *m)
{
    size_t  len;

    static u_char  buf[ZLT_MAX_MESSAGE_SIZE];

    len = zlt_msg_encode(m, buf, sizeof(buf));

    if (len == 0) {
        ngx_log_error(NGX_LOG_ALERT, control->end.connection->log, 0,
                      "%s could not be encoded", zlt_msg_name(m->type));
        return;
    }

    ngx_zltunnel_control_io_put(control, ZLT_WS_OP_BINARY, buf, len);
}


void
ngx_zltunnel_control_io_put(ngx_zltunnel_control_t *control, unsigned opcode,
    u_char *data, size_t len)
{
    u_char  *p;
    size_t   need, size;

    if (control->failed || control->dead
        || control->state == NGX_ZLTUNNEL_CONTROL_CLOSING)
    {
        return;
    }

    need = control->out_len + ZLT_WS_MAX_HEADER + len;

    if (need - control->out_pos > NGX_ZLTUNNEL_CONTROL_IO_OUT) {
        ngx_log_error(NGX_LOG_ERR, control->end.connection->log, 0,
                      "agent does not read its control channel");
        control->failed = 1;
        return;
    }

    if (need > control->out_size) {
        size = ngx_max(need, 1024);

        p = ngx_alloc(size, control->end.connection->log);
        if (p == NULL) {
            control->failed = 1;
            return;
        }

        if (control->out) {
            control->out_len -= control->out_pos;
            ngx_memcpy(p, control->out + control->out_pos, control->out_len);
            control->out_pos = 0;
            ngx_free(control->out);
        }

        control->out = p;
        control->out_size = size;
    }

    p = control->out + control->out_len;
    p += zlt_ws_header(p, opcode, len, NULL);
    p = ngx_cpymem(p, data, len);
    control->out_len = p - control->out;
}


void
ngx_zltunnel_control_io_flush(ngx_zltunnel_control_t *control)
{
    ssize_t            n;
    ngx_connection_t  *c;

    c = control->end.connection;

    while (control->out_pos < control->out_len && !control->failed) {

        n = c->send(c, control->out + control->out_pos,
                    control->out_len - control->out_pos);

        if (n == NGX_AGAIN) {

            if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
                control->failed = 1;
            }

            return;
        }

        if (n == NGX_ERROR) {
            control->failed = 1;
            return;
        }

        control->out_pos += n;
    }

    if (control->out) {

        /* an idle tunnel holds no buffer */

        ngx_free(control->out);
        control->out = NULL;
    }

    control->out_pos = 0;
    control->out_len = 0;
    control->out_size = 0;

    if (control->state == NGX_ZLTUNNEL_CONTROL_CLOSING && !control->end.shut) {

        if (ngx_zltunnel_end_shutdown(&control->end) == NGX_ERROR) {
            control->failed = 1;
        }
    }
}


void
ngx_zltunnel_control_io_free(ngx_zltunnel_control_t *control)
{
    ngx_zltunnel_control_io_forget(control);

    if (control->held.data) {
        ngx_explicit_memzero(control->held.data, control->held.len);
        ngx_free(control->held.data);
    }

    if (control->out) {
        ngx_free(control->out);
    }
}
