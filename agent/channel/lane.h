
/*
 * Copyright (C) zltunnel authors
 */

/* What is beneath a connection that has no descriptor. */


#ifndef ZLT_LANE_H_INCLUDED
#define ZLT_LANE_H_INCLUDED


#include "conn.h"
#include "shared.h"
#include "task.h"
#include "types.h"
#include "zlt_lanebox.h"
#include "zlt_list.h"


struct zlt_lane_s {
    zlt_lane_t      *next;         /* of the same bucket */
    uint32_t         number;
    zlt_shared_t    *shared;
    const zlt_shared_ops_t  *ops;
    zlt_conn_t      *conn;
    zlt_task_t       task;         /* calls the connection's handler */
    zlt_list_t       turn;         /* shared->waiting */

    zlt_lanebox_t    box;

    unsigned         moved:1;      /* left by the server */
    unsigned         over:1;       /* in both directions: nothing is to be
                                      said */
};


/* conn becomes the lane's; NULL without memory */
zlt_lane_t *zlt_lane_create(zlt_shared_t *shared, const zlt_shared_ops_t *ops,
    uint32_t number, zlt_conn_t *conn);

/* What has come for it: 0, or -1 if it is more than was allowed. */
int zlt_lane_deliver(zlt_lane_t *lane, const uint8_t *data, size_t len);

/* The server lets it send so much more: 0, or -1 if that is too much. */
int zlt_lane_credit(zlt_lane_t *lane, uint32_t credit);

/* It may have room to write again; or has got some. */
void zlt_lane_writable(zlt_lane_t *lane);
void zlt_lane_ended(zlt_lane_t *lane);

/* Its connection is reset, and the server told so, when its handler is called. */
void zlt_lane_fail(zlt_lane_t *lane);

/* Nothing is to be said to the server when it is closed. */
void zlt_lane_over(zlt_conn_t *c);


#endif /* ZLT_LANE_H_INCLUDED */
