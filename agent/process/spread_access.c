
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Which of the links of a tunnel has its access sessions.
 *
 * They are at addresses of this machine, so there is one of each.  The first
 * link begins with them.  When it is lost for longer than a server takes to
 * start they go on to a link that is connected, and stay there: each is opened
 * anew, for the time that it has left.  Connections that run do so to their
 * end, where there is still a way.
 */


#include <stdlib.h>
#include <string.h>

#include "access_all.h"
#include "config.h"
#include "link.h"
#include "log.h"
#include "process.h"
#include "spread_access.h"
#include "spread_state.h"


#define ZLT_SPREAD_ACCESS_LOST  3000   /* ms */


static zlt_link_t *zlt_spread_access_heir(const zlt_link_t *l);
static void zlt_spread_access_move(zlt_link_t *from, zlt_link_t *to);
static void zlt_spread_access_swap(zlt_conf_t *a, zlt_conf_t *b);


void
zlt_spread_access_tick(zlt_spread_t *sp, uint64_t now)
{
    zlt_list_t  *link;
    zlt_link_t  *l, *heir;

    zlt_list_each(link, &sp->links) {
        l = zlt_spread_mate(link);

        if (l->owner.conf->naccesses == 0) {
            continue;
        }

        if (l->state == ZLT_LINK_CONNECTED) {
            sp->access_at = now;
            return;
        }

        heir = zlt_spread_access_heir(l);

        if (heir && heir->state == ZLT_LINK_CONNECTED
            && now - sp->access_at >= ZLT_SPREAD_ACCESS_LOST)
        {
            zlt_spread_access_move(l, heir);
        }

        return;
    }
}


void
zlt_spread_access_leave(zlt_link_t *l)
{
    zlt_link_t  *heir;

    heir = zlt_spread_access_heir(l);

    if (l->owner.conf->naccesses && heir) {
        zlt_spread_access_move(l, heir);
    }
}


/* Another link of the tunnel, one that is connected if there is one. */

static zlt_link_t *
zlt_spread_access_heir(const zlt_link_t *l)
{
    zlt_link_t  *other, *heir;

    heir = NULL;

    for (other = zlt_process_find(l->process, l->owner.conf->name, NULL);
         other;
         other = zlt_process_find(l->process, l->owner.conf->name, other))
    {
        if (other != l && other->spread
            && (heir == NULL || other->state == ZLT_LINK_CONNECTED))
        {
            heir = other;
        }
    }

    return heir;
}


static void
zlt_spread_access_move(zlt_link_t *from, zlt_link_t *to)
{
    zlt_spread_access_swap(from->owner.conf, to->owner.conf);

    if (to->spread) {
        to->spread->access_at = zlt_io_now();
    }

    zlt_log_link(to->owner.label, ZLT_LOG_INFO, "access is by this link from "
                 "now on");

    zlt_access_all_move(&from->owner, &to->owner);
}


static void
zlt_spread_access_swap(zlt_conf_t *a, zlt_conf_t *b)
{
    unsigned            n;
    zlt_access_conf_t  *accesses;

    accesses = a->accesses;
    n = a->naccesses;

    a->accesses = b->accesses;
    a->naccesses = b->naccesses;

    b->accesses = accesses;
    b->naccesses = n;
}


void
zlt_spread_access_reload(const zlt_spread_t *sp, zlt_config_t *config,
    unsigned first, unsigned n)
{
    unsigned           i, has;
    const char        *name;
    const zlt_list_t  *link;

    i = 0;
    has = n;

    zlt_list_each(link, &sp->links) {
        if (zlt_spread_mate(link)->owner.conf->naccesses) {
            has = i;
        }

        i++;
    }

    if (has == n) {
        return;
    }

    /* the first of the tunnel has them by now */

    name = config->links[first]->name;

    for (i = 0; strcmp(config->links[i]->name, name) != 0; i++) { /* void */ }

    if (i != first + has) {
        zlt_spread_access_swap(config->links[i], config->links[first + has]);
    }
}
