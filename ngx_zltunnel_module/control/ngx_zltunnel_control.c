
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Control channels: a WebSocket on a connection that http has handed over.
 * What comes and goes there is in ngx_zltunnel_control_io.c, what the messages
 * mean in ngx_zltunnel_control_message.c.
 *
 * A control channel may end in the middle of handling its input.  It is then
 * marked dead, and freed where the handler returns.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_control.h"
#include "ngx_zltunnel_auth.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_control_io.h"
#include "ngx_zltunnel_control_message.h"
#include "ngx_zltunnel_control_place.h"
#include "ngx_zltunnel_transport.h"
#include "ngx_zltunnel_worker.h"

#include "zlt_msg.h"
#include "zlt_ws.h"


#define NGX_ZLTUNNEL_CONTROL_FULL    131072    /* bytes, and no Connect
                                                  more */
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
static void ngx_zltunnel_control_drop(ngx_zltunnel_control_t *control);
static void ngx_zltunnel_control_free(ngx_zltunnel_control_t *control);
static void ngx_zltunnel_control_heartbeat(ngx_zltunnel_control_t *control);
static void ngx_zltunnel_control_quit(ngx_zltunnel_control_t *control);


static ngx_queue_t  ngx_zltunnel_controls;


ngx_uint_t
ngx_zltunnel_control_allowed(ngx_zltunnel_registry_t *registry,
    struct sockaddr *sa)
{
    ngx_zltunnel_control_t  *control;

    if (registry->unauthenticated < registry->max_unauthenticated) {
        return 1;
    }

    control = ngx_zltunnel_control_place_yield(registry, sa);

    if (control) {
        ngx_log_error(NGX_LOG_INFO, control->end.connection->log, 0,
                      "agent did not send Auth, and its place is wanted");
        ngx_zltunnel_control_drop(control);
        return 1;
    }

    ngx_zltunnel_log_complain(ngx_cycle->log,
                              "control channel refused: limit of %s",
                              "max_unauthenticated");
    return 0;
}


void
ngx_zltunnel_control_start(ngx_zltunnel_registry_t *registry,
    ngx_connection_t *c, ngx_str_t *host, ngx_zltunnel_ask_conf_t *asks,
    u_char *data, size_t len)
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

    ngx_zltunnel_end_init(&control->end, c, NULL);

    control->registry = registry;
    control->asks = asks;
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
    ngx_zltunnel_control_io_hold(control, data, len);
    ngx_explicit_memzero(data, len);
    ngx_zltunnel_control_io_read(control);
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
    ngx_zltunnel_control_io_read(control);
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
ngx_zltunnel_control_end(ngx_zltunnel_control_t *control, uint16_t code,
    const char *reason)
{
    u_char  buf[ZLT_WS_MAX_CONTROL];
    size_t  len;

    if (control->dead || control->state == NGX_ZLTUNNEL_CONTROL_CLOSING) {
        return;
    }

    len = zlt_ws_close_payload(buf, code, reason);
    ngx_zltunnel_control_io_put(control, ZLT_WS_OP_CLOSE, buf, len);

    if (code != ZLT_WS_GOING_AWAY && *reason) {
        control->why = reason;
    }

    ngx_zltunnel_control_message_down(control);

    control->state = NGX_ZLTUNNEL_CONTROL_CLOSING;
    ngx_add_timer(&control->timer, NGX_ZLTUNNEL_CONTROL_LINGER);

    ngx_zltunnel_control_enter(control);
    ngx_zltunnel_control_leave(control);
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
        ngx_zltunnel_control_io_flush(control);
    }

    if (control->dead || control->failed) {
        ngx_zltunnel_control_close(control);
    }
}


void
ngx_zltunnel_control_close(ngx_zltunnel_control_t *control)
{
    control->dead = 1;

    if (!control->busy) {
        ngx_zltunnel_control_free(control);
    }
}


/* closes one that has not sent Auth, as if it had never come */

static void
ngx_zltunnel_control_drop(ngx_zltunnel_control_t *control)
{
    ngx_zltunnel_control_place_leave(control);
    ngx_zltunnel_control_close(control);
}


static void
ngx_zltunnel_control_free(ngx_zltunnel_control_t *control)
{
    if (control->why == NULL && !ngx_exiting) {
        control->why = "the connection was lost";
    }

    ngx_zltunnel_control_message_down(control);

    ngx_zltunnel_control_place_leave(control);
    ngx_zltunnel_ask_leave(control);

    if (control->timer.timer_set) {
        ngx_del_timer(&control->timer);
    }

    ngx_queue_remove(&control->queue);

    ngx_zltunnel_end_close(&control->end);

    ngx_zltunnel_control_io_free(control);

    if (control->auth.data) {
        ngx_explicit_memzero(control->auth.data, control->auth.len);
        ngx_free(control->auth.data);
    }

    if (control->secret.data) {
        ngx_explicit_memzero(control->secret.data, control->secret.len);
        ngx_free(control->secret.data);
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

    case NGX_ZLTUNNEL_CONTROL_ASKING:
        ngx_zltunnel_ask_leave(control);
        ngx_zltunnel_auth_asked(control, NGX_ZLTUNNEL_ASK_FAILED, NULL);
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
        control->why = "the agent does not answer heartbeats";
        ngx_zltunnel_control_close(control);
        return;
    }

    if (now - control->beaten >= registry->heartbeat_interval) {
        tp = ngx_timeofday();

        ngx_memzero(&m, sizeof(zlt_msg_t));
        m.type = ZLT_HEARTBEAT;
        m.timestamp = (uint64_t) tp->sec * 1000 + tp->msec;

        ngx_zltunnel_control_io_write(control, &m);
        control->beaten = now;
        control->beating = 1;
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
    ngx_zltunnel_control_io_write(control, &m);
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

    ngx_zltunnel_control_io_write(control, &m);

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
