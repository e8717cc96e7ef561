
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects a stream of bytes within a WebSocket: an input decoded whole, and
 * in pieces, gives the same bytes and the same end, never more than came; and
 * any bytes, encoded in pieces, are decoded by the other side to the same,
 * whatever is pinged between them.
 *
 * The first byte of an input is the role and which of the two, the second the
 * seed of the pieces.
 */


#include "fuzz.h"
#include "zlt_ws_stream.h"


static uint32_t  fuzz_seed;


static uint32_t
fuzz_random(uint32_t below)
{
    fuzz_seed = fuzz_seed * 1103515245 + 12345;

    return (fuzz_seed >> 16) % below;
}


static size_t
fuzz_piece(size_t left)
{
    size_t  n;

    n = 1 + fuzz_random(200);

    return n < left ? n : left;
}


static void
fuzz_mask(uint8_t mask[4])
{
    mask[0] = (uint8_t) fuzz_random(256);
    mask[1] = (uint8_t) fuzz_random(256);
    mask[2] = (uint8_t) fuzz_random(256);
    mask[3] = (uint8_t) fuzz_random(256);
}


/* Decodes in pieces of memory that are as large as they must be. */

static size_t
fuzz_decode(zlt_ws_stream_t *s, uint8_t *to, const uint8_t *data, size_t size)
{
    size_t    pos, n, m, got;
    uint8_t  *piece, pong[ZLT_WS_STREAM_PONG];

    got = 0;

    for (pos = 0; pos < size; pos += n) {
        n = fuzz_piece(size - pos);
        piece = fuzz_copy(data + pos, n);
        m = zlt_ws_stream_decode(s, piece, n);

        must(m <= n);
        memcpy(to + got, piece, m);
        got += m;

        must(zlt_ws_stream_pong(s, pong) <= sizeof(pong));
        free(piece);
    }

    return got;
}


static void
fuzz_wire(unsigned client, const uint8_t *data, size_t size)
{
    size_t           n, got;
    uint8_t         *whole, *pieces;
    zlt_ws_stream_t  a, b;

    zlt_ws_stream_init(&a, client ? fuzz_mask : NULL);
    zlt_ws_stream_init(&b, client ? fuzz_mask : NULL);

    whole = fuzz_copy(data, size);
    pieces = fuzz_copy(NULL, size);

    n = zlt_ws_stream_decode(&a, whole, size);
    got = fuzz_decode(&b, pieces, data, size);

    must(n <= size);
    must(got == n);
    must(memcmp(whole, pieces, n) == 0);
    must(a.end == b.end);
    must(zlt_ws_stream_amid(&a) == zlt_ws_stream_amid(&b));

    free(whole);
    free(pieces);
}


static void
fuzz_stream(unsigned client, const uint8_t *data, size_t size)
{
    size_t           pos, n, used, room, made;
    uint8_t         *wire, *to, *piece, *src;
    zlt_ws_stream_t  from, back;

    zlt_ws_stream_init(&from, client ? fuzz_mask : NULL);
    zlt_ws_stream_init(&back, client ? NULL : fuzz_mask);

    wire = fuzz_copy(NULL, size * (2 * ZLT_WS_STREAM_HEAD + 1));
    to = fuzz_copy(NULL, size * (2 * ZLT_WS_STREAM_HEAD + 1));
    made = 0;

    for (pos = 0; pos < size; pos += used) {
        n = fuzz_piece(size - pos);
        room = ZLT_WS_STREAM_HEAD + fuzz_piece(1000);

        if (fuzz_random(4) == 0) {
            from.ponging = 1;
            from.pong_len = (uint8_t) fuzz_random(ZLT_WS_MAX_CONTROL + 1);
        }

        if (!client && from.left == 0 && fuzz_random(3) == 0) {
            made += zlt_ws_stream_begin(&from, wire + made,
                                        fuzz_piece(size - pos));
        }

        src = fuzz_copy(data + pos, n);
        piece = fuzz_copy(NULL, room);
        n = zlt_ws_stream_encode(&from, piece, room, src, n, &used);

        must(n <= room && used > 0);
        memcpy(wire + made, piece, n);
        made += n;

        free(src);
        free(piece);
    }

    must(fuzz_decode(&back, to, wire, made) == size);
    must(memcmp(to, data, size) == 0);
    must(back.end == ZLT_WS_STREAM_OPEN);

    free(wire);
    free(to);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 65536) {
        return 0;
    }

    fuzz_seed = data[1];

    if (data[0] & 0x80) {
        fuzz_stream(data[0] & 1, data + 2, size - 2);

    } else {
        fuzz_wire(data[0] & 1, data + 2, size - 2);
    }

    return 0;
}
