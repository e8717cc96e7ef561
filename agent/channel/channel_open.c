
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A data channel's way to the server: connection, proxy, TLS, request and
 * answer, and what becomes of a failure at each.
 */


#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel_connect.h"
#include "channel_dial.h"
#include "channel_end.h"
#include "channel_open.h"
#include "conf.h"
#include "dup.h"
#include "framed.h"
#include "log.h"
#include "often.h"
#include "talk.h"
#include "tls.h"
#include "via.h"


#define ZLT_CHANNEL_TRIES    4         /* of a fresh one to reach the server */
#define ZLT_CHANNEL_ASTRAY   100       /* .. and the binary with its tunnel */


static void zlt_channel_open_connecting(zlt_io_t *io);
static void zlt_channel_open_talk(zlt_channel_t *ch);
static void zlt_channel_open_talking(zlt_io_t *io);
static void zlt_channel_open_reached(zlt_channel_t *ch);
static void zlt_channel_open_handshaking(zlt_io_t *io);
static void zlt_channel_open_request(zlt_channel_t *ch);
static void zlt_channel_open_read(zlt_channel_t *ch);
static const zlt_pool_param_t *zlt_channel_open_param(zlt_channel_t *ch);
static zlt_wsc_use_e zlt_channel_open_use(const zlt_channel_t *ch);
static int zlt_channel_open_upgraded(zlt_channel_t *ch,
    const zlt_http_answer_t *answer);
static void zlt_channel_open_refused(zlt_channel_t *ch,
    const zlt_http_answer_t *answer);
static unsigned zlt_channel_open_doubtful(const zlt_http_answer_t *answer);
static void zlt_channel_open_doubt(zlt_channel_t *ch, unsigned doubt,
    const char *why);
static void zlt_channel_open_unreachable(zlt_channel_t *ch, int err);
static void zlt_channel_open_failed(zlt_channel_t *ch, const char *why);
static void zlt_channel_open_shut(zlt_channel_t *ch);
static void zlt_channel_open_again(zlt_task_t *task);


int
zlt_channel_open_idle(zlt_pool_t *p, zlt_owner_t *o)
{
    zlt_channel_t  *ch;

    /* one for it and one for the service that it may have to dial */

    if (!zlt_io_room(2)) {
        errno = EMFILE;
        return -1;
    }

    ch = zlt_channel_create(o);
    if (ch == NULL) {
        return -1;
    }

    if (zlt_channel_open_start(ch, &zlt_pool_get_param(p)->way.addr) == -1) {
        zlt_channel_free(ch);
        return -1;
    }

    ch->pool = p;
    memcpy(ch->tunnel_id, zlt_pool_get_param(p)->tunnel_id, ZLT_ID_SIZE);
    ch->windows = zlt_pool_get_param(p)->windows;

    zlt_conn_presume(&ch->relay.side[ZLT_RELAY_CHANNEL]);
    zlt_channel_open_connecting(&ch->relay.side[ZLT_RELAY_CHANNEL].io);

    return 0;
}


int
zlt_channel_open_visit(zlt_channel_t *ch)
{
    const zlt_pool_param_t  *param;

    param = zlt_channel_open_param(ch);

    if (param == NULL) {
        errno = ENOTCONN;
        return -1;
    }

    if (zlt_channel_open_start(ch, &param->way.addr) == -1) {
        return -1;
    }

    zlt_conn_presume(&ch->relay.side[ZLT_RELAY_CHANNEL]);
    zlt_channel_open_connecting(&ch->relay.side[ZLT_RELAY_CHANNEL].io);

    return 0;
}


void
zlt_channel_open_undo(zlt_channel_t *ch)
{
    zlt_channel_open_shut(ch);

    ch->state = ZLT_CHANNEL_OPENING;
    ch->upgraded = 0;

    zlt_list_remove(&ch->relay.task.link);
}


int
zlt_channel_open_start(zlt_channel_t *ch, const zlt_addr_t *addr)
{
    zlt_conn_t  *c;

    c = &ch->relay.side[ZLT_RELAY_CHANNEL];

    /* where a client waits nothing is tried out */

    ch->websocket = zlt_transport_pick(&ch->owner->transport,
                                       !ch->fresh && ch->use == NULL,
                                       zlt_io_now())
                    ? 1 : 0;

    if (zlt_conn_connect(c, &addr->addr.sa, addr->len, 1,
                         zlt_channel_open_connecting)
        == -1)
    {
        return -1;
    }

    c->io.data = ch;

    /* a visitor's client has a time of its own, for all attempts */

    if (ch->use == NULL) {
        zlt_timer_start(&ch->relay.timer, zlt_channel_timeout(ch),
                        zlt_channel_expired);
    }

    return 0;
}


static void
zlt_channel_open_connecting(zlt_io_t *io)
{
    int             rc;
    zlt_conn_t     *c;
    zlt_channel_t  *ch;

    ch = io->data;
    c = &ch->relay.side[ZLT_RELAY_CHANNEL];

    rc = zlt_conn_connected(c);

    if (rc == ZLT_CONN_AGAIN) {
        return;
    }

    if (rc == ZLT_CONN_ERROR) {
        zlt_channel_open_unreachable(ch, errno);
        return;
    }

    if (ch->owner->conf->via.kind) {
        zlt_channel_open_talk(ch);

    } else {
        zlt_channel_open_reached(ch);
    }
}


/* The proxy is there, and has to be told where to. */

static void
zlt_channel_open_talk(zlt_channel_t *ch)
{
    zlt_io_t                *io;
    zlt_conf_t              *conf;
    const zlt_pool_param_t  *param;

    param = zlt_channel_open_param(ch);

    if (param == NULL) {
        zlt_channel_open_failed(ch, "the tunnel is gone");
        return;
    }

    conf = ch->owner->conf;
    ch->talk = zlt_reach_talk(&conf->url, &conf->via, &param->way.target);

    if (ch->talk == NULL) {
        zlt_channel_open_failed(ch, "out of memory");
        return;
    }

    io = &ch->relay.side[ZLT_RELAY_CHANNEL].io;
    io->handler = zlt_channel_open_talking;
    zlt_channel_open_talking(io);
}


static void
zlt_channel_open_talking(zlt_io_t *io)
{
    int             rc;
    char            error[ZLT_PROXY_ERROR_SIZE];
    zlt_channel_t  *ch;

    ch = io->data;

    rc = zlt_talk_step(ch->talk, &ch->relay.side[ZLT_RELAY_CHANNEL], error);

    if (rc == ZLT_CONN_AGAIN) {
        return;
    }

    zlt_talk_free(ch->talk);
    ch->talk = NULL;

    if (rc == 0) {
        zlt_channel_open_reached(ch);

    } else {
        zlt_channel_open_failed(ch, error);
    }
}


static void
zlt_channel_open_reached(zlt_channel_t *ch)
{
    zlt_conn_t  *c;

    if (ch->owner->tls == NULL) {
        zlt_channel_open_request(ch);
        return;
    }

    c = &ch->relay.side[ZLT_RELAY_CHANNEL];

    if (zlt_tls_start(ch->owner->tls, c) == -1) {
        zlt_channel_open_failed(ch, "out of memory");
        return;
    }

    c->io.handler = zlt_channel_open_handshaking;
    zlt_channel_open_handshaking(&c->io);
}


static void
zlt_channel_open_handshaking(zlt_io_t *io)
{
    int             rc;
    char            error[ZLT_TLS_ERROR_SIZE];
    zlt_channel_t  *ch;

    ch = io->data;

    rc = zlt_tls_handshake(&ch->relay.side[ZLT_RELAY_CHANNEL], error);

    if (rc == 0) {
        zlt_channel_open_request(ch);

    } else if (rc == ZLT_CONN_ERROR) {
        zlt_channel_open_failed(ch, error);
    }
}


static void
zlt_channel_open_request(zlt_channel_t *ch)
{
    char                     buf[ZLT_HTTP_REQUEST_SIZE];
    size_t                   n;
    zlt_io_t                *io;
    const zlt_pool_param_t  *param;

    param = zlt_channel_open_param(ch);

    if (param == NULL) {
        zlt_channel_open_failed(ch, "the tunnel is gone");
        return;
    }

    if (ch->use) {
        n = ch->use->request(ch, param, buf);

    } else {
        n = zlt_http_channel(buf, &ch->owner->conf->url, param->tunnel_id,
                             param->key, ch->fresh ? ch->id : NULL,
                             ch->websocket ? ch->accept : NULL);
    }

    if (n == 0 || zlt_channel_write(ch, (uint8_t *) buf, n) == -1) {
        zlt_channel_open_failed(ch, "the request could not be sent");
        return;
    }

    io = &ch->relay.side[ZLT_RELAY_CHANNEL].io;
    io->handler = zlt_channel_open_answer;

    if (io->ready & ZLT_IO_READ) {
        zlt_channel_open_answer(io);
    }
}


void
zlt_channel_open_answer(zlt_io_t *io)
{
    zlt_channel_t  *ch;

    ch = io->data;

    if (zlt_channel_flush(ch) == -1) {
        zlt_channel_open_failed(ch, strerror(errno));
        return;
    }

    zlt_scratch_borrow();

    zlt_channel_open_read(ch);

    zlt_scratch_return();

    /* under TLS what came behind it raises no event again, nor does an end */

    if (ch->state == ZLT_CHANNEL_IDLE && !ch->unread) {
        zlt_channel_connect_idle(io);
    }
}


/* In the shared buffer: the answer, and what has come behind it. */

static void
zlt_channel_open_read(zlt_channel_t *ch)
{
    size_t              len;
    ssize_t             n;
    zlt_io_t           *io;
    zlt_http_answer_t   answer;

    io = &ch->relay.side[ZLT_RELAY_CHANNEL].io;

    n = zlt_channel_fill(ch, &len);

    if (n == ZLT_CONN_AGAIN) {
        return;
    }

    if (n <= 0) {
        zlt_channel_open_doubt(ch, ZLT_TRANSPORT_HINT,
                               n == 0 ? "the connection was closed"
                                      : strerror(errno));
        return;
    }

    n = zlt_http_parse(&answer, (char *) zlt_scratch, len);

    if (n == 0) {
        if (zlt_relay_put(&ch->relay, ZLT_RELAY_CHANNEL, zlt_scratch, len)
            == -1)
        {
            zlt_channel_open_failed(ch, "out of memory");
        }

        return;
    }

    if (n < 0) {
        zlt_channel_open_doubt(ch, ZLT_TRANSPORT_PROOF,
                               "the answer is not HTTP");
        return;
    }

    if (!zlt_channel_open_upgraded(ch, &answer)) {
        zlt_channel_open_refused(ch, &answer);
        return;
    }

    zlt_transport_opened(&ch->owner->transport, ch->websocket, zlt_io_now());

    ch->upgraded = 1;
    ch->worker = (uint16_t) (answer.worker % ZLT_CHANNEL_WORKERS);
    ch->workers = (uint16_t) (answer.workers > ZLT_CHANNEL_WORKERS
                              ? ZLT_CHANNEL_WORKERS : answer.workers);

    len -= (size_t) n;

    if (ch->websocket
        && zlt_wsc_start(&ch->relay.side[ZLT_RELAY_CHANNEL],
                         zlt_channel_open_use(ch), ch->owner->label,
                         zlt_scratch + n, &len)
           == -1)
    {
        zlt_channel_open_failed(ch, "out of memory");
        return;
    }

    if (ch->use) {
        ch->state = ZLT_CHANNEL_RELAY;
        ch->use->opened(ch, zlt_scratch + n, len);
        return;
    }

    if (ch->datagrams) {
        zlt_channel_connect_datagrams(ch, zlt_scratch + n, len);
        return;
    }

    if (ch->fresh) {
        /* its Connect came before: the client's bytes from here on */

        io->handler = zlt_channel_dial_wait;
        ch->reusable = ch->reusable && !ch->websocket;

        if (ch->reusable) {
            zlt_framed_start(&ch->relay.side[ZLT_RELAY_CHANNEL], &ch->framed);
        }

        if (zlt_channel_connect_early(ch, zlt_scratch + n, len) == -1) {
            zlt_channel_end_fail(ch, ZLT_E_BUSY, "out of memory");
            return;
        }

        zlt_channel_dial_join(ch);
        return;
    }

    ch->state = ZLT_CHANNEL_IDLE;
    io->handler = zlt_channel_connect_idle;

    zlt_timer_start(&ch->relay.timer, ZLT_CHANNEL_SILENCE,
                    zlt_channel_expired);

    zlt_pool_idle(ch->pool, ch);

    if (len && ch->state == ZLT_CHANNEL_IDLE) {
        zlt_channel_connect_frames(ch, zlt_scratch + n, len);
    }
}


/* What its requests say who it belongs to; NULL: there is no tunnel. */

static const zlt_pool_param_t *
zlt_channel_open_param(zlt_channel_t *ch)
{
    zlt_owner_t             *o;
    const zlt_pool_param_t  *param;

    o = ch->owner;

    if (ch->use) {
        return o->has_param ? &o->param : NULL;
    }

    if (!ch->fresh) {
        return zlt_pool_get_param(ch->pool);
    }

    param = o->ops->param(o, ch->serial);

    /* the tunnel has moved on to another control channel, keys and all */

    if (param == NULL && o->has_param) {
        param = &o->param;
    }

    return param;
}


static zlt_wsc_use_e
zlt_channel_open_use(const zlt_channel_t *ch)
{
    if (ch->use) {
        return ch->use->websocket;
    }

    return ch->fresh ? ZLT_WSC_FRESH : ZLT_WSC_FRAMES;
}


static int
zlt_channel_open_upgraded(zlt_channel_t *ch, const zlt_http_answer_t *answer)
{
    if (answer->status != 101 || !answer->upgrade) {
        return 0;
    }

    return ch->websocket ? answer->websocket && answer->data
                           && strcmp(answer->accept, ch->accept) == 0
                         : answer->zltunnel;
}


static void
zlt_channel_open_refused(zlt_channel_t *ch, const zlt_http_answer_t *answer)
{
    char  why[128];

    (void) snprintf(why, sizeof(why), "the server answered %u %s",
                    answer->status, answer->reason);

    if (ch->use) {
        ch->use->failed(ch, answer, why);
        return;
    }

    if (answer->status == 421 && ch->fresh) {

        /* another binary is about to take the server over, or was; chance
           decides which of them a connection meets */

        if (++ch->astray < ZLT_CHANNEL_ASTRAY) {
            zlt_channel_open_anew(ch, why);
            return;
        }

    } else if (answer->status == 421) {
        zlt_pool_astray(ch->pool);
        zlt_channel_open_given_up(ch, NULL);
        return;
    }

    if (ch->fresh && (answer->status == 410 || answer->status == 403)) {

        /* 410: another one was faster, or the client has gone; 403: the
           tunnel has */

        zlt_channel_open_given_up(ch, why);
        return;
    }

    zlt_channel_open_doubt(ch, zlt_channel_open_doubtful(answer), why);
}


/*
 * Whose answer it is.  Our server's says which worker gave it, but for servers
 * of before that, and if it does not see the request for what it is, something
 * on the way has changed it.
 */

static unsigned
zlt_channel_open_doubtful(const zlt_http_answer_t *answer)
{
    switch (answer->status) {

    case 400:
    case 426:
        return ZLT_TRANSPORT_PROOF;

    case 403:
    case 410:
    case 421:
    case 429:
    case 500:
    case 502:
    case 503:
    case 504:
        return answer->workers ? 0 : ZLT_TRANSPORT_HINT;

    default:
        return answer->workers ? 0 : ZLT_TRANSPORT_PROOF;
    }
}


/* It has failed, and that may be for what its request was. */

static void
zlt_channel_open_doubt(zlt_channel_t *ch, unsigned doubt, const char *why)
{
    if (doubt) {
        zlt_transport_failed(&ch->owner->transport, ch->websocket, doubt, why,
                             zlt_io_now());
    }

    zlt_channel_open_failed(ch, why);
}


static void
zlt_channel_open_unreachable(zlt_channel_t *ch, int err)
{
    char                     why[ZLT_ADDR_TEXT + 64], text[ZLT_ADDR_TEXT];
    const zlt_pool_param_t  *param;

    param = zlt_channel_open_param(ch);

    (void) snprintf(why, sizeof(why), "%s: %s",
                    param ? zlt_addr_text(text, &param->way.addr)
                          : "the server", strerror(err));
    zlt_channel_open_failed(ch, why);
}


/*
 * A client waits for a fresh one, so it is tried again at once: at a reload,
 * the worker that it met may have exited.
 */

static void
zlt_channel_open_failed(zlt_channel_t *ch, const char *why)
{
    if (ch->use) {
        ch->use->failed(ch, NULL, why);
        return;
    }

    if (!ch->fresh) {
        zlt_channel_open_given_up(ch, why);
        return;
    }

    if (++ch->tries == ZLT_CHANNEL_TRIES) {
        zlt_often_warn(ch->owner->label, "", "a data channel could not be "
                       "opened: %s", why);
        zlt_channel_open_given_up(ch, why);
        return;
    }

    zlt_channel_open_anew(ch, why);
}


void
zlt_channel_open_anew(zlt_channel_t *ch, const char *why)
{
    zlt_log_link(ch->owner->label, ZLT_LOG_DEBUG, "a data channel is tried "
                 "again: %s", why);

    zlt_channel_open_shut(ch);

    ch->relay.task.handler = zlt_channel_open_again;
    zlt_io_post(&ch->relay.task);
}


/* The way to the server, and what was under way on it. */

static void
zlt_channel_open_shut(zlt_channel_t *ch)
{
    unsigned  i;

    zlt_conn_close(&ch->relay.side[ZLT_RELAY_CHANNEL]);

    zlt_talk_free(ch->talk);
    ch->talk = NULL;

    for (i = 0; i < 2; i++) {
        free(ch->relay.flow[i].buf);
        ch->relay.flow[i].buf = NULL;
    }
}


static void
zlt_channel_open_again(zlt_task_t *task)
{
    zlt_relay_t             *r;
    zlt_channel_t           *ch;
    const zlt_pool_param_t  *param;

    r = zlt_list_data(task, zlt_relay_t, task);
    ch = zlt_list_data(r, zlt_channel_t, relay);

    param = zlt_channel_open_param(ch);

    if (param == NULL && ch->use) {
        ch->use->failed(ch, NULL, "the tunnel is gone");

    } else if (param == NULL) {
        zlt_channel_open_given_up(ch, "the tunnel is gone");

    } else if (zlt_channel_open_start(ch, &param->way.addr) == -1) {
        zlt_channel_open_unreachable(ch, errno);
    }
}


/* why: NULL if the pool has been told */

void
zlt_channel_open_given_up(zlt_channel_t *ch, const char *why)
{
    if (ch->fresh) {
        zlt_log_link(ch->owner->label, ZLT_LOG_DEBUG, "a data channel is "
                     "given up: %s", why ? why : "");

        /* the service may have been dialled, but has not seen a byte */

        zlt_dup_forget(ch->id);

    } else if (why) {
        zlt_pool_failed(ch->pool, why);
    }

    zlt_relay_abort(&ch->relay);
    zlt_channel_free(ch);
}
