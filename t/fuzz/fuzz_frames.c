
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects the bytes of connections on channels that are used again: an input
 * decoded whole, one byte at a time, and in pieces gives the same bytes and
 * the same end; and any bytes that are sent are decoded to the same.
 *
 * The first byte of an input is the seed of the pieces.
 */


#include <sys/types.h>

#include "fuzz.h"
#include "zlt_frames.h"


typedef struct {
    uint8_t  *bytes;
    size_t    len;
    size_t    rest;
    ssize_t   rc;            /* of the last piece, if it is an error */
    unsigned  end;
} frames_trace_t;


static uint32_t  frames_seed;


static size_t
frames_piece(size_t left, size_t most)
{
    size_t  n;

    frames_seed = frames_seed * 1103515245 + 12345;
    n = 1 + (frames_seed >> 16) % most;

    return n < left ? n : left;
}


static frames_trace_t
frames_decode(const uint8_t *data, size_t size, size_t most)
{
    size_t            pos, n, rest;
    ssize_t           got;
    uint8_t          *piece;
    frames_trace_t    t;
    zlt_frames_in_t   in;

    memset(&in, 0, sizeof(in));
    memset(&t, 0, sizeof(t));

    t.bytes = fuzz_copy(NULL, size);

    for (pos = 0; pos < size; pos += n) {
        n = frames_piece(size - pos, most);
        piece = fuzz_copy(data + pos, n);

        got = zlt_frames_decode(&in, piece, n, &rest);

        if (got < 0) {
            t.rc = got;
            free(piece);
            break;
        }

        must((size_t) got + rest <= n);

        memcpy(t.bytes + t.len, piece, (size_t) got);
        t.len += (size_t) got;
        t.rest += rest;

        if (rest) {
            must(in.end != ZLT_FRAMES_OPEN && in.end != ZLT_FRAMES_RAW);
            must(memcmp(piece + n - rest, data + pos + n - rest, rest) == 0);
        }

        free(piece);
    }

    t.end = in.end;

    return t;
}


/* An error comes before what the rest of its piece would have been. */

static void
frames_same(const frames_trace_t *a, const frames_trace_t *b)
{
    size_t  len;

    len = a->len < b->len ? a->len : b->len;

    must(a->rc == b->rc && a->end == b->end);
    must(memcmp(a->bytes, b->bytes, len) == 0);
    must(a->rc || (a->len == b->len && a->rest == b->rest));
}


static void
frames_wire(const uint8_t *data, size_t size)
{
    frames_trace_t  whole, bytes, pieces;

    whole = frames_decode(data, size, 1);
    bytes = frames_decode(data, size, size + 1);
    pieces = frames_decode(data, size, 200);

    frames_same(&whole, &bytes);
    frames_same(&whole, &pieces);

    free(whole.bytes);
    free(bytes.bytes);
    free(pieces.bytes);
}


/* Sent as a socket takes it, some bytes at a time. */

static void
frames_again(const uint8_t *data, size_t size)
{
    size_t             n, len, pos, wire;
    uint8_t           *out, room[ZLT_FRAMES_ROOM], *head;
    frames_trace_t     t;
    zlt_frames_out_t   o;

    memset(&o, 0, sizeof(o));

    out = fuzz_copy(NULL, size * (1 + ZLT_HEADER_SIZE) + 64);
    wire = 0;

    for (pos = 0; pos < size; /* void */ ) {
        n = zlt_frames_data(&o, frames_piece(size - pos, 3000));
        must(n && n <= size - pos);

        len = zlt_frames_pending(&o);
        head = zlt_frames_prefix(&o, room + sizeof(room));
        must(head >= room && head + len == room + sizeof(room));

        n = frames_piece(len + n, 300);

        memcpy(out + wire, head, n < len ? n : len);

        if (n > len) {
            memcpy(out + wire + len, data + pos, n - len);
        }

        wire += n;
        pos += zlt_frames_sent(&o, n);
        must(pos <= size);
    }

    if (zlt_frames_whole(&o)) {
        zlt_frames_end(&o, ZLT_FRAMES_EOF);
        len = zlt_frames_pending(&o);
        memcpy(out + wire, zlt_frames_prefix(&o, room + sizeof(room)), len);
        wire += len;
        must(zlt_frames_sent(&o, len) == 0);
        must(zlt_frames_pending(&o) == 0);
    }

    t = frames_decode(out, wire, 100);

    must(t.rc == 0 && t.rest == 0 && t.len == size);
    must(memcmp(t.bytes, data, size) == 0);

    free(t.bytes);
    free(out);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }

    frames_seed = data[0];

    frames_wire(data + 1, size - 1);
    frames_again(data + 1, size - 1);

    return 0;
}
