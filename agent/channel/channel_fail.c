
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A connection that could not be made to its service: what the server is told,
 * and what we say ourselves, who know at which address it was.
 */


#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "channel_dial.h"
#include "channel_end.h"
#include "channel_fail.h"
#include "conf.h"
#include "race.h"
#include "service.h"


static const char *zlt_channel_fail_first(const zlt_channel_t *ch, char *buf);
static unsigned zlt_channel_fail_code(int err);


void
zlt_channel_fail(zlt_channel_t *ch, int err)
{
    char  told[ZLT_RACE_TEXT], text[ZLT_ADDR_TEXT];

    ch->late = (err == ETIMEDOUT);

    if (ch->race) {
        (void) zlt_race_why(ch->race, told);
        ch->race = NULL;

    } else {
        (void) snprintf(told, sizeof(told), "%s: %s",
                        zlt_channel_fail_first(ch, text), strerror(err));
    }

    zlt_channel_end_fail_told(ch, zlt_channel_fail_code(err), strerror(err),
                              told);
}


void
zlt_channel_fail_late(zlt_channel_t *ch)
{
    char      told[ZLT_RACE_TEXT + 64], text[ZLT_RACE_TEXT];
    unsigned  s;

    s = zlt_channel_timeout(ch);
    ch->late = 1;

    if (ch->service && !zlt_list_empty(&ch->waiter.link)) {
        (void) snprintf(told, sizeof(told), "the name \"%.255s\" could not "
                        "be resolved within %u s", ch->service->conf.host, s);

    } else {
        (void) snprintf(told, sizeof(told), "%s did not answer within %u s",
                        ch->race ? zlt_race_under_way(ch->race, text)
                                 : zlt_channel_fail_first(ch, text), s);
    }

    zlt_channel_end_fail_told(ch, ZLT_E_UNREACHABLE,
                              "the service did not answer in time", told);
}


/* There was but one, or it was not dialled at all. */

static const char *
zlt_channel_fail_first(const zlt_channel_t *ch, char *buf)
{
    zlt_addrs_t  addrs;

    if (ch->service == NULL) {
        return strcpy(buf, "the service");
    }

    if (zlt_channel_dial_permitted(ch, &addrs) == 0) {
        (void) snprintf(buf, ZLT_ADDR_TEXT, "%.120s", ch->service->conf.local);
        return buf;
    }

    return zlt_addr_text(buf, &addrs.addrs[0]);
}


static unsigned
zlt_channel_fail_code(int err)
{
    switch (err) {

    case ECONNREFUSED:
        return ZLT_E_REFUSED;

    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case EAGAIN:               /* a UNIX socket whose backlog is full */
    case EADDRNOTAVAIL:        /* no local port is left */
        return ZLT_E_BUSY;
    }

    return ZLT_E_UNREACHABLE;
}
