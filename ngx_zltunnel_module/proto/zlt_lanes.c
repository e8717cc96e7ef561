
/*
 * Copyright (C) zltunnel authors
 */


#include <string.h>

#include "zlt_lanes.h"
#include "zlt_msg.h"
#include "zlt_wire.h"


static int zlt_lanes_read_header(zlt_lanes_in_t *in);


int
zlt_lanes_decode(zlt_lanes_in_t *in, zlt_lanes_msg_t *m, const uint8_t *data,
    size_t len, size_t *used)
{
    int     rc;
    size_t  n;

    *used = 0;

    while (in->left == 0) {

        if (in->have == 0) {
            in->need = ZLT_HEADER_SIZE;
        }

        n = in->need - in->have;

        if (n > len - *used) {
            n = len - *used;
        }

        memcpy(in->header + in->have, data + *used, n);

        *used += n;
        in->have += (uint8_t) n;

        if (in->have < in->need) {
            return ZLT_AGAIN;
        }

        if (in->need == ZLT_HEADER_SIZE) {
            rc = zlt_lanes_read_header(in);

            if (rc != ZLT_OK) {
                return rc;
            }

            if (in->need != ZLT_HEADER_SIZE) {
                continue;
            }
        }

        in->have = 0;

        m->type = in->header[0];

        if (m->type == ZLT_HEARTBEAT || m->type == ZLT_HEARTBEAT_ACK) {
            m->timestamp = zlt_get64(in->header + ZLT_HEADER_SIZE);
            return ZLT_OK;
        }

        if (m->type == ZLT_RETIRE) {
            return ZLT_OK;
        }

        m->lane = zlt_get32(in->header + ZLT_HEADER_SIZE);

        if (m->lane == 0) {
            return ZLT_ERR_VALUE;
        }

        if (m->type == ZLT_LANE_CREDIT) {
            m->credit = zlt_get32(in->header + ZLT_HEADER_SIZE + 4);
            return ZLT_OK;
        }

        if (m->type == ZLT_LANE_END) {
            return ZLT_OK;
        }

        in->lane = m->lane;
        in->left = zlt_get32(in->header + 1) - 4;
    }

    n = len - *used;

    if (n == 0) {
        return ZLT_AGAIN;
    }

    if (n > in->left) {
        n = in->left;
    }

    m->type = ZLT_LANE;
    m->lane = in->lane;
    m->data = data + *used;
    m->len = n;

    *used += n;
    in->left -= (uint32_t) n;

    return ZLT_OK;
}


/* Type and length have come: says how much there is in front of the bytes. */

static int
zlt_lanes_read_header(zlt_lanes_in_t *in)
{
    uint32_t  n, fixed;

    n = zlt_get32(in->header + 1);

    switch (in->header[0]) {

    case ZLT_LANE:
        if (n > 4 + ZLT_LANE_MAX) {
            return ZLT_ERR_SIZE;
        }

        if (n < 4 + 1) {
            return ZLT_ERR_SHORT;
        }

        in->need = ZLT_LANE_HEADER;
        return ZLT_OK;

    case ZLT_LANE_END:
        fixed = 4;
        break;

    case ZLT_LANE_CREDIT:
    case ZLT_HEARTBEAT:
    case ZLT_HEARTBEAT_ACK:
        fixed = 8;
        break;

    case ZLT_RETIRE:
        fixed = 0;
        break;

    default:
        return ZLT_ERR_TYPE;
    }

    if (n != fixed) {
        return n < fixed ? ZLT_ERR_SHORT : ZLT_ERR_SIZE;
    }

    in->need = (uint8_t) (ZLT_HEADER_SIZE + fixed);

    return ZLT_OK;
}


void
zlt_lanes_header(uint8_t header[ZLT_LANE_HEADER], uint32_t lane, size_t len)
{
    header[0] = ZLT_LANE;
    zlt_put32(header + 1, (uint32_t) (4 + len));
    zlt_put32(header + ZLT_HEADER_SIZE, lane);
}


void
zlt_lanes_end(uint8_t message[ZLT_LANE_HEADER], uint32_t lane)
{
    message[0] = ZLT_LANE_END;
    zlt_put32(message + 1, 4);
    zlt_put32(message + ZLT_HEADER_SIZE, lane);
}


void
zlt_lanes_credit(uint8_t message[ZLT_LANE_CREDIT_SIZE], uint32_t lane,
    uint32_t credit)
{
    message[0] = ZLT_LANE_CREDIT;
    zlt_put32(message + 1, 8);
    zlt_put32(message + ZLT_HEADER_SIZE, lane);
    zlt_put32(message + ZLT_HEADER_SIZE + 4, credit);
}
