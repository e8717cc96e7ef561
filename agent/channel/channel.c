
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A data channel, step by step.  What it is says channel_state.h; the handler
 * of its connection is the step.
 *
 * The steps to the server are in channel_open.c, what comes on an idle channel
 * in channel_connect.c, the steps to the service in channel_dial.c, and what
 * ends a connection or a channel in channel_end.c.
 *
 * One that stays framed throughout a connection is idle again after it.  A
 * visitor's channel goes the same way until the 101; what follows is in
 * visit.c.
 *
 * A fresh channel, which answers a Connect that came on the control channel,
 * dials server and service at the same time and joins both.
 *
 * What there is is read at once: bytes behind Connect are the service's and
 * wait in the relay's flow, and an idle channel that is taken costs one recv()
 * and not three.
 */


#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel.h"
#include "channel_end.h"
#include "conf.h"
#include "dup.h"
#include "flow.h"
#include "framed.h"
#include "log.h"
#include "race.h"
#include "service.h"
#include "upgrade.h"
#include "zlt_hex.h"


#define ZLT_CHANNEL_LOOK     5         /* s, whether what was sent has gone */
#define ZLT_CHANNEL_DEAD     60000     /* ms, as a relay's */


static void zlt_channel_freed(zlt_task_t *task);
static void zlt_channel_turn(zlt_task_t *task);


zlt_channel_t *
zlt_channel_create(zlt_owner_t *o, const zlt_channel_use_t *use, void *user)
{
    zlt_channel_t  *ch;

    ch = calloc(1, sizeof(zlt_channel_t));
    if (ch == NULL) {
        return NULL;
    }

    zlt_relay_init(&ch->relay);

    zlt_list_init(&ch->link);
    zlt_list_init(&ch->waiter.link);
    zlt_list_append(&o->channels, &ch->all);

    ch->owner = o;
    ch->use = use;
    ch->user = user;

    o->nchannels++;

    return ch;
}


/* Both sides must be closed.  The memory stays for this turn, since events
   for it may have been fetched. */

void
zlt_channel_free(zlt_channel_t *ch)
{
    zlt_channel_state(ch, ZLT_CHANNEL_GONE);

    zlt_relay_cleanup(&ch->relay);

    ch->use->freed(ch);

    if (ch->udp) {
        ch->owner->ops->datagrams_free(ch->udp);
        ch->udp = NULL;
    }

    if (ch->moving) {
        ch->moving->moving = NULL;
        zlt_channel_abort(ch->moving);
        ch->moving = NULL;
    }

    zlt_upgrade_cancel(ch->upgrade);
    ch->upgrade = NULL;

    zlt_list_remove(&ch->all);
    zlt_list_remove(&ch->waiter.link);
    zlt_race_cancel(ch->race);
    ch->race = NULL;

    if (ch->service) {
        zlt_service_release(ch->service);
        ch->service = NULL;
    }

    free(ch->target);
    ch->target = NULL;

    free(ch->client);
    ch->client = NULL;

    ch->owner->nchannels--;
    ch->owner->ops->gone(ch->owner);

    ch->relay.task.handler = zlt_channel_freed;
    zlt_io_later(&ch->relay.task);
}


static void
zlt_channel_freed(zlt_task_t *task)
{
    zlt_relay_t  *r;

    r = zlt_list_data(task, zlt_relay_t, task);

    free(zlt_list_data(r, zlt_channel_t, relay));
}


/* An idle channel is of no use any more. */

void
zlt_channel_lost(zlt_channel_t *ch, const char *why)
{
    zlt_log_link(ch->owner->label, ZLT_LOG_DEBUG, "an idle data channel is "
                 "lost: %s", why);

    zlt_channel_abort(ch);
}


void
zlt_channel_abort(zlt_channel_t *ch)
{
    zlt_relay_abort(&ch->relay);
    zlt_channel_free(ch);
}


int
zlt_channel_is_idle(const zlt_channel_t *ch)
{
    return ch->state == ZLT_CHANNEL_IDLE
           && ch->relay.side[ZLT_RELAY_CHANNEL].lane == NULL;
}


int
zlt_channel_is_shared(const zlt_channel_t *ch)
{
    return ch->state == ZLT_CHANNEL_SHARED;
}


int
zlt_channel_is_joined(const zlt_channel_t *ch)
{
    return ch->state == ZLT_CHANNEL_RELAY && ch->user == NULL;
}


void
zlt_channel_expired(zlt_timer_t *timer)
{
    zlt_relay_t    *r;
    zlt_channel_t  *ch;

    r = zlt_list_data(timer, zlt_relay_t, timer);
    ch = zlt_list_data(r, zlt_channel_t, relay);

    if (ch->state == ZLT_CHANNEL_ENDING) {
        zlt_channel_part(ch);

    } else if (ch->state == ZLT_CHANNEL_CLOSING) {
        zlt_conn_reset(&r->side[ZLT_RELAY_CHANNEL]);
        zlt_channel_free(ch);

    } else {
        ch->use->expired(ch);
    }
}


/*
 * The server does not say that it is done with the channel.  The last bytes of
 * a connection may be on their way to it, or lie there, since its client reads
 * slowly: a reset would overtake them, and the kernel gives up a connection
 * that was closed and whose peer's window is.  An agent that ends leaves it to
 * the kernel.
 */

void
zlt_channel_part(zlt_channel_t *ch)
{
    zlt_conn_t  *c;

    c = &ch->relay.side[ZLT_RELAY_CHANNEL];

    if (c->lane) {
        zlt_conn_reset(c);

    } else if (!ch->owner->stopping && zlt_conn_unacked(c)
               && !zlt_conn_dead(c, ZLT_CHANNEL_DEAD))
    {
        zlt_timer_start(&ch->relay.timer, ZLT_CHANNEL_LOOK,
                        zlt_channel_expired);
        return;
    }

    zlt_conn_close(c);
    zlt_channel_free(ch);
}


ssize_t
zlt_channel_fill(zlt_channel_t *ch, size_t *len)
{
    size_t       kept;
    ssize_t      n;
    zlt_conn_t  *c;
    zlt_flow_t  *f;

    f = &ch->relay.flow[ZLT_RELAY_CHANNEL];
    kept = f->buf ? f->buf->last : 0;

    if (kept && ch->unread) {
        ch->unread = 0;
        n = 0;

    } else {
        c = &ch->relay.side[ZLT_RELAY_CHANNEL];

        n = zlt_conn_readable(c)
            ? zlt_framed_pull(c, zlt_scratch + kept, ZLT_SCRATCH_SIZE - kept)
            : ZLT_CONN_AGAIN;

        if (n <= 0) {
            return n;
        }
    }

    if (kept) {
        memcpy(zlt_scratch, f->buf->data, kept);
        free(f->buf);
        f->buf = NULL;
    }

    *len = kept + (size_t) n;

    return (ssize_t) *len;
}


void
zlt_channel_unread(zlt_channel_t *ch, zlt_buf_t *buf)
{
    ch->relay.flow[ZLT_RELAY_CHANNEL].buf = buf;
    ch->unread = 1;
}


void
zlt_channel_post(zlt_channel_t *ch)
{
    ch->relay.task.handler = zlt_channel_turn;
    zlt_io_post(&ch->relay.task);
}


static void
zlt_channel_turn(zlt_task_t *task)
{
    zlt_io_t     *io;
    zlt_relay_t  *r;

    r = zlt_list_data(task, zlt_relay_t, task);
    io = &r->side[ZLT_RELAY_CHANNEL].io;

    io->handler(io);
}


int
zlt_channel_send(zlt_channel_t *ch, const zlt_msg_t *m, size_t size)
{
    size_t   n;
    uint8_t  buf[ZLT_CHANNEL_FAIL];

    n = zlt_msg_encode(m, buf, size);

    if (n == 0) {
        errno = EMSGSIZE;
        return -1;
    }

    return zlt_channel_write(ch, buf, n);
}


/* Sends, now or when there is room. */

int
zlt_channel_write(zlt_channel_t *ch, const uint8_t *data, size_t len)
{
    ssize_t  n;

    n = 0;

    if (ch->relay.flow[ZLT_RELAY_SERVICE].buf == NULL) {
        n = zlt_conn_write(&ch->relay.side[ZLT_RELAY_CHANNEL], data, len);

        if (n == ZLT_CONN_ERROR) {
            return -1;
        }

        if (n == ZLT_CONN_AGAIN) {
            n = 0;
        }
    }

    if ((size_t) n == len) {
        return 0;
    }

    return zlt_flow_put(&ch->relay, ZLT_RELAY_SERVICE, data + n,
                        len - (size_t) n);
}


int
zlt_channel_flush(zlt_channel_t *ch)
{
    ssize_t      n;
    zlt_flow_t  *f;

    f = &ch->relay.flow[ZLT_RELAY_SERVICE];

    n = zlt_conn_flush(&ch->relay.side[ZLT_RELAY_CHANNEL]);

    if (n != 0) {
        return n == ZLT_CONN_AGAIN ? 0 : -1;
    }

    while (f->buf) {
        n = zlt_conn_write(&ch->relay.side[ZLT_RELAY_CHANNEL],
                           f->buf->data + f->buf->pos,
                           f->buf->last - f->buf->pos);

        if (n < 0) {
            return n == ZLT_CONN_AGAIN ? 0 : -1;
        }

        f->buf->pos += (uint32_t) n;

        if (f->buf->pos == f->buf->last) {
            free(f->buf);
            f->buf = NULL;
        }
    }

    return 0;
}


unsigned
zlt_channel_timeout(zlt_channel_t *ch)
{
    return (ch->owner->conf->connect_timeout + 999) / 1000;
}


void
zlt_channel_log(zlt_channel_t *ch, const char *what)
{
    char  id[2 * ZLT_ID_SIZE];

    if (!zlt_log_enabled(ZLT_LOG_DEBUG)) {
        return;
    }

    zlt_hex_encode(id, ch->id, ZLT_ID_SIZE);
    zlt_log_link(ch->owner->label, ZLT_LOG_DEBUG, "connection %.*s %s",
                 (int) sizeof(id), id, what);
}


void
zlt_channel_tick(void)
{
    zlt_dup_tick();
}
