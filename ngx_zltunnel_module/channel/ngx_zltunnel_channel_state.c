
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The states of a data channel, and how it gets from one to another.
 *
 *        the agent has opened it
 *                 |
 *      fresh      +-------> IDLE                             CLOSED,
 *        |                  | ^                              from any
 *        |          a taker v |
 *        +--------------> TAKEN
 *                           |
 *           +---------+-----+----+-----------+
 *           v         v          v           v
 *         ASKED --> USED      SHARED      BRIDGED
 *           |         |
 *           |         v
 *           +---> DRAINING --> IDLE
 *
 * From ASKED and USED, too, it is idle at once if both ends of the connection
 * have come, and from BRIDGED when the other worker does not need it.  What is not in the table is a fault of ours: the channel is closed
 * by its handler then, as when the worker exits, and who waits for it goes on
 * with another, or is reset.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_channel_state.h"
#include "ngx_zltunnel_channel.h"


#define NGX_ZLTUNNEL_CHANNEL_TO(s)    (1 << NGX_ZLTUNNEL_CHANNEL_ ## s)


typedef struct {
    const char                  *name;
    ngx_uint_t                   legal;      /* to which */
    char                        *action;     /* for the log */
} ngx_zltunnel_channel_step_t;


static const ngx_zltunnel_channel_step_t  ngx_zltunnel_channel_steps[] = {

    { "taken",
      NGX_ZLTUNNEL_CHANNEL_TO(IDLE)|NGX_ZLTUNNEL_CHANNEL_TO(ASKED)
      |NGX_ZLTUNNEL_CHANNEL_TO(USED)|NGX_ZLTUNNEL_CHANNEL_TO(SHARED)
      |NGX_ZLTUNNEL_CHANNEL_TO(BRIDGED)|NGX_ZLTUNNEL_CHANNEL_TO(CLOSED),
      "taking data channel" },

    { "idle",
      NGX_ZLTUNNEL_CHANNEL_TO(TAKEN),
      "waiting on idle data channel" },

    { "asked",
      NGX_ZLTUNNEL_CHANNEL_TO(USED)|NGX_ZLTUNNEL_CHANNEL_TO(DRAINING)
      |NGX_ZLTUNNEL_CHANNEL_TO(IDLE)|NGX_ZLTUNNEL_CHANNEL_TO(CLOSED),
      "waiting for ConnectAck" },

    { "used",
      NGX_ZLTUNNEL_CHANNEL_TO(DRAINING)|NGX_ZLTUNNEL_CHANNEL_TO(IDLE)
      |NGX_ZLTUNNEL_CHANNEL_TO(CLOSED),
      "relaying data channel" },

    { "draining",
      NGX_ZLTUNNEL_CHANNEL_TO(IDLE)|NGX_ZLTUNNEL_CHANNEL_TO(CLOSED),
      "draining data channel" },

    { "shared",
      NGX_ZLTUNNEL_CHANNEL_TO(CLOSED),
      "carrying lanes" },

    { "bridged",
      NGX_ZLTUNNEL_CHANNEL_TO(IDLE)|NGX_ZLTUNNEL_CHANNEL_TO(CLOSED),
      "bridging data channel" },

    { "closed", 0, NULL }
};


void
ngx_zltunnel_channel_state(ngx_zltunnel_channel_t *channel,
    ngx_zltunnel_channel_state_e state)
{
    ngx_connection_t                   *c;
    const ngx_zltunnel_channel_step_t  *to, *from;

    c = channel->end.connection;
    to = &ngx_zltunnel_channel_steps[state];
    from = &ngx_zltunnel_channel_steps[channel->state];

    if (!(from->legal & (1 << state))) {

        /* the tests know this text */

        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "bad transition of a data channel, from \"%s\" to "
                      "\"%s\"", from->name, to->name);

        if (c && state != NGX_ZLTUNNEL_CHANNEL_CLOSED) {
            c->close = 1;
            ngx_post_event(c->read, &ngx_posted_events);
        }
    }

    channel->state = state;

    if (channel->timer.timer_set) {
        ngx_del_timer(&channel->timer);
    }

    if (c && to->action && !channel->end.lent) {
        c->log->action = to->action;
    }
}
