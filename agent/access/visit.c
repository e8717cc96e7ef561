
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A connection of a local client, and the data channel for it, which is a
 * channel as any other (channel.c) with the client in the place of the
 * service.
 *
 * The client waits, unread, until the channel has its 101.  From then on its
 * bytes go to the server at once, as messages, but not more of them than the server keeps
 * before it has found the service; the relay begins with ConnectAck.
 *
 * Until a byte was sent, a channel that fails costs the client nothing: another
 * is tried, at once for the first times, then each second, and as soon as the
 * control channel is back, until the time for a connection is over.
 */


#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "access_stdio.h"
#include "conf.h"
#include "flow.h"
#include "framed.h"
#include "log.h"
#include "often.h"
#include "visit.h"


#define ZLT_VISIT_EARLY   16384        /* bytes before ConnectAck */
#define ZLT_VISIT_TRIES   4            /* at once, to reach the server */
#define ZLT_VISIT_MARGIN  5            /* s, beyond the time that the server
                                          takes to find the service */


static size_t zlt_visit_request(zlt_channel_t *ch,
    const zlt_pool_param_t *param, char *buf, zlt_http_want_t *want);
static void zlt_visit_opened(zlt_channel_t *ch, const uint8_t *data,
    size_t len);
static void zlt_visit_failed(zlt_channel_t *ch,
    const zlt_http_answer_t *answer, const char *why);
static void zlt_visit_expired(zlt_channel_t *ch);
static void zlt_visit_freed(zlt_channel_t *ch);
static void zlt_visit_waiting(zlt_io_t *io);
static void zlt_visit_open(zlt_visit_t *v);
static void zlt_visit_park(zlt_visit_t *v, const char *why);
static void zlt_visit_event(zlt_io_t *io);
static int zlt_visit_frames(zlt_visit_t *v, const uint8_t *p, size_t len);
static void zlt_visit_early(zlt_visit_t *v);
static void zlt_visit_join(zlt_visit_t *v, const uint8_t *data, size_t len);
static void zlt_visit_refused(zlt_visit_t *v, const zlt_msg_t *m);
static void zlt_visit_broken(zlt_visit_t *v, const char *why);
static void zlt_visit_done(zlt_relay_t *r, zlt_relay_end_e how);
static void zlt_visit_drop(zlt_visit_t *v);


static const zlt_channel_use_t  zlt_visit_use = {
    zlt_visit_request,
    zlt_visit_opened,
    zlt_visit_failed,
    zlt_visit_expired,
    zlt_visit_freed
};


void
zlt_visit_start(zlt_access_t *x, int fd, const char *client)
{
    zlt_conn_t     *c;
    zlt_visit_t    *v;
    zlt_owner_t    *o;
    zlt_channel_t  *ch;

    o = x->owner;
    v = zlt_visit_create(x, client, &zlt_visit_use, NULL);

    if (v == NULL) {
        zlt_log_link(o->label, ZLT_LOG_ERROR, "out of memory");
        (void) close(fd);

        if (o->conf->visitor == ZLT_CONF_STDIO) {
            zlt_access_stdio_over(x, 0);
        }

        return;
    }

    ch = v->channel;
    c = &ch->relay.side[ZLT_RELAY_SERVICE];

    zlt_conn_init(c);

    if (zlt_io_add(&c->io, fd, zlt_visit_waiting) == -1) {
        zlt_log_link(o->label, ZLT_LOG_ERROR, "%s", strerror(errno));
        (void) close(fd);
        zlt_channel_free(ch);
        return;
    }

    c->io.data = ch;
    x->total++;

    zlt_log_link(o->label, ZLT_LOG_DEBUG, "a client of access to \"%s\" from "
                 "%s", x->conf.name, client);

    zlt_timer_start(&ch->relay.timer, (o->conf->connect_timeout + 999) / 1000,
                    zlt_channel_expired);

    if (zlt_access_runs(x)) {
        zlt_visit_open(v);

    } else {
        zlt_visit_park(v, NULL);
    }
}


zlt_visit_t *
zlt_visit_create(zlt_access_t *x, const char *client,
    const zlt_channel_use_t *use, zlt_visit_udp_t *udp)
{
    zlt_visit_t  *v;

    v = calloc(1, sizeof(zlt_visit_t));
    if (v == NULL) {
        return NULL;
    }

    v->access = x;
    v->channel = zlt_channel_create(x->owner, use, v);

    if (v->channel == NULL) {
        free(v);
        return NULL;
    }

    (void) snprintf(v->client, sizeof(v->client), "%s", client);

    v->udp = udp;

    if (udp == NULL) {
        zlt_list_append(&x->visits, &v->link);
        x->nvisits++;
    }

    return v;
}


/* What the client sends stays in the socket; a reset ends the waiting. */

static void
zlt_visit_waiting(zlt_io_t *io)
{
    int             err;
    socklen_t       len;
    zlt_channel_t  *ch;

    if (!(io->ready & ZLT_IO_HUP)) {
        return;
    }

    ch = io->data;
    err = 0;
    len = sizeof(int);

    if (getsockopt(io->fd, SOL_SOCKET, SO_ERROR, &err, &len) == -1 || err) {
        zlt_visit_drop(ch->user);
    }
}


static void
zlt_visit_open(zlt_visit_t *v)
{
    v->waiting = 0;

    if (zlt_channel_open_visit(v->channel) == -1) {
        zlt_visit_failed(v->channel, NULL, strerror(errno));
    }
}


static void
zlt_visit_park(zlt_visit_t *v, const char *why)
{
    zlt_channel_open_undo(v->channel);

    v->waiting = 1;

    if (why) {
        zlt_log_link(v->access->owner->label, ZLT_LOG_DEBUG, "a connection to "
                     "\"%s\" waits: %s", v->access->conf.name, why);
    }
}


void
zlt_visit_go(zlt_access_t *x)
{
    zlt_list_t   *link, *next;
    zlt_visit_t  *v;

    zlt_list_each_safe(link, next, &x->visits) {
        v = zlt_list_data(link, zlt_visit_t, link);

        if (v->waiting) {
            zlt_visit_open(v);
        }
    }
}


unsigned
zlt_visit_cut(zlt_access_t *x)
{
    unsigned      n;
    zlt_visit_t  *v;

    for (n = 0; !zlt_list_empty(&x->visits); n++) {
        v = zlt_list_data(x->visits.next, zlt_visit_t, link);
        zlt_channel_abort(v->channel);
    }

    return n;
}


void
zlt_visit_leave(zlt_access_t *x)
{
    zlt_io_t     *io;
    zlt_list_t   *link, *next;
    zlt_visit_t  *v;

    zlt_list_each_safe(link, next, &x->visits) {
        v = zlt_list_data(link, zlt_visit_t, link);
        io = &v->channel->relay.side[ZLT_RELAY_CHANNEL].io;

        if (v->channel->state == ZLT_CHANNEL_OPENING
            || io->handler == zlt_visit_event)
        {
            zlt_channel_abort(v->channel);
        }
    }
}


size_t
zlt_visit_ask(zlt_visit_t *v, const zlt_pool_param_t *param, char *buf,
    zlt_http_want_t *want)
{
    zlt_channel_t      *ch;
    zlt_http_tunnel_t   tunnel;

    ch = v->channel;

    zlt_pool_tunnel(param, &tunnel);

    return zlt_http_access(buf, &ch->owner->conf->url, &tunnel, v->access->id,
                           v->client, ch->websocket, want);
}


static size_t
zlt_visit_request(zlt_channel_t *ch, const zlt_pool_param_t *param, char *buf,
    zlt_http_want_t *want)
{
    return zlt_visit_ask(ch->user, param, buf, want);
}


int
zlt_visit_again(zlt_channel_t *ch, const zlt_http_answer_t *answer,
    const char *why)
{
    zlt_visit_t  *v;

    v = ch->user;

    if (zlt_channel_open_astray(ch, answer, why)) {
        return 1;
    }

    if ((answer == NULL || answer->workers == 0)
        && ++ch->tries < ZLT_VISIT_TRIES
        && zlt_access_runs(v->access))
    {
        zlt_channel_open_anew(ch, why);
        return 1;
    }

    return 0;
}


static void
zlt_visit_failed(zlt_channel_t *ch, const zlt_http_answer_t *answer,
    const char *why)
{
    zlt_visit_t  *v;

    v = ch->user;

    if (zlt_visit_again(ch, answer, why)) {
        return;
    }

    if (answer && answer->status != 410) {
        zlt_visit_complain(v->access, why);
    }

    zlt_visit_park(v, why);
}


static void
zlt_visit_expired(zlt_channel_t *ch)
{
    zlt_visit_t  *v;

    v = ch->user;

    zlt_visit_complain(v->access, v->waiting
                                  ? "the server cannot be reached"
                                  : "the server did not answer in time");
    zlt_visit_drop(v);
}


static void
zlt_visit_opened(zlt_channel_t *ch, const uint8_t *data, size_t len)
{
    zlt_conn_t   *c;
    zlt_visit_t  *v;

    v = ch->user;

    c = ch->relay.side;

    zlt_channel_state(ch, ZLT_CHANNEL_RELAY);

    c[ZLT_RELAY_CHANNEL].io.handler = zlt_visit_event;
    c[ZLT_RELAY_SERVICE].io.handler = zlt_visit_event;

    zlt_conn_keepalive(&c[ZLT_RELAY_CHANNEL]);

    zlt_framed_start(&c[ZLT_RELAY_CHANNEL], &ch->framed, NULL);

    zlt_timer_start(&ch->relay.timer,
                    (ch->owner->conf->connect_timeout + 999) / 1000
                    + ZLT_VISIT_MARGIN, zlt_channel_expired);

    if (len == 0 || zlt_visit_frames(v, data, len)) {
        zlt_channel_post(ch);
    }
}


/* Of either side, until the answer has come. */

static void
zlt_visit_event(zlt_io_t *io)
{
    int             waits;
    size_t          len;
    ssize_t         n;
    zlt_visit_t    *v;
    zlt_channel_t  *ch;

    ch = io->data;
    v = ch->user;

    if (zlt_channel_flush(ch) == -1) {
        zlt_visit_broken(v, strerror(errno));
        return;
    }

    zlt_scratch_borrow();

    n = zlt_channel_fill(ch, &len);
    waits = n > 0 ? zlt_visit_frames(v, zlt_scratch, len) : 1;

    zlt_scratch_return();

    if (n == 0 || n == ZLT_CONN_ERROR) {
        zlt_visit_broken(v, n == 0 ? "the server has closed the channel"
                                   : strerror(errno));

    } else if (waits) {
        zlt_visit_early(v);
    }
}


/* One message, and behind it what the service has said: 1 if there is more of
   it to come. */

static int
zlt_visit_frames(zlt_visit_t *v, const uint8_t *p, size_t len)
{
    int             rc;
    size_t          used;
    zlt_msg_t       m;
    zlt_channel_t  *ch;

    ch = v->channel;

    rc = zlt_msg_decode(&m, p, len, ZLT_MAX_CHANNEL_FRAME, &used);

    if (rc == ZLT_AGAIN) {

        if (zlt_flow_put(&ch->relay, ZLT_RELAY_CHANNEL, p, len) == -1) {
            zlt_visit_drop(v);
            return 0;
        }

        return 1;
    }

    if (rc == ZLT_OK && m.type == ZLT_CONNECT_ACK) {
        memcpy(ch->id, m.connection_id, ZLT_ID_SIZE);
        zlt_visit_join(v, p + used, len - used);
        return 0;
    }

    if (rc == ZLT_OK && m.type == ZLT_CONNECT_FAIL) {
        zlt_visit_refused(v, &m);
        return 0;
    }

    zlt_visit_complain(v->access, rc == ZLT_OK ? "a message that is not for "
                                                 "a data channel"
                                               : zlt_msg_strerror(rc));
    zlt_visit_drop(v);

    return 0;
}


/* The client's bytes need not wait for the answer; its end is left to the
   relay. */

static void
zlt_visit_early(zlt_visit_t *v)
{
    int             rc;
    ssize_t         n;
    zlt_conn_t     *client;
    zlt_relay_t    *r;
    zlt_channel_t  *ch;

    ch = v->channel;
    r = &ch->relay;
    client = &r->side[ZLT_RELAY_SERVICE];

    n = 1;
    rc = 0;

    zlt_scratch_borrow();

    while (rc == 0
           && v->early < ZLT_VISIT_EARLY
           && r->flow[ZLT_RELAY_SERVICE].buf == NULL
           && zlt_conn_writable(&r->side[ZLT_RELAY_CHANNEL]))
    {
        n = zlt_conn_read(client, zlt_scratch, ZLT_VISIT_EARLY - v->early);

        if (n <= 0) {
            break;
        }

        v->early += (uint32_t) n;
        r->bytes[ZLT_RELAY_SERVICE] += (uint64_t) n;

        rc = zlt_channel_write(ch, zlt_scratch, (size_t) n);
    }

    zlt_scratch_return();

    if (n == ZLT_CONN_ERROR) {
        zlt_visit_drop(v);

    } else if (rc == -1) {
        zlt_visit_broken(v, strerror(errno));
    }
}


static void
zlt_visit_join(zlt_visit_t *v, const uint8_t *data, size_t len)
{
    if (zlt_channel_connect_early(v->channel, data, len) == -1) {
        zlt_visit_drop(v);
        return;
    }

    zlt_relay_start(&v->channel->relay, zlt_visit_done);
}


/* The server reads on until we have closed. */

static void
zlt_visit_refused(zlt_visit_t *v, const zlt_msg_t *m)
{
    char            text[ZLT_LOG_TEXT_SIZE];
    zlt_channel_t  *ch;

    ch = v->channel;

    zlt_visit_complain(v->access, zlt_log_text(text, m->reason));

    zlt_conn_reset(&ch->relay.side[ZLT_RELAY_SERVICE]);
    zlt_conn_close(&ch->relay.side[ZLT_RELAY_CHANNEL]);
    zlt_channel_free(ch);
}


/* Before the answer: if nothing of the client's has gone, nothing is lost. */

static void
zlt_visit_broken(zlt_visit_t *v, const char *why)
{
    zlt_channel_t  *ch;

    ch = v->channel;

    if (v->early || ch->relay.flow[ZLT_RELAY_CHANNEL].buf) {
        zlt_visit_complain(v->access, why);
        zlt_visit_drop(v);
        return;
    }

    ch->relay.side[ZLT_RELAY_SERVICE].io.handler = zlt_visit_waiting;

    zlt_visit_failed(ch, NULL, why);
}


static void
zlt_visit_done(zlt_relay_t *r, zlt_relay_end_e how)
{
    uint64_t        now;
    zlt_visit_t    *v;
    zlt_conn_t     *c;
    zlt_access_t   *x;
    zlt_channel_t  *ch;

    static const char *const  texts[] = {
        "ended",
        "was reset by the service or the server",
        "was reset by the client",
        "timed out",
        "was given up, out of memory"
    };

    ch = zlt_list_data(r, zlt_channel_t, relay);
    v = ch->user;
    x = v->access;
    v->whole = (how == ZLT_RELAY_DONE);

    zlt_log_link(x->owner->label, ZLT_LOG_DEBUG, "a connection of %s to "
                 "\"%s\" %s", v->client, x->conf.name, texts[how]);

    if (how == ZLT_RELAY_RESET_CHANNEL) {

        /* perhaps it ends the session, and says so next */

        now = zlt_io_now();

        if (now - x->reset_at > ZLT_ACCESS_LATELY) {
            x->nreset = 0;
        }

        x->reset_at = now;
        x->nreset++;
    }

    /* the relay leaves one open that might be used again */

    c = &ch->relay.side[ZLT_RELAY_CHANNEL];

    if (v->whole) {
        zlt_conn_close(c);

    } else {
        zlt_conn_reset(c);
    }

    zlt_channel_free(ch);
}


/* Resets the client, and the channel if there is one. */

static void
zlt_visit_drop(zlt_visit_t *v)
{
    zlt_channel_abort(v->channel);
}


static void
zlt_visit_freed(zlt_channel_t *ch)
{
    zlt_visit_t   *v;
    zlt_access_t  *x;

    v = ch->user;
    x = v->access;

    x->bytes[0] += ch->relay.bytes[ZLT_RELAY_SERVICE];
    x->bytes[1] += ch->relay.bytes[ZLT_RELAY_CHANNEL];

    zlt_list_remove(&v->link);
    x->nvisits--;

    if (x->owner->conf->visitor == ZLT_CONF_STDIO) {
        zlt_access_stdio_over(x, v->whole);
    }

    free(v);
}


void
zlt_visit_complain(const zlt_access_t *x, const char *why)
{
    zlt_often_warn(x->owner->label, x->conf.name, "a connection to \"%s\" "
                   "failed: %s", x->conf.name, why);
}
