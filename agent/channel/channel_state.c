
/*
 * Copyright (C) zltunnel authors
 */

/* What a data channel is, and what it can become. */


#include <stdlib.h>
#include <sys/socket.h>

#include "channel.h"
#include "lane.h"
#include "log.h"


#define ZLT_CHANNEL_TO(state)  (1u << ZLT_CHANNEL_ ## state)


static const struct {
    const char  *name;
    unsigned     next;         /* and GONE from all but itself */
} zlt_channel_states[] = {

    [ZLT_CHANNEL_OPENING] = {
        "opening", ZLT_CHANNEL_TO(OPENING) | ZLT_CHANNEL_TO(SERVED)
                   | ZLT_CHANNEL_TO(IDLE) | ZLT_CHANNEL_TO(TAKEN)
                   | ZLT_CHANNEL_TO(RELAY) | ZLT_CHANNEL_TO(DATAGRAMS) },
    [ZLT_CHANNEL_SERVED] = { "served", ZLT_CHANNEL_TO(TAKEN) },
    [ZLT_CHANNEL_IDLE] = {
        "idle", ZLT_CHANNEL_TO(TAKEN) | ZLT_CHANNEL_TO(DATAGRAMS)
                | ZLT_CHANNEL_TO(SHARED) | ZLT_CHANNEL_TO(MOVING)
                | ZLT_CHANNEL_TO(ENDING) },
    [ZLT_CHANNEL_TAKEN] = {
        "taken", ZLT_CHANNEL_TO(RELAY) | ZLT_CHANNEL_TO(CLOSING) },
    [ZLT_CHANNEL_RELAY] = {
        "relay", ZLT_CHANNEL_TO(CLOSING) | ZLT_CHANNEL_TO(OPENING) },
    [ZLT_CHANNEL_CLOSING] = { "closing", ZLT_CHANNEL_TO(IDLE) },
    [ZLT_CHANNEL_DATAGRAMS] = { "datagrams", ZLT_CHANNEL_TO(ENDING) },
    [ZLT_CHANNEL_SHARED] = { "shared", 0 },
    [ZLT_CHANNEL_MOVING] = { "moving", 0 },
    [ZLT_CHANNEL_ENDING] = { "ending", 0 },
    [ZLT_CHANNEL_GONE] = { "gone", 0 }
};


void
zlt_channel_state(zlt_channel_t *ch, zlt_channel_state_e state)
{
    zlt_conn_t  *c;

    if ((zlt_channel_states[ch->state].next & (1u << state))
        || (state == ZLT_CHANNEL_GONE && ch->state != ZLT_CHANNEL_GONE))
    {
        ch->state = state;
        return;
    }

    zlt_log_link(ch->owner->label, ZLT_LOG_ERROR, "bad transition of a data "
                 "channel, from \"%s\" to \"%s\": it is cut",
                 zlt_channel_states[ch->state].name,
                 zlt_channel_states[state].name);

#ifdef __SANITIZE_ADDRESS__
    abort();
#endif

    c = &ch->relay.side[ZLT_RELAY_CHANNEL];

    if (c->lane) {

        /* the channel beneath is that of others, too */

        zlt_lane_fail(c->lane);

    } else if (c->io.fd != -1) {
        (void) shutdown(c->io.fd, SHUT_RDWR);
    }
}
