
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Each lane is for one connection, and begins with its Connect, as a channel does
 * that is used for the first time.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_forward_lanes.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_forward.h"
#include "ngx_zltunnel_forward_connect.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_transport.h"

#include "zlt_msg.h"


#define NGX_ZLTUNNEL_FORWARD_FIRST   1024       /* bytes of Connect at most .. */
#define NGX_ZLTUNNEL_FORWARD_BEGIN   10000      /* .. which take so many ms */


typedef struct {
    ngx_queue_t                  queue;         /* of this worker */
    ngx_zltunnel_registry_t     *registry;
    ngx_zltunnel_end_t           end;
    ngx_event_t                  timer;
    ngx_zltunnel_forward_connect_t  connect;

    /* until it has begun */
    size_t                       have;
    u_char                       buffer[NGX_ZLTUNNEL_FORWARD_FIRST];
} ngx_zltunnel_forward_lane_t;


static ngx_int_t ngx_zltunnel_forward_lanes_open(
    ngx_zltunnel_shared_t *shared, uint32_t number);
static void ngx_zltunnel_forward_lanes_closed(ngx_zltunnel_shared_t *shared);
static void ngx_zltunnel_forward_lanes_read(ngx_event_t *ev);
static void ngx_zltunnel_forward_lanes_empty(ngx_event_t *ev);
static void ngx_zltunnel_forward_lanes_over(void *data,
    ngx_zltunnel_forward_e how);
static void ngx_zltunnel_forward_lanes_timer(ngx_event_t *ev);


static const ngx_zltunnel_shared_ops_t  ngx_zltunnel_forward_lanes_ops = {
    .open = ngx_zltunnel_forward_lanes_open,
    .closed = ngx_zltunnel_forward_lanes_closed
};


static ngx_queue_t  ngx_zltunnel_forward_lanes_all;


void
ngx_zltunnel_forward_lanes(ngx_zltunnel_registry_t *registry,
    ngx_connection_t *c, const u_char *data, size_t len)
{
    ngx_zltunnel_channel_t  *channel;

    channel = ngx_zltunnel_channel_create(registry, c, NULL);

    if (channel == NULL) {
        ngx_zltunnel_forward_cancel(registry);
        ngx_zltunnel_connection_close(c);
        return;
    }

    /* it was counted with its place, and is by its close */

    registry->nchannels--;

    if (ngx_zltunnel_forward_lanes_all.next == NULL) {
        ngx_queue_init(&ngx_zltunnel_forward_lanes_all);
    }

    ngx_zltunnel_shared_accept(channel, &ngx_zltunnel_forward_lanes_ops, data,
                               len);
}


static void
ngx_zltunnel_forward_lanes_closed(ngx_zltunnel_shared_t *shared)
{
    shared->channel->registry->nvisits--;
}


static ngx_int_t
ngx_zltunnel_forward_lanes_open(ngx_zltunnel_shared_t *shared, uint32_t number)
{
    ngx_connection_t             *c;
    ngx_zltunnel_forward_lane_t  *fl;

    fl = ngx_alloc(sizeof(ngx_zltunnel_forward_lane_t), ngx_cycle->log);
    if (fl == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(fl, offsetof(ngx_zltunnel_forward_lane_t, buffer));

    if (ngx_zltunnel_lane_accept(shared, number, &fl->end) != NGX_OK) {
        ngx_free(fl);
        return NGX_ERROR;
    }

    ngx_queue_insert_tail(&ngx_zltunnel_forward_lanes_all, &fl->queue);

    fl->registry = shared->channel->registry;

    fl->connect.registry = fl->registry;
    fl->connect.end = &fl->end;
    fl->connect.handler = ngx_zltunnel_forward_lanes_over;
    fl->connect.data = fl;

    c = fl->end.connection;

    c->data = fl;
    c->log->action = "waiting for Connect on a lane";
    c->read->handler = ngx_zltunnel_forward_lanes_read;
    c->write->handler = ngx_zltunnel_forward_lanes_empty;

    fl->timer.handler = ngx_zltunnel_forward_lanes_timer;
    fl->timer.data = fl;
    fl->timer.log = c->log;

    return NGX_OK;
}


static void
ngx_zltunnel_forward_lanes_read(ngx_event_t *ev)
{
    int                           rc;
    size_t                        used, len;
    ssize_t                       n;
    zlt_msg_t                     m;
    ngx_connection_t             *c;
    ngx_zltunnel_forward_lane_t  *fl;

    c = ev->data;
    fl = c->data;

    do {
        n = ngx_zltunnel_end_pull(&fl->end, fl->buffer + fl->have,
                                  sizeof(fl->buffer) - fl->have);

        if (n == NGX_AGAIN) {

            if (!fl->timer.timer_set) {
                ngx_add_timer(&fl->timer, NGX_ZLTUNNEL_FORWARD_BEGIN);
            }

            return;
        }

        if (n <= 0) {
            ngx_zltunnel_forward_lanes_over(fl, NGX_ZLTUNNEL_FORWARD_FAILED);
            return;
        }

        fl->have += n;

        rc = zlt_msg_decode(&m, fl->buffer, fl->have,
                            sizeof(fl->buffer) - ZLT_HEADER_SIZE, &used);

    } while (rc == ZLT_AGAIN);

    if (rc != ZLT_OK || m.type != ZLT_CONNECT) {
        ngx_log_error(NGX_LOG_INFO, c->log, 0, "a lane of another node does "
                      "not begin with Connect");
        ngx_zltunnel_forward_lanes_over(fl, NGX_ZLTUNNEL_FORWARD_FAILED);
        return;
    }

    if (fl->timer.timer_set) {
        ngx_del_timer(&fl->timer);
    }

    len = fl->have - used;

    if (ngx_zltunnel_forward_connect(&fl->connect, &m, fl->buffer + used, len)
        != NGX_OK)
    {
        ngx_zltunnel_forward_lanes_over(fl, NGX_ZLTUNNEL_FORWARD_FAILED);
    }
}


static void
ngx_zltunnel_forward_lanes_empty(ngx_event_t *ev)
{
    ngx_log_debug0(NGX_LOG_DEBUG_EVENT, ev->log, 0,
                   "zltunnel forward lane empty handler");
}


static void
ngx_zltunnel_forward_lanes_over(void *data, ngx_zltunnel_forward_e how)
{
    ngx_zltunnel_forward_lane_t  *fl;

    fl = data;

    if (fl->timer.timer_set) {
        ngx_del_timer(&fl->timer);
    }

    ngx_queue_remove(&fl->queue);

    if (how == NGX_ZLTUNNEL_FORWARD_ELSEWHERE) {
        ngx_zltunnel_lane_decline(&fl->end);

    } else if (how == NGX_ZLTUNNEL_FORWARD_OVER) {
        ngx_zltunnel_lane_over(&fl->end);
    }

    ngx_zltunnel_end_close(&fl->end);
    ngx_free(fl);
}


static void
ngx_zltunnel_forward_lanes_timer(ngx_event_t *ev)
{
    ngx_zltunnel_forward_lane_t  *fl;

    fl = ev->data;

    ngx_log_error(NGX_LOG_INFO, ev->log, 0,
                  "a lane of another node did not begin in time");

    ngx_zltunnel_forward_lanes_over(fl, NGX_ZLTUNNEL_FORWARD_FAILED);
}


void
ngx_zltunnel_forward_lanes_exit(void)
{
    ngx_queue_t                  *q;
    ngx_zltunnel_forward_lane_t  *fl;

    if (ngx_zltunnel_forward_lanes_all.next == NULL) {
        return;
    }

    while (!ngx_queue_empty(&ngx_zltunnel_forward_lanes_all)) {
        q = ngx_queue_head(&ngx_zltunnel_forward_lanes_all);
        fl = ngx_queue_data(q, ngx_zltunnel_forward_lane_t, queue);

        if (fl->connect.runs) {
            ngx_zltunnel_forward_connect_abort(&fl->connect);

        } else {
            ngx_zltunnel_forward_lanes_over(fl, NGX_ZLTUNNEL_FORWARD_FAILED);
        }
    }
}
