
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The states of an upstream connection, and its steps from one to another.  Its
 * owner may close it in any of them: CLOSED.
 *
 *       NEW ------------> SEARCHES ------.
 *        | |                  |          |
 *        | |   nobody has it  |          |  the search was in vain
 *        | `------------.     |          |
 *        v              |     |          |
 *      STARTS <---------|-----'          |
 *        | |            v                |
 *        | `--------> REFUSED ---------->|       nginx does not know yet
 *        |                               v
 *        |-> DIALS ------------------> FAILED    nginx finds an error
 *        |     |  `----> EARLY --------->^
 *        v     v          v
 *      what was found, and how nginx has it:     EARLY: it writes already
 *        |
 *        |-> PAIRED ----> OVER                   the relay has ended
 *        |-> LENT <--------------------.
 *        `-> LANE ------> ASKS         |
 *             ^            |   |       |  the agent's Moved
 *             |  no answer |   v       |
 *             `<-----------+- LEAVES   |
 *               cancelled      |       |
 *                              `---> MOVED       we write to the other channel
 *
 * OVER, LENT, LANE and MOVED lead to BROKEN, PAIRED if its relay fails: a token
 * was revoked, or a peer is dead, or a move was cancelled.
 *
 * A move is cancelled where the other channel fails or is silent.  Up to our
 * Moved nothing is lost by that, and the lane goes on.  Behind it the agent may
 * have written to that channel, and what it wrote is gone.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_conn_state.h"
#include "ngx_zltunnel_conn.h"
#include "ngx_zltunnel_conn_end.h"
#include "ngx_zltunnel_placeholder.h"


#define ngx_zltunnel_step(state)  (1 << NGX_ZLTUNNEL_CONN_ ## state)

#define NGX_ZLTUNNEL_STEPS_BOUND                                              \
    (ngx_zltunnel_step(PAIRED) | ngx_zltunnel_step(OVER)                      \
     | ngx_zltunnel_step(LENT) | ngx_zltunnel_step(LANE))


static const uint32_t  ngx_zltunnel_conn_steps[] = {

    /* NEW */
    ngx_zltunnel_step(SEARCHES) | ngx_zltunnel_step(STARTS)
    | ngx_zltunnel_step(REFUSED),

    /* SEARCHES */
    ngx_zltunnel_step(STARTS) | ngx_zltunnel_step(FAILED),

    /* STARTS */
    NGX_ZLTUNNEL_STEPS_BOUND | ngx_zltunnel_step(DIALS)
    | ngx_zltunnel_step(REFUSED),

    /* DIALS */
    NGX_ZLTUNNEL_STEPS_BOUND | ngx_zltunnel_step(EARLY)
    | ngx_zltunnel_step(FAILED),

    /* EARLY */
    NGX_ZLTUNNEL_STEPS_BOUND | ngx_zltunnel_step(FAILED),

    /* REFUSED */
    ngx_zltunnel_step(FAILED),

    /* FAILED */
    0,

    /* PAIRED */
    ngx_zltunnel_step(OVER) | ngx_zltunnel_step(BROKEN),

    /* OVER */
    ngx_zltunnel_step(BROKEN),

    /* LENT */
    ngx_zltunnel_step(BROKEN),

    /* LANE */
    ngx_zltunnel_step(ASKS) | ngx_zltunnel_step(BROKEN),

    /* ASKS */
    ngx_zltunnel_step(LANE) | ngx_zltunnel_step(LEAVES),

    /* LEAVES */
    ngx_zltunnel_step(LANE) | ngx_zltunnel_step(MOVED),

    /* MOVED */
    ngx_zltunnel_step(LENT) | ngx_zltunnel_step(BROKEN),

    /* BROKEN */
    0,

    /* CLOSED */
    0
};


void
ngx_zltunnel_conn_state(ngx_zltunnel_conn_t *conn,
    ngx_zltunnel_conn_state_e state)
{
    ngx_zltunnel_conn_state_e  from;

    from = conn->state;

    if ((ngx_zltunnel_conn_steps[from] & (1 << state))
        || (state == NGX_ZLTUNNEL_CONN_CLOSED && from != state))
    {
        conn->state = state;
        return;
    }

    ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                  "impossible step of an upstream connection, %ui to %ui",
                  (ngx_uint_t) from, (ngx_uint_t) state);

    if (ngx_zltunnel_conn_bound(conn)) {
        conn->state = NGX_ZLTUNNEL_CONN_BROKEN;
        ngx_zltunnel_conn_end_reset(conn);

    } else if (from < NGX_ZLTUNNEL_CONN_FAILED) {
        conn->state = NGX_ZLTUNNEL_CONN_FAILED;
        ngx_zltunnel_dial_done(&conn->dial);
        ngx_zltunnel_placeholder_time_out(conn->connection);
    }
}
