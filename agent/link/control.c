
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A control channel, from dialling to its end.
 *
 * The upgrade (upgrade.c), Auth, and from AuthOk on it is up.
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
#include "log.h"
#include "version.h"


#define ZLT_CONTROL_AUTH_TIMEOUT   15          /* s, upgrade and Auth each */
#define ZLT_CONTROL_CLOSE_TIMEOUT  2000        /* ms */


static void zlt_control_found(void *data, const char *host,
    zlt_addrs_t *addrs);
static void zlt_control_tell(const zlt_control_t *c, const char *fmt, ...)
    zlt_printf_like(2, 3);
static size_t zlt_control_request(void *data, char *buf,
    zlt_http_want_t *want);
static void zlt_control_upgraded(void *data, const zlt_upgrade_end_t *end);
static void zlt_control_auth(zlt_control_t *c);
static void zlt_control_event(zlt_io_t *io);
static void zlt_control_forget(zlt_control_t *c);
static void zlt_control_freed(zlt_task_t *task);
static void zlt_control_end(zlt_control_t *c, zlt_down_e how,
    uint32_t retry_after);


static const zlt_upgrade_ops_t  zlt_control_upgrade = {
    zlt_control_request,
    zlt_control_upgraded,
    zlt_control_found,
    NULL
};


static uint32_t  zlt_control_serials;


zlt_control_t *
zlt_control_start(zlt_link_t *l, const zlt_control_ops_t *ops)
{
    char                  text[ZLT_URL_TEXT];
    zlt_control_t        *c;
    const zlt_conf_t     *conf;
    zlt_upgrade_param_t   param;

    c = calloc(1, sizeof(zlt_control_t));
    if (c == NULL) {
        return NULL;
    }

    c->link = l;
    c->ops = ops;
    c->serial = ++zlt_control_serials;
    c->first = l->attempted ? 0 : 1;
    c->pos = c->in;
    c->last = c->in;

    zlt_conn_init(&c->conn);
    zlt_list_init(&c->node);
    zlt_list_init(&c->asks);
    zlt_list_init(&c->task.link);
    zlt_ws_init(&c->ws, ZLT_WS_CLIENT, ZLT_MAX_MESSAGE_SIZE);

    conf = l->owner.conf;

    param.loop = l->owner.loop;
    param.conn = &c->conn;
    param.url = &conf->url;
    param.via = &conf->via;
    param.tls = &l->owner.tls;
    param.header = &conf->header;
    param.header_file = &conf->header_file;
    param.way = NULL;
    param.only = l->pin.len ? &l->pin : NULL;
    param.reach = (conf->connect_timeout + 999) / 1000;
    param.answer = ZLT_CONTROL_AUTH_TIMEOUT;

    c->upgrade = zlt_upgrade_start(&param, &zlt_control_upgrade, c);

    if (c->upgrade == NULL) {
        free(c);
        return NULL;
    }

    zlt_control_tell(c, "connecting to %s%s%s",
                     l->pin.len ? zlt_addr_text(text, &l->pin)
                                : zlt_url_place(text, &conf->url),
                     conf->via.kind ? " through " : "",
                     conf->via.kind ? conf->via.name : "");

    return c;
}


static void
zlt_control_found(void *data, const char *host, zlt_addrs_t *addrs)
{
    char         text[ZLT_WHERE_TEXT];
    zlt_link_t  *l;

    zlt_control_tell(data, "%s", zlt_where_text(text, host, addrs));

    l = ((zlt_control_t *) data)->link;

    if (l->owner.conf->via.kind == ZLT_PROXY_NONE) {
        l->ops->found(l, addrs);
    }
}


/* Where it goes: the first attempt is news, the others are for those who
   want to know. */

static void
zlt_control_tell(const zlt_control_t *c, const char *fmt, ...)
{
    char     text[1024];
    va_list  ap;

    va_start(ap, fmt);
    (void) vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);

    zlt_log_link(c->link->owner.label,
                 c->first ? ZLT_LOG_INFO : ZLT_LOG_DEBUG, "%s", text);
}


static size_t
zlt_control_request(void *data, char *buf, zlt_http_want_t *want)
{
    zlt_control_t  *c;

    c = data;

    return zlt_http_control(buf, &c->link->owner.conf->url, want);
}


static void
zlt_control_upgraded(void *data, const zlt_upgrade_end_t *end)
{
    char            text[ZLT_UPGRADE_ERROR_SIZE];
    zlt_control_t  *c;

    c = data;
    c->upgrade = NULL;

    switch (end->step) {

    case ZLT_UPGRADE_OPEN:
        break;

    case ZLT_UPGRADE_REACH:
        zlt_control_fail(c, ZLT_DOWN_LOST, 0, "the server cannot be reached: "
                         "%s", end->error);
        return;

    case ZLT_UPGRADE_TLS:
        if (!end->late) {
            zlt_control_fail(c, ZLT_DOWN_LOST, 0, "TLS with \"%s\" failed: %s",
                             end->param->url->host, end->error);
            return;
        }

        /* fall through */

    default:
        zlt_control_fail(c, ZLT_DOWN_LOST, end->answer.retry_after, "%s",
                         end->answer.status == 101
                         ? "the server's upgrade to WebSocket is not valid"
                         : zlt_upgrade_told(end, text));
        return;
    }

    c->param.way = *end->way;
    c->deadline = zlt_io_now() + ZLT_CONTROL_AUTH_TIMEOUT * 1000;

    c->conn.io.data = c;
    c->conn.io.handler = zlt_control_event;

    zlt_conn_keepalive(&c->conn);

    memcpy(c->in, end->data, end->len);
    c->last = c->in + end->len;

    zlt_control_auth(c);

    if (c->conn.io.fd != -1) {
        zlt_control_event(&c->conn.io);
    }
}


static void
zlt_control_auth(zlt_control_t *c)
{
    uint8_t      client_id[ZLT_ID_SIZE], held[ZLT_LINK_HELD * ZLT_ID_SIZE];
    zlt_msg_t    m;
    zlt_link_t  *l;

    static const char  agent[] = "zltunnel-agent/" ZLT_AGENT_VERSION;

    l = c->link;

    memset(&m, 0, sizeof(zlt_msg_t));

    if (RAND_bytes(client_id, sizeof(client_id)) != 1) {
        zlt_control_fail(c, ZLT_DOWN_LOST, 0, "no random numbers");
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
                 |ZLT_F_ACCESS|ZLT_F_HOSTS|ZLT_F_HEALTH;

    m.agent.data = (const uint8_t *) agent;
    m.agent.len = sizeof(agent) - 1;

    m.held.data = held;
    m.held.len = l->ops->held(l, held) * ZLT_ID_SIZE;

    if (m.held.len) {
        m.ext |= ZLT_X_HELD;
    }

    if (l->resumable) {
        m.ext |= ZLT_X_RESUME_KEY;
        m.resume_key = l->resume_key;
    }

    zlt_control_ws_send(c, &m);
}


static void
zlt_control_event(zlt_io_t *io)
{
    ssize_t         n;
    zlt_control_t  *c;

    c = io->data;

    if (zlt_control_ws_flush(c) == -1) {
        return;
    }

    for ( ;; ) {

        if (c->pos < c->last) {
            zlt_control_ws_input(c);
        }

        if (c->conn.io.fd == -1 || c->pos < c->last) {
            return;
        }

        n = zlt_conn_read(&c->conn, c->in, ZLT_CONTROL_IN);

        if (n == ZLT_CONN_AGAIN) {
            return;
        }

        if (n <= 0) {
            if (c->state == ZLT_CONTROL_CLOSING) {
                zlt_control_end(c, ZLT_DOWN_CLOSED, 0);

            } else {
                zlt_control_fail(c, ZLT_DOWN_LOST, 0, "the control channel "
                                 "was closed%s%s",
                                 n == 0 ? "" : ": ",
                                 n == 0 ? "" : strerror(errno));
            }

            return;
        }

        c->pos = c->in;
        c->last = c->in + n;
    }
}


void
zlt_control_fail(zlt_control_t *c, zlt_down_e how, uint32_t retry_after,
    const char *fmt, ...)
{
    char     text[1024];
    va_list  ap;

    va_start(ap, fmt);
    (void) vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);

    if (c->state == ZLT_CONTROL_CLOSING || c->link->owner.stopping
        || c->link->hidden)
    {
        zlt_log_link(c->link->owner.label, ZLT_LOG_DEBUG, "%s", text);

    } else if (c->place != ZLT_CONTROL_CURRENT) {
        zlt_log_link(c->link->owner.label, ZLT_LOG_INFO, "the earlier control "
                     "channel has ended: %s", text);

    } else if (how == ZLT_DOWN_REFUSED) {
        zlt_log_link(c->link->owner.label, ZLT_LOG_ERROR, "%s", text);

    } else {
        zlt_log_link(c->link->owner.label, how != ZLT_DOWN_DOUBLE
                                           ? ZLT_LOG_WARN : c->link->doubles
                                           ? ZLT_LOG_DEBUG : ZLT_LOG_INFO,
                     "%s", text);
    }

    if (c == c->link->control && c->state != ZLT_CONTROL_CLOSING
        && !c->link->owner.stopping)
    {
        zlt_link_state_reason(c->link, text);
    }

    zlt_control_end(c, how, retry_after);
}


static void
zlt_control_end(zlt_control_t *c, zlt_down_e how, uint32_t retry_after)
{
    uint64_t     healthy;
    zlt_link_t  *l;

    l = c->link;
    healthy = c->up_since ? zlt_io_now() - c->up_since : 0;

    zlt_control_abort(c);

    c->ops->down(l, c, how, retry_after, healthy);
}


void
zlt_control_abort(zlt_control_t *c)
{
    if (c->state == ZLT_CONTROL_GONE) {
        return;
    }

    zlt_control_state(c, ZLT_CONTROL_GONE);

    zlt_upgrade_cancel(c->upgrade);
    c->upgrade = NULL;

    zlt_conn_close(&c->conn);
    zlt_list_remove(&c->node);

    zlt_control_forget(c);

    free(c->message);
    free(c->out);

    c->message = NULL;
    c->message_len = 0;
    c->out = NULL;
    c->out_len = 0;

    OPENSSL_cleanse(&c->param, sizeof(zlt_pool_param_t));

    c->task.handler = zlt_control_freed;
    zlt_io_later(&c->task);
}


/* No answers are waited for any more. */

static void
zlt_control_forget(zlt_control_t *c)
{
    zlt_control_register_lost(c);
    zlt_control_access_lost(c);
    zlt_channel_dial_registered(&c->link->owner);
}


static void
zlt_control_freed(zlt_task_t *task)
{
    free(zlt_list_data(task, zlt_control_t, task));
}


void
zlt_control_close(zlt_control_t *c, const char *reason)
{
    size_t   n;
    uint8_t  payload[ZLT_WS_MAX_CONTROL];

    if (c->state >= ZLT_CONTROL_CLOSING) {
        return;
    }

    zlt_control_state(c, ZLT_CONTROL_CLOSING);

    if (c->conn.io.fd == -1 || c->upgrade) {
        zlt_control_end(c, ZLT_DOWN_CLOSED, 0);
        return;
    }

    n = zlt_ws_close_payload(payload, ZLT_WS_GOING_AWAY, reason);

    c->deadline = zlt_io_now() + ZLT_CONTROL_CLOSE_TIMEOUT;

    zlt_control_ws_frame(c, ZLT_WS_OP_CLOSE, payload, n);
}


void
zlt_control_tick(zlt_control_t *c)
{
    uint64_t  now;

    now = zlt_io_now();

    if (c->deadline && now >= c->deadline) {

        if (c->state == ZLT_CONTROL_CLOSING) {
            zlt_control_end(c, ZLT_DOWN_CLOSED, 0);
            return;
        }

        zlt_control_fail(c, ZLT_DOWN_LOST, 0,
                         "the server did not answer in time");
        return;
    }

    if (c->state == ZLT_CONTROL_UP) {
        zlt_control_heartbeat_tick(c, now);
    }
}


void
zlt_control_state(zlt_control_t *c, zlt_control_state_e state)
{
    if (state <= c->state) {
        zlt_log_link(c->link->owner.label, ZLT_LOG_ERROR, "bad transition of "
                     "a control channel, from %u to %u", (unsigned) c->state,
                     (unsigned) state);
#ifdef __SANITIZE_ADDRESS__
        abort();
#endif
        return;
    }

    c->state = state;
}


int
zlt_control_is_up(const zlt_control_t *c)
{
    return c->state == ZLT_CONTROL_UP;
}


int
zlt_control_registers(const zlt_control_t *c)
{
    return c->npending != 0;
}


void
zlt_control_keep_aside(zlt_control_t *c, zlt_list_t *kept, int former)
{
    c->place = former ? ZLT_CONTROL_FORMER : ZLT_CONTROL_KEPT;
    zlt_control_forget(c);
    zlt_list_append(kept, &c->node);
}


zlt_control_t *
zlt_control_of_node(zlt_list_t *node)
{
    return zlt_list_data(node, zlt_control_t, node);
}


const zlt_pool_param_t *
zlt_control_param(const zlt_control_t *c)
{
    return (c->features & ZLT_F_CHANNELS) ? &c->param : NULL;
}


zlt_control_t *
zlt_control_find(zlt_link_t *l, uint32_t serial)
{
    zlt_list_t     *link;
    zlt_control_t  *c;

    if (l->control && l->control->serial == serial
        && zlt_control_is_up(l->control))
    {
        return l->control;
    }

    zlt_list_each(link, &l->kept) {
        c = zlt_control_of_node(link);

        if (c->serial == serial && zlt_control_is_up(c)) {
            return c;
        }
    }

    return NULL;
}
