
/*
 * Copyright (C) zltunnel authors
 */

/* What a link is, and what it has carried. */


#include <stdio.h>
#include <string.h>

#include "channel.h"
#include "link.h"
#include "link_state.h"
#include "service.h"


const char *const  zlt_link_state_names[] = {
    "pending", "connecting", "connected", "disconnected", "failed"
};


void
zlt_link_state_set(zlt_link_t *l, zlt_link_state_e state)
{
    if (state == ZLT_LINK_CONNECTED) {
        l->reason[0] = '\0';
    }

    if (l->state == state) {
        return;
    }

    l->state = state;
    l->since = time(NULL);
    l->since_ms = zlt_io_now();

    l->ops->changed(l->process);
}


void
zlt_link_state_reason(zlt_link_t *l, const char *reason)
{
    (void) snprintf(l->reason, sizeof(l->reason), "%s", reason);
}


/* RFC 6298: R the first time, then 7/8 of the former and 1/8 of R. */

void
zlt_link_state_latency(zlt_link_t *l, uint64_t us)
{
    if (us == 0) {
        us = 1;
    }

    if (us > 0x7fffffff) {
        us = 0x7fffffff;
    }

    zlt_figure_count(&l->heartbeats, us);

    l->rtt = (uint32_t) us;

    l->srtt = l->srtt ? (uint32_t) (((uint64_t) l->srtt * 7 + us) / 8)
                      : (uint32_t) us;
}


void
zlt_link_state_totals(const zlt_link_t *l, zlt_link_totals_t *t)
{
    zlt_list_t     *link;
    zlt_channel_t  *ch;
    zlt_service_t  *s;

    t->open = 0;
    t->sessions = 0;
    t->total = l->owner.connections;
    t->bytes_in = l->owner.bytes[ZLT_RELAY_CHANNEL];
    t->bytes_out = l->owner.bytes[ZLT_RELAY_SERVICE];
    t->udp = l->udp_gone;

    zlt_list_each(link, &l->owner.channels) {
        ch = zlt_list_data(link, zlt_channel_t, all);

        t->open += zlt_channel_is_joined(ch);
        t->bytes_in += ch->relay.bytes[ZLT_RELAY_CHANNEL];
        t->bytes_out += ch->relay.bytes[ZLT_RELAY_SERVICE];
    }

    zlt_list_each(link, &l->owner.services) {
        s = zlt_list_data(link, zlt_service_t, link);

        t->open += s->nsessions;
        t->sessions += s->nsessions;

        zlt_link_state_udp(&t->udp, &s->udp);
    }

    t->all = t->udp;
    zlt_link_state_udp(&t->all, &l->owner.visits);

    t->total += t->udp.sessions;
    t->bytes_in += t->udp.bytes_in;
    t->bytes_out += t->udp.bytes_out;
}


void
zlt_link_state_udp(zlt_udp_count_t *to, const zlt_udp_count_t *c)
{
    to->sessions += c->sessions;
    to->refused += c->refused;
    to->in += c->in;
    to->bytes_in += c->bytes_in;
    to->out += c->out;
    to->bytes_out += c->bytes_out;
    to->full_in += c->full_in;
    to->full_out += c->full_out;
    to->late_in += c->late_in;
    to->late_out += c->late_out;
    to->failed += c->failed;
    to->kernel += c->kernel;
}


void
zlt_link_state_fold(zlt_link_t *l, const zlt_service_t *s)
{
    zlt_link_state_udp(&l->udp_gone, &s->udp);
}


void
zlt_link_state_inherit(zlt_link_t *to, const zlt_link_t *from)
{
    unsigned             i;
    zlt_list_t          *link;
    zlt_range_t         *r;
    zlt_service_t       *s, *same;
    zlt_link_totals_t    t;

    zlt_link_state_totals(from, &t);

    to->owner.connections += from->owner.connections;
    to->owner.bytes[ZLT_RELAY_CHANNEL] += t.bytes_in - t.udp.bytes_in;
    to->owner.bytes[ZLT_RELAY_SERVICE] += t.bytes_out - t.udp.bytes_out;
    to->owner.udp_unknown += from->owner.udp_unknown;
    to->ups += from->ups ? from->ups - 1 : 0;

    zlt_link_state_udp(&to->udp_gone, &t.udp);
    zlt_link_state_udp(&to->owner.visits, &from->owner.visits);
    zlt_figure_add(&to->owner.connects, &from->owner.connects);
    zlt_figure_add(&to->heartbeats, &from->heartbeats);

    zlt_list_each(link, &from->owner.services) {
        s = zlt_list_data(link, zlt_service_t, link);
        r = s->range ? zlt_range_find(&to->owner.ranges, s->range->conf.name)
                     : NULL;
        same = r ? zlt_range_first(r) : NULL;

        for (i = 0; same && i < ZLT_SERVICE_RESULTS; i++) {
            same->connects[i] += s->connects[i];
        }
    }
}


int
zlt_link_state_carries(const zlt_link_t *l)
{
    return l->control == NULL || !zlt_control_is_up(l->control)
           || zlt_control_param(l->control) != NULL;
}
