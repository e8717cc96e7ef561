
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A lane, from within: what is read and written through it.
 *
 * What comes for it is kept until it is read, and no more may come than it has
 * given credit for: a connection that nobody reads holds a window's bytes at
 * most, and does not keep the others waiting.  Handlers are called by events
 * in a turn of their own, when all that was read from the channel has been
 * given out.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_lane.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_shared.h"
#include "ngx_zltunnel_shared_out.h"
#include "ngx_zltunnel_transport.h"

#include "zlt_lanes.h"


static ngx_zltunnel_lane_t *ngx_zltunnel_lane_create(void);
static void ngx_zltunnel_lane_join(ngx_zltunnel_lane_t *lane,
    ngx_zltunnel_shared_t *shared, ngx_zltunnel_end_t *end);
static ssize_t ngx_zltunnel_lane_recv(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
static ssize_t ngx_zltunnel_lane_send(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
static void ngx_zltunnel_lane_close(ngx_zltunnel_end_t *end);
static void ngx_zltunnel_lane_wake(ngx_zltunnel_lane_t *lane);
static void ngx_zltunnel_lane_give_credit(ngx_zltunnel_lane_t *lane);
static void ngx_zltunnel_lane_wait(ngx_zltunnel_lane_t *lane);
static void ngx_zltunnel_lane_number(ngx_zltunnel_lane_t *lane,
    uint32_t number);


static const ngx_zltunnel_end_ops_t  ngx_zltunnel_lane_ops = {
    .recv = ngx_zltunnel_lane_recv,
    .send = ngx_zltunnel_lane_send,
    .close = ngx_zltunnel_lane_close,
    .most = NGX_ZLTUNNEL_END_ALL,
    .shared = 1
};


ngx_zltunnel_channel_t *
ngx_zltunnel_lane_open(ngx_zltunnel_peer_t *peer,
    ngx_zltunnel_channel_t *of)
{
    ngx_zltunnel_lane_t     *lane;
    ngx_zltunnel_shared_t   *shared;
    ngx_zltunnel_channel_t  *channel;

    lane = ngx_zltunnel_lane_create();
    if (lane == NULL) {
        return NULL;
    }

    channel = ngx_zltunnel_channel_create(peer->registry, &lane->connection,
                                          &ngx_zltunnel_lane_ops);
    if (channel == NULL) {
        ngx_free(lane);
        return NULL;
    }

    /* last: "of" is no longer the caller's then */

    shared = ngx_zltunnel_shared_get(peer, of);

    if (shared == NULL) {
        ngx_queue_remove(&channel->all);
        ngx_free(channel);
        ngx_free(lane);
        return NULL;
    }

    channel->epoch = shared->channel->epoch;
    ngx_memcpy(channel->tunnel_id, peer->id, ZLT_ID_SIZE);

    ngx_zltunnel_lane_join(lane, shared, &channel->end);

    return channel;
}


ngx_int_t
ngx_zltunnel_lane_accept(ngx_zltunnel_shared_t *shared, uint32_t number,
    ngx_zltunnel_end_t *end)
{
    ngx_zltunnel_lane_t  *lane;

    lane = ngx_zltunnel_lane_create();
    if (lane == NULL) {
        return NGX_ERROR;
    }

    ngx_zltunnel_end_init(end, &lane->connection, &ngx_zltunnel_lane_ops);
    ngx_zltunnel_lane_join(lane, shared, end);
    ngx_zltunnel_lane_number(lane, number);

    return NGX_OK;
}


static ngx_zltunnel_lane_t *
ngx_zltunnel_lane_create(void)
{
    ngx_connection_t     *c;
    ngx_zltunnel_lane_t  *lane;

    lane = ngx_calloc(sizeof(ngx_zltunnel_lane_t), ngx_cycle->log);
    if (lane == NULL) {
        return NULL;
    }

    c = &lane->connection;

    lane->log = *ngx_cycle->log;

    c->fd = (ngx_socket_t) -1;
    c->log = &lane->log;
    c->log_error = NGX_ERROR_INFO;
    c->read = &lane->read;
    c->write = &lane->write;
    c->start_time = ngx_current_msec;

    /* said to be in epoll, so that nobody puts it there */

    lane->read.data = c;
    lane->read.log = c->log;
    lane->read.active = 1;

    lane->write.data = c;
    lane->write.log = c->log;
    lane->write.write = 1;
    lane->write.active = 1;
    lane->write.ready = 1;

    return lane;
}


static void
ngx_zltunnel_lane_join(ngx_zltunnel_lane_t *lane,
    ngx_zltunnel_shared_t *shared, ngx_zltunnel_end_t *end)
{
    end->lane = lane;

    zlt_lanebox_start(&lane->box, &ngx_zltunnel_buffer_memory,
                      &shared->share);

    lane->shared = shared;
    shared->nlanes++;
}


static ssize_t
ngx_zltunnel_lane_recv(ngx_zltunnel_end_t *end, u_char *buf, size_t size)
{
    ssize_t               n;
    ngx_event_t          *rev;
    ngx_zltunnel_lane_t  *lane;

    lane = end->lane;
    rev = end->connection->read;

    n = zlt_lanebox_take(&lane->box, buf, size, (uint32_t) ngx_current_msec,
                         (uint32_t) ngx_zltunnel_shared_rtt(lane->shared));
    if (n == 0) {
        rev->ready = 0;
        return NGX_AGAIN;
    }

    if (n < 0) {
        rev->error = 1;

        return ngx_connection_error(end->connection, NGX_ECONNRESET,
                                    "connection was reset beyond the lane");
    }

    zlt_bulk_went(&lane->bulk, n, 0, (uint32_t) ngx_current_msec);

    rev->ready = zlt_lanebox_readable(&lane->box);

    ngx_zltunnel_lane_give_credit(lane);

    return n;
}


static void
ngx_zltunnel_lane_give_credit(ngx_zltunnel_lane_t *lane)
{
    u_char    *p;
    uint32_t   credit;

    credit = zlt_lanebox_due(&lane->box);

    if (credit == 0) {
        return;
    }

    p = ngx_zltunnel_shared_out_room(lane->shared, ZLT_LANE_CREDIT_SIZE);

    if (p == NULL) {
        ngx_zltunnel_lane_wait(lane);
        return;
    }

    zlt_lanes_credit(p, lane->node.key, credit);
    zlt_window_given(&lane->box.window, credit);
}


/* for room in the channel's buffer: ngx_zltunnel_lane_writable() is called */

static void
ngx_zltunnel_lane_wait(ngx_zltunnel_lane_t *lane)
{
    if (!lane->waits) {
        ngx_queue_insert_tail(&lane->shared->waiting, &lane->turn);
        lane->waits = 1;
    }
}


static ssize_t
ngx_zltunnel_lane_send(ngx_zltunnel_end_t *end, u_char *buf, size_t size)
{
    size_t                  fit;
    u_char                 *p;
    ngx_zltunnel_lane_t    *lane;
    ngx_zltunnel_shared_t  *shared;

    lane = end->lane;
    shared = lane->shared;

    if (zlt_lanebox_over(&lane->box) || shared->channel == NULL) {
        end->connection->write->error = 1;
        return NGX_ERROR;
    }

    size = zlt_lanebox_may(&lane->box, size);

    if (size) {
        fit = zlt_lanebox_fit(size, ngx_zltunnel_shared_out_left(shared,
                                        size > ZLT_LANE_SMALL));
        if (size > fit) {
            /* no credit will tell */
            ngx_zltunnel_lane_wait(lane);

            size = fit;
            end->connection->write->ready = 0;
        }
    }

    if (size == 0) {
        end->connection->write->ready = 0;
        return NGX_AGAIN;
    }

    p = ngx_zltunnel_shared_out_room(shared, ZLT_LANE_HEADER + size);

    if (p == NULL) {
        end->connection->write->error = 1;
        return NGX_ERROR;
    }

    if (lane->node.key == 0) {
        /* they rise in the order in which the agent sees them first */
        ngx_zltunnel_lane_number(lane, ++shared->number);
    }

    zlt_lanes_header(p, lane->node.key, size);
    ngx_memcpy(p + ZLT_LANE_HEADER, buf, size);

    zlt_lanebox_sent(&lane->box, size);
    zlt_bulk_went(&lane->bulk, size, 1, (uint32_t) ngx_current_msec);

    end->connection->sent += size;

    return size;
}


ngx_uint_t
ngx_zltunnel_lane_bulky(ngx_zltunnel_lane_t *lane)
{
    return zlt_bulk_lasts(&lane->bulk,
                  (uint32_t) ngx_zltunnel_shared_least_rtt(lane->shared));
}


static void
ngx_zltunnel_lane_number(ngx_zltunnel_lane_t *lane, uint32_t number)
{
    lane->node.key = number;
    ngx_rbtree_insert(&lane->shared->lanes, &lane->node);
}


ngx_int_t
ngx_zltunnel_lane_deliver(ngx_zltunnel_lane_t *lane, const u_char *data,
    size_t len)
{
    switch (zlt_lanebox_came(&lane->box, data, len)) {

    case -1:
        return NGX_ERROR;

    case 0:
        return NGX_OK;
    }

    ngx_zltunnel_lane_wake(lane);

    return NGX_OK;
}


/* the read handler is called in a turn of its own */

static void
ngx_zltunnel_lane_wake(ngx_zltunnel_lane_t *lane)
{
    lane->read.ready = 1;
    ngx_post_event(&lane->read, &ngx_posted_events);
}


ngx_int_t
ngx_zltunnel_lane_credit(ngx_zltunnel_lane_t *lane, uint32_t credit)
{
    if (zlt_lanebox_credit(&lane->box, credit) != 0) {
        return NGX_ERROR;
    }

    ngx_zltunnel_lane_writable(lane);

    return NGX_OK;
}


void
ngx_zltunnel_lane_writable(ngx_zltunnel_lane_t *lane)
{
    ngx_zltunnel_lane_give_credit(lane);

    lane->write.ready = 1;
    ngx_post_event(&lane->write, &ngx_posted_events);
}


void
ngx_zltunnel_lane_over(ngx_zltunnel_end_t *end)
{
    end->lane->over = 1;
}


void
ngx_zltunnel_lane_decline(ngx_zltunnel_end_t *end)
{
    ngx_zltunnel_lane_t  *lane;

    lane = end->lane;

    if (ngx_zltunnel_shared_decline(lane->shared, lane->node.key) == NGX_OK) {
        lane->over = 1;
    }
}


void
ngx_zltunnel_lane_silent(ngx_zltunnel_channel_t *channel)
{
    if (channel && channel->end.lane) {
        ngx_zltunnel_shared_silent(channel->end.lane->shared);
    }
}


void
ngx_zltunnel_lane_ended(ngx_zltunnel_lane_t *lane)
{
    lane->box.ended = 1;
    ngx_zltunnel_lane_wake(lane);
}


void
ngx_zltunnel_lane_break(ngx_zltunnel_lane_t *lane)
{
    zlt_lanebox_break(&lane->box);
    ngx_zltunnel_lane_wake(lane);
}


static void
ngx_zltunnel_lane_close(ngx_zltunnel_end_t *end)
{
    u_char                 *p;
    uint32_t                number;
    ngx_zltunnel_lane_t    *lane;
    ngx_zltunnel_shared_t  *shared;

    lane = end->lane;
    shared = lane->shared;
    number = lane->node.key;

    end->lane = NULL;
    end->connection = NULL;

    if (number) {
        ngx_rbtree_delete(&shared->lanes, &lane->node);
    }

    if (lane->waits) {
        ngx_queue_remove(&lane->turn);
    }

    if (number && !lane->box.ended && !lane->over) {
        p = ngx_zltunnel_shared_out_room(shared, ZLT_LANE_HEADER);

        if (p) {
            zlt_lanes_end(p, number);

        } else {
            /* the agent must not go on as if nothing were */
            ngx_zltunnel_shared_failed(shared);
        }
    }

    if (lane->read.timer_set) {
        ngx_del_timer(&lane->read);
    }

    if (lane->read.posted) {
        ngx_delete_posted_event(&lane->read);
    }

    if (lane->write.posted) {
        ngx_delete_posted_event(&lane->write);
    }

    zlt_lanebox_end(&lane->box);

    ngx_free(lane);

    ngx_zltunnel_shared_release(shared);
}
