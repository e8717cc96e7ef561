
/*
 * Copyright (C) zltunnel authors
 */

/* What a link is, and what it has carried. */


#include <stdio.h>
#include <string.h>

#include "process.h"


const char *
zlt_state_name(zlt_state_e state)
{
    static const char *const  names[] = {
        "pending", "connecting", "connected", "disconnected", "failed"
    };

    return names[state];
}


void
zlt_agent_state(zlt_agent_t *a, zlt_state_e state)
{
    if (state == ZLT_STATE_CONNECTED) {
        a->reason[0] = '\0';
    }

    if (a->state == state) {
        return;
    }

    a->state = state;
    a->since = time(NULL);
    a->since_ms = zlt_io_now();

    zlt_process_notify(a->process);
}


void
zlt_agent_reason(zlt_agent_t *a, const char *reason)
{
    (void) snprintf(a->reason, sizeof(a->reason), "%s", reason);
}


/* RFC 6298: R the first time, then 7/8 of the former and 1/8 of R. */

void
zlt_agent_latency(zlt_agent_t *a, uint64_t us)
{
    if (us == 0) {
        us = 1;
    }

    if (us > 0x7fffffff) {
        us = 0x7fffffff;
    }

    a->rtt = (uint32_t) us;

    a->srtt = a->srtt ? (uint32_t) (((uint64_t) a->srtt * 7 + us) / 8)
                      : (uint32_t) us;
}


void
zlt_agent_totals(const zlt_agent_t *a, zlt_totals_t *t)
{
    zlt_list_t     *link;
    zlt_channel_t  *ch;
    zlt_service_t  *s;

    t->open = 0;
    t->total = a->connections + a->udp_sessions;
    t->bytes_in = a->bytes[ZLT_RELAY_CHANNEL];
    t->bytes_out = a->bytes[ZLT_RELAY_SERVICE];

    zlt_list_each(link, &a->channels) {
        ch = zlt_list_data(link, zlt_channel_t, all);

        t->open += zlt_channel_is_joined(ch);
        t->bytes_in += ch->relay.bytes[ZLT_RELAY_CHANNEL];
        t->bytes_out += ch->relay.bytes[ZLT_RELAY_SERVICE];
    }

    zlt_list_each(link, &a->services) {
        s = zlt_list_data(link, zlt_service_t, link);

        t->open += s->nsessions;
        t->total += s->udp.sessions;
        t->bytes_in += s->udp.bytes_in;
        t->bytes_out += s->udp.bytes_out;
    }
}


void
zlt_agent_fold(zlt_agent_t *a, const zlt_service_t *s)
{
    a->udp_sessions += s->udp.sessions;
    a->bytes[ZLT_RELAY_CHANNEL] += s->udp.bytes_in;
    a->bytes[ZLT_RELAY_SERVICE] += s->udp.bytes_out;
}
