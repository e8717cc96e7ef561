
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Theory of operation
 *
 * A relay is two sides and two flows, flow[i] from side[i] to side[!i], and
 * one function that moves one flow on as far as it goes (flow.c).  An event on
 * either side runs both flows: the readiness bits of the connections tell
 * without a system call what has a chance.
 *
 * An end passes in its own direction only, after every byte before it.
 *
 * A reset, of either side, resets both, but behind what that side had sent: its
 * peer's kernel has acknowledged this, and the other peer would have it, had
 * the two spoken without us.  So a side that was reset is lost first.  Nothing
 * is written to it any more; it is read to its end, which counts as a reset
 * unless its peer had ended before (EPIPE), because the kernel reports the
 * error only once and shows a plain end of file afterwards.  What was read
 * must have gone, and been acknowledged: a reset would overtake it, and so
 * would the end of a channel that is not idle in time behind a message.  A
 * peer that takes nothing for some seconds would not have got more without us,
 * and sees the reset then.
 */


#include <errno.h>
#include <string.h>

#include "flow.h"
#include "relay.h"
#include "scratch.h"


#define ZLT_RELAY_HALF       3600              /* s, half-closed and silent */
#define ZLT_RELAY_AGAIN      60                /* s, until it is looked again */
#define ZLT_RELAY_DEAD       60                /* s, unacknowledged */
#define ZLT_RELAY_SWEEP      15                /* s, between looks at that */
#define ZLT_RELAY_STALLED    5000              /* ms, then a reset passes */
#define ZLT_RELAY_LOOK       20                /* ms, whether it may */
#define ZLT_RELAY_SLOW       10                /* .. of the slow ones so many */


static void zlt_relay_release(uv_timer_t *timer);
static void zlt_relay_event(zlt_io_t *io);
static void zlt_relay_turn(zlt_task_t *task);
static void zlt_relay_let_go(zlt_flow_t *f);
static void zlt_relay_run(zlt_relay_t *r);
static int zlt_relay_flows(zlt_relay_t *r, zlt_relay_end_e *how);
static unsigned zlt_relay_shut(const zlt_relay_t *r);
static void zlt_relay_test(zlt_relay_t *r, unsigned i);
static int zlt_relay_failed(zlt_relay_t *r, unsigned i, int rc,
    zlt_relay_end_e *how);
static void zlt_relay_lose(zlt_relay_t *r, unsigned side);
static int zlt_relay_passed(zlt_relay_t *r, zlt_relay_end_e *how);
static int zlt_relay_stalls(zlt_relay_t *r, size_t outq);
static void zlt_relay_look(uv_timer_t *timer);
static int zlt_relay_reset(unsigned side, zlt_relay_end_e *how);
static void zlt_relay_finish(zlt_relay_t *r, zlt_relay_end_e how);
static int zlt_relay_stays(zlt_relay_t *r, zlt_relay_end_e how);
static void zlt_relay_expired(zlt_timer_t *timer);
static int zlt_relay_dead(zlt_relay_t *r, unsigned i);


static zlt_list_t  zlt_relay_open = { &zlt_relay_open, &zlt_relay_open };
static zlt_list_t  zlt_relay_held = { &zlt_relay_held, &zlt_relay_held };
static zlt_list_t  zlt_relay_leaving = { &zlt_relay_leaving,
                                         &zlt_relay_leaving };
static uv_timer_t  zlt_relay_timer;        /* releases what is held */
static uv_timer_t  zlt_relay_leaver;       /* looks at those that are leaving */


void
zlt_relay_setup(uv_loop_t *loop)
{
    (void) uv_timer_init(loop, &zlt_relay_timer);
    (void) uv_timer_init(loop, &zlt_relay_leaver);
}


void
zlt_relay_init(zlt_relay_t *r)
{
    zlt_conn_init(&r->side[0]);
    zlt_conn_init(&r->side[1]);

    memset(r->flow, 0, sizeof(r->flow));

    zlt_list_init(&r->task.link);
    zlt_list_init(&r->link);
    zlt_list_init(&r->leaves);
    zlt_timer_init(&r->timer);

    r->begins = 0;
    r->bytes[0] = 0;
    r->bytes[1] = 0;
    r->kept = 0;
    r->lost = 0;
    r->silent[0] = 0;
    r->silent[1] = 0;
    r->handler = NULL;
}


void
zlt_relay_hold(zlt_relay_t *r, unsigned from)
{
    r->flow[from].way = ZLT_FLOW_HELD;
}


static void
zlt_relay_release(uv_timer_t *timer)
{
    zlt_task_t  *task;

    (void) timer;

    while (!zlt_list_empty(&zlt_relay_held)) {
        task = zlt_list_data(zlt_relay_held.next, zlt_task_t, link);
        zlt_io_post(task);
    }
}


void
zlt_relay_start(zlt_relay_t *r, zlt_relay_pt handler)
{
    r->handler = handler;
    r->active = zlt_io_now();

    r->side[0].io.handler = zlt_relay_event;
    r->side[0].io.data = r;
    r->side[1].io.handler = zlt_relay_event;
    r->side[1].io.data = r;
    r->task.handler = zlt_relay_turn;

    zlt_timer_stop(&r->timer);

    zlt_list_remove(&r->link);
    zlt_list_append(&zlt_relay_open, &r->link);

    r->begins = 1;
    zlt_io_post(&r->task);
}


/* Which of the two sides it was does not matter, but which relay does. */

static void
zlt_relay_event(zlt_io_t *io)
{
    zlt_relay_run(io->data);
}


static void
zlt_relay_turn(zlt_task_t *task)
{
    zlt_relay_t  *r;

    r = zlt_list_data(task, zlt_relay_t, task);

    if (!r->begins) {
        zlt_relay_let_go(&r->flow[0]);
        zlt_relay_let_go(&r->flow[1]);

    } else if (r->flow[0].way == ZLT_FLOW_HELD
               || r->flow[1].way == ZLT_FLOW_HELD)
    {
        if (!uv_is_active((uv_handle_t *) &zlt_relay_timer)) {
            (void) uv_timer_start(&zlt_relay_timer, zlt_relay_release, 1, 0);
        }

        zlt_list_append(&zlt_relay_held, &r->task.link);
    }

    r->begins = 0;

    zlt_relay_run(r);
}


static void
zlt_relay_let_go(zlt_flow_t *f)
{
    if (f->way == ZLT_FLOW_HELD) {
        f->way = ZLT_FLOW_COPIED;
    }
}


static void
zlt_relay_run(zlt_relay_t *r)
{
    int              over;
    zlt_relay_end_e  how;

    zlt_scratch_borrow();

    over = zlt_relay_flows(r, &how);

    zlt_scratch_return();

    if (over) {
        zlt_relay_finish(r, how);
    }
}


/* Returns 1 if the relay is over, and how. */

static int
zlt_relay_flows(zlt_relay_t *r, zlt_relay_end_e *how)
{
    int       rc;
    unsigned  i, shut;

    shut = zlt_relay_shut(r);

    for (i = 0; i < 2; i++) {
        rc = zlt_flow_move(r, i);

        if (rc < 0 && zlt_relay_failed(r, i, rc, how)) {
            return 1;
        }

        if (!r->lost) {
            zlt_relay_test(r, i);
        }
    }

    if (shut == 0 && zlt_relay_shut(r)) {
        zlt_timer_start(&r->timer, ZLT_RELAY_HALF, zlt_relay_expired);
    }

    if (zlt_relay_shut(r) == 2) {
        *how = ZLT_RELAY_DONE;
        return 1;
    }

    return r->lost && zlt_relay_passed(r, how);
}


/* how many directions have ended */

static unsigned
zlt_relay_shut(const zlt_relay_t *r)
{
    return (r->flow[0].end == ZLT_FLOW_SHUT)
           + (r->flow[1].end == ZLT_FLOW_SHUT);
}


/* A reset that neither reading nor writing has told of. */

static void
zlt_relay_test(zlt_relay_t *r, unsigned i)
{
    zlt_conn_t  *c;

    c = &r->side[i];

    if (r->flow[i].end == ZLT_FLOW_OPEN) {

        /* it waits for what is read before it, which may be for a long time */

        if (!zlt_conn_writable(&r->side[!i]) && zlt_conn_failed(c)) {
            zlt_relay_lose(r, i);
        }

        return;
    }

    /* behind the end of the bytes there may come what wants an answer, too */

    if (r->flow[!i].end != ZLT_FLOW_SHUT && c->ops->behind
        && c->ops->behind(c) != 0)
    {
        zlt_relay_lose(r, i);
    }
}


/* Returns 1 if the relay is over. */

static int
zlt_relay_failed(zlt_relay_t *r, unsigned i, int rc, zlt_relay_end_e *how)
{
    unsigned  side;

    if (rc == ZLT_FLOW_MEM) {
        *how = ZLT_RELAY_NO_MEMORY;
        return 1;
    }

    side = (rc == ZLT_FLOW_IN) ? i : !i;

    if (r->lost && r->gone != side) {

        /* nobody is left */

        return zlt_relay_reset(r->gone, how);
    }

    if (!r->lost) {
        zlt_relay_lose(r, side);
    }

    if (rc == ZLT_FLOW_IN) {
        r->flow[i].end = ZLT_FLOW_CUT;
    }

    return 0;
}


/* errno is what its connection failed with */

static void
zlt_relay_lose(zlt_relay_t *r, unsigned side)
{
    zlt_flow_t  *f;

    f = &r->flow[side];

    if (f->end == ZLT_FLOW_OPEN && errno != EPIPE) {
        f->broken = 1;
    }

    r->lost = 1;
    r->gone = side;
    r->outq = zlt_conn_outq(&r->side[!side]);
    r->stalled = zlt_conn_writable(&r->side[!side]) ? zlt_io_now() : r->active;

    r->flow[!side].dead = 1;
    zlt_flow_drop(r, !side);

    r->side[side].io.ready |= ZLT_IO_HUP|ZLT_IO_READ;
    zlt_io_post(&r->task);

    zlt_list_append(&zlt_relay_leaving, &r->leaves);

    if (!uv_is_active((uv_handle_t *) &zlt_relay_leaver)) {
        (void) uv_timer_start(&zlt_relay_leaver, zlt_relay_look,
                              ZLT_RELAY_LOOK, ZLT_RELAY_LOOK);
    }
}


static void
zlt_relay_look(uv_timer_t *timer)
{
    uint64_t      now;
    zlt_list_t   *link;
    zlt_relay_t  *r;

    static unsigned  looks;

    if (zlt_list_empty(&zlt_relay_leaving)) {
        (void) uv_timer_stop(timer);
        return;
    }

    now = zlt_io_now();
    looks++;

    zlt_list_each(link, &zlt_relay_leaving) {
        r = zlt_list_data(link, zlt_relay_t, leaves);

        if (looks % ZLT_RELAY_SLOW == 0
            || now - r->stalled < ZLT_RELAY_LOOK * ZLT_RELAY_SLOW)
        {
            zlt_io_post(&r->task);
        }
    }
}


/* Returns 1 if the reset of the side that was lost is due at the other one. */

static int
zlt_relay_passed(zlt_relay_t *r, zlt_relay_end_e *how)
{
    size_t        outq;
    zlt_conn_t   *to;
    zlt_flow_t   *f;

    f = &r->flow[r->gone];
    to = &r->side[!r->gone];

    outq = zlt_conn_outq(to);

    if ((f->end != ZLT_FLOW_SHUT && f->end != ZLT_FLOW_CUT)
        || f->buf || f->pipe || zlt_conn_pending(to) || outq)
    {
        if (!zlt_conn_failed(to) && !zlt_relay_stalls(r, outq)) {
            return 0;
        }
    }

    return zlt_relay_reset(r->gone, how);
}


static int
zlt_relay_stalls(zlt_relay_t *r, size_t outq)
{
    uint64_t  now;

    now = zlt_io_now();

    if (outq != r->outq) {
        r->outq = outq;
        r->stalled = now;
    }

    return now - r->stalled >= ZLT_RELAY_STALLED
           && now - r->active >= ZLT_RELAY_STALLED;
}


static int
zlt_relay_reset(unsigned side, zlt_relay_end_e *how)
{
    *how = side == ZLT_RELAY_CHANNEL ? ZLT_RELAY_RESET_CHANNEL
                                     : ZLT_RELAY_RESET_SERVICE;
    return 1;
}


static void
zlt_relay_finish(zlt_relay_t *r, zlt_relay_end_e how)
{
    unsigned  i;

    for (i = zlt_relay_stays(r, how) ? 1 : 0; i < 2; i++) {

        if (how == ZLT_RELAY_DONE) {
            zlt_conn_close(&r->side[i]);

        } else {
            zlt_conn_reset(&r->side[i]);
        }
    }

    zlt_relay_cleanup(r);

    r->handler(r, how);
}


/* 1 if the channel does */

static int
zlt_relay_stays(zlt_relay_t *r, zlt_relay_end_e how)
{
    zlt_conn_t  *c;

    c = &r->side[ZLT_RELAY_CHANNEL];

    if (c->ops->stays == NULL) {
        return 0;
    }

    switch (how) {

    case ZLT_RELAY_DONE:
        return c->ops->stays(c, ZLT_CONN_ENDED);

    case ZLT_RELAY_RESET_CHANNEL:
        return c->ops->stays(c, ZLT_CONN_RESET);

    case ZLT_RELAY_RESET_SERVICE:
        return c->ops->stays(c, ZLT_CONN_RESETS);

    default:
        return 0;
    }
}


void
zlt_relay_abort(zlt_relay_t *r)
{
    zlt_conn_reset(&r->side[0]);
    zlt_conn_reset(&r->side[1]);

    zlt_relay_cleanup(r);
}


void
zlt_relay_cleanup(zlt_relay_t *r)
{
    zlt_flow_drop(r, 0);
    zlt_flow_drop(r, 1);

    zlt_timer_stop(&r->timer);
    zlt_list_remove(&r->task.link);
    zlt_list_remove(&r->link);
    zlt_list_remove(&r->leaves);
}


void
zlt_relay_reuse(zlt_relay_t *r)
{
    zlt_relay_cleanup(r);
    zlt_conn_init(&r->side[1]);

    memset(r->flow, 0, sizeof(r->flow));

    r->kept = 0;
    r->lost = 0;
    r->silent[0] = 0;
    r->silent[1] = 0;
    r->handler = NULL;
}


static void
zlt_relay_expired(zlt_timer_t *timer)
{
    zlt_relay_t  *r;

    r = zlt_list_data(timer, zlt_relay_t, timer);

    if (zlt_io_now() - r->active < ZLT_RELAY_HALF * 1000) {
        zlt_timer_start(timer, ZLT_RELAY_AGAIN, zlt_relay_expired);
        return;
    }

    zlt_relay_finish(r, ZLT_RELAY_TIMEOUT);
}


void
zlt_relay_tick(void)
{
    zlt_list_t   *link, *next;
    zlt_relay_t  *r;

    static unsigned  seconds;

    if (++seconds % ZLT_RELAY_SWEEP) {
        return;
    }

    zlt_pipe_trim();

    zlt_list_each_safe(link, next, &zlt_relay_open) {
        r = zlt_list_data(link, zlt_relay_t, link);

        /* only now: most connections are gone before keepalive would act */

        if (!r->kept) {
            r->kept = 1;
            zlt_conn_keepalive(&r->side[0]);
            zlt_conn_keepalive(&r->side[1]);
        }

        if (zlt_relay_dead(r, 0) || zlt_relay_dead(r, 1)) {
            zlt_relay_finish(r, ZLT_RELAY_TIMEOUT);
        }
    }
}


/*
 * Keepalive finds a dead peer of an idle connection only.  What is on its way to
 * one is unacknowledged, even if the kernel takes more of it for a long time.
 */

static int
zlt_relay_dead(zlt_relay_t *r, unsigned i)
{
    if (!zlt_conn_dead(&r->side[i], ZLT_RELAY_SWEEP * 1000)) {
        r->silent[i] = 0;
        return 0;
    }

    return ++r->silent[i] > ZLT_RELAY_DEAD / ZLT_RELAY_SWEEP;
}
