
/*
 * Copyright (C) zltunnel authors
 */

/* What is private to shared*.c. */


#ifndef ZLT_SHARED_STATE_H_INCLUDED
#define ZLT_SHARED_STATE_H_INCLUDED


#include "channel.h"
#include "shared.h"
#include "zlt_lanes.h"


struct zlt_shared_s {
    zlt_channel_t   *channel;          /* NULL: it has ended */
    const zlt_shared_ops_t  *ops;
    zlt_task_t       task;

    zlt_lane_t     **lanes;            /* by number, in buckets */
    uint32_t         nbuckets;
    uint32_t         nlanes;
    uint32_t         number;           /* the highest one that came */

    zlt_lanes_in_t   in;
    zlt_window_share_t  share;         /* of the lanes' windows */
    uint32_t         rtt;              /* ms, 0: not known */
    uint64_t         rtt_since;
    zlt_buf_t       *rest;             /* not decoded yet, or NULL */

    uint8_t         *out;              /* NULL: nothing is to be sent */
    size_t           pos;
    size_t           last;
    zlt_list_t       waiting;          /* lanes, for room in it */

    unsigned         again:1;          /* there may be more to read */
    unsigned         retired:1;        /* takes no lanes */
    unsigned         broken:1;
};


#endif /* ZLT_SHARED_STATE_H_INCLUDED */
