
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


#define ZLT_SESSION_PING     25000     /* ms, without features */
#define ZLT_SESSION_TIMEOUT  40000     /* ms, where the server tells none */


void
zlt_control_heartbeat_start(zlt_session_t *s, const zlt_msg_t *m)
{
    if ((m->ext & ZLT_X_HEARTBEAT) && m->heartbeat_interval
        && m->heartbeat_timeout)
    {
        s->interval = m->heartbeat_interval;
        s->timeout = m->heartbeat_timeout;

        /* a timeout that a late packet exceeds would be of no use */

        if (s->interval < 1000) {
            s->interval = 1000;
        }

        if (s->timeout < 2000) {
            s->timeout = 2000;
        }

        if (s->interval > 3600000) {
            s->interval = 3600000;
        }

        if (s->timeout > 3600000) {
            s->timeout = 3600000;
        }
    }

    s->next_beat = s->up_since
                   + zlt_random_below(s->interval ? s->interval
                                                  : ZLT_SESSION_PING);
}


void
zlt_control_heartbeat_tick(zlt_session_t *s, uint64_t now)
{
    uint32_t  interval;

    if (s->asked && now >= s->asked) {
        zlt_session_fail(s, ZLT_DOWN_LOST, 0, "nothing was heard from the "
                         "server, though asked");
        return;
    }

    if (now < s->next_beat) {
        return;
    }

    interval = s->interval ? s->interval : ZLT_SESSION_PING;

    s->next_beat = now + interval - interval / 5
                   + zlt_random_below(interval * 2 / 5 + 1);

    zlt_session_probe(s, 0);
}


/* Asks for a sign of life within so many ms. */

void
zlt_session_probe(zlt_session_t *s, unsigned timeout)
{
    uint64_t         deadline;
    zlt_msg_t        m;
    struct timespec  ts;

    if (!s->up || s->closing) {
        return;
    }

    if (timeout == 0) {
        timeout = s->timeout ? s->timeout : ZLT_SESSION_TIMEOUT;
    }

    deadline = zlt_io_now() + timeout;

    if (s->asked == 0 || deadline < s->asked) {
        s->asked = deadline;
    }

    if (!(s->features & ZLT_F_HEARTBEATS)) {
        zlt_session_frame(s, ZLT_WS_OP_PING, NULL, 0);
        return;
    }

    (void) clock_gettime(CLOCK_REALTIME, &ts);

    memset(&m, 0, sizeof(zlt_msg_t));
    m.type = ZLT_HEARTBEAT;
    m.timestamp = (uint64_t) ts.tv_sec * 1000
                  + (uint64_t) ts.tv_nsec / 1000000;

    s->beat = m.timestamp;
    s->beat_at = uv_hrtime();

    zlt_session_send(s, &m);
}


void
zlt_control_heartbeat_answer(zlt_session_t *s, const zlt_msg_t *m)
{
    zlt_msg_t  ack;

    memset(&ack, 0, sizeof(zlt_msg_t));
    ack.type = ZLT_HEARTBEAT_ACK;
    ack.timestamp = m->timestamp;

    zlt_session_send(s, &ack);
}


/* The answer to the latest Heartbeat tells how far away the server is. */

void
zlt_control_heartbeat_answered(zlt_session_t *s, const zlt_msg_t *m)
{
    if (s->beat_at == 0 || m->timestamp != s->beat) {
        return;
    }

    if (s == s->link->session) {
        zlt_agent_latency(s->link, (uv_hrtime() - s->beat_at) / 1000);
    }

    s->beat_at = 0;
}
