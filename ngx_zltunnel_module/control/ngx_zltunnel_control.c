
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Control channels: a WebSocket on a connection that http has handed over.
 * What the messages mean is in ngx_zltunnel_control_message.c.
 *
 * Input is read into one buffer of the worker and parsed there; only a
 * message that comes in pieces is collected, and what an event has no budget
 * for is held until the next turn.  Output is queued and written
 * when a handler is done, so that the answers to many requests go out
 * together; an agent that does not read ends its tunnel once the queue is
 * longer than NGX_ZLTUNNEL_CONTROL_OUT.
 *
 * A control channel may end in the middle of handling its input.  It is then
 * marked dead, and freed where the handler returns.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_control.h"
#include "ngx_zltunnel_auth.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_control_message.h"
#include "ngx_zltunnel_control_place.h"
#include "ngx_zltunnel_transport.h"
#include "ngx_zltunnel_worker.h"

#include "zlt_msg.h"
#include "zlt_ws.h"


#define NGX_ZLTUNNEL_CONTROL_READ    16384
#define NGX_ZLTUNNEL_CONTROL_OUT     262144    /* bytes */
#define NGX_ZLTUNNEL_CONTROL_FULL    131072    /* .. and no Connect more */
#define NGX_ZLTUNNEL_CONTROL_EARLY   (2 * ZLT_MAX_MESSAGE_SIZE)
                                               /* bytes before Auth, at most */
#define NGX_ZLTUNNEL_CONTROL_BURST   256       /* requests at a time, beside
                                                  three for each service, and
                                                  access session */
#define NGX_ZLTUNNEL_CONTROL_RATE    1000      /* ms, one more */
#define NGX_ZLTUNNEL_CONTROL_LATER   60000     /* ms, who asked too much */
#define NGX_ZLTUNNEL_CONTROL_LINGER  3000      /* ms */
#define NGX_ZLTUNNEL_CONTROL_QUIT    200       /* ms, twice at the most */


static void ngx_zltunnel_control_read_handler(ngx_event_t *ev);
static void ngx_zltunnel_control_write_handler(ngx_event_t *ev);
static void ngx_zltunnel_control_timer_handler(ngx_event_t *ev);
static void ngx_zltunnel_control_read(ngx_zltunnel_control_t *control);
static void ngx_zltunnel_control_take(ngx_zltunnel_control_t *control,
    u_char *data, size_t len);
static void ngx_zltunnel_control_input(ngx_zltunnel_control_t *control,
    u_char *data, size_t len);
static void ngx_zltunnel_control_chunk(ngx_zltunnel_control_t *control);
static void ngx_zltunnel_control_forget(ngx_zltunnel_control_t *control);
static void ngx_zltunnel_control_decode(ngx_zltunnel_control_t *control,
    u_char *data, size_t len);
static void ngx_zltunnel_control_frame(ngx_zltunnel_control_t *control);
static void ngx_zltunnel_control_hold(ngx_zltunnel_control_t *control,
    u_char *data, size_t len);
static void ngx_zltunnel_control_put(ngx_zltunnel_control_t *control,
    unsigned opcode, u_char *data, size_t len);
static void ngx_zltunnel_control_flush(ngx_zltunnel_control_t *control);
static void ngx_zltunnel_control_discard(ngx_zltunnel_control_t *control);
static void ngx_zltunnel_control_close(ngx_zltunnel_control_t *control);
static void ngx_zltunnel_control_free(ngx_zltunnel_control_t *control);
static void ngx_zltunnel_control_heartbeat(ngx_zltunnel_control_t *control);
static void ngx_zltunnel_control_quit(ngx_zltunnel_control_t *control);


static ngx_queue_t  ngx_zltunnel_controls;


ngx_uint_t
ngx_zltunnel_control_allowed(ngx_zltunnel_registry_t *registry,
    struct sockaddr *sa)
{
    if (registry->unauthenticated < registry->max_unauthenticated
        || ngx_zltunnel_control_place_yield(registry, sa))
    {
        return 1;
    }

    ngx_zltunnel_log_complain(ngx_cycle->log,
                              "control channel refused: limit of %s",
                              "max_unauthenticated");
    return 0;
}


void
ngx_zltunnel_control_start(ngx_zltunnel_registry_t *registry,
    ngx_connection_t *c, ngx_str_t *host, u_char *data, size_t len)
{
    ngx_zltunnel_control_t  *control;

    if (ngx_zltunnel_controls.next == NULL) {
        ngx_queue_init(&ngx_zltunnel_controls);
    }

    control = ngx_calloc(sizeof(ngx_zltunnel_control_t) + host->len, c->log);
    if (control == NULL) {
        ngx_zltunnel_connection_close(c);
        return;
    }

    ngx_zltunnel_end_init(&control->end, c, c->ssl ? NGX_ZLTUNNEL_TLS
                                                   : NGX_ZLTUNNEL_PLAIN);

    control->registry = registry;
    control->host.data = (u_char *) control + sizeof(ngx_zltunnel_control_t);
    control->host.len = host->len;
    ngx_memcpy(control->host.data, host->data, host->len);

    zlt_ws_init(&control->parser, ZLT_WS_SERVER, ZLT_MAX_MESSAGE_SIZE);

    control->timer.handler = ngx_zltunnel_control_timer_handler;
    control->timer.data = control;
    control->timer.log = c->log;
    control->timer.cancelable = 1;

    if (ngx_zltunnel_control_place_enter(control) != NGX_OK) {
        ngx_free(control);
        ngx_zltunnel_connection_close(c);
        return;
    }

    ngx_queue_insert_tail(&ngx_zltunnel_controls, &control->queue);

#ifdef SSL_OP_CLEANSE_PLAINTEXT
    if (c->ssl) {
        /* nor does OpenSSL keep a token in its buffers */
        SSL_set_options(c->ssl->connection, SSL_OP_CLEANSE_PLAINTEXT);
    }
#endif

    /* ngx_zltunnel_control_quit_all() says goodbye when the worker exits */
    c->idle = 0;

    c->data = control;
    c->log->data = NULL;
    c->log->handler = NULL;
    c->log->action = "reading control channel";
    c->read->handler = ngx_zltunnel_control_read_handler;
    c->write->handler = ngx_zltunnel_control_write_handler;

    ngx_add_timer(&control->timer, NGX_ZLTUNNEL_AUTH_TIMEOUT);

    ngx_zltunnel_control_enter(control);
    ngx_zltunnel_control_hold(control, data, len);
    ngx_explicit_memzero(data, len);
    ngx_zltunnel_control_read(control);
    ngx_zltunnel_control_leave(control);
}


static void
ngx_zltunnel_control_read_handler(ngx_event_t *ev)
{
    ngx_connection_t        *c;
    ngx_zltunnel_control_t  *control;

    c = ev->data;
    control = c->data;

    if (c->close) {
        ngx_zltunnel_control_close(control);
        return;
    }

    ngx_zltunnel_control_enter(control);
    ngx_zltunnel_control_read(control);
    ngx_zltunnel_control_leave(control);
}


static void
ngx_zltunnel_control_write_handler(ngx_event_t *ev)
{
    ngx_connection_t        *c;
    ngx_zltunnel_control_t  *control;

    c = ev->data;
    control = c->data;

    ngx_zltunnel_control_enter(control);
    ngx_zltunnel_control_leave(control);
}


static void
ngx_zltunnel_control_read(ngx_zltunnel_control_t *control)
{
    ssize_t            n;
    ngx_str_t          held;
    ngx_connection_t  *c;

    static u_char  buf[NGX_ZLTUNNEL_CONTROL_READ];

    c = control->end.connection;

    ngx_memzero(&control->budget, sizeof(ngx_zltunnel_budget_t));

    while (!control->dead && !control->failed) {

        if (control->state == NGX_ZLTUNNEL_CONTROL_PROBING) {

            /* its requests wait in the socket until the Auth is answered */

            break;
        }

        if (control->state == NGX_ZLTUNNEL_CONTROL_CLOSING) {
            ngx_zltunnel_control_discard(control);
            return;
        }

        if (ngx_zltunnel_budget_spent(&control->budget)) {
            ngx_zltunnel_budget_post(c->read);
            break;
        }

        if (control->held.len) {
            held = control->held;
            ngx_str_null(&control->held);

            ngx_zltunnel_control_take(control, held.data, held.len);
            ngx_free(held.data);
            continue;
        }

        n = ngx_zltunnel_end_read(&control->end, buf, sizeof(buf));

        if (n == NGX_AGAIN) {
            break;
        }

        if (n <= 0) {
            ngx_zltunnel_control_close(control);
            return;
        }

        ngx_zltunnel_control_take(control, buf, n);

        control->budget.bytes += n;
    }

    if (!control->dead && ngx_handle_read_event(c->read, 0) != NGX_OK) {
        ngx_zltunnel_control_close(control);
    }
}


/* Nobody may say much before Auth, and what was said is forgotten: it may be
   the token. */

static void
ngx_zltunnel_control_take(ngx_zltunnel_control_t *control, u_char *data,
    size_t len)
{
    if (control->state != NGX_ZLTUNNEL_CONTROL_AUTH) {
        ngx_zltunnel_control_input(control, data, len);
        return;
    }

    control->early += len;

    if (control->early > NGX_ZLTUNNEL_CONTROL_EARLY) {
        ngx_log_error(NGX_LOG_INFO, control->end.connection->log, 0,
                      "agent sent too much before Auth");
        ngx_zltunnel_control_end(control, ZLT_WS_POLICY,
                                 "too much before Auth");
        return;
    }

    ngx_zltunnel_control_input(control, data, len);

    ngx_explicit_memzero(data, len);
}


static void
ngx_zltunnel_control_input(ngx_zltunnel_control_t *control, u_char *data,
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

        if (control->state == NGX_ZLTUNNEL_CONTROL_PROBING) {
            ngx_zltunnel_control_hold(control, pos, end - pos);
            return;
        }

        if (control->failed) {
            return;
        }

        if (ngx_zltunnel_budget_spent(&control->budget)) {
            ngx_zltunnel_control_hold(control, pos, end - pos);
            return;
        }

        event = zlt_ws_parse(&control->parser, &pos, end);

        if (event == ZLT_WS_AGAIN) {
            return;
        }

        control->budget.messages++;

        switch (event) {

        case ZLT_WS_DATA:
            ngx_zltunnel_control_chunk(control);
            break;

        case ZLT_WS_CONTROL:
            ngx_zltunnel_control_frame(control);
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
ngx_zltunnel_control_chunk(ngx_zltunnel_control_t *control)
{
    u_char           *p;
    size_t            size, len, have;
    zlt_ws_parser_t  *parser;

    parser = &control->parser;

    if (control->in_len == 0 && parser->message_end) {

        /* whole, as nearly all are */

        ngx_zltunnel_control_decode(control, parser->chunk,
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

        ngx_zltunnel_control_forget(control);

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

    ngx_zltunnel_control_decode(control, control->in, len);
    ngx_zltunnel_control_forget(control);
}


/* the message that came in pieces: it may have been an Auth */

static void
ngx_zltunnel_control_forget(ngx_zltunnel_control_t *control)
{
    if (control->in) {
        ngx_explicit_memzero(control->in, control->in_size);
        ngx_free(control->in);
    }

    control->in = NULL;
    control->in_len = 0;
    control->in_size = 0;
}


static void
ngx_zltunnel_control_decode(ngx_zltunnel_control_t *control, u_char *data,
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
ngx_zltunnel_control_frame(ngx_zltunnel_control_t *control)
{
    switch (control->parser.opcode) {

    case ZLT_WS_OP_PING:
        ngx_zltunnel_control_put(control, ZLT_WS_OP_PONG,
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

static void
ngx_zltunnel_control_hold(ngx_zltunnel_control_t *control, u_char *data,
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


void
ngx_zltunnel_control_resume(ngx_zltunnel_control_t *control)
{
    ngx_zltunnel_control_enter(control);
    ngx_zltunnel_control_read(control);
    ngx_zltunnel_control_leave(control);
}


/*
 * What an agent asks for costs a look at the registry, at the tokens, a line in
 * the log.  Who asks for all that it may have, resumes it and gives it back, and
 * some more, is a good agent; who goes on and on is told to come again later.
 */

ngx_int_t
ngx_zltunnel_control_charge(ngx_zltunnel_control_t *control)
{
    ngx_msec_t             now, paid;
    ngx_uint_t             most;
    ngx_zltunnel_token_t  *token;

    now = ngx_current_msec;
    paid = (now - control->asked_at) / NGX_ZLTUNNEL_CONTROL_RATE;

    control->asked -= ngx_min(control->asked, paid);
    control->asked_at += paid * NGX_ZLTUNNEL_CONTROL_RATE;

    most = NGX_ZLTUNNEL_CONTROL_BURST + 3 * control->registry->max_services;

    if (++control->asked <= most) {
        return NGX_OK;
    }

    token = ngx_zltunnel_token_find(control->registry, control->token);

    if (token && token->access && control->asked <= most
                                                   + 3 * token->max_access)
    {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_ERR, control->end.connection->log, 0,
                  "agent \"%V\" asks for too much", &control->peer->name);

    ngx_zltunnel_control_stop(control, ZLT_D_LATER,
                              NGX_ZLTUNNEL_CONTROL_LATER,
                              "too many requests");
    return NGX_ERROR;
}


void
ngx_zltunnel_control_write(ngx_zltunnel_control_t *control, zlt_msg_t *m)
{
    size_t  len;

    static u_char  buf[ZLT_MAX_MESSAGE_SIZE];

    len = zlt_msg_encode(m, buf, sizeof(buf));

    if (len == 0) {
        ngx_log_error(NGX_LOG_ALERT, control->end.connection->log, 0,
                      "%s could not be encoded", zlt_msg_name(m->type));
        return;
    }

    ngx_zltunnel_control_put(control, ZLT_WS_OP_BINARY, buf, len);
}


static void
ngx_zltunnel_control_put(ngx_zltunnel_control_t *control, unsigned opcode,
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

    if (need - control->out_pos > NGX_ZLTUNNEL_CONTROL_OUT) {
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


static void
ngx_zltunnel_control_flush(ngx_zltunnel_control_t *control)
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
ngx_zltunnel_control_end(ngx_zltunnel_control_t *control, uint16_t code,
    const char *reason)
{
    u_char  buf[ZLT_WS_MAX_CONTROL];
    size_t  len;

    if (control->dead || control->state == NGX_ZLTUNNEL_CONTROL_CLOSING) {
        return;
    }

    len = zlt_ws_close_payload(buf, code, reason);
    ngx_zltunnel_control_put(control, ZLT_WS_OP_CLOSE, buf, len);

    ngx_zltunnel_control_message_down(control);

    control->state = NGX_ZLTUNNEL_CONTROL_CLOSING;
    ngx_add_timer(&control->timer, NGX_ZLTUNNEL_CONTROL_LINGER);

    ngx_zltunnel_control_enter(control);
    ngx_zltunnel_control_leave(control);
}


/* a close with unread input would make a reset of it, and lose what was sent */

static void
ngx_zltunnel_control_discard(ngx_zltunnel_control_t *control)
{
    ssize_t            n;
    ngx_connection_t  *c;

    static u_char  buf[4096];

    c = control->end.connection;

    while (!ngx_zltunnel_budget_spent(&control->budget)) {
        n = ngx_zltunnel_end_read(&control->end, buf, sizeof(buf));

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
ngx_zltunnel_control_enter(ngx_zltunnel_control_t *control)
{
    control->busy++;
}


void
ngx_zltunnel_control_leave(ngx_zltunnel_control_t *control)
{
    control->busy--;

    if (control->busy) {
        return;
    }

    if (!control->dead) {
        ngx_zltunnel_control_flush(control);
    }

    if (control->dead || control->failed) {
        ngx_zltunnel_control_close(control);
    }
}


static void
ngx_zltunnel_control_close(ngx_zltunnel_control_t *control)
{
    control->dead = 1;

    if (!control->busy) {
        ngx_zltunnel_control_free(control);
    }
}


void
ngx_zltunnel_control_drop(ngx_zltunnel_control_t *control)
{
    ngx_zltunnel_control_place_leave(control);
    ngx_zltunnel_control_close(control);
}


static void
ngx_zltunnel_control_free(ngx_zltunnel_control_t *control)
{
    ngx_zltunnel_control_message_down(control);

    ngx_zltunnel_control_place_leave(control);

    if (control->timer.timer_set) {
        ngx_del_timer(&control->timer);
    }

    ngx_queue_remove(&control->queue);

    ngx_zltunnel_end_close(&control->end);

    ngx_zltunnel_control_forget(control);

    if (control->out) {
        ngx_free(control->out);
    }

    if (control->auth.data) {
        ngx_explicit_memzero(control->auth.data, control->auth.len);
        ngx_free(control->auth.data);
    }

    if (control->held.data) {
        ngx_explicit_memzero(control->held.data, control->held.len);
        ngx_free(control->held.data);
    }

    ngx_free(control);
}


static void
ngx_zltunnel_control_timer_handler(ngx_event_t *ev)
{
    ngx_connection_t        *c;
    ngx_zltunnel_control_t  *control;

    control = ev->data;
    c = control->end.connection;

    ngx_zltunnel_control_enter(control);

    switch (control->state) {

    case NGX_ZLTUNNEL_CONTROL_AUTH:
        ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT,
                      "agent did not send Auth");
        ngx_zltunnel_control_end(control, ZLT_WS_POLICY, "no Auth in time");
        break;

    case NGX_ZLTUNNEL_CONTROL_PROBING:
        ngx_zltunnel_auth_probed(control);
        break;

    case NGX_ZLTUNNEL_CONTROL_OPEN:
        ngx_zltunnel_control_heartbeat(control);
        break;

    default: /* REPLACED, CLOSING */
        ngx_zltunnel_control_close(control);
        break;
    }

    ngx_zltunnel_control_leave(control);
}


static void
ngx_zltunnel_control_heartbeat(ngx_zltunnel_control_t *control)
{
    zlt_msg_t                 m;
    ngx_msec_t                now, next, dead;
    ngx_time_t               *tp;
    ngx_zltunnel_registry_t  *registry;

    registry = control->registry;
    now = ngx_current_msec;

    if (ngx_exiting) {
        ngx_zltunnel_control_quit(control);
        return;
    }

    if (now - control->acked >= registry->heartbeat_timeout) {
        ngx_log_error(NGX_LOG_ERR, control->end.connection->log,
                      NGX_ETIMEDOUT, "agent \"%V\" does not answer heartbeats",
                      &control->peer->name);
        ngx_zltunnel_control_close(control);
        return;
    }

    if (now - control->beaten >= registry->heartbeat_interval) {
        tp = ngx_timeofday();

        ngx_memzero(&m, sizeof(zlt_msg_t));
        m.type = ZLT_HEARTBEAT;
        m.timestamp = (uint64_t) tp->sec * 1000 + tp->msec;

        ngx_zltunnel_control_write(control, &m);
        control->beaten = now;
    }

    next = registry->heartbeat_interval - (now - control->beaten);
    dead = registry->heartbeat_timeout - (now - control->acked);

    ngx_add_timer(&control->timer, ngx_min(next, dead));
}


static void
ngx_zltunnel_control_quit(ngx_zltunnel_control_t *control)
{
    if (control->leaving) {

        /* the agent had its time to connect anew */

        ngx_zltunnel_control_end(control, ZLT_WS_GOING_AWAY,
                                 "server is shutting down");
        return;
    }

    control->leaving = 1;

    ngx_add_timer(&control->timer, NGX_ZLTUNNEL_CONTROL_LINGER);
    ngx_zltunnel_control_stop(control, ZLT_D_RECONNECT, 0,
                              "server is reloading");
}


ngx_int_t
ngx_zltunnel_control_connect(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, u_char *data)
{
    zlt_msg_t                m;
    ngx_zltunnel_peer_t     *peer;
    ngx_zltunnel_control_t  *control;

    peer = ngx_zltunnel_peer_find(registry, msg->tunnel_id);
    control = peer ? peer->control : NULL;

    if (control == NULL) {
        return NGX_DECLINED;
    }

    /* clients must not end the tunnel of an agent that is merely slow: their
       dials ask again */

    if (control->out_len - control->out_pos > NGX_ZLTUNNEL_CONTROL_FULL) {
        return NGX_DECLINED;
    }

    ngx_memzero(&m, sizeof(zlt_msg_t));

    m.type = ZLT_CONNECT;
    m.service_id = msg->service_id;
    m.connection_id = msg->connection_id;
    m.client_addr.data = msg->text;
    m.client_addr.len = msg->text_len;

    if (msg->data_len) {
        m.ext |= ZLT_X_TARGET;
        m.target.data = data;
        m.target.len = msg->data_len;
    }

    ngx_zltunnel_control_enter(control);
    ngx_zltunnel_control_write(control, &m);
    ngx_zltunnel_control_leave(control);

    return NGX_OK;
}


void
ngx_zltunnel_control_probe(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg)
{
    ngx_zltunnel_peer_t     *peer;
    ngx_zltunnel_control_t  *control;

    peer = ngx_zltunnel_peer_find(registry, msg->tunnel_id);
    control = peer ? peer->control : NULL;

    if (control && control->state == NGX_ZLTUNNEL_CONTROL_OPEN) {
        control->beaten = ngx_current_msec - registry->heartbeat_interval;

        ngx_zltunnel_control_enter(control);
        ngx_zltunnel_control_heartbeat(control);
        ngx_zltunnel_control_leave(control);
    }
}


void
ngx_zltunnel_control_replaced(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg)
{
    ngx_zltunnel_peer_t     *peer;
    ngx_zltunnel_control_t  *control;

    peer = ngx_zltunnel_peer_find(registry, msg->tunnel_id);
    control = peer ? peer->control : NULL;

    if (control == NULL || control->epoch >= msg->epoch) {
        return;
    }

    if (ngx_exiting && !msg->code) {

        /*
         * The agent has moved on to the new workers.  What still runs here
         * and needs a channel asks for it on this one, until the exit.
         */

        control->state = NGX_ZLTUNNEL_CONTROL_REPLACED;

        if (control->timer.timer_set) {
            ngx_del_timer(&control->timer);
        }

        return;
    }

    /* its tunnel belongs to another one now, so there is no grace */

    control->state = NGX_ZLTUNNEL_CONTROL_REPLACED;
    ngx_zltunnel_control_end(control, ZLT_WS_NORMAL, "taken over");
}


void
ngx_zltunnel_control_stop(ngx_zltunnel_control_t *control, ngx_uint_t action,
    ngx_msec_t later, const char *reason)
{
    zlt_msg_t  m;

    ngx_memzero(&m, sizeof(zlt_msg_t));

    m.type = ZLT_DISCONNECT;
    m.reason.data = (u_char *) reason;
    m.reason.len = ngx_strlen(reason);

    if (control->extended) {
        m.ext = ZLT_X_ACTION;
        m.action = action;
    }

    if (control->extended && action == ZLT_D_LATER) {

        /* not all of them at the same moment */

        m.ext |= ZLT_X_RETRY;
        m.retry_after = later + ngx_random() % later;
    }

    ngx_zltunnel_control_write(control, &m);

    if (action == ZLT_D_RECONNECT && control->extended) {
        ngx_zltunnel_control_enter(control);
        ngx_zltunnel_control_leave(control);
        return;
    }

    ngx_zltunnel_control_end(control, ZLT_WS_NORMAL, reason);
}


void
ngx_zltunnel_control_quit_all(void)
{
    ngx_queue_t             *q, *next;
    ngx_zltunnel_control_t  *control;

    if (ngx_zltunnel_controls.next == NULL) {
        return;
    }

    for (q = ngx_queue_head(&ngx_zltunnel_controls);
         q != ngx_queue_sentinel(&ngx_zltunnel_controls);
         q = next)
    {
        next = ngx_queue_next(q);
        control = ngx_queue_data(q, ngx_zltunnel_control_t, queue);

        if (control->state != NGX_ZLTUNNEL_CONTROL_OPEN) {
            continue;
        }

        /*
         * The worker waits for its agents to move on.  They are not told at
         * once, or they would come to another worker that is about to exit.
         */

        if (control->timer.timer_set) {
            ngx_del_timer(&control->timer);
        }

        control->timer.cancelable = 0;
        ngx_add_timer(&control->timer, NGX_ZLTUNNEL_CONTROL_QUIT
                                       + ngx_random()
                                         % NGX_ZLTUNNEL_CONTROL_QUIT);
    }
}


void
ngx_zltunnel_control_exit(void)
{
    ngx_queue_t             *q;
    ngx_zltunnel_control_t  *control;

    if (ngx_zltunnel_controls.next == NULL) {
        return;
    }

    while (!ngx_queue_empty(&ngx_zltunnel_controls)) {
        q = ngx_queue_head(&ngx_zltunnel_controls);
        control = ngx_queue_data(q, ngx_zltunnel_control_t, queue);
        control->busy = 0;
        ngx_zltunnel_control_free(control);
    }
}
