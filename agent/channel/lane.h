
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A data channel with lanes, docs/protocol.md: many connections, each of which
 * is to the rest of the agent a framed channel of its own.
 */


#ifndef ZLT_LANE_H_INCLUDED
#define ZLT_LANE_H_INCLUDED


#include "channel.h"
#include "zlt_lanes.h"


/* lane.c: what is beneath a zlt_conn_t without a descriptor */

struct zlt_lane_s {
    zlt_lane_t      *next;         /* of the same bucket */
    uint32_t         number;
    zlt_shared_t    *shared;
    zlt_conn_t      *conn;
    zlt_task_t       task;         /* calls the connection's handler */
    zlt_list_t       turn;         /* shared->waiting */

    uint8_t         *in;           /* received, or NULL */
    uint32_t         pos;
    uint32_t         last;
    uint32_t         size;
    uint32_t         taken;        /* no credit given for yet */
    uint32_t         window;       /* may be sent */

    unsigned         moved:1;      /* left by the server */
    unsigned         ended:1;      /* by the server, or with the channel */
    unsigned         broken:1;     /* by us: the server is told when it is
                                      closed */
    unsigned         over:1;       /* in both directions: nothing is to be
                                      said */
};


/* conn becomes the lane's; NULL without memory */
zlt_lane_t *zlt_lane_create(zlt_shared_t *shared, uint32_t number,
    zlt_conn_t *conn);

/* What has come for it: 0, or -1 if it is more than was allowed. */
int zlt_lane_deliver(zlt_lane_t *lane, const uint8_t *data, size_t len);

/* It may have room to write again; or has got some. */
void zlt_lane_writable(zlt_lane_t *lane);
void zlt_lane_ended(zlt_lane_t *lane);


/* shared.c */

/* Room behind what is to be sent, which is at the end of the turn: where it
   goes, or NULL if there is none now. */
uint8_t *zlt_shared_room(zlt_shared_t *sh, size_t size);
size_t zlt_shared_left(const zlt_shared_t *sh);

/* Says LaneEnd; the channel is broken if that cannot be said. */
void zlt_shared_end_lane(zlt_shared_t *sh, uint32_t number);

/* The lane waits for room: zlt_lane_writable() will be called. */
void zlt_shared_wait(zlt_shared_t *sh, zlt_lane_t *lane);
/* Others do. */
int zlt_shared_waited(const zlt_shared_t *sh);
void zlt_shared_add(zlt_shared_t *sh, zlt_lane_t *lane);
void zlt_shared_remove(zlt_shared_t *sh, zlt_lane_t *lane);


#endif /* ZLT_LANE_H_INCLUDED */
