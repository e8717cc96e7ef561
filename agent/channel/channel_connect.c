
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Connect, which makes a connection of a channel: the first message on an idle
 * one, or on the control channel, for a fresh one.
 */


#include <errno.h>
#include <string.h>

#include "channel_connect.h"
#include "channel_dial.h"
#include "channel_end.h"
#include "channel_open.h"
#include "dup.h"
#include "flow.h"
#include "framed.h"
#include "log.h"
#include "move.h"
#include "often.h"
#include "shared.h"


typedef int (*zlt_channel_start_pt)(zlt_channel_t *ch, const uint8_t *data,
    size_t len);


static void zlt_channel_connect_taken(zlt_channel_t *ch, const zlt_msg_t *m,
    const uint8_t *early, size_t len);
static void zlt_channel_connect_share(zlt_channel_t *ch, const uint8_t *p,
    size_t len);
static int zlt_channel_connect_lanes(zlt_channel_t *ch, const uint8_t *p,
    size_t len);
static zlt_channel_t *zlt_channel_connect_lane(zlt_channel_t *of);
static void zlt_channel_connect_become(zlt_channel_t *ch,
    zlt_channel_state_e state, zlt_channel_start_pt start, const uint8_t *p,
    size_t len, const char *failed);


void
zlt_channel_connect_fresh(zlt_owner_t *o, uint32_t serial,
    const zlt_pool_param_t *param, const zlt_msg_t *m)
{
    zlt_channel_t  *ch;

    if (zlt_dup_seen(m->connection_id)) {
        o->ops->connect_fail(o, serial, m->connection_id, ZLT_E_DUPLICATE,
                             "duplicate");
        return;
    }

    ch = zlt_io_room(2) ? zlt_channel_create(o, &zlt_channel_use_fresh, NULL)
                        : NULL;

    if (ch == NULL) {
        zlt_often_warn(o->label, "", "a connection is refused: out of "
                       "descriptors or memory");
        o->ops->connect_fail(o, serial, m->connection_id, ZLT_E_BUSY,
                             "out of descriptors or memory");
        return;
    }

    ch->serial = serial;
    memcpy(ch->id, m->connection_id, ZLT_ID_SIZE);
    memcpy(ch->tunnel_id, param->tunnel_id, ZLT_ID_SIZE);

    if (zlt_channel_open_start(ch, &param->way) == -1) {
        zlt_channel_end_fail(ch, ZLT_E_BUSY, strerror(errno));
        return;
    }

    if (zlt_channel_dial_prepare(ch, m) == -1) {
        zlt_channel_end_fail(ch, ZLT_E_BUSY, "out of memory");
        return;
    }

    zlt_channel_dial(ch, m->service_id);
}


void
zlt_channel_connect_idle(zlt_io_t *io)
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

        zlt_scratch_borrow();

        n = zlt_channel_fill(ch, &len);

        if (n > 0) {
            zlt_channel_connect_frames(ch, zlt_scratch, len);
        }

        zlt_scratch_return();

        if (n == ZLT_CONN_AGAIN) {
            return;
        }

        if (n <= 0) {
            zlt_channel_lost(ch, n == 0 ? "closed by the server"
                                        : strerror(errno));
            return;
        }

        if (ch->unread) {
            /* the others first */
            return;
        }
    }
}


void
zlt_channel_connect_frames(zlt_channel_t *ch, const uint8_t *p, size_t len)
{
    int          rc, more;
    size_t       used;
    zlt_io_t    *io;
    zlt_msg_t    m, ack;
    zlt_lane_t  *lane;

    io = &ch->relay.side[ZLT_RELAY_CHANNEL].io;
    lane = ch->relay.side[ZLT_RELAY_CHANNEL].lane;

    while (len) {

        if (lane && *p != ZLT_CONNECT) {
            /* there is nothing else that a lane is for */
            zlt_channel_lost(ch, "a lane without Connect");
            return;
        }

        if (*p == ZLT_DATAGRAM_OPEN) {
            zlt_channel_connect_datagrams(ch, p, len);
            return;
        }

        if (*p == ZLT_LANE) {
            zlt_channel_connect_share(ch, p, len);
            return;
        }

        rc = zlt_msg_decode(&m, p, len, ZLT_MAX_CHANNEL_FRAME, &used);

        if (rc == ZLT_AGAIN) {
            if (zlt_flow_put(&ch->relay, ZLT_RELAY_CHANNEL, p, len) == -1) {
                zlt_channel_lost(ch, "out of memory");
            }

            return;
        }

        if (rc != ZLT_OK) {
            zlt_channel_lost(ch, zlt_msg_strerror(rc));
            return;
        }

        p += used;
        len -= used;
        more = zlt_io_message(io);

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
            zlt_channel_connect_taken(ch, &m, p, len);
            return;

        case ZLT_MOVE:
            zlt_move_begin(ch, &m, len);
            return;

        default:
            zlt_channel_lost(ch, "a message that is not for a data channel");
            return;
        }

        if (!more && len) {

            if (zlt_flow_put(&ch->relay, ZLT_RELAY_CHANNEL, p, len) == -1) {
                zlt_channel_lost(ch, "out of memory");
                return;
            }

            ch->unread = 1;
            return;
        }
    }
}


static void
zlt_channel_connect_taken(zlt_channel_t *ch, const zlt_msg_t *m,
    const uint8_t *early, size_t len)
{
    zlt_pool_t  *p;

    p = zlt_pool_leave(ch);

    memcpy(ch->id, m->connection_id, ZLT_ID_SIZE);

    zlt_channel_state(ch, ZLT_CHANNEL_TAKEN);
    ch->relay.side[ZLT_RELAY_CHANNEL].io.handler = zlt_channel_dial_wait;

    zlt_framed_start(&ch->relay.side[ZLT_RELAY_CHANNEL], &ch->framed,
                     zlt_pool_retires);

    if (zlt_dup_seen(ch->id)) {
        zlt_channel_end_fail(ch, ZLT_E_DUPLICATE, "duplicate");

    } else if (zlt_channel_dial_prepare(ch, m) == -1) {
        zlt_channel_end_fail(ch, ZLT_E_BUSY, "out of memory");

    } else if (zlt_channel_connect_early(ch, early, len) == -1) {
        zlt_channel_connect_spoilt(ch);

    } else {
        zlt_channel_dial(ch, m->service_id);
    }

    /* opens the next one; the service comes first */

    if (p) {
        zlt_pool_demand(p);
    }
}


int
zlt_channel_connect_early(zlt_channel_t *ch, const uint8_t *data, size_t len)
{
    ssize_t      n;
    zlt_conn_t  *c;

    c = &ch->relay.side[ZLT_RELAY_CHANNEL];
    n = len ? zlt_framed_take(c, (uint8_t *) data, len) : 0;

    if (n <= 0) {
        return n == 0 ? 0 : -1;
    }

    ch->relay.bytes[ZLT_RELAY_CHANNEL] += (uint64_t) n;

    return zlt_flow_put(&ch->relay, ZLT_RELAY_CHANNEL, data, (size_t) n);
}


void
zlt_channel_connect_spoilt(zlt_channel_t *ch)
{
    if (errno == EPROTO) {
        zlt_channel_lost(ch, "what came behind Connect is no message");
        return;
    }

    zlt_channel_end_fail(ch, ZLT_E_BUSY, "out of memory");
}


/* The first frame says that the channel is for datagrams, or the Connect that
   asked for it did. */

void
zlt_channel_connect_datagrams(zlt_channel_t *ch, const uint8_t *p, size_t len)
{
    zlt_channel_connect_become(ch, ZLT_CHANNEL_DATAGRAMS,
                               ch->owner->ops->datagrams, p, len,
                               "a datagram channel could not be made: out of "
                               "memory");
}


/* Many connections are to share it. */

static void
zlt_channel_connect_share(zlt_channel_t *ch, const uint8_t *p, size_t len)
{
    zlt_channel_connect_become(ch, ZLT_CHANNEL_SHARED,
                               zlt_channel_connect_lanes, p, len, "a data "
                               "channel could not be shared: out of memory");
}


static int
zlt_channel_connect_lanes(zlt_channel_t *ch, const uint8_t *p, size_t len)
{
    static const zlt_shared_ops_t  ops = {
        zlt_channel_connect_lane,
        zlt_move_leave_lane
    };

    return zlt_shared_start(ch, &ops, p, len);
}


static zlt_channel_t *
zlt_channel_connect_lane(zlt_channel_t *of)
{
    zlt_io_t       *io;
    zlt_channel_t  *ch;

    ch = zlt_io_room(1) ? zlt_channel_create(of->owner, &zlt_channel_use_idle,
                                             NULL) : NULL;

    if (ch) {
        memcpy(ch->tunnel_id, of->tunnel_id, ZLT_ID_SIZE);

        zlt_channel_state(ch, ZLT_CHANNEL_IDLE);

        io = &ch->relay.side[ZLT_RELAY_CHANNEL].io;
        io->handler = zlt_channel_connect_idle;
        io->data = ch;

        zlt_timer_start(&ch->relay.timer, ZLT_CHANNEL_SILENCE,
                        zlt_channel_expired);
    }

    return ch;
}


static void
zlt_channel_connect_become(zlt_channel_t *ch, zlt_channel_state_e state,
    zlt_channel_start_pt start, const uint8_t *p, size_t len,
    const char *failed)
{
    zlt_pool_t  *pool;

    pool = zlt_pool_leave(ch);

    zlt_channel_state(ch, state);

    zlt_timer_stop(&ch->relay.timer);

    if (start(ch, p, len) == -1) {
        zlt_often_warn(ch->owner->label, failed, "%s", failed);
        zlt_channel_abort(ch);
    }

    if (pool) {
        zlt_pool_demand(pool);
    }
}
