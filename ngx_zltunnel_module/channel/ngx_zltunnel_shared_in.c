
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What comes on a shared channel.  Reading never waits: each lane has a window,
 * and keeps what is not read.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_shared_in.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_lane.h"
#include "ngx_zltunnel_shared_out.h"
#include "ngx_zltunnel_transport.h"

#include "zlt_lanes.h"
#include "zlt_msg.h"


#define NGX_ZLTUNNEL_SHARED_LANES    16384     /* that the other side has open */


static ngx_int_t ngx_zltunnel_shared_in_message(ngx_zltunnel_shared_t *shared,
    zlt_lanes_msg_t *m);
static ngx_int_t ngx_zltunnel_shared_in_open(ngx_zltunnel_shared_t *shared,
    zlt_lanes_msg_t *m);
static ngx_zltunnel_lane_t *ngx_zltunnel_shared_in_find(
    ngx_zltunnel_shared_t *shared, uint32_t number);


ngx_int_t
ngx_zltunnel_shared_in_take(ngx_zltunnel_shared_t *shared, const u_char *data,
    size_t len, ngx_zltunnel_budget_t *budget)
{
    int              rc;
    size_t           used;
    ngx_int_t        done;
    zlt_lanes_msg_t  m;

    budget->bytes += len;
    done = NGX_OK;

    for ( ;; ) {
        rc = zlt_lanes_decode(&shared->in, &m, data, len, &used);

        if (rc == ZLT_AGAIN) {
            return done;
        }

        if (rc != ZLT_OK) {
            ngx_log_error(NGX_LOG_INFO, shared->channel->end.connection->log,
                          0, "bad message on a shared data channel: %s",
                          zlt_msg_strerror(rc));
            return NGX_ERROR;
        }

        budget->messages++;

        switch (ngx_zltunnel_shared_in_message(shared, &m)) {

        case NGX_ERROR:
            return NGX_ERROR;

        case NGX_DONE:
            done = NGX_DONE;
        }

        data += used;
        len -= used;
    }
}


/* Calls no handler, but posts events. */

static ngx_int_t
ngx_zltunnel_shared_in_message(ngx_zltunnel_shared_t *shared,
    zlt_lanes_msg_t *m)
{
    ngx_zltunnel_lane_t  *lane;

    switch (m->type) {

    case ZLT_HEARTBEAT:
        return ngx_zltunnel_shared_out_heartbeat(shared, ZLT_HEARTBEAT_ACK,
                                                 m->timestamp);

    case ZLT_HEARTBEAT_ACK:
        /* whatever comes is a sign of life */
        return NGX_OK;

    case ZLT_RETIRE:
        return shared->ops ? NGX_ERROR : NGX_DONE;
    }

    if (m->lane > shared->number
        && ngx_zltunnel_shared_in_open(shared, m) != NGX_OK)
    {
        return NGX_ERROR;
    }

    lane = ngx_zltunnel_shared_in_find(shared, m->lane);

    if (lane == NULL) {
        /* it has gone here, and the agent does not know yet */
        return NGX_OK;
    }

    switch (m->type) {

    case ZLT_LANE:
        if (ngx_zltunnel_lane_deliver(lane, m->data, m->len) == NGX_OK) {
            return NGX_OK;
        }

        break;

    case ZLT_LANE_CREDIT:
        if (ngx_zltunnel_lane_credit(lane, m->credit) == NGX_OK) {
            return NGX_OK;
        }

        break;

    default: /* ZLT_LANE_END */
        ngx_zltunnel_lane_ended(lane);
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_INFO, shared->channel->end.connection->log, 0,
                  "the window of a lane was exceeded");

    return NGX_ERROR;
}


/* NGX_OK: it is there, or was declined */

static ngx_int_t
ngx_zltunnel_shared_in_open(ngx_zltunnel_shared_t *shared, zlt_lanes_msg_t *m)
{
    if (shared->ops == NULL) {
        ngx_log_error(NGX_LOG_INFO, shared->channel->end.connection->log, 0,
                      "message for a lane that was never opened");
        return NGX_ERROR;
    }

    shared->number = m->lane;

    if (m->type != ZLT_LANE) {
        /* ended before it began */
        return NGX_OK;
    }

    if (shared->retired || shared->nlanes >= NGX_ZLTUNNEL_SHARED_LANES
        || shared->ops->open(shared, m->lane) != NGX_OK)
    {
        return ngx_zltunnel_shared_out_decline(shared, m->lane);
    }

    return NGX_OK;
}


static ngx_zltunnel_lane_t *
ngx_zltunnel_shared_in_find(ngx_zltunnel_shared_t *shared, uint32_t number)
{
    ngx_rbtree_node_t  *node;

    node = shared->lanes.root;

    while (node != &shared->sentinel) {

        if (number == node->key) {
            return (ngx_zltunnel_lane_t *) node;
        }

        node = (number < node->key) ? node->left : node->right;
    }

    return NULL;
}
