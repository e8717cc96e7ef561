
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A data channel, step by step: the handler of its connection is the step.
 *
 *   connecting, talking, handshaking,   on its way to the server; talking is
 *   answer                              with a proxy
 *   idle                                framed: heartbeats, then Connect
 *   (service: dialling)                 taken: early bytes wait
 *   relay                               raw or framed, relay.c
 *   closing                             framed: until the server's end comes
 *   datagrams                           framed, udp.c
 *   ending                              ConnectFail or Retire was sent
 *
 * The steps to the server are in channel_open.c, those to the service in
 * channel_dial.c, and what ends a connection or a channel in channel_end.c.
 *
 * One that stays framed throughout a connection is idle again after it.  A
 * visitor's channel goes the same way until the 101; what follows is in
 * visit.c.
 *
 * A fresh channel, which answers a Connect that came on the control channel,
 * dials server and service at the same time and joins both.
 *
 * The protocol has a framed reader take a header and its payload and no byte
 * more, so that a descriptor can change hands.  Here it never does, so we
 * read what there is at once: bytes behind Connect are the service's and
 * wait in the relay's flow, and an idle channel that is taken costs one
 * recv() and not three.
 */


#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel.h"
#include "dup.h"
#include "visit.h"
#include "ws.h"
#include "zlt_util.h"


typedef int (*zlt_channel_start_pt)(zlt_channel_t *ch, const uint8_t *data,
    size_t len);


static zlt_channel_t *zlt_channel_create(zlt_agent_t *a);
static void zlt_channel_freed(zlt_task_t *task);
static void zlt_channel_taken(zlt_channel_t *ch, const zlt_msg_t *m,
    const uint8_t *early, size_t len);
static void zlt_channel_share(zlt_channel_t *ch, const uint8_t *p, size_t len);
static void zlt_channel_become(zlt_channel_t *ch, unsigned state,
    zlt_channel_start_pt start, const uint8_t *p, size_t len,
    const char *failed);


static zlt_channel_t *
zlt_channel_create(zlt_agent_t *a)
{
    zlt_channel_t  *ch;

    ch = calloc(1, sizeof(zlt_channel_t));
    if (ch == NULL) {
        return NULL;
    }

    zlt_relay_init(&ch->relay);

    zlt_list_init(&ch->link);
    zlt_list_init(&ch->waiter.link);
    zlt_list_append(&a->channels, &ch->all);

    ch->agent = a;
    a->nchannels++;

    return ch;
}


/* Both sides must be closed.  The memory stays for this turn, since events
   for it may have been fetched. */

void
zlt_channel_free(zlt_channel_t *ch)
{
    zlt_relay_cleanup(&ch->relay);

    if (ch->visit) {
        zlt_visit_freed(ch);

    } else {
        ch->agent->bytes[0] += ch->relay.bytes[0];
        ch->agent->bytes[1] += ch->relay.bytes[1];
    }

    if (ch->udp) {
        zlt_udp_free(ch->udp);
        ch->udp = NULL;
    }

    if (ch->shared) {
        zlt_shared_free(ch->shared);
        ch->shared = NULL;
    }

    if (ch->moving) {
        ch->moving->moving = NULL;
        zlt_channel_abort(ch->moving);
        ch->moving = NULL;
    }

    zlt_talk_free(ch->talk);
    ch->talk = NULL;

    zlt_list_remove(&ch->link);
    zlt_list_remove(&ch->all);
    zlt_list_remove(&ch->waiter.link);

    if (ch->service) {
        zlt_service_release(ch->service);
        ch->service = NULL;
    }

    free(ch->target);
    ch->target = NULL;

    free(ch->client);
    ch->client = NULL;

    ch->agent->nchannels--;
    zlt_agent_channel_gone(ch->agent);

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


int
zlt_channel_open(zlt_pool_t *p, zlt_agent_t *a)
{
    zlt_channel_t  *ch;

    /* one for it and one for the service that it may have to dial */

    if (!zlt_io_room(2)) {
        errno = EMFILE;
        return -1;
    }

    ch = zlt_channel_create(a);
    if (ch == NULL) {
        return -1;
    }

    if (zlt_channel_connect(ch, &zlt_pool_get_param(p)->way.addr) == -1) {
        zlt_channel_free(ch);
        return -1;
    }

    ch->pool = p;
    memcpy(ch->tunnel_id, zlt_pool_get_param(p)->tunnel_id, ZLT_ID_SIZE);

    zlt_conn_presume(&ch->relay.side[ZLT_RELAY_CHANNEL]);
    zlt_channel_connecting(&ch->relay.side[ZLT_RELAY_CHANNEL].io);

    return 0;
}


void
zlt_channel_fresh(zlt_agent_t *a, zlt_session_t *s,
    const zlt_pool_param_t *param, const zlt_msg_t *m)
{
    zlt_channel_t  *ch;

    if (zlt_dup_seen(m->connection_id)) {
        zlt_session_connect_fail(s, m->connection_id, ZLT_E_DUPLICATE,
                                 "duplicate");
        return;
    }

    ch = zlt_io_room(2) ? zlt_channel_create(a) : NULL;

    if (ch == NULL) {
        zlt_link_log(a->label, ZLT_LOG_WARN, "a connection is refused: out of "
                     "descriptors or memory");
        zlt_session_connect_fail(s, m->connection_id, ZLT_E_BUSY,
                                 "out of descriptors or memory");
        return;
    }

    ch->fresh = 1;
    ch->serial = zlt_session_serial(s);
    ch->reusable = zlt_channel_framed(m);
    memcpy(ch->id, m->connection_id, ZLT_ID_SIZE);
    memcpy(ch->tunnel_id, param->tunnel_id, ZLT_ID_SIZE);

    if (zlt_channel_connect(ch, &param->way.addr) == -1) {
        zlt_channel_fail(ch, ZLT_E_BUSY, strerror(errno));
        return;
    }

    if (zlt_channel_proxy(ch, m) == -1 || zlt_channel_target(ch, m) == -1) {
        zlt_channel_fail(ch, ZLT_E_BUSY, "out of memory");
        return;
    }

    zlt_channel_dial(ch, m->service_id);
}


zlt_channel_t *
zlt_channel_visit(zlt_agent_t *a, zlt_visit_t *v)
{
    zlt_channel_t  *ch;

    ch = zlt_channel_create(a);

    if (ch) {
        ch->visit = v;
    }

    return ch;
}


int
zlt_channel_visit_open(zlt_channel_t *ch)
{
    const zlt_pool_param_t  *param;

    param = zlt_channel_param(ch);

    if (param == NULL) {
        errno = ENOTCONN;
        return -1;
    }

    if (zlt_channel_connect(ch, &param->way.addr) == -1) {
        return -1;
    }

    zlt_conn_presume(&ch->relay.side[ZLT_RELAY_CHANNEL]);
    zlt_channel_connecting(&ch->relay.side[ZLT_RELAY_CHANNEL].io);

    return 0;
}


void
zlt_channel_visit_shut(zlt_channel_t *ch)
{
    zlt_channel_shut(ch);

    ch->state = ZLT_CHANNEL_OPENING;
    ch->upgraded = 0;

    zlt_list_remove(&ch->relay.task.link);
}


void
zlt_channel_idle(zlt_io_t *io)
{
    size_t          len;
    ssize_t         n;
    zlt_channel_t  *ch;

    ch = io->data;

    if (zlt_channel_flush(ch) == -1) {
        zlt_channel_lost(ch, strerror(errno));
        return;
    }

    while (ch->state == ZLT_CHANNEL_IDLE) {

        n = zlt_channel_fill(ch, &len);

        if (n == ZLT_CONN_AGAIN) {
            return;
        }

        if (n <= 0) {
            zlt_channel_lost(ch, n == 0 ? "closed by the server"
                                        : strerror(errno));
            return;
        }

        zlt_channel_frames(ch, zlt_scratch, len);
    }
}


void
zlt_channel_frames(zlt_channel_t *ch, const uint8_t *p, size_t len)
{
    int          rc;
    size_t       used;
    zlt_msg_t    m, ack;
    zlt_lane_t  *lane;

    lane = ch->relay.side[ZLT_RELAY_CHANNEL].lane;

    while (len) {

        if (lane && *p != ZLT_CONNECT) {
            /* there is nothing else that a lane is for */
            zlt_channel_lost(ch, "a lane without Connect");
            return;
        }

        if (*p == ZLT_DATAGRAM_OPEN) {
            zlt_channel_datagrams(ch, p, len);
            return;
        }

        if (*p == ZLT_LANE) {
            zlt_channel_share(ch, p, len);
            return;
        }

        rc = zlt_msg_decode(&m, p, len, ZLT_MAX_CHANNEL_FRAME, &used);

        if (rc == ZLT_AGAIN) {
            if (zlt_relay_put(&ch->relay, ZLT_RELAY_CHANNEL, p, len) == -1) {
                zlt_channel_lost(ch, "out of memory");
            }

            return;
        }

        if (rc != ZLT_OK) {
            zlt_channel_lost(ch, zlt_strerror(rc));
            return;
        }

        p += used;
        len -= used;

        switch (m.type) {

        case ZLT_HEARTBEAT:
            memset(&ack, 0, sizeof(zlt_msg_t));
            ack.type = ZLT_HEARTBEAT_ACK;
            ack.timestamp = m.timestamp;

            if (zlt_channel_send(ch, &ack, ZLT_CHANNEL_SMALL) == -1) {
                zlt_channel_lost(ch, strerror(errno));
                return;
            }

            zlt_timer_start(&ch->relay.timer, ZLT_CHANNEL_SILENCE,
                            zlt_channel_expired);
            break;

        case ZLT_HEARTBEAT_ACK:
            break;

        case ZLT_CONNECT:
            if (lane && !zlt_channel_framed(&m)) {
                zlt_channel_lost(ch, "a lane that is not framed");
                return;
            }

            zlt_channel_taken(ch, &m, p, len);
            return;

        case ZLT_MOVE:
            zlt_channel_move(ch, &m, len);
            return;

        default:
            zlt_channel_lost(ch, "a message that is not for a data channel");
            return;
        }
    }
}


static void
zlt_channel_taken(zlt_channel_t *ch, const zlt_msg_t *m,
    const uint8_t *early, size_t len)
{
    zlt_pool_t  *p;

    /* m and early are in the shared buffer: first keep what is needed */

    memcpy(ch->id, m->connection_id, ZLT_ID_SIZE);

    ch->state = ZLT_CHANNEL_TAKEN;
    ch->reusable = zlt_channel_framed(m) && !ch->websocket;
    ch->relay.side[ZLT_RELAY_CHANNEL].io.handler = zlt_channel_wait;

    if (ch->reusable) {
        zlt_framed_start(&ch->relay.side[ZLT_RELAY_CHANNEL], &ch->framed);
    }

    p = ch->pool;
    ch->pool = NULL;

    if (zlt_dup_seen(ch->id)) {
        zlt_channel_fail(ch, ZLT_E_DUPLICATE, "duplicate");

    } else if (zlt_channel_proxy(ch, m) == -1
               || zlt_channel_target(ch, m) == -1)
    {
        zlt_channel_fail(ch, ZLT_E_BUSY, "out of memory");

    } else if (zlt_channel_early(ch, early, len) == -1) {
        zlt_channel_fail(ch, ZLT_E_BUSY, "out of memory");

    } else {
        zlt_channel_dial(ch, m->service_id);
    }

    /* opens the next one; later is early enough, the service comes first */

    if (p) {
        zlt_pool_used(p, ch);
    }
}


/* Bytes of the client that came behind Connect, in the shared buffer: 0 or
   -1. */

int
zlt_channel_early(zlt_channel_t *ch, const uint8_t *data, size_t len)
{
    ssize_t      n;
    zlt_conn_t  *c;

    c = &ch->relay.side[ZLT_RELAY_CHANNEL];
    n = (ssize_t) len;

    if (len && c->framed) {
        n = zlt_framed_take(c, (uint8_t *) data, len);
    }

    if (n <= 0) {
        return n == 0 ? 0 : -1;
    }

    ch->relay.bytes[ZLT_RELAY_CHANNEL] += (uint64_t) n;

    return zlt_relay_put(&ch->relay, ZLT_RELAY_CHANNEL, data, (size_t) n);
}


/* The first frame says that the channel is for datagrams, or the Connect that
   asked for it did. */

void
zlt_channel_datagrams(zlt_channel_t *ch, const uint8_t *p, size_t len)
{
    zlt_channel_become(ch, ZLT_CHANNEL_DATAGRAMS, zlt_udp_start, p, len,
                       "a datagram channel could not be made: out of memory");
}


/* Many connections are to share it. */

static void
zlt_channel_share(zlt_channel_t *ch, const uint8_t *p, size_t len)
{
    zlt_channel_become(ch, ZLT_CHANNEL_SHARED, zlt_shared_start, p, len,
                       "a data channel could not be shared: out of memory");
}


static void
zlt_channel_become(zlt_channel_t *ch, unsigned state,
    zlt_channel_start_pt start, const uint8_t *p, size_t len,
    const char *failed)
{
    zlt_pool_t  *pool;

    ch->state = (uint8_t) state;

    pool = ch->pool;
    ch->pool = NULL;

    zlt_timer_stop(&ch->relay.timer);

    if (start(ch, p, len) == -1) {
        zlt_link_log(ch->agent->label, ZLT_LOG_WARN, "%s", failed);
        zlt_channel_abort(ch);
    }

    /* what has come is in the shared buffer: not before */

    if (pool) {
        zlt_pool_used(pool, ch);
    }
}


zlt_channel_t *
zlt_channel_lane(zlt_channel_t *of)
{
    zlt_channel_t  *ch;

    ch = zlt_io_room(1) ? zlt_channel_create(of->agent) : NULL;

    if (ch) {
        memcpy(ch->tunnel_id, of->tunnel_id, ZLT_ID_SIZE);

        ch->state = ZLT_CHANNEL_IDLE;
        ch->upgraded = 1;

        ch->relay.side[ZLT_RELAY_CHANNEL].io.handler = zlt_channel_idle;
        ch->relay.side[ZLT_RELAY_CHANNEL].io.data = ch;

        zlt_timer_start(&ch->relay.timer, ZLT_CHANNEL_SILENCE,
                        zlt_channel_expired);
    }

    return ch;
}


/* An idle channel is of no use any more. */

void
zlt_channel_lost(zlt_channel_t *ch, const char *why)
{
    zlt_pool_t  *p;

    zlt_link_log(ch->agent->label, ZLT_LOG_DEBUG, "an idle data channel is "
                 "lost: %s", why);

    p = ch->pool;
    ch->pool = NULL;

    zlt_relay_abort(&ch->relay);

    if (p) {
        zlt_pool_closed(p, ch);
    }

    ch->state = ZLT_CHANNEL_ENDING;
    zlt_channel_free(ch);
}


void
zlt_channel_abort(zlt_channel_t *ch)
{
    zlt_pool_t  *p;

    p = ch->pool;
    ch->pool = NULL;

    zlt_relay_abort(&ch->relay);

    if (p) {
        zlt_pool_closed(p, ch);
    }

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
    return ch->state == ZLT_CHANNEL_RELAY && ch->visit == NULL;
}


void
zlt_channel_expired(zlt_timer_t *timer)
{
    const char     *why;
    zlt_relay_t    *r;
    zlt_channel_t  *ch;

    r = zlt_list_data(timer, zlt_relay_t, timer);
    ch = zlt_list_data(r, zlt_channel_t, relay);

    if (ch->visit) {
        zlt_visit_expired(ch);

    } else if (ch->state == ZLT_CHANNEL_IDLE) {
        zlt_channel_lost(ch, "no heartbeat came");

    } else if (ch->state == ZLT_CHANNEL_SHARED) {
        zlt_link_log(ch->agent->label, ZLT_LOG_DEBUG, "a shared data channel "
                     "is lost: no heartbeat came");
        zlt_channel_abort(ch);

    } else if (ch->state == ZLT_CHANNEL_ENDING
               || ch->state == ZLT_CHANNEL_CLOSING)
    {
        zlt_conn_reset(&r->side[ZLT_RELAY_CHANNEL]);
        zlt_channel_free(ch);

    } else if (!ch->connected
               && (ch->service || ch->state == ZLT_CHANNEL_TAKEN))
    {
        zlt_channel_fail(ch, ZLT_E_UNREACHABLE,
                         "the service did not answer in time");

    } else {
        /* no time is left to try again */

        if (r->side[ZLT_RELAY_CHANNEL].io.handler == zlt_channel_answer) {
            zlt_transport_failed(&ch->agent->transport, ch->websocket,
                                 ZLT_TRANSPORT_SIGN, "no answer came",
                                 zlt_io_now());
        }

        why = ch->talk ? "the proxy did not answer in time"
                       : "the server did not answer in time";

        if (ch->fresh) {
            zlt_link_log(ch->agent->label, ZLT_LOG_WARN, "a data channel "
                         "could not be opened: %s", why);
        }

        zlt_channel_given_up(ch, why);
    }
}


/*
 * Reads behind what an earlier, incomplete read has left.  The bytes are at
 * the start of zlt_scratch, *len of them.  As zlt_conn_read().
 */

ssize_t
zlt_channel_fill(zlt_channel_t *ch, size_t *len)
{
    size_t       kept;
    ssize_t      n;
    zlt_flow_t  *f;

    f = &ch->relay.flow[ZLT_RELAY_CHANNEL];
    kept = f->buf ? f->buf->last : 0;

    n = zlt_conn_read(&ch->relay.side[ZLT_RELAY_CHANNEL], zlt_scratch + kept,
                      ZLT_RELAY_SCRATCH - kept);

    if (n > 0) {
        if (kept) {
            memcpy(zlt_scratch, f->buf->data, kept);
            free(f->buf);
            f->buf = NULL;
        }

        *len = kept + (size_t) n;
    }

    return n;
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

    return zlt_relay_put(&ch->relay, ZLT_RELAY_SERVICE, data + n,
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
    return (ch->agent->conf->connect_timeout + 999) / 1000;
}


void
zlt_channel_log(zlt_channel_t *ch, const char *what)
{
    char  id[2 * ZLT_ID_SIZE];

    if (!zlt_log_enabled(ZLT_LOG_DEBUG)) {
        return;
    }

    zlt_hex_encode(id, ch->id, ZLT_ID_SIZE);
    zlt_link_log(ch->agent->label, ZLT_LOG_DEBUG, "connection %.*s %s",
                 (int) sizeof(id), id, what);
}
