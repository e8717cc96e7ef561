
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Theory of operation: a data channel with lanes
 *
 * The server opens lanes, each by the first bytes on it, Connect among them.
 * To everything but the connection at its bottom (lane.c) a lane is a framed
 * channel.  What counts is how many messages a system call moves: the channel
 * is read into the shared buffer and the bytes are given out to the lanes,
 * whose handlers are called when that is done; what the lanes write in one
 * turn of the loop is sent at its end.
 *
 * Reading never waits: a lane keeps a window's bytes.  Writing does: what
 * cannot be sent stays in one buffer, and lanes that find no room in it have
 * their turn when it is empty.
 *
 * A channel that fails is only marked by those who may be called from within
 * a lane, and ends when the loop comes back to it.
 */


#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "channel.h"
#include "lane.h"
#include "log.h"
#include "shared_out.h"
#include "shared_state.h"
#include "zlt_lanes.h"


#define ZLT_SHARED_SILENCE  60         /* s; the server heartbeats every 25 */
#define ZLT_SHARED_BUCKETS  16
#define ZLT_SHARED_LANES    16384      /* at the same time */
#define ZLT_SHARED_RTT      500        /* ms, for which a round trip is taken to
                                          be the same */

#define ZLT_SHARED_COSTLY   1          /* a message that makes work, and not by
                                          its bytes */


static void zlt_shared_event(zlt_io_t *io);
static void zlt_shared_turn(zlt_task_t *task);
static void zlt_shared_read(zlt_shared_t *sh);
static int zlt_shared_read_rest(zlt_shared_t *sh);
static int zlt_shared_take(zlt_shared_t *sh, const uint8_t *data, size_t len);
static int zlt_shared_keep(zlt_shared_t *sh, const uint8_t *data, size_t len);
static int zlt_shared_message(zlt_shared_t *sh, const zlt_lanes_msg_t *m);
static zlt_lane_t *zlt_shared_find(const zlt_shared_t *sh, uint32_t number);
static zlt_lane_t *zlt_shared_open(zlt_shared_t *sh, uint32_t number);
static void zlt_shared_freed(zlt_task_t *task);


static zlt_window_share_t  zlt_shared_all_windows = {
    0, ZLT_WINDOW_PROCESS, NULL
};


int
zlt_shared_start(zlt_channel_t *ch, const zlt_shared_ops_t *ops,
    const uint8_t *data, size_t len)
{
    zlt_flow_t    *f;
    zlt_shared_t  *sh;

    sh = calloc(1, sizeof(zlt_shared_t));
    if (sh == NULL) {
        return -1;
    }

    sh->lanes = calloc(ZLT_SHARED_BUCKETS, sizeof(zlt_lane_t *));
    if (sh->lanes == NULL) {
        free(sh);
        return -1;
    }

    sh->nbuckets = ZLT_SHARED_BUCKETS;
    sh->channel = ch;
    sh->ops = ops;
    sh->share.most = ZLT_WINDOW_CHANNEL;
    sh->share.of = &zlt_shared_all_windows;
    sh->task.handler = zlt_shared_turn;

    zlt_list_init(&sh->task.link);
    zlt_list_init(&sh->waiting);

    ch->shared = sh;
    ch->relay.side[ZLT_RELAY_CHANNEL].io.handler = zlt_shared_event;

    zlt_conn_keepalive(&ch->relay.side[ZLT_RELAY_CHANNEL]);
    zlt_conn_prompt(&ch->relay.side[ZLT_RELAY_CHANNEL]);

    zlt_timer_start(&ch->relay.timer, ZLT_SHARED_SILENCE,
                    zlt_channel_expired);

    /* an answer to a heartbeat may not have been sent yet */

    f = &ch->relay.flow[ZLT_RELAY_SERVICE];

    if (f->buf) {
        if (zlt_shared_out_put(sh, f->buf->data + f->buf->pos,
                               f->buf->last - f->buf->pos)
            == -1)
        {
            return -1;
        }

        free(f->buf);
        f->buf = NULL;
    }

    if (zlt_shared_take(sh, data, len) == -1) {
        sh->broken = 1;
    }

    /* there may be more, also where no event will tell */

    sh->again = 1;
    zlt_io_post(&sh->task);

    return 0;
}


zlt_window_share_t *
zlt_shared_windows(zlt_shared_t *sh)
{
    return &sh->share;
}


uint32_t
zlt_shared_rtt(zlt_shared_t *sh)
{
    uint64_t  now;

    now = zlt_io_now();

    if (sh->channel
        && (sh->rtt == 0 || now - sh->rtt_since >= ZLT_SHARED_RTT))
    {
        sh->rtt = zlt_conn_rtt(&sh->channel->relay.side[ZLT_RELAY_CHANNEL]);
        sh->rtt_since = now;
    }

    return sh->rtt;
}


void
zlt_shared_retire(zlt_channel_t *ch)
{
    zlt_shared_t  *sh;

    sh = ch->shared;

    if (sh->retired) {
        return;
    }

    sh->retired = 1;

    if (zlt_shared_out_say(sh, ZLT_RETIRE, 0) == -1) {
        zlt_shared_out_broken(sh);
    }
}


/* The channel is being freed: whatever lanes there are have been reset. */

void
zlt_shared_free(zlt_shared_t *sh)
{
    uint32_t     i;
    zlt_lane_t  *lane;

    sh->channel = NULL;

    for (i = 0; i < sh->nbuckets; i++) {
        for (lane = sh->lanes[i]; lane; lane = lane->next) {
            zlt_lane_ended(lane);
        }
    }

    free(sh->out);
    sh->out = NULL;

    free(sh->rest);
    sh->rest = NULL;

    zlt_list_remove(&sh->task.link);

    if (sh->nlanes == 0) {
        sh->task.handler = zlt_shared_freed;
        zlt_io_later(&sh->task);
    }
}


static void
zlt_shared_freed(zlt_task_t *task)
{
    zlt_shared_t  *sh;

    sh = zlt_list_data(task, zlt_shared_t, task);

    free(sh->lanes);
    free(sh);
}


static void
zlt_shared_event(zlt_io_t *io)
{
    zlt_shared_t  *sh;

    sh = ((zlt_channel_t *) io->data)->shared;

    zlt_shared_read(sh);

    /* under TLS, what was taken from our buffer may be in a record still */

    if (sh->channel && !sh->broken && (io->ready & ZLT_IO_WRITE)
        && (sh->out
            || zlt_conn_pending(&sh->channel->relay.side[ZLT_RELAY_CHANNEL])))
    {
        zlt_io_post(&sh->task);
    }
}


static void
zlt_shared_turn(zlt_task_t *task)
{
    zlt_shared_t  *sh;

    sh = zlt_list_data(task, zlt_shared_t, task);

    if (sh->again) {
        sh->again = 0;
        zlt_shared_read(sh);
    }

    if (!sh->broken) {
        zlt_shared_out_flush(sh);
    }

    if (sh->broken) {
        zlt_channel_abort(sh->channel);
    }
}


static void
zlt_shared_read(zlt_shared_t *sh)
{
    ssize_t      n;
    zlt_conn_t  *c;

    c = &sh->channel->relay.side[ZLT_RELAY_CHANNEL];
    n = zlt_shared_read_rest(sh) == 0 ? 1 : ZLT_CONN_ERROR;

    zlt_scratch_borrow();

    while (n > 0 && sh->rest == NULL) {

        n = zlt_conn_read(c, zlt_scratch, ZLT_SCRATCH_SIZE);

        if (n > 0 && zlt_shared_take(sh, zlt_scratch, (size_t) n) == -1) {
            n = ZLT_CONN_ERROR;
        }
    }

    zlt_scratch_return();

    if (n == 0 || n == ZLT_CONN_ERROR) {
        zlt_shared_out_broken(sh);
    }
}


static int
zlt_shared_read_rest(zlt_shared_t *sh)
{
    int         rc;
    zlt_buf_t  *rest;

    rest = sh->rest;

    if (rest == NULL) {
        return 0;
    }

    sh->rest = NULL;

    rc = zlt_shared_take(sh, rest->data, rest->last);

    free(rest);

    return rc;
}


static int
zlt_shared_take(zlt_shared_t *sh, const uint8_t *data, size_t len)
{
    int              rc;
    size_t           used;
    zlt_lanes_msg_t  m;

    for ( ;; ) {
        rc = zlt_lanes_decode(&sh->in, &m, data, len, &used);

        if (rc == ZLT_AGAIN) {
            return 0;
        }

        if (rc != ZLT_OK) {
            zlt_log_link(sh->channel->owner->label, ZLT_LOG_DEBUG,
                         "bad message on a shared data channel: %s",
                         zlt_msg_strerror(rc));
            return -1;
        }

        rc = zlt_shared_message(sh, &m);

        if (rc == -1) {
            return -1;
        }

        data += used;
        len -= used;

        if (rc == ZLT_SHARED_COSTLY && len
            && !zlt_io_message(&sh->channel->relay.side[ZLT_RELAY_CHANNEL].io))
        {
            return zlt_shared_keep(sh, data, len);
        }
    }
}


/* For the next turn: 0 or -1. */

static int
zlt_shared_keep(zlt_shared_t *sh, const uint8_t *data, size_t len)
{
    sh->rest = malloc(sizeof(zlt_buf_t) + len);

    if (sh->rest == NULL) {
        return -1;
    }

    memcpy(sh->rest->data, data, len);
    sh->rest->last = (uint32_t) len;

    return 0;
}


/* 0, ZLT_SHARED_COSTLY or -1 */


static int
zlt_shared_message(zlt_shared_t *sh, const zlt_lanes_msg_t *m)
{
    int          opens;
    zlt_lane_t  *lane;

    switch (m->type) {

    case ZLT_HEARTBEAT:
        zlt_timer_start(&sh->channel->relay.timer, ZLT_SHARED_SILENCE,
                        zlt_channel_expired);

        return zlt_shared_out_say(sh, ZLT_HEARTBEAT_ACK, m->timestamp) == 0
               ? ZLT_SHARED_COSTLY : -1;

    case ZLT_HEARTBEAT_ACK:
        return 0;

    case ZLT_RETIRE:
        /* ours alone */
        return -1;
    }

    opens = m->lane > sh->number;

    if (opens) {
        sh->number = m->lane;

        lane = (m->type == ZLT_LANE) ? zlt_shared_open(sh, m->lane) : NULL;

    } else {
        lane = zlt_shared_find(sh, m->lane);
    }

    if (lane == NULL) {
        /* gone, and the server does not know yet */
        return opens ? ZLT_SHARED_COSTLY : 0;
    }

    switch (m->type) {

    case ZLT_LANE:
        return zlt_lane_deliver(lane, m->data, m->len) == 0
               ? opens * ZLT_SHARED_COSTLY : -1;

    case ZLT_LANE_CREDIT:
        return zlt_lane_credit(lane, m->credit);

    default: /* ZLT_LANE_END */
        zlt_lane_ended(lane);
        return 0;
    }
}


static zlt_lane_t *
zlt_shared_find(const zlt_shared_t *sh, uint32_t number)
{
    zlt_lane_t  *lane;

    for (lane = sh->lanes[number & (sh->nbuckets - 1)];
         lane;
         lane = lane->next)
    {
        if (lane->number == number) {
            return lane;
        }
    }

    return NULL;
}


/* A lane that cannot be had is ended at once: the server takes another way. */

static zlt_lane_t *
zlt_shared_open(zlt_shared_t *sh, uint32_t number)
{
    zlt_lane_t     *lane;
    zlt_channel_t  *ch;

    ch = NULL;

    if (!sh->retired && sh->nlanes < ZLT_SHARED_LANES) {
        ch = sh->ops->open(sh->channel);
    }

    if (ch) {
        lane = zlt_lane_create(sh, sh->ops, number,
                               &ch->relay.side[ZLT_RELAY_CHANNEL]);
        if (lane) {
            return lane;
        }

        zlt_channel_free(ch);
    }

    zlt_shared_out_end_lane(sh, number);

    return NULL;
}


void
zlt_shared_add(zlt_shared_t *sh, zlt_lane_t *lane)
{
    uint32_t      i, n;
    zlt_lane_t  **lanes, **bucket, *l, *next;

    if (++sh->nlanes > sh->nbuckets) {

        n = sh->nbuckets * 2;
        lanes = calloc(n, sizeof(zlt_lane_t *));

        /* else with longer rows */

        if (lanes) {
            for (i = 0; i < sh->nbuckets; i++) {
                for (l = sh->lanes[i]; l; l = next) {
                    next = l->next;

                    bucket = &lanes[l->number & (n - 1)];
                    l->next = *bucket;
                    *bucket = l;
                }
            }

            free(sh->lanes);
            sh->lanes = lanes;
            sh->nbuckets = n;
        }
    }

    bucket = &sh->lanes[lane->number & (sh->nbuckets - 1)];
    lane->next = *bucket;
    *bucket = lane;
}


void
zlt_shared_remove(zlt_shared_t *sh, zlt_lane_t *lane)
{
    zlt_lane_t  **p;

    p = &sh->lanes[lane->number & (sh->nbuckets - 1)];

    while (*p != lane) {
        p = &(*p)->next;
    }

    *p = lane->next;
    sh->nlanes--;

    if (sh->nlanes == 0 && sh->channel == NULL) {
        sh->task.handler = zlt_shared_freed;
        zlt_io_later(&sh->task);
    }
}
