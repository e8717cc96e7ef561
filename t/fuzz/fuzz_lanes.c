
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects the messages of channels with lanes: an input read whole, one byte
 * at a time, and in pieces gives one and the same trace; nothing is read
 * outside; what is read and written again is read as the same.
 *
 * The first byte of an input is the seed of the pieces.
 */


#include "fuzz.h"
#include "zlt_lanes.h"
#include "zlt_msg.h"


typedef struct {
    uint64_t  hash;
    size_t    bytes;         /* of all of them */
    int       rc;            /* what ended it */
} lanes_trace_t;


static void
lanes_put(lanes_trace_t *t, uint64_t value)
{
    t->hash = (t->hash ^ value) * UINT64_C(0x100000001b3);
}


/* A message that is written again must be read as what it was. */

static void
lanes_again(const zlt_lanes_msg_t *m)
{
    int              rc;
    size_t           size, used;
    uint8_t         *buf;
    zlt_lanes_in_t   in;
    zlt_lanes_msg_t  n;

    size = 0;
    buf = fuzz_copy(NULL, ZLT_LANE_CREDIT_SIZE + m->len);

    switch (m->type) {

    case ZLT_LANE:
        zlt_lanes_header(buf, m->lane, m->len);
        memcpy(buf + ZLT_LANE_HEADER, m->data, m->len);
        size = ZLT_LANE_HEADER + m->len;
        break;

    case ZLT_LANE_CREDIT:
        zlt_lanes_credit(buf, m->lane, m->credit);
        size = ZLT_LANE_CREDIT_SIZE;
        break;

    case ZLT_LANE_END:
        zlt_lanes_end(buf, m->lane);
        size = ZLT_LANE_HEADER;
        break;
    }

    if (size) {
        memset(&in, 0, sizeof(in));
        memset(&n, 0, sizeof(n));

        rc = zlt_lanes_decode(&in, &n, buf, size, &used);

        must(rc == ZLT_OK && used == size);
        must(n.type == m->type && n.lane == m->lane);
        must(m->type != ZLT_LANE_CREDIT || n.credit == m->credit);
        must(m->type != ZLT_LANE
             || (n.len == m->len && memcmp(n.data, m->data, n.len) == 0));
        must(in.left == 0 && in.have == 0);
    }

    free(buf);
}


/* Parts of a Lane are the same bytes however they are cut. */

static void
lanes_message(lanes_trace_t *t, const zlt_lanes_msg_t *m)
{
    size_t  i;

    if (m->type == ZLT_LANE) {
        must(m->lane != 0 && m->len > 0 && m->len <= ZLT_LANE_MAX);

        for (i = 0; i < m->len; i++) {
            lanes_put(t, m->lane);
            lanes_put(t, m->data[i]);
        }

        t->bytes += m->len;
        lanes_again(m);
        return;
    }

    lanes_put(t, (uint64_t) m->type << 32);

    switch (m->type) {

    case ZLT_LANE_CREDIT:
        must(m->lane != 0);
        lanes_put(t, m->lane);
        lanes_put(t, m->credit);
        break;

    case ZLT_LANE_END:
        must(m->lane != 0);
        lanes_put(t, m->lane);
        break;

    case ZLT_HEARTBEAT:
    case ZLT_HEARTBEAT_ACK:
        lanes_put(t, m->timestamp);
        break;

    default:
        must(m->type == ZLT_RETIRE);
    }

    lanes_again(m);
}


/* pieces of at most so many bytes, each in memory of exactly its size */

static lanes_trace_t
lanes_trace(const uint8_t *data, size_t size, size_t most, uint32_t seed)
{
    int              rc;
    size_t           pos, n, used, all;
    uint8_t         *buf;
    lanes_trace_t    t;
    zlt_lanes_in_t   in;
    zlt_lanes_msg_t  m;

    memset(&in, 0, sizeof(in));
    memset(&t, 0, sizeof(t));

    t.rc = ZLT_AGAIN;

    for (pos = 0; pos < size; pos += n) {
        seed = seed * 1103515245 + 12345;
        n = most == 1 ? 1 : 1 + (seed >> 8) % most;

        if (most == size || n > size - pos) {
            n = size - pos;
        }

        buf = fuzz_copy(data + pos, n);

        for (all = 0; ; all += used) {
            memset(&m, 0, sizeof(m));

            rc = zlt_lanes_decode(&in, &m, buf + all, n - all, &used);

            must(used <= n - all);
            must(in.have <= in.need && in.need <= sizeof(in.header));
            must(in.left <= ZLT_LANE_MAX);

            if (rc != ZLT_OK) {
                break;
            }

            must(m.type != ZLT_LANE
                 || (m.data >= buf && m.data + m.len <= buf + n));

            lanes_message(&t, &m);
        }

        must(rc != ZLT_AGAIN || all + used == n);

        free(buf);

        if (rc != ZLT_AGAIN) {
            t.rc = rc;
            return t;
        }
    }

    return t;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lanes_trace_t  whole, t;

    if (size < 2) {
        return 0;
    }

    whole = lanes_trace(data + 1, size - 1, size - 1, 0);

    t = lanes_trace(data + 1, size - 1, 1, 0);
    must(t.hash == whole.hash && t.bytes == whole.bytes && t.rc == whole.rc);

    t = lanes_trace(data + 1, size - 1, 1 + data[0], data[0]);
    must(t.hash == whole.hash && t.bytes == whole.bytes && t.rc == whole.rc);

    return 0;
}
