
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
 * An end passes in its own direction only, after every byte before it.  A
 * reset, of either side, resets both.  If a side takes no more bytes (its
 * peer was reset), what it had sent before is still passed on; its end then
 * counts as a reset, because the kernel reports the error only once and
 * shows a plain end of file afterwards.
 */


#include <string.h>

#include "flow.h"
#include "relay.h"
#include "scratch.h"


#define ZLT_RELAY_HALF       3600              /* s, half-closed and silent */
#define ZLT_RELAY_AGAIN      60                /* s, until it is looked again */
#define ZLT_RELAY_DEAD       60                /* s, unacknowledged */
#define ZLT_RELAY_SWEEP      15                /* s, between looks at that */


static void zlt_relay_release(uv_timer_t *timer);
static void zlt_relay_event(zlt_io_t *io);
static void zlt_relay_turn(zlt_task_t *task);
static void zlt_relay_let_go(zlt_flow_t *f);
static void zlt_relay_run(zlt_relay_t *r);
static int zlt_relay_flows(zlt_relay_t *r, zlt_relay_end_e *how);
static unsigned zlt_relay_shut(const zlt_relay_t *r);
static int zlt_relay_ended(zlt_relay_t *r, unsigned i, zlt_relay_end_e *how);
static int zlt_relay_failed(zlt_relay_t *r, unsigned i, int rc,
    zlt_relay_end_e *how);
static int zlt_relay_reset(unsigned side, zlt_relay_end_e *how);
static void zlt_relay_finish(zlt_relay_t *r, zlt_relay_end_e how);
static int zlt_relay_stays(zlt_relay_t *r, zlt_relay_end_e how);
static void zlt_relay_expired(zlt_timer_t *timer);
static int zlt_relay_dead(zlt_relay_t *r, unsigned i);


static zlt_list_t  zlt_relay_open = { &zlt_relay_open, &zlt_relay_open };
static zlt_list_t  zlt_relay_held = { &zlt_relay_held, &zlt_relay_held };
static uv_timer_t  zlt_relay_timer;        /* releases what is held */


void
zlt_relay_setup(uv_loop_t *loop)
{
    (void) uv_timer_init(loop, &zlt_relay_timer);
}


void
zlt_relay_init(zlt_relay_t *r)
{
    zlt_conn_init(&r->side[0]);
    zlt_conn_init(&r->side[1]);

    memset(r->flow, 0, sizeof(r->flow));

    zlt_list_init(&r->task.link);
    zlt_list_init(&r->link);
    zlt_timer_init(&r->timer);

    r->begins = 0;
    r->bytes[0] = 0;
    r->bytes[1] = 0;
    r->kept = 0;
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

        if (r->flow[i].end != ZLT_FLOW_OPEN && zlt_relay_ended(r, i, how)) {
            return 1;
        }

        /* a reset does not wait for what cannot be passed on before it */

        if (r->flow[i].end == ZLT_FLOW_OPEN && !zlt_conn_writable(&r->side[!i])
            && zlt_conn_failed(&r->side[i])
            && zlt_relay_failed(r, i, ZLT_FLOW_IN, how))
        {
            return 1;
        }
    }

    if (shut == 0 && zlt_relay_shut(r)) {
        zlt_timer_start(&r->timer, ZLT_RELAY_HALF, zlt_relay_expired);
    }

    *how = ZLT_RELAY_DONE;

    return zlt_relay_shut(r) == 2;
}


/* how many directions have ended */

static unsigned
zlt_relay_shut(const zlt_relay_t *r)
{
    return (r->flow[0].end == ZLT_FLOW_SHUT)
           + (r->flow[1].end == ZLT_FLOW_SHUT);
}


/*
 * Behind the end of the bytes there may come what wants an answer, or a reset.
 * 1 if the relay is over.
 */

static int
zlt_relay_ended(zlt_relay_t *r, unsigned i, zlt_relay_end_e *how)
{
    zlt_conn_t  *c;

    c = &r->side[i];

    if (r->flow[!i].end == ZLT_FLOW_SHUT || c->ops->behind == NULL
        || c->ops->behind(c) == 0)
    {
        return 0;
    }

    return zlt_relay_reset(i, how);
}


/* Returns 1 if the relay is over. */

static int
zlt_relay_failed(zlt_relay_t *r, unsigned i, int rc, zlt_relay_end_e *how)
{
    if (rc == ZLT_FLOW_MEM) {
        *how = ZLT_RELAY_NO_MEMORY;
        return 1;
    }

    if (rc == ZLT_FLOW_IN) {
        return zlt_relay_reset(i, how);
    }

    if (r->flow[!i].end != ZLT_FLOW_OPEN) {
        return zlt_relay_reset(!i, how);
    }

    /* the side that takes no more may have sent something before */

    r->flow[i].dead = 1;
    zlt_flow_drop(r, i);

    r->side[!i].io.ready |= ZLT_IO_HUP|ZLT_IO_READ;
    zlt_io_post(&r->task);

    return 0;
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
}


void
zlt_relay_reuse(zlt_relay_t *r)
{
    zlt_relay_cleanup(r);
    zlt_conn_init(&r->side[1]);

    memset(r->flow, 0, sizeof(r->flow));

    r->kept = 0;
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
