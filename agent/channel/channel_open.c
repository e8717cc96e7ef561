
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A data channel's way to the server (upgrade.c): what it is opened with, what
 * it becomes then, and what becomes of a failure.
 */


#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel_astray.h"
#include "channel_connect.h"
#include "channel_dial.h"
#include "channel_end.h"
#include "channel_fail.h"
#include "channel_open.h"
#include "conf.h"
#include "dup.h"
#include "framed.h"
#include "log.h"
#include "often.h"
#include "shared.h"
#include "upgrade.h"
#include "wsc.h"


#define ZLT_CHANNEL_TRIES    4         /* of a fresh one to reach the server */


static size_t zlt_channel_open_request(void *data, char *buf,
    zlt_http_want_t *want);
static void zlt_channel_open_done(void *data, const zlt_upgrade_end_t *end);
static void zlt_channel_open_opened(zlt_channel_t *ch,
    const zlt_upgrade_end_t *end);
static unsigned zlt_channel_open_doubt(const zlt_upgrade_end_t *end);
static const zlt_pool_param_t *zlt_channel_open_param(zlt_channel_t *ch);
static void zlt_channel_open_unreachable(zlt_channel_t *ch, int err);
static void zlt_channel_open_shut(zlt_channel_t *ch);
static void zlt_channel_open_again(zlt_task_t *task);
static size_t zlt_channel_open_ask(zlt_channel_t *ch,
    const zlt_pool_param_t *param, char *buf, zlt_http_want_t *want);
static void zlt_channel_open_idles(zlt_channel_t *ch, const uint8_t *data,
    size_t len);
static void zlt_channel_open_idle_failed(zlt_channel_t *ch,
    const zlt_http_answer_t *answer, const char *why);
static void zlt_channel_open_joins(zlt_channel_t *ch, const uint8_t *data,
    size_t len);
static void zlt_channel_open_fresh_failed(zlt_channel_t *ch,
    const zlt_http_answer_t *answer, const char *why);
static void zlt_channel_open_given_up(zlt_channel_t *ch, const char *why);
static void zlt_channel_open_expired(zlt_channel_t *ch);
static void zlt_channel_open_late(zlt_channel_t *ch, const char *why);
static void zlt_channel_open_freed(zlt_channel_t *ch);


static const zlt_upgrade_ops_t  zlt_channel_open_ops = {
    zlt_channel_open_request,
    zlt_channel_open_done,
    NULL,
    NULL
};


const zlt_channel_use_t  zlt_channel_use_idle = {
    zlt_channel_open_ask,
    zlt_channel_open_idles,
    zlt_channel_open_idle_failed,
    zlt_channel_open_expired,
    zlt_channel_open_freed
};


const zlt_channel_use_t  zlt_channel_use_fresh = {
    zlt_channel_open_ask,
    zlt_channel_open_joins,
    zlt_channel_open_fresh_failed,
    zlt_channel_open_expired,
    zlt_channel_open_freed
};


const zlt_channel_use_t  zlt_channel_use_datagrams = {
    zlt_channel_open_ask,
    zlt_channel_connect_datagrams,
    zlt_channel_open_fresh_failed,
    zlt_channel_open_expired,
    zlt_channel_open_freed
};


int
zlt_channel_open_idle(zlt_pool_t *p, zlt_owner_t *o)
{
    zlt_channel_t           *ch;
    const zlt_pool_param_t  *param;

    /* one for it and one for the service that it may have to dial */

    if (!zlt_io_room(2)) {
        errno = EMFILE;
        return -1;
    }

    ch = zlt_channel_create(o, &zlt_channel_use_idle, NULL);
    if (ch == NULL) {
        return -1;
    }

    param = zlt_pool_get_param(p);
    ch->pool = p;

    if (zlt_channel_open_start(ch, &param->way) == -1) {
        ch->pool = NULL;
        zlt_channel_free(ch);
        return -1;
    }

    memcpy(ch->tunnel_id, param->tunnel_id, ZLT_ID_SIZE);

    zlt_upgrade_presume(ch->upgrade);

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

    if (zlt_channel_open_start(ch, &param->way) == -1) {
        return -1;
    }

    zlt_upgrade_presume(ch->upgrade);

    return 0;
}


void
zlt_channel_open_undo(zlt_channel_t *ch)
{
    zlt_channel_open_shut(ch);

    zlt_list_remove(&ch->relay.task.link);
}


int
zlt_channel_open_start(zlt_channel_t *ch, const zlt_way_t *way)
{
    zlt_upgrade_param_t  param;

    /* where a client waits nothing is tried out */

    ch->websocket = zlt_transport_pick(&ch->owner->transport,
                                       ch->pool != NULL,
                                       zlt_io_now())
                    ? 1 : 0;

    param.loop = ch->owner->loop;
    param.conn = &ch->relay.side[ZLT_RELAY_CHANNEL];
    param.url = &ch->owner->conf->url;
    param.via = &ch->owner->conf->via;
    param.tls = &ch->owner->tls;
    param.header = &ch->owner->conf->header;
    param.header_file = &ch->owner->conf->header_file;
    param.way = way;
    param.only = NULL;

    /* a visitor's client has a time of its own, for all attempts */

    param.reach = ch->user ? 0 : zlt_channel_timeout(ch);
    param.answer = 0;

    ch->upgrade = zlt_upgrade_start(&param, &zlt_channel_open_ops, ch);

    return ch->upgrade ? 0 : -1;
}


static size_t
zlt_channel_open_request(void *data, char *buf, zlt_http_want_t *want)
{
    zlt_channel_t           *ch;
    const zlt_pool_param_t  *param;

    ch = data;
    param = zlt_channel_open_param(ch);

    if (param == NULL) {
        /* the tunnel is gone */
        return 0;
    }

    return ch->use->request(ch, param, buf, want);
}


static void
zlt_channel_open_done(void *data, const zlt_upgrade_end_t *end)
{
    unsigned        doubt;
    zlt_channel_t  *ch;

    ch = data;
    ch->upgrade = NULL;

    if (end->step == ZLT_UPGRADE_OPEN) {
        zlt_channel_open_opened(ch, end);
        return;
    }

    doubt = zlt_channel_open_doubt(end);

    if (doubt) {
        zlt_transport_failed(&ch->owner->transport, ch->websocket, doubt,
                             end->late ? "no answer came" : end->error,
                             zlt_io_now());
    }

    if (end->late) {
        zlt_channel_open_late(ch, end->error);

    } else {
        ch->use->failed(ch, end->step == ZLT_UPGRADE_REFUSED ? &end->answer
                                                             : NULL,
                        end->error);
    }
}


static void
zlt_channel_open_opened(zlt_channel_t *ch, const zlt_upgrade_end_t *end)
{
    size_t  len;

    len = end->len;

    ch->relay.side[ZLT_RELAY_CHANNEL].io.data = ch;

    zlt_transport_opened(&ch->owner->transport, ch->websocket, zlt_io_now());
    zlt_channel_astray_home(ch);

    ch->worker = (uint16_t) (end->answer.worker % ZLT_CHANNEL_WORKERS);
    ch->workers = (uint16_t) (end->answer.workers > ZLT_CHANNEL_WORKERS
                              ? ZLT_CHANNEL_WORKERS : end->answer.workers);

    if (ch->websocket
        && zlt_wsc_start(&ch->relay.side[ZLT_RELAY_CHANNEL],
                         ch->owner->label, end->data, &len)
           == -1)
    {
        ch->use->failed(ch, NULL, "out of memory");
        return;
    }

    ch->use->opened(ch, end->data, len);
}


/* How much its failure says of something on the way. */

static unsigned
zlt_channel_open_doubt(const zlt_upgrade_end_t *end)
{
    switch (end->step) {

    case ZLT_UPGRADE_ANSWER:
        return end->late ? ZLT_TRANSPORT_SIGN : ZLT_TRANSPORT_HINT;

    case ZLT_UPGRADE_FOREIGN:
        return ZLT_TRANSPORT_PROOF;

    case ZLT_UPGRADE_REFUSED:
        return zlt_transport_doubt(end->answer.status,
                                   end->answer.workers != 0);

    default:
        return 0;
    }
}


/* What its requests say who it belongs to; NULL: there is no tunnel. */

static const zlt_pool_param_t *
zlt_channel_open_param(zlt_channel_t *ch)
{
    zlt_owner_t             *o;
    const zlt_pool_param_t  *param;

    if (ch->pool) {
        return zlt_pool_get_param(ch->pool);
    }

    o = ch->owner;
    param = ch->serial ? o->ops->param(o, ch->serial) : NULL;

    /* the tunnel has moved on to another control channel, keys and all */

    if (param == NULL && o->has_param) {
        param = &o->param;
    }

    return param;
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
    ch->use->failed(ch, NULL, why);
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


int
zlt_channel_open_astray(zlt_channel_t *ch, const zlt_http_answer_t *answer,
    const char *why)
{
    if (!zlt_channel_astray(answer)
        || !zlt_channel_astray_again(ch, zlt_channel_open_param(ch), answer))
    {
        return 0;
    }

    zlt_channel_open_anew(ch, why);

    return 1;
}


static void
zlt_channel_open_shut(zlt_channel_t *ch)
{
    zlt_upgrade_cancel(ch->upgrade);
    ch->upgrade = NULL;

    zlt_conn_close(&ch->relay.side[ZLT_RELAY_CHANNEL]);

    /* a service that is there already waits for the next one */

    if (ch->state != ZLT_CHANNEL_SERVED) {
        zlt_channel_state(ch, ZLT_CHANNEL_OPENING);
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

    if (param == NULL && ch->user) {
        ch->use->failed(ch, NULL, "the tunnel is gone");

    } else if (param == NULL) {
        zlt_channel_open_given_up(ch, "the tunnel is gone");

    } else if (zlt_channel_open_start(ch, &param->way) == -1) {
        zlt_channel_open_unreachable(ch, errno);
    }
}


/* The server's: for the pool, or to answer a Connect. */

static size_t
zlt_channel_open_ask(zlt_channel_t *ch, const zlt_pool_param_t *param,
    char *buf, zlt_http_want_t *want)
{
    zlt_http_tunnel_t  tunnel;

    zlt_pool_tunnel(param, &tunnel);

    return zlt_http_channel(buf, &ch->owner->conf->url, &tunnel,
                            ch->pool ? NULL : ch->id, ch->websocket, want);
}


static void
zlt_channel_open_idles(zlt_channel_t *ch, const uint8_t *data, size_t len)
{
    zlt_io_t  *io;

    io = &ch->relay.side[ZLT_RELAY_CHANNEL].io;

    zlt_channel_state(ch, ZLT_CHANNEL_IDLE);
    io->handler = zlt_channel_connect_idle;

    zlt_timer_start(&ch->relay.timer, ZLT_CHANNEL_SILENCE,
                    zlt_channel_expired);

    zlt_pool_idle(ch->pool, ch);

    if (len && ch->state == ZLT_CHANNEL_IDLE) {
        zlt_channel_connect_frames(ch, data, len);
    }

    /* under TLS what came behind it raises no event again, nor does an end */

    if (ch->state == ZLT_CHANNEL_IDLE && !ch->unread) {
        zlt_channel_connect_idle(io);
    }
}


static void
zlt_channel_open_idle_failed(zlt_channel_t *ch,
    const zlt_http_answer_t *answer, const char *why)
{
    if (!zlt_channel_astray(answer)) {
        zlt_pool_failed(ch->pool, why);

    } else if (zlt_pool_astray(ch->pool)
               && zlt_channel_open_astray(ch, answer, why))
    {
        return;
    }

    zlt_channel_abort(ch);
}


/* Its Connect came before: the client's bytes from here on. */

static void
zlt_channel_open_joins(zlt_channel_t *ch, const uint8_t *data, size_t len)
{
    int  served;

    served = (ch->state == ZLT_CHANNEL_SERVED);

    zlt_channel_state(ch, ZLT_CHANNEL_TAKEN);

    ch->relay.side[ZLT_RELAY_CHANNEL].io.handler = zlt_channel_dial_wait;
    zlt_framed_start(&ch->relay.side[ZLT_RELAY_CHANNEL], &ch->framed,
                     zlt_pool_retires);

    if (zlt_channel_connect_early(ch, data, len) == -1) {
        zlt_channel_connect_spoilt(ch);

    } else if (served) {
        zlt_channel_dial_join(ch);
    }
}


/*
 * A client waits for it, so it is tried again at once: at a reload, the worker
 * that it met may have exited.  Or it met another node, or another binary that
 * is about to take the server over, or was (421).
 */

static void
zlt_channel_open_fresh_failed(zlt_channel_t *ch,
    const zlt_http_answer_t *answer, const char *why)
{
    if (answer && (answer->status == 410 || answer->status == 403)) {

        /* 410: another one was faster, or the client has gone; 403: the
           tunnel has */

        zlt_channel_open_given_up(ch, why);
        return;
    }

    if (zlt_channel_open_astray(ch, answer, why)) {
        return;
    }

    if (++ch->tries < ZLT_CHANNEL_TRIES) {
        zlt_channel_open_anew(ch, why);
        return;
    }

    zlt_often_warn(ch->owner->label, "", "a data channel could not be opened: "
                   "%s", why);

    zlt_channel_open_given_up(ch, why);
}


static void
zlt_channel_open_given_up(zlt_channel_t *ch, const char *why)
{
    zlt_log_link(ch->owner->label, ZLT_LOG_DEBUG, "a data channel is given "
                 "up: %s", why);

    /* the service may have been dialled, but has not seen a byte */

    zlt_dup_forget(ch->id);

    zlt_channel_abort(ch);
}


/* of the server's channels, whatever they are for */

static void
zlt_channel_open_expired(zlt_channel_t *ch)
{
    switch (ch->state) {

    case ZLT_CHANNEL_IDLE:
        zlt_log_link(ch->owner->label, ZLT_LOG_DEBUG, "no heartbeat came on "
                     "an idle data channel");
        zlt_channel_part(ch);
        break;

    case ZLT_CHANNEL_SHARED:
        zlt_log_link(ch->owner->label, ZLT_LOG_DEBUG, "a shared data channel "
                     "is lost: no heartbeat came");
        zlt_channel_abort(ch);
        break;

    case ZLT_CHANNEL_TAKEN:
        zlt_channel_fail_late(ch);
        break;

    case ZLT_CHANNEL_OPENING:
        zlt_channel_open_late(ch, "the server did not answer in time");
        break;

    default:
        /* the server's time is another one */
        break;
    }
}


static void
zlt_channel_open_late(zlt_channel_t *ch, const char *why)
{
    if (ch->state == ZLT_CHANNEL_OPENING && ch->service) {
        zlt_channel_fail_late(ch);
        return;
    }

    /* no time is left to try again */

    ch->tries = ZLT_CHANNEL_TRIES - 1;

    ch->use->failed(ch, NULL, why);
}


static void
zlt_channel_open_freed(zlt_channel_t *ch)
{
    (void) zlt_pool_leave(ch);

    if (ch->shared) {
        zlt_shared_free(ch->shared);
        ch->shared = NULL;
    }

    ch->owner->bytes[0] += ch->relay.bytes[0];
    ch->owner->bytes[1] += ch->relay.bytes[1];
}
