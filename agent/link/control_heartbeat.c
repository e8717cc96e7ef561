
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Signs of life on the control channel.
 *
 * The server is alive if anything comes from it.  We ask for that, by
 * Heartbeat, or by a WebSocket Ping at a server of version 1.  When nothing
 * has come within the timeout after asking, the control channel is dead.
 */


#include <string.h>
#include <time.h>

#include "control_heartbeat.h"
#include "control_ws.h"
#include "link.h"
#include "random.h"


#define ZLT_CONTROL_PING     25000     /* ms, without features */
#define ZLT_CONTROL_TIMEOUT  40000     /* ms, where the server tells none */


void
zlt_control_heartbeat_start(zlt_control_t *c, const zlt_msg_t *m)
{
    if ((m->ext & ZLT_X_HEARTBEAT) && m->heartbeat_interval
        && m->heartbeat_timeout)
    {
        c->interval = m->heartbeat_interval;
        c->timeout = m->heartbeat_timeout;

        /* a timeout that a late packet exceeds would be of no use */

        if (c->interval < 1000) {
            c->interval = 1000;
        }

        if (c->timeout < 2000) {
            c->timeout = 2000;
        }

        if (c->interval > 3600000) {
            c->interval = 3600000;
        }

        if (c->timeout > 3600000) {
            c->timeout = 3600000;
        }
    }

    c->next_beat = c->up_since
                   + zlt_random_below(c->interval ? c->interval
                                                  : ZLT_CONTROL_PING);
}


void
zlt_control_heartbeat_tick(zlt_control_t *c, uint64_t now)
{
    uint32_t  interval;

    if (c->asked && now >= c->asked) {
        zlt_control_fail(c, ZLT_DOWN_LOST, 0, "nothing was heard from the "
                         "server, though asked");
        return;
    }

    if (now < c->next_beat) {
        return;
    }

    interval = c->interval ? c->interval : ZLT_CONTROL_PING;

    c->next_beat = now + interval - interval / 5
                   + zlt_random_below(interval * 2 / 5 + 1);

    zlt_control_heartbeat_probe(c, 0);
}


/* Asks for a sign of life within so many ms. */

void
zlt_control_heartbeat_probe(zlt_control_t *c, unsigned timeout)
{
    uint64_t         deadline;
    zlt_msg_t        m;
    struct timespec  ts;

    if (c->state != ZLT_CONTROL_UP) {
        return;
    }

    if (timeout == 0) {
        timeout = c->timeout ? c->timeout : ZLT_CONTROL_TIMEOUT;
    }

    deadline = zlt_io_now() + timeout;

    if (c->asked == 0 || deadline < c->asked) {
        c->asked = deadline;
    }

    if (!(c->features & ZLT_F_HEARTBEATS)) {
        zlt_control_ws_frame(c, ZLT_WS_OP_PING, NULL, 0);
        return;
    }

    (void) clock_gettime(CLOCK_REALTIME, &ts);

    memset(&m, 0, sizeof(zlt_msg_t));
    m.type = ZLT_HEARTBEAT;
    m.timestamp = (uint64_t) ts.tv_sec * 1000
                  + (uint64_t) ts.tv_nsec / 1000000;

    c->beat = m.timestamp;
    c->beat_at = uv_hrtime();

    zlt_control_ws_send(c, &m);
}


void
zlt_control_heartbeat_answer(zlt_control_t *c, const zlt_msg_t *m)
{
    zlt_msg_t  ack;

    memset(&ack, 0, sizeof(zlt_msg_t));
    ack.type = ZLT_HEARTBEAT_ACK;
    ack.timestamp = m->timestamp;

    zlt_control_ws_send(c, &ack);
}


/* The answer to the latest Heartbeat tells how far away the server is. */

void
zlt_control_heartbeat_answered(zlt_control_t *c, const zlt_msg_t *m)
{
    if (c->beat_at == 0 || m->timestamp != c->beat) {
        return;
    }

    if (c == c->link->control) {
        zlt_link_state_latency(c->link, (uv_hrtime() - c->beat_at) / 1000);
    }

    c->beat_at = 0;
}
