
/*
 * Copyright (C) zltunnel authors
 */

/* What there is: links, addresses, nodes. */


#include <string.h>

#include "conf.h"
#include "link.h"
#include "process.h"
#include "spread_state.h"
#include "spread_view.h"


static int zlt_spread_view_double(const zlt_spread_t *sp,
    const zlt_spread_addr_t *a, const zlt_link_t *but);


/* The first that no link has but *l; NULL: none. */

zlt_spread_addr_t *
zlt_spread_view_free(zlt_spread_t *sp, const zlt_link_t *l, uint64_t now)
{
    unsigned            i;
    zlt_spread_addr_t  *a, *best;

    best = NULL;

    for (i = 0; i < sp->addrs.n; i++) {
        a = &sp->addrs.all[i];

        if (a->again_at <= now && (best == NULL || a->rank < best->rank)
            && !zlt_spread_addr_gone(&sp->addrs, &a->addr)
            && !zlt_spread_view_taken(sp, &a->addr, l)
            && !zlt_spread_view_double(sp, a, l))
        {
            best = a;
        }
    }

    return best;
}


/* Leads it to a node where a link is? */

static int
zlt_spread_view_double(const zlt_spread_t *sp, const zlt_spread_addr_t *a,
    const zlt_link_t *but)
{
    zlt_list_t        *link;
    const zlt_link_t  *l;

    zlt_list_each(link, &sp->links) {
        l = zlt_spread_mate(link);

        if (l != but && a->has_node && l->has_node
            && memcmp(a->node_id, l->node_id, ZLT_ID_SIZE) == 0)
        {
            return 1;
        }
    }

    return 0;
}


int
zlt_spread_view_taken(const zlt_spread_t *sp, const zlt_addr_t *addr,
    const zlt_link_t *but)
{
    zlt_list_t        *link;
    const zlt_link_t  *l;

    zlt_list_each(link, &sp->links) {
        l = zlt_spread_mate(link);

        if (l != but && l->pin.len && zlt_addr_same(&l->pin, addr)) {
            return 1;
        }
    }

    return sp->dial && sp->dial != but && zlt_addr_same(&sp->dial->pin, addr);
}


/* 1 if it is known that there are no more nodes */

int
zlt_spread_view_complete(const zlt_spread_t *sp)
{
    return sp->told && zlt_spread_view_holders(sp) >= sp->told;
}


/* .. that there may be no more links; those whose address is gone do not count,
   but are bounded as well */

int
zlt_spread_view_full(const zlt_spread_t *sp)
{
    unsigned     n;
    zlt_list_t  *link;

    n = 0;

    zlt_list_each(link, &sp->links) {
        n++;
    }

    return n >= 2 * ZLT_ADDRS_MAX
           || zlt_spread_view_total(sp)
              >= zlt_spread_first(sp)->owner.conf->nodes;
}


unsigned
zlt_spread_view_holders(const zlt_spread_t *sp)
{
    unsigned     n;
    zlt_list_t  *link;

    n = 0;

    zlt_list_each(link, &sp->links) {
        n += zlt_spread_view_holds(zlt_spread_mate(link));
    }

    return n;
}


/* 1 if its node has it; between two control channels, too */

int
zlt_spread_view_holds(const zlt_link_t *l)
{
    return l->has_node && !l->owner.stopping
           && ((l->control && zlt_control_is_up(l->control))
               || !zlt_list_empty(&l->kept));
}


/* Without those whose address is gone. */

unsigned
zlt_spread_view_count(const zlt_spread_t *sp)
{
    unsigned     n;
    zlt_list_t  *link;

    n = 0;

    zlt_list_each(link, &sp->links) {
        n += !zlt_spread_view_gone(sp, zlt_spread_mate(link));
    }

    return n;
}


/* .. of all servers of the tunnel */

unsigned
zlt_spread_view_total(const zlt_spread_t *sp)
{
    unsigned             n;
    const char          *name;
    zlt_list_t          *link;
    const zlt_spread_t  *other;

    n = 0;
    name = zlt_spread_first(sp)->owner.conf->name;

    zlt_list_each(link, &sp->process->spreads) {
        other = zlt_list_data(link, zlt_spread_t, node);

        if (strcmp(zlt_spread_first(other)->owner.conf->name, name) == 0) {
            n += zlt_spread_view_count(other);
        }
    }

    return n;
}


/* Nodes without a link; a server may tell of more than there may be links. */

unsigned
zlt_spread_view_missing(const zlt_spread_t *sp)
{
    unsigned  count, total, nodes, room;

    count = zlt_spread_view_count(sp);
    total = zlt_spread_view_total(sp);
    nodes = zlt_spread_first(sp)->owner.conf->nodes;

    if (sp->told <= count || total >= nodes) {
        return 0;
    }

    room = nodes - total;

    return sp->told - count < room ? sp->told - count : room;
}


int
zlt_spread_view_gone(const zlt_spread_t *sp, const zlt_link_t *l)
{
    return l->pin.len && zlt_spread_addr_gone(&sp->addrs, &l->pin);
}


/* Labels say what there is to choose from. */

void
zlt_spread_view_names(zlt_spread_t *sp)
{
    zlt_list_t  *link;

    zlt_list_each(link, &sp->links) {
        zlt_link_place_name(zlt_spread_mate(link),
                            sp->addrs.n > 1 || sp->told > 1);
    }
}
