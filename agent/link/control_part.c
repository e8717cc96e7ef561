
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The end of the tunnel of a former token, whose control channel was kept in
 * case that the new one is refused.
 */


#include <string.h>

#include "channel.h"
#include "control.h"
#include "control_part.h"
#include "control_register.h"
#include "control_state.h"
#include "link.h"
#include "log.h"


void
zlt_control_part(zlt_control_t *c, const zlt_control_t *follows,
    uint32_t timeout)
{
    zlt_list_t     *link, *next;
    zlt_channel_t  *ch;

    if (c->place != ZLT_CONTROL_FORMER || c->part_at || !zlt_control_is_up(c)
        || memcmp(c->param.tunnel_id, follows->param.tunnel_id, ZLT_ID_SIZE)
           == 0)
    {
        return;
    }

    zlt_log_link(c->link->owner.label, ZLT_LOG_INFO, "the tunnel of the "
                 "former token finishes its connections, and ends");

    c->part_at = zlt_io_now() + timeout;

    zlt_control_register_leave(c);

    zlt_list_each_safe(link, next, &c->link->owner.channels) {
        ch = zlt_list_data(link, zlt_channel_t, all);

        if (memcmp(ch->tunnel_id, c->param.tunnel_id, ZLT_ID_SIZE) == 0
            && (zlt_channel_is_idle(ch) || zlt_channel_is_shared(ch)))
        {
            zlt_channel_end_retire(ch);
        }
    }
}


/* with what is left of its connections, which are cut */

int
zlt_control_part_over(const zlt_control_t *c, uint64_t now)
{
    unsigned        n;
    zlt_list_t     *link, *next;
    zlt_channel_t  *ch;

    if (c->part_at == 0 || !zlt_control_is_up(c)) {
        return 0;
    }

    n = 0;

    zlt_list_each_safe(link, next, &c->link->owner.channels) {
        ch = zlt_list_data(link, zlt_channel_t, all);

        if (memcmp(ch->tunnel_id, c->param.tunnel_id, ZLT_ID_SIZE) != 0) {
            continue;
        }

        if (now < c->part_at) {
            return 0;
        }

        zlt_channel_abort(ch);
        n++;
    }

    if (n) {
        zlt_log_link(c->link->owner.label, ZLT_LOG_WARN, "%u connection%s "
                     "of the former token's tunnel cut short", n,
                     n == 1 ? "" : "s");
    }

    return 1;
}
