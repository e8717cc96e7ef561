
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects data channels within a WebSocket: an input decoded whole, and in
 * pieces, gives the same bytes and the same end, never more than came; and any
 * bytes of a channel, encoded in pieces, are decoded by the other side to the
 * same.
 *
 * The first byte of an input is the role, the phase and which of the two, the
 * second the seed of the pieces.
 */


#include "fuzz.h"
#include "zlt_wsd.h"
#include "zlt_msg.h"


static uint32_t  fuzz_seed;


static size_t
fuzz_piece(size_t left)
{
    size_t  n;

    fuzz_seed = fuzz_seed * 1103515245 + 12345;
    n = 1 + (fuzz_seed >> 16) % 200;

    return n < left ? n : left;
}


static void
fuzz_mask(uint8_t mask[4])
{
    fuzz_seed = fuzz_seed * 1103515245 + 12345;
    memcpy(mask, &fuzz_seed, 4);
}


/* Decodes in pieces of memory that are as large as they must be. */

static size_t
fuzz_decode(zlt_wsd_t *w, uint8_t *to, const uint8_t *data, size_t size)
{
    size_t    pos, n, m, got;
    uint8_t  *piece, pong[ZLT_WSD_PONG];

    got = 0;

    for (pos = 0; pos < size; pos += n) {
        n = fuzz_piece(size - pos);
        piece = fuzz_copy(data + pos, n);
        m = zlt_wsd_decode(w, piece, n);

        must(m <= n);
        memcpy(to + got, piece, m);
        got += m;

        (void) zlt_wsd_pong(w, pong);
        free(piece);
    }

    return got;
}


static void
fuzz_wire(unsigned how, const uint8_t *data, size_t size)
{
    size_t      n, got;
    uint8_t    *whole, *pieces;
    zlt_wsd_t   a, b;

    zlt_wsd_init(&a, how & 1 ? fuzz_mask : NULL, (how >> 1) % 3,
                 ZLT_WSD_FRAMED);
    b = a;

    whole = fuzz_copy(data, size);
    pieces = fuzz_copy(NULL, size);

    n = zlt_wsd_decode(&a, whole, size);
    got = fuzz_decode(&b, pieces, data, size);

    must(n <= size);
    must(a.how == b.how);

    /* of a message that is broken more or less may have been passed on */

    if (a.how != ZLT_WSD_BROKEN) {
        must(got == n);
        must(memcmp(whole, pieces, n) == 0);
    }

    free(whole);
    free(pieces);
}


static void
fuzz_stream(unsigned how, const uint8_t *data, size_t size)
{
    size_t      pos, n, used, room, made, got;
    uint8_t    *wire, *to, *piece, *src;
    zlt_wsd_t   from, back;

    zlt_wsd_init(&from, how & 1 ? fuzz_mask : NULL, ZLT_WSD_FRAMED,
                 (how >> 1) & 1);
    zlt_wsd_init(&back, how & 1 ? NULL : fuzz_mask, (how >> 1) & 1,
                 ZLT_WSD_FRAMED);

    wire = fuzz_copy(NULL, size * (ZLT_WSD_HEADER + 1));
    to = fuzz_copy(NULL, size * (ZLT_WSD_HEADER + 1));
    made = 0;

    for (pos = 0; pos < size; pos += used) {
        n = fuzz_piece(size - pos);
        room = ZLT_WSD_PONG + ZLT_WSD_HEADER + fuzz_piece(1000);

        src = fuzz_copy(data + pos, n);
        piece = fuzz_copy(NULL, room);
        n = zlt_wsd_encode(&from, piece, room, src, n, &used);

        must(n <= room && used > 0);
        memcpy(wire + made, piece, n);
        made += n;

        free(src);
        free(piece);
    }

    got = fuzz_decode(&back, to, wire, made);

    /* Frames may be any bytes, also ones that must not come.  A header that is
       not whole has not been made a message of yet; that of a Reset, which
       ends here if its payload has yet to come, is not passed on. */

    n = from.tx_head;

    if (back.head && back.type == ZLT_RESET) {
        n += ZLT_HEADER_SIZE;
    }

    if (back.how == ZLT_WSD_OPEN) {
        must(got + n == size);
        must(memcmp(to, data, got) == 0);
    }

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
        fuzz_stream(data[0] & 0x7f, data + 2, size - 2);

    } else {
        fuzz_wire(data[0], data + 2, size - 2);
    }

    return 0;
}
