
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects the frames of datagram channels: an input read whole, one byte at a
 * time, and in pieces gives one and the same trace; nothing is read outside;
 * what is read and written again is read as the same.
 *
 * The first byte of an input is the seed of the pieces.
 */


#include "fuzz.h"
#include "zlt_dgram.h"
#include "zlt_msg.h"


typedef struct {
    uint64_t  hash;
    size_t    frames;
    size_t    pos;           /* up to where the input was understood */
    int       rc;            /* what ended it */
} dgram_trace_t;


static void
dgram_put(dgram_trace_t *t, uint64_t value)
{
    t->hash = (t->hash ^ value) * UINT64_C(0x100000001b3);
}


static void
dgram_put_bytes(dgram_trace_t *t, const uint8_t *p, size_t len)
{
    size_t  i;

    dgram_put(t, len);

    for (i = 0; i < len; i++) {
        dgram_put(t, p[i]);
    }
}


/* A frame that is written again must be read as what it was. */

static void
dgram_again(const zlt_dgram_t *f)
{
    size_t               size;
    uint8_t             *buf, *p;
    zlt_dgram_t          g;
    const uint8_t       *pos;
    zlt_dgram_reader_t   r;

    size = ZLT_DGRAM_HEADER + ZLT_DGRAM_MAX_ADDR + ZLT_MAX_TARGET + 64
           + f->data.len;
    buf = fuzz_copy(NULL, size);
    p = NULL;

    switch (f->type) {

    case ZLT_DATAGRAM:
        p = zlt_dgram_header(buf, f->session, f->data.len);
        memcpy(p, f->data.data, f->data.len);
        p += f->data.len;
        break;

    case ZLT_DATAGRAM_CLOSE:
        p = zlt_dgram_close(buf, f->session, f->cause);
        break;

    case ZLT_DATAGRAM_OPEN:
        p = zlt_dgram_open_target(buf, buf + size, f->session, f->service_id,
                                  (const char *) f->client_addr.data,
                                  f->client_addr.len, &f->target);
        must(p != NULL || f->target.len > ZLT_MAX_TARGET);
        break;
    }

    if (p) {
        memset(&r, 0, sizeof(r));
        pos = buf;

        must(zlt_dgram_read(&r, &g, &pos, p) == ZLT_OK);
        must(pos == p);
        must(g.type == f->type && g.has_session && g.session == f->session);

        if (f->type == ZLT_DATAGRAM) {
            must(g.data.len == f->data.len);
            must(memcmp(g.data.data, f->data.data, g.data.len) == 0);
        }

        if (f->type == ZLT_DATAGRAM_CLOSE) {
            must(g.cause == f->cause);
        }

        if (f->type == ZLT_DATAGRAM_OPEN) {
            must(memcmp(g.service_id, f->service_id, ZLT_ID_SIZE) == 0);
            must(g.client_addr.len == f->client_addr.len);
            must(g.target.len == f->target.len);
            must(f->target.len == 0
                 || memcmp(g.target.data, f->target.data, g.target.len) == 0);
        }
    }

    free(buf);
}


static void
dgram_frame(dgram_trace_t *t, int rc, const zlt_dgram_t *f)
{
    t->frames++;

    dgram_put(t, (uint64_t) rc);
    dgram_put(t, f->type);
    dgram_put(t, f->has_session);

    if (f->has_session) {
        dgram_put(t, f->session);
    }

    if (rc == ZLT_DGRAM_BAD) {
        return;
    }

    switch (f->type) {

    case ZLT_DATAGRAM:
        must(f->data.len <= ZLT_DGRAM_MAX);
        dgram_put_bytes(t, f->data.data, f->data.len);
        break;

    case ZLT_DATAGRAM_OPEN:
        must(f->client_addr.len <= ZLT_DGRAM_MAX_ADDR);
        dgram_put_bytes(t, f->service_id, ZLT_ID_SIZE);
        dgram_put_bytes(t, f->client_addr.data, f->client_addr.len);
        dgram_put_bytes(t, f->target.data, f->target.len);
        break;

    case ZLT_DATAGRAM_CLOSE:
        dgram_put(t, f->cause);
        break;

    case ZLT_HEARTBEAT:
    case ZLT_HEARTBEAT_ACK:
        dgram_put(t, f->timestamp);
        break;

    default:
        must(f->type == ZLT_RETIRE);
    }

    dgram_again(f);
}


/* pieces of at most so many bytes, from a buffer of exactly what is there */

static dgram_trace_t
dgram_trace(const uint8_t *in, size_t size, size_t most, uint32_t seed)
{
    int                  rc;
    size_t               have, got, n;
    uint8_t             *buf;
    zlt_dgram_t          f;
    dgram_trace_t        t;
    const uint8_t       *pos;
    zlt_dgram_reader_t   r;

    memset(&r, 0, sizeof(r));
    memset(&t, 0, sizeof(t));

    for (have = 0, got = 0; ; /* void */ ) {
        buf = fuzz_copy(in + have, got - have);
        pos = buf;

        do {
            rc = zlt_dgram_read(&r, &f, &pos, buf + (got - have));

            if (rc == ZLT_OK || rc == ZLT_DGRAM_BAD) {
                dgram_frame(&t, rc, &f);
            }
        } while (rc == ZLT_OK || rc == ZLT_DGRAM_BAD);

        have += (size_t) (pos - buf);
        free(buf);

        must(have <= got);

        if (rc != ZLT_AGAIN || got == size) {
            t.rc = rc;
            t.pos = have;
            return t;
        }

        must(r.need > got - have && r.need <= ZLT_MAX_MESSAGE_SIZE);

        seed = seed * 1103515245 + 12345;
        n = most == 1 ? 1 : 1 + (seed >> 8) % most;
        got += (size - got < n) ? size - got : n;
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dgram_trace_t  whole, t;

    if (size == 0) {
        return 0;
    }

    whole = dgram_trace(data + 1, size - 1, size, 0);

    t = dgram_trace(data + 1, size - 1, 1, 0);
    must(t.hash == whole.hash && t.frames == whole.frames);
    must(t.rc == whole.rc && t.pos == whole.pos);

    t = dgram_trace(data + 1, size - 1, 1 + data[0], data[0]);
    must(t.hash == whole.hash && t.frames == whole.frames);
    must(t.rc == whole.rc && t.pos == whole.pos);

    return 0;
}
