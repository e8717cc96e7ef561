
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What goes out on a channel with lanes: one buffer, which is sent at the end
 * of the turn.
 */


#include <stdlib.h>
#include <string.h>

#include "lane.h"
#include "shared_out.h"
#include "shared_state.h"


#define ZLT_SHARED_OUT      65536
#define ZLT_SHARED_RESERVE  4096       /* of it, for what is not Lane */
#define ZLT_SHARED_SMALL    24576      /* .. for small messages */


size_t
zlt_shared_out_left(const zlt_shared_t *sh, int large)
{
    size_t  used;

    used = sh->last - sh->pos + ZLT_SHARED_RESERVE;

    if (large) {

        if (sh->out && !zlt_list_empty(&sh->waiting)) {
            return 0;
        }

        used += ZLT_SHARED_SMALL;
    }

    return used < ZLT_SHARED_OUT ? ZLT_SHARED_OUT - used : 0;
}


uint8_t *
zlt_shared_out_room(zlt_shared_t *sh, size_t size)
{
    uint8_t  *p;

    if (sh->channel == NULL) {
        return NULL;
    }

    if (sh->out == NULL) {
        sh->out = malloc(ZLT_SHARED_OUT);

        if (sh->out == NULL) {
            return NULL;
        }

        sh->pos = 0;
        sh->last = 0;
    }

    if (size > ZLT_SHARED_OUT - sh->last) {

        sh->last -= sh->pos;

        memmove(sh->out, sh->out + sh->pos, sh->last);

        sh->pos = 0;

        if (size > ZLT_SHARED_OUT - sh->last) {
            return NULL;
        }
    }

    p = sh->out + sh->last;
    sh->last += size;

    if (zlt_list_empty(&sh->task.link)) {
        zlt_io_post(&sh->task);
    }

    return p;
}


int
zlt_shared_out_put(zlt_shared_t *sh, const uint8_t *data, size_t len)
{
    uint8_t  *p;

    p = zlt_shared_out_room(sh, len);

    if (p == NULL) {
        return -1;
    }

    memcpy(p, data, len);

    return 0;
}


int
zlt_shared_out_say(zlt_shared_t *sh, unsigned type, uint64_t timestamp)
{
    size_t     n;
    uint8_t    buf[ZLT_CHANNEL_SMALL];
    zlt_msg_t  m;

    memset(&m, 0, sizeof(zlt_msg_t));
    m.type = (uint8_t) type;
    m.timestamp = timestamp;

    n = zlt_msg_encode(&m, buf, sizeof(buf));

    return zlt_shared_out_put(sh, buf, n);
}


void
zlt_shared_out_end_lane(zlt_shared_t *sh, uint32_t number)
{
    uint8_t  *p;

    p = zlt_shared_out_room(sh, ZLT_LANE_HEADER);

    if (p) {
        zlt_lanes_end(p, number);

    } else {
        zlt_shared_out_broken(sh);
    }
}


void
zlt_shared_out_broken(zlt_shared_t *sh)
{
    if (sh->channel) {
        sh->broken = 1;
        zlt_io_post(&sh->task);
    }
}


void
zlt_shared_out_wait(zlt_shared_t *sh, zlt_lane_t *lane)
{
    if (zlt_list_empty(&lane->turn)) {
        zlt_list_append(&sh->waiting, &lane->turn);
    }
}


void
zlt_shared_out_flush(zlt_shared_t *sh)
{
    int          rc;
    ssize_t      n;
    zlt_conn_t  *c;
    zlt_list_t  *link, *last;

    c = &sh->channel->relay.side[ZLT_RELAY_CHANNEL];

    rc = zlt_conn_flush(c);

    while (rc == 0 && sh->pos < sh->last) {

        n = zlt_conn_write(c, sh->out + sh->pos, sh->last - sh->pos);

        if (n < 0) {
            rc = (int) n;

        } else {
            sh->pos += (size_t) n;
        }
    }

    if (rc == ZLT_CONN_ERROR) {
        sh->broken = 1;
        return;
    }

    if (sh->pos < sh->last) {
        return;
    }

    free(sh->out);
    sh->out = NULL;
    sh->pos = 0;
    sh->last = 0;

    /* one that gives credit may find no room again, and waits anew */

    last = sh->waiting.prev;

    while (!zlt_list_empty(&sh->waiting)) {
        link = sh->waiting.next;
        zlt_list_remove(link);
        zlt_lane_writable(zlt_list_data(link, zlt_lane_t, turn));

        if (link == last) {
            break;
        }
    }
}
