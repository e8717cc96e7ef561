
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Which transport.
 *
 * A failure says little of its cause: a worker that exits closes connections
 * as a middlebox does, and what stands before a server that is being restarted
 * answers 502.  So doubts are counted, and it takes more of them to give up
 * what has worked.  Then the other transport is tried, and if that does no
 * better, the first again: a wrong guess costs a little time and no more.
 */


#include <stdio.h>
#include <string.h>

#include "log.h"
#include "transport.h"


#define ZLT_TRANSPORT_LIMIT     3      /* doubts, of what has not worked yet */
#define ZLT_TRANSPORT_PROVEN    6      /* .. of what has */
#define ZLT_TRANSPORT_TOGETHER  20     /* ms between two that count */
#define ZLT_TRANSPORT_PROBE     3600000


void
zlt_transport_init(zlt_transport_t *t, zlt_transport_e mode,
    const char *label)
{
    memset(t, 0, sizeof(zlt_transport_t));

    t->mode = mode;
    t->label = label;
    t->websocket = (mode == ZLT_TRANSPORT_WEBSOCKET);
}


void
zlt_transport_anew(zlt_transport_t *t)
{
    /* what had to fall back stays there until its time has come */

    if (!t->websocket) {
        t->proven = 0;
    }

    t->doubts = 0;
}


int
zlt_transport_pick(zlt_transport_t *t, int probe, uint64_t now)
{
    if (t->mode == ZLT_TRANSPORT_AUTO && t->websocket && t->proven && probe
        && now >= t->probe)
    {
        t->probe = now + ZLT_TRANSPORT_PROBE;
        return 0;
    }

    return t->websocket;
}


void
zlt_transport_opened(zlt_transport_t *t, int websocket, uint64_t now)
{
    if (t->mode != ZLT_TRANSPORT_AUTO) {
        return;
    }

    if (websocket != t->websocket) {

        /* late, or the one that was to find out */

        if (!websocket && t->proven) {
            zlt_log_link(t->label, ZLT_LOG_INFO, "data channels go without "
                         "WebSocket again: the way to the server is free");
            t->websocket = 0;
            t->doubts = 0;
        }

        return;
    }

    t->doubts = 0;

    if (t->proven) {
        return;
    }

    t->proven = 1;

    if (websocket) {
        t->probe = now + ZLT_TRANSPORT_PROBE;

        zlt_log_link(t->label, ZLT_LOG_INFO, "data channels go over "
                     "WebSocket: something on the way to the server does not "
                     "let \"Upgrade: zltunnel\" pass (%s)", t->why);
    }
}


void
zlt_transport_failed(zlt_transport_t *t, int websocket, unsigned doubt,
    const char *why, uint64_t now)
{
    if (t->mode != ZLT_TRANSPORT_AUTO || websocket != t->websocket) {
        return;
    }

    /* those that were opened together fail together, and count as one */

    if (t->doubts && now - t->counted < ZLT_TRANSPORT_TOGETHER) {
        return;
    }

    t->counted = now;
    t->doubts += doubt;

    if (t->doubts < (t->proven ? ZLT_TRANSPORT_PROVEN : ZLT_TRANSPORT_LIMIT))
    {
        return;
    }

    t->websocket = !t->websocket;
    t->proven = 0;
    t->doubts = 0;

    (void) snprintf(t->why, sizeof(t->why), "%s", why);

    zlt_log_link(t->label, ZLT_LOG_DEBUG, "data channels are tried %s "
                 "WebSocket: %s", t->websocket ? "over" : "without", why);
}


unsigned
zlt_transport_doubt(unsigned status, int ours)
{
    switch (status) {

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
        return ours ? 0 : ZLT_TRANSPORT_HINT;

    default:
        return ours ? 0 : ZLT_TRANSPORT_PROOF;
    }
}
