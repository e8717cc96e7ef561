
/*
 * Copyright (C) zltunnel authors
 */

/* What the links of a server ask, and tell: zlt_link_ops_t. */


#include <string.h>

#include "config.h"
#include "link.h"
#include "log.h"
#include "process.h"
#include "spread_access.h"
#include "spread_dial.h"
#include "spread_link.h"
#include "spread_state.h"
#include "spread_view.h"


static const zlt_link_t *zlt_spread_link_at(const zlt_link_t *l,
    const uint8_t *node);


unsigned
zlt_spread_link_held(const zlt_link_t *l, uint8_t *ids)
{
    unsigned           n;
    zlt_list_t        *link;
    const zlt_link_t  *other;

    n = 0;

    if (l->spread == NULL) {
        return 0;
    }

    zlt_list_each(link, &l->spread->links) {
        other = zlt_spread_mate(link);

        if (other != l && zlt_spread_view_holds(other) && n < ZLT_LINK_HELD) {
            memcpy(ids + n++ * ZLT_ID_SIZE, other->node_id, ZLT_ID_SIZE);
        }
    }

    return n;
}


uint16_t
zlt_spread_link_port(const zlt_link_t *l, const zlt_service_t *service)
{
    zlt_list_t           *link;
    const zlt_link_t     *other;
    const zlt_service_t  *s;

    if (l->owner.conf->mode != ZLT_CONF_ALL) {
        return 0;
    }

    for (other = zlt_process_find(l->process, l->owner.conf->name, NULL);
         other;
         other = zlt_process_find(l->process, l->owner.conf->name, other))
    {
        zlt_list_each(link, &other->owner.services) {
            s = zlt_list_data(link, zlt_service_t, link);

            if (s->port && s->conf.protocol == service->conf.protocol
                && strcmp(s->conf.name, service->conf.name) == 0)
            {
                return s->port;
            }
        }
    }

    return 0;
}


/* The link that has the node already; NULL: none. */

static const zlt_link_t *
zlt_spread_link_at(const zlt_link_t *l, const uint8_t *node)
{
    zlt_list_t        *link;
    const zlt_link_t  *other;

    zlt_list_each(link, &l->spread->links) {
        other = zlt_spread_mate(link);

        if (other != l && zlt_spread_view_holds(other)
            && memcmp(other->node_id, node, ZLT_ID_SIZE) == 0)
        {
            return other;
        }
    }

    return NULL;
}


/* Two may have been on their way to a node at the same time: the second one is
   told so when it comes back, by the server. */

int
zlt_spread_link_settle(zlt_link_t *l)
{
    zlt_spread_t       *sp;
    zlt_spread_addr_t  *a;

    sp = l->spread;

    if (sp == NULL) {
        return 1;
    }

    if (l->has_node && zlt_spread_link_at(l, l->node_id)) {
        return 0;
    }

    if (l == sp->dial) {
        if (zlt_spread_stopped(sp) || zlt_spread_view_full(sp)) {
            return 0;
        }

        zlt_spread_dial_show(sp);
        sp->tries = 0;
    }

    sp->told = l->nodes;
    a = zlt_spread_addr_find(&sp->addrs, &l->pin);

    if (a && l->has_node) {
        zlt_spread_addr_node(a, l->node_id);
    }

    zlt_spread_view_names(sp);
    zlt_spread_dial_soon(sp);

    return 1;
}


int
zlt_spread_link_down(zlt_link_t *l, zlt_down_e how)
{
    zlt_spread_t  *sp;

    sp = l->spread;

    if (sp == NULL || how == ZLT_DOWN_RECONNECT) {
        return 0;
    }

    if (l == sp->dial) {
        return zlt_spread_dial_down(sp, how);
    }

    if (how == ZLT_DOWN_CLOSED) {
        return 0;
    }

    zlt_spread_resolve_soon(sp);

    sp->begun = 1;
    sp->tries = 0;
    zlt_spread_soon(sp, 0);

    if (how != ZLT_DOWN_DOUBLE) {
        return 0;
    }

    /* it may have been at a node that is no more; else it goes on looking, as
       it does where a server says so of a link that there is not */

    sp->told = l->nodes;

    if (zlt_spread_view_holders(sp) - zlt_spread_view_holds(l) < sp->told
        || zlt_spread_link_at(l, l->met) == NULL)
    {
        return 0;
    }

    zlt_log_link(l->owner.label, ZLT_LOG_INFO, "there is a link for each node: "
                 "this one ends");
    zlt_spread_access_leave(l);
    zlt_process_remove(sp->process, l, "another link has its node");

    return 1;
}


void
zlt_spread_link_found(zlt_link_t *l, zlt_addrs_t *addrs)
{
    zlt_spread_t       *sp;
    zlt_spread_addr_t  *a;

    sp = l->spread;

    if (sp == NULL) {
        return;
    }

    zlt_spread_take(sp, addrs);

    a = zlt_spread_view_free(sp, l, UINT64_MAX);

    if (a) {
        zlt_link_place_pin(l, &a->addr);
        zlt_spread_view_names(sp);

        addrs->addrs[0] = a->addr;
        addrs->n = 1;
    }
}


unsigned
zlt_spread_link_elsewhere(zlt_link_t *l)
{
    char                text[ZLT_LINK_PLACE_TEXT];
    unsigned            i, n;
    zlt_spread_t       *sp;
    zlt_spread_addr_t  *a, *next, *least;

    sp = l->spread;

    if (sp == NULL || l->pin.len == 0) {
        return 0;
    }

    /* the next one in turn, by their ranks */

    n = 0;
    next = NULL;
    least = NULL;
    a = zlt_spread_addr_find(&sp->addrs, &l->pin);

    for (i = 0; i < sp->addrs.n; i++) {

        if (zlt_spread_addr_gone(&sp->addrs, &sp->addrs.all[i].addr)
            || zlt_spread_view_taken(sp, &sp->addrs.all[i].addr, l))
        {
            continue;
        }

        n++;

        if (least == NULL || sp->addrs.all[i].rank < least->rank) {
            least = &sp->addrs.all[i];
        }

        if (a && sp->addrs.all[i].rank > a->rank
            && (next == NULL || sp->addrs.all[i].rank < next->rank))
        {
            next = &sp->addrs.all[i];
        }
    }

    next = next ? next : least;

    if (next == NULL || next == a) {
        return 0;
    }

    zlt_link_place_pin(l, &next->addr);
    zlt_spread_view_names(sp);

    zlt_log_link(l->owner.label, ZLT_LOG_INFO, "the next address is %s",
                 zlt_link_place_text(l, text));

    return n;
}
