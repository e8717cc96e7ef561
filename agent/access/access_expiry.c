
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The time of an access session.  At the deadline nobody may connect any more;
 * what runs may go on for the grace.
 */


#include <stdio.h>

#include "access.h"
#include "access_expiry.h"
#include "access_listen.h"
#include "clock.h"
#include "conf.h"
#include "log.h"
#include "owner.h"


static void zlt_access_expiry_due(zlt_access_t *x);


uint32_t
zlt_access_expiry_left(const zlt_access_t *x)
{
    uint64_t  now;

    now = zlt_clock_boot();

    if (x->deadline <= now) {
        return 0;
    }

    return (uint32_t) ((x->deadline - now + 999) / 1000);
}


void
zlt_access_expiry_renewed(zlt_access_t *x, uint32_t ttl)
{
    if (x->state == ZLT_ACCESS_ENDED || x->state == ZLT_ACCESS_EXPIRES) {
        return;
    }

    x->deadline = ttl ? zlt_clock_boot() + (uint64_t) ttl * 1000 : 0;

    if (x->owner->conf->visitor != ZLT_CONF_STDIO) {
        zlt_access_announce(x);
    }
}


void
zlt_access_expiry_closed(zlt_access_t *x, unsigned code, const char *reason)
{
    char  why[ZLT_CONF_ERROR_SIZE];

    if (code == ZLT_E_EXPIRED) {

        /* its clock is the one that counts */

        if (x->state != ZLT_ACCESS_EXPIRES) {
            x->deadline = zlt_clock_boot();
            zlt_access_expiry_due(x);
        }

        return;
    }

    (void) snprintf(why, sizeof(why), "the server has ended it: %s", reason);

    x->has_id = 0;
    zlt_access_end(x, why);
}


/* No new connections; those that run have the grace. */

static void
zlt_access_expiry_due(zlt_access_t *x)
{
    char      span[ZLT_TEXT_UNIT];
    unsigned  n;

    x->state = ZLT_ACCESS_EXPIRES;

    zlt_access_listen_stop(x);

    n = zlt_access_open_now(x);

    if (n && x->conf.grace) {
        zlt_log_link(x->owner->label, ZLT_LOG_INFO, "the time of access to "
                     "\"%s\" is over; %u connection%s may go on for %s",
                     x->conf.name, n, n == 1 ? "" : "s",
                     zlt_text_time(span, x->conf.grace));
    }

    if (x->conf.grace == 0) {
        zlt_access_end(x, "its time is over");
    }
}


void
zlt_access_expiry_tick(zlt_access_t *x, uint64_t boot)
{
    if (x->deadline && boot >= x->deadline
        && x->state != ZLT_ACCESS_EXPIRES)
    {
        zlt_access_expiry_due(x);
    }

    if (x->state == ZLT_ACCESS_EXPIRES
        && (boot >= x->deadline + (uint64_t) x->conf.grace * 1000
            || zlt_access_open_now(x) == 0))
    {
        zlt_access_end(x, "its time is over");
    }
}
