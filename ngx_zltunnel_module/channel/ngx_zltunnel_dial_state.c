
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The states of a dial, and how it gets from one to another.
 *
 *     NEW --> LOOKING <---------------+---------+---------+
 *                |                    |         |         |
 *                +--> TAKING   another worker   |         |
 *                |      |      has none         |         |
 *                +--> QUEUED ---------|---> its turn      |
 *                |      |             |                   |
 *                +--> WAITING    asks again, the agent    |
 *                |      |  ^     is back                  |
 *                |      v  | the agent has acted on        |
 *                +--> ASKED  another Connect              |
 *                |      |                                 |
 *                |      +-- the channel ended, or says nothing
 *                v
 *              OVER, from any state
 *
 * A channel that comes late is taken in each state: from TAKING, QUEUED and
 * WAITING it leads to ASKED, and there it is the second one.  A dial in any of
 * the first four may still have a channel that it has asked, which says
 * nothing.  Independent of the state are what the registry knows of the dial
 * (entry), and whether it counts among those that ask the agent (asking).
 *
 * What is not in the table is a fault of ours.  The client must not hang for
 * it, so such a dial ends by its timer, within a second.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_dial_state.h"
#include "ngx_zltunnel_dial.h"
#include "ngx_zltunnel_worker.h"


#define NGX_ZLTUNNEL_DIAL_TO(s)    (1 << NGX_ZLTUNNEL_DIAL_ ## s)


static void ngx_zltunnel_dial_state_unqueue(ngx_zltunnel_dial_t *dial);
static ngx_zltunnel_dial_state_e ngx_zltunnel_dial_fault(
    ngx_zltunnel_dial_t *dial, ngx_zltunnel_dial_state_e state);


static const char  *ngx_zltunnel_dial_states[] = {
    "new", "looking", "taking", "queued", "waiting", "asked", "over", "fault"
};


/* [from]: to which */

static const ngx_uint_t  ngx_zltunnel_dial_legal[] = {

    /* NEW */      NGX_ZLTUNNEL_DIAL_TO(LOOKING),

    /* LOOKING */  NGX_ZLTUNNEL_DIAL_TO(LOOKING)|NGX_ZLTUNNEL_DIAL_TO(TAKING)
                   |NGX_ZLTUNNEL_DIAL_TO(QUEUED)|NGX_ZLTUNNEL_DIAL_TO(WAITING)
                   |NGX_ZLTUNNEL_DIAL_TO(ASKED)|NGX_ZLTUNNEL_DIAL_TO(OVER),

    /* TAKING */   NGX_ZLTUNNEL_DIAL_TO(LOOKING)|NGX_ZLTUNNEL_DIAL_TO(ASKED)
                   |NGX_ZLTUNNEL_DIAL_TO(OVER),

    /* QUEUED */   NGX_ZLTUNNEL_DIAL_TO(LOOKING)|NGX_ZLTUNNEL_DIAL_TO(ASKED)
                   |NGX_ZLTUNNEL_DIAL_TO(OVER),

    /* WAITING */  NGX_ZLTUNNEL_DIAL_TO(LOOKING)|NGX_ZLTUNNEL_DIAL_TO(ASKED)
                   |NGX_ZLTUNNEL_DIAL_TO(OVER),

    /* ASKED */    NGX_ZLTUNNEL_DIAL_TO(LOOKING)|NGX_ZLTUNNEL_DIAL_TO(WAITING)
                   |NGX_ZLTUNNEL_DIAL_TO(ASKED)|NGX_ZLTUNNEL_DIAL_TO(OVER),

    /* OVER */     0,

    /* FAULT */    NGX_ZLTUNNEL_DIAL_TO(OVER)
};


void
ngx_zltunnel_dial_state(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_dial_state_e state)
{
    if (!(ngx_zltunnel_dial_legal[dial->state] & (1 << state))) {
        state = ngx_zltunnel_dial_fault(dial, state);
    }

    if (dial->state == NGX_ZLTUNNEL_DIAL_QUEUED) {
        ngx_zltunnel_dial_state_unqueue(dial);
    }

    dial->state = state;

    if (state == NGX_ZLTUNNEL_DIAL_QUEUED) {
        ngx_queue_insert_tail(&dial->link.peer->waiting, &dial->turn);
    }
}


static void
ngx_zltunnel_dial_state_unqueue(ngx_zltunnel_dial_t *dial)
{
    ngx_zltunnel_peer_t  *peer;

    peer = dial->link.peer;

    ngx_queue_remove(&dial->turn);

    if (ngx_queue_empty(&peer->waiting) && peer->due) {
        peer->due = 0;
        ngx_queue_remove(&peer->turn);
    }
}


static ngx_zltunnel_dial_state_e
ngx_zltunnel_dial_fault(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_dial_state_e state)
{
    if (dial->state == NGX_ZLTUNNEL_DIAL_FAULT) {
        return NGX_ZLTUNNEL_DIAL_FAULT;
    }

    /* the tests know this text */

    ngx_log_error(NGX_LOG_ERR, dial->log, 0,
                  "bad transition of a dial, from \"%s\" to \"%s\"",
                  ngx_zltunnel_dial_states[dial->state],
                  ngx_zltunnel_dial_states[state]);

    if (!ngx_zltunnel_dial_runs(dial)) {
        return dial->state;
    }

    ngx_add_timer(&dial->timer, 1);

    return NGX_ZLTUNNEL_DIAL_FAULT;
}
