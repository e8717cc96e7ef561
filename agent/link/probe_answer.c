
/*
 * Copyright (C) zltunnel authors
 */

/* What the answer in HTTP to a step's request says. */


#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "probe_answer.h"
#include "transport.h"


#define ZLT_PROBE_CLOCK  60            /* s that clocks may be apart */


static void zlt_probe_answer_path(zlt_probe_t *p,
    const zlt_upgrade_end_t *end);
static void zlt_probe_answer_clock(zlt_probe_t *p, const zlt_http_answer_t *a);
static void zlt_probe_answer_channel(zlt_probe_t *p,
    const zlt_http_answer_t *a);


int
zlt_probe_answer(zlt_probe_t *p, const zlt_upgrade_end_t *end)
{
    char  text[ZLT_UPGRADE_ERROR_SIZE];

    switch (p->step) {

    case ZLT_PROBE_PATH:
        zlt_probe_answer_path(p, end);
        return 0;

    case ZLT_PROBE_RAW:
    case ZLT_PROBE_WEBSOCKET:
        zlt_probe_answer_channel(p, &end->answer);
        return 0;

    default:
        if (end->step != ZLT_UPGRADE_OPEN) {
            zlt_probe_failed(p, "upgrade", zlt_upgrade_told(end, text));
            return 0;
        }

        zlt_probe_tell(p, "upgrade", ZLT_PROBE_OK, "the control channel's "
                       "WebSocket passes");
        return 1;
    }
}


/* zltunnel's own answer to a request without an upgrade is 426. */

static void
zlt_probe_answer_path(zlt_probe_t *p, const zlt_upgrade_end_t *end)
{
    char                      text[ZLT_UPGRADE_ERROR_SIZE];
    const zlt_http_answer_t  *a;

    a = &end->answer;

    if (a->workers == 0 || a->status != 426) {
        zlt_probe_said(p, ZLT_PROBE_FAILED, "%s",
                       zlt_upgrade_told(end, text));
        return;
    }

    zlt_probe_said(p, ZLT_PROBE_OK, "zltunnel is at %s",
                   p->conf->url.path);
    zlt_probe_answer_clock(p, a);
}


static void
zlt_probe_answer_clock(zlt_probe_t *p, const zlt_http_answer_t *a)
{
    long  apart;

    if (a->date == 0) {
        zlt_probe_tell(p, "clock", ZLT_PROBE_NO, "the server does not tell "
                       "its time");
        return;
    }

    apart = (long) (time(NULL) - a->date);

    if (labs(apart) <= ZLT_PROBE_CLOCK) {
        zlt_probe_tell(p, "clock", ZLT_PROBE_OK, "as the server's");
        return;
    }

    zlt_probe_tell(p, "clock", ZLT_PROBE_FAILED, "this machine's is %ld s %s "
                   "the server's: set the one that is wrong", labs(apart),
                   apart > 0 ? "ahead of" : "behind");
}


static void
zlt_probe_answer_channel(zlt_probe_t *p, const zlt_http_answer_t *a)
{
    int  passes, raw;

    raw = (p->step == ZLT_PROBE_RAW);

    /* "no such tunnel", or a server that has its hands full; anything else is
       said of another request than was sent */

    passes = (a->workers && (a->status == 403 || a->status == 421
                             || a->status == 503));

    if (passes) {
        p->raw |= raw ? 1 : 0;
        zlt_probe_said(p, ZLT_PROBE_OK, raw
                       ? "\"Upgrade: zltunnel\" passes"
                       : "data channels within a WebSocket pass");

    } else if (raw && p->conf->transport != ZLT_TRANSPORT_RAW) {
        zlt_probe_said(p, ZLT_PROBE_NO, "\"Upgrade: zltunnel\" does not pass "
                       "(the server answered %u %s): data channels go within "
                       "a WebSocket", a->status, a->reason);

    } else if (!raw && p->raw && p->conf->transport != ZLT_TRANSPORT_WEBSOCKET)
    {
        zlt_probe_said(p, ZLT_PROBE_NO, "data channels within a WebSocket do "
                       "not pass (the server answered %u %s), nor are they "
                       "needed", a->status, a->reason);

    } else {
        zlt_probe_said(p, ZLT_PROBE_FAILED, "the server answered %u %s: does "
                       "a proxy on the way pass on %s?", a->status, a->reason,
                       raw ? "\"Upgrade: zltunnel\"" : "WebSockets");
    }
}
