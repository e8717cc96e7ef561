
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A lane: a connection whose bytes come and go on a channel that many share.
 *
 * What comes for it is kept until it is read, a window's bytes at the most, so
 * that nobody waits for anybody.  Its handler is called by a task, when all
 * that was read from the channel has been given out.
 */


#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "channel.h"
#include "lane.h"
#include "shared_out.h"
#include "zlt_lanes.h"


static ssize_t zlt_lane_read(zlt_conn_t *c, void *buf, size_t size);
static ssize_t zlt_lane_write(zlt_conn_t *c, const void *buf, size_t size);
static int zlt_lane_end(zlt_conn_t *c, int closes);
static int zlt_lane_failed(const zlt_conn_t *c);
static void zlt_lane_close(zlt_conn_t *c);
static void zlt_lane_leave(zlt_conn_t *c);
static void zlt_lane_wake(zlt_lane_t *lane, unsigned ready);
static void zlt_lane_turn(zlt_task_t *task);
static void zlt_lane_give_credit(zlt_lane_t *lane);


static const zlt_conn_ops_t  zlt_lane = {
    .read = zlt_lane_read,
    .write = zlt_lane_write,
    .flush = zlt_conn_none,
    .pending = zlt_conn_none,
    .end = zlt_lane_end,
    .failed = zlt_lane_failed,
    .close = zlt_lane_close,
    .leave = zlt_lane_leave
};


zlt_lane_t *
zlt_lane_create(zlt_shared_t *shared, const zlt_shared_ops_t *ops,
    uint32_t number, zlt_conn_t *conn)
{
    zlt_lane_t  *lane;

    lane = calloc(1, sizeof(zlt_lane_t));
    if (lane == NULL) {
        return NULL;
    }

    lane->number = number;
    lane->shared = shared;
    lane->ops = ops;
    lane->conn = conn;
    lane->task.handler = zlt_lane_turn;

    zlt_lanebox_start(&lane->box, &zlt_conn_memory,
                      zlt_shared_windows(shared));

    zlt_list_init(&lane->task.link);
    zlt_list_init(&lane->turn);

    conn->ops = &zlt_lane;
    conn->lane = lane;
    conn->io.ready = ZLT_IO_WRITE;

    zlt_shared_add(shared, lane);

    return lane;
}


/* The connection's handler is called in a turn of its own. */

static void
zlt_lane_wake(zlt_lane_t *lane, unsigned ready)
{
    lane->conn->io.ready |= ready;
    zlt_io_post(&lane->task);
}


static void
zlt_lane_turn(zlt_task_t *task)
{
    zlt_lane_t   *lane;
    zlt_relay_t  *r;

    lane = zlt_list_data(task, zlt_lane_t, task);

    if (lane->moved) {
        r = zlt_list_data(lane->conn, zlt_relay_t, side[ZLT_RELAY_CHANNEL]);

        lane->ops->leave(zlt_list_data(r, zlt_channel_t, relay));
        return;
    }

    lane->conn->io.handler(&lane->conn->io);
}


static ssize_t
zlt_lane_read(zlt_conn_t *c, void *buf, size_t size)
{
    ssize_t      n;
    zlt_lane_t  *lane;

    lane = c->lane;

    n = zlt_lanebox_take(&lane->box, buf, size, (uint32_t) zlt_io_now(),
                         zlt_shared_rtt(lane->shared));

    if (n < 0) {
        errno = ECONNRESET;
        return ZLT_CONN_ERROR;
    }

    if (!zlt_lanebox_readable(&lane->box)) {
        c->io.ready &= ~(unsigned) ZLT_IO_READ;
    }

    if (n == 0) {
        return ZLT_CONN_AGAIN;
    }

    zlt_lane_give_credit(lane);

    return n;
}


static void
zlt_lane_give_credit(zlt_lane_t *lane)
{
    uint8_t   *p;
    uint32_t   credit;

    credit = zlt_lanebox_due(&lane->box);

    if (credit == 0) {
        return;
    }

    p = zlt_shared_out_room(lane->shared, ZLT_LANE_CREDIT_SIZE);

    if (p == NULL) {
        zlt_shared_out_wait(lane->shared, lane);
        return;
    }

    zlt_lanes_credit(p, lane->number, credit);
    zlt_window_given(&lane->box.window, credit);
}


static ssize_t
zlt_lane_write(zlt_conn_t *c, const void *buf, size_t size)
{
    size_t       fit;
    uint8_t     *p;
    zlt_lane_t  *lane;

    lane = c->lane;

    if (zlt_lanebox_over(&lane->box)) {
        errno = EPIPE;
        return ZLT_CONN_ERROR;
    }

    size = zlt_lanebox_may(&lane->box, size);

    if (size) {
        fit = zlt_lanebox_fit(size, zlt_shared_out_left(lane->shared,
                                                        size > ZLT_LANE_SMALL));
        if (size > fit) {
            /* no credit will tell */
            zlt_shared_out_wait(lane->shared, lane);
            size = fit;
        }
    }

    p = size ? zlt_shared_out_room(lane->shared, ZLT_LANE_HEADER + size) : NULL;

    if (p == NULL) {
        c->io.ready &= ~(unsigned) ZLT_IO_WRITE;
        return ZLT_CONN_AGAIN;
    }

    zlt_lanes_header(p, lane->number, size);
    memcpy(p + ZLT_LANE_HEADER, buf, size);

    zlt_lanebox_sent(&lane->box, size);

    return (ssize_t) size;
}


int
zlt_lane_deliver(zlt_lane_t *lane, const uint8_t *data, size_t len)
{
    switch (zlt_lanebox_came(&lane->box, data, len)) {

    case -1:
        return -1;

    case 0:
        return 0;
    }

    zlt_lane_wake(lane, lane->box.broken ? ZLT_IO_READ|ZLT_IO_WRITE
                                         : ZLT_IO_READ);

    return 0;
}


int
zlt_lane_credit(zlt_lane_t *lane, uint32_t credit)
{
    if (zlt_lanebox_credit(&lane->box, credit) == -1) {
        return -1;
    }

    zlt_lane_writable(lane);

    return 0;
}


void
zlt_lane_writable(zlt_lane_t *lane)
{
    zlt_lane_give_credit(lane);

    zlt_lane_wake(lane, ZLT_IO_WRITE);
}


void
zlt_lane_ended(zlt_lane_t *lane)
{
    lane->box.ended = 1;
    zlt_lane_wake(lane, ZLT_IO_READ|ZLT_IO_WRITE);
}


void
zlt_lane_fail(zlt_lane_t *lane)
{
    lane->box.broken = 1;
    zlt_lane_wake(lane, ZLT_IO_READ|ZLT_IO_WRITE);
}


static void
zlt_lane_leave(zlt_conn_t *c)
{
    c->lane->moved = 1;
    zlt_io_post(&c->lane->task);
}


/* It has none of its own: ends are messages above it. */

static int
zlt_lane_end(zlt_conn_t *c, int closes)
{
    (void) c;
    (void) closes;

    return ZLT_CONN_ERROR;
}


static int
zlt_lane_failed(const zlt_conn_t *c)
{
    return zlt_lanebox_over(&c->lane->box);
}


void
zlt_lane_over(zlt_conn_t *c)
{
    c->lane->over = 1;
}


static void
zlt_lane_close(zlt_conn_t *c)
{
    zlt_lane_t  *lane;

    lane = c->lane;
    c->lane = NULL;
    c->io.ready = 0;

    if (!lane->box.ended && !lane->over) {
        zlt_shared_out_end_lane(lane->shared, lane->number);
    }

    zlt_list_remove(&lane->task.link);
    zlt_list_remove(&lane->turn);

    zlt_lanebox_end(&lane->box);
    zlt_shared_remove(lane->shared, lane);

    free(lane);
}
