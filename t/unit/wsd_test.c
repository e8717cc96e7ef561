
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects data channels within a WebSocket: what one side encodes, the other
 * decodes to the same bytes, wherever either is cut, and into no more memory
 * than came; what may not come is known at once; a Ping is answered between
 * messages and nowhere else.
 */


#include "tap.h"

#include "zlt_msg.h"
#include "zlt_wire.h"
#include "zlt_wsd.h"


#define MAX_STREAM  (600 * 1024)
#define MAX_WIRE    (2 * MAX_STREAM)


static uint8_t   stream[MAX_STREAM];
static uint8_t   back[MAX_STREAM];
static uint8_t   wire[MAX_WIRE];

static uint32_t  seed = 2463534242;


static uint32_t
rnd(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;

    return seed % below;
}


static void
rnd_mask(uint8_t mask[4])
{
    uint32_t  n;

    n = rnd(0xffffffff);
    memcpy(mask, &n, 4);
}


/* Appends a message to a buffer; returns its new length. */

static size_t
put(uint8_t *dst, size_t pos, unsigned type, size_t len)
{
    size_t  i;

    dst[pos++] = (uint8_t) type;
    (void) zlt_put32(dst + pos, (uint32_t) len);
    pos += 4;

    for (i = 0; i < len; i++) {
        dst[pos++] = (uint8_t) rnd(256);
    }

    return pos;
}


/* What a raw channel would carry: frames, the one that turns it, bytes. */

static size_t
make_stream(unsigned turn, size_t bytes)
{
    size_t    pos;
    unsigned  n;

    pos = 0;

    for (n = rnd(6); n; n--) {
        pos = put(stream, pos, rnd(2) ? ZLT_HEARTBEAT : ZLT_DATAGRAM,
                  rnd(5) ? rnd(300) : rnd(70000));
    }

    if (turn) {
        pos = put(stream, pos, turn, 50);

        while (bytes--) {
            stream[pos++] = (uint8_t) rnd(256);
        }
    }

    return pos;
}


/* Encodes the stream in pieces, into pieces; returns the bytes made. */

static size_t
encode(zlt_wsd_t *w, size_t len, unsigned most)
{
    size_t    pos, made, n, size, used;
    uint8_t  *src, *dst;

    made = 0;

    for (pos = 0; pos < len; pos += used) {
        n = 1 + rnd(most);
        n = n < len - pos ? n : len - pos;
        size = ZLT_WSD_PONG + ZLT_WSD_HEADER + 1 + rnd(most);

        src = malloc(n);
        dst = malloc(size);
        memcpy(src, stream + pos, n);

        n = zlt_wsd_encode(w, dst, size, src, n, &used);

        check(n <= size);
        check(used > 0);
        memcpy(wire + made, dst, n);
        made += n;

        free(src);
        free(dst);
    }

    return made;
}


/* Decodes the wire in pieces; returns the bytes of the channel. */

static size_t
decode(zlt_wsd_t *w, size_t len, unsigned most)
{
    size_t    pos, got, n, m;
    uint8_t  *buf;

    got = 0;

    for (pos = 0; pos < len; pos += n) {
        n = 1 + rnd(most);
        n = n < len - pos ? n : len - pos;

        buf = malloc(n);
        memcpy(buf, wire + pos, n);
        m = zlt_wsd_decode(w, buf, n);

        check(m <= n);
        memcpy(back + got, buf, m);
        got += m;

        free(buf);
    }

    return got;
}


static void
test_round_trip(void)
{
    size_t     len, made, got, n;
    unsigned   i, client, most;
    uint8_t    end[ZLT_WSD_END];
    zlt_wsd_t  from, to;

    static const unsigned  sizes[] = { 1, 3, 8, 100, 5000, 100000 };

    for (i = 0; i < 240; i++) {
        client = i & 1;
        most = sizes[(i / 2) % 6];
        tap_note("round %u, pieces up to %u", i, most);

        zlt_wsd_init(&from, client ? rnd_mask : NULL, ZLT_WSD_FRAMED,
                     ZLT_WSD_FRAMED);
        zlt_wsd_init(&to, client ? NULL : rnd_mask, ZLT_WSD_FRAMED,
                     ZLT_WSD_FRAMED);

        len = make_stream(client ? ZLT_CONNECT_ACK : ZLT_CONNECT,
                          most < 100 ? rnd(2000) : rnd(150000));
        made = encode(&from, len, most);

        n = zlt_wsd_eof(&from, end);
        memcpy(wire + made, end, n);
        made += n;

        got = decode(&to, made, sizes[rnd(6)]);

        check(got == len);
        check(memcmp(back, stream, len) == 0);
        check(to.how == ZLT_WSD_EOF);
        check(zlt_wsd_eof(&from, end) == 0);
        check(!from.ended && zlt_wsd_reset(&from, end) > 0);
    }
}


/*
 * A visitor's channel: the visitor's bytes are Data from the beginning, and the
 * server's direction turns by ConnectAck.  Without zlt_wsd_visit() it does not.
 */

static void
test_visit(void)
{
    size_t     n, len, made, got;
    uint8_t    end[ZLT_WSD_END];
    unsigned   i;
    zlt_wsd_t  server, visitor;

    for (i = 0; i < 60; i++) {
        tap_note("round %u", i);

        zlt_wsd_init(&server, NULL, ZLT_WSD_BYTES, ZLT_WSD_FRAMED);
        zlt_wsd_init(&visitor, rnd_mask, ZLT_WSD_FRAMED, ZLT_WSD_BYTES);
        zlt_wsd_visit(&server);
        zlt_wsd_visit(&visitor);

        /* from the visitor */

        len = 1 + rnd(100000);
        memset(stream, (int) i, len);
        made = encode(&visitor, len, 5000);
        got = decode(&server, made, 3000);
        check(got == len && memcmp(back, stream, len) == 0);
        check(server.how == ZLT_WSD_OPEN);

        /* from the server */

        len = make_stream(ZLT_CONNECT_ACK, 1 + rnd(100000));
        made = encode(&server, len, 5000);
        check(server.tx == ZLT_WSD_BYTES);

        n = zlt_wsd_eof(&server, end);
        memcpy(wire + made, end, n);
        made += n;

        got = decode(&visitor, made, 3000);
        check(got == len && memcmp(back, stream, len) == 0);
        check(visitor.rx == ZLT_WSD_BYTES && visitor.how == ZLT_WSD_EOF);
    }

    zlt_wsd_init(&server, NULL, ZLT_WSD_BYTES, ZLT_WSD_FRAMED);
    (void) encode(&server, make_stream(ZLT_CONNECT_ACK, 0), 5000);
    check(server.tx == ZLT_WSD_FRAMED);
}


/* Frames for ever: a channel of datagrams. */

static void
test_datagrams(void)
{
    size_t     len, made;
    unsigned   i, client;
    zlt_wsd_t  from, to;

    for (i = 0; i < 60; i++) {
        client = i & 1;
        zlt_wsd_init(&from, client ? rnd_mask : NULL, ZLT_WSD_FRAMED,
                     ZLT_WSD_FRAMED);
        zlt_wsd_init(&to, client ? NULL : rnd_mask, ZLT_WSD_EITHER,
                     ZLT_WSD_FRAMED);

        len = make_stream(0, 0);
        len = put(stream, len, ZLT_DATAGRAM, ZLT_MAX_PAYLOAD);
        made = encode(&from, len, 70000);

        check(decode(&to, made, 9000) == len);
        check(memcmp(back, stream, len) == 0);
        check(to.how == ZLT_WSD_OPEN && zlt_wsd_between(&to));
        check(zlt_wsd_between(&from));
    }
}


/* A server's bytes go as they are. */

static void
test_in_place(void)
{
    size_t     made, len, n;
    unsigned   i;
    zlt_wsd_t  from, to;

    zlt_wsd_init(&from, NULL, ZLT_WSD_FRAMED, ZLT_WSD_BYTES);
    zlt_wsd_init(&to, rnd_mask, ZLT_WSD_BYTES, ZLT_WSD_FRAMED);
    check(zlt_wsd_plain(&from));

    made = 0;
    len = 0;

    for (i = 0; i < 8; i++) {
        n = 1 + rnd(65536);
        made += zlt_wsd_begin(&from, wire + made, n);
        check(zlt_wsd_begin(&from, wire + made, n) == 0);
        check(zlt_wsd_eof(&from, wire + made) == 0);
        check(zlt_wsd_reset(&from, wire + made) == 0);

        while (from.tx_left) {
            n = 1 + rnd(from.tx_left);
            memset(wire + made, (int) i, n);
            memset(stream + len, (int) i, n);
            zlt_wsd_sent(&from, n);
            made += n;
            len += n;
        }
    }

    made += zlt_wsd_eof(&from, wire + made);

    check(decode(&to, made, 3000) == len);
    check(memcmp(back, stream, len) == 0);
    check(to.how == ZLT_WSD_EOF);
}


/* One WebSocket frame of an agent. */

static size_t
frame(uint8_t *dst, unsigned opcode, unsigned fin, const uint8_t *payload,
    size_t len)
{
    size_t   n;
    uint8_t  mask[4];

    rnd_mask(mask);

    n = zlt_ws_header(dst, opcode, len, mask);
    dst[0] = (uint8_t) ((fin ? 0x80 : 0) | opcode);
    memcpy(dst + n, payload, len);
    zlt_ws_mask(dst + n, len, mask, 0);

    return n + len;
}


/* Fragments of every length, and what may come between them. */

static void
test_fragments(void)
{
    size_t     len, made, pos, n;
    unsigned   i, first;
    uint8_t   *message;
    zlt_wsd_t  w;

    message = malloc(MAX_STREAM);

    for (i = 0; i < 40; i++) {
        zlt_wsd_init(&w, NULL, ZLT_WSD_BYTES, ZLT_WSD_FRAMED);

        len = put(message, 0, ZLT_DATA, rnd(200000));
        made = 0;
        first = 1;

        for (pos = 0; pos < len; pos += n) {
            n = 1 + rnd(i & 1 ? 20000 : 10);
            n = n < len - pos ? n : len - pos;

            if (made + n > MAX_WIRE - 1000) {
                n = len - pos;
            }

            made += frame(wire + made, first ? ZLT_WS_OP_BINARY
                                             : ZLT_WS_OP_CONT,
                          pos + n == len, message + pos, n);
            first = 0;

            if (pos + n < len && rnd(3) == 0) {
                made += frame(wire + made, ZLT_WS_OP_CONT, 0, message, 0);
                made += frame(wire + made, ZLT_WS_OP_PONG, 1, message, 5);
            }
        }

        check(decode(&w, made, 4000) == len - ZLT_HEADER_SIZE);
        check(memcmp(back, message + ZLT_HEADER_SIZE, len - ZLT_HEADER_SIZE)
              == 0);
        check(w.how == ZLT_WSD_OPEN && zlt_wsd_between(&w));
    }

    free(message);
}


typedef struct {
    const char       *what;
    zlt_wsd_phase_t   phase;
    uint8_t           types[4];        /* messages, with a payload of len */
    size_t            len;
    int               more;            /* the length field, added to it */
    zlt_wsd_how_t     how;
} rule_t;


static const rule_t  rules[] = {
    { "Data", ZLT_WSD_BYTES, { ZLT_DATA }, 7, 0, ZLT_WSD_OPEN },
    { "empty Data", ZLT_WSD_BYTES, { ZLT_DATA }, 0, 0, ZLT_WSD_OPEN },
    { "Eof", ZLT_WSD_BYTES, { ZLT_DATA, ZLT_EOF }, 0, 0, ZLT_WSD_EOF },
    { "Reset", ZLT_WSD_BYTES, { ZLT_RESET }, 0, 0, ZLT_WSD_RESET },
    { "Reset of frames", ZLT_WSD_FRAMED, { ZLT_RESET }, 0, 0, ZLT_WSD_RESET },
    { "Reset behind Eof", ZLT_WSD_BYTES, { ZLT_EOF, ZLT_RESET }, 0, 0,
      ZLT_WSD_RESET },
    { "Data behind Eof", ZLT_WSD_BYTES, { ZLT_EOF, ZLT_DATA }, 0, 0,
      ZLT_WSD_BROKEN },
    { "Eof behind Eof", ZLT_WSD_BYTES, { ZLT_EOF, ZLT_EOF }, 0, 0,
      ZLT_WSD_BROKEN },
    { "Eof with a payload", ZLT_WSD_BYTES, { ZLT_EOF }, 1, 0,
      ZLT_WSD_BROKEN },
    { "Data too early", ZLT_WSD_FRAMED, { ZLT_DATA }, 7, 0, ZLT_WSD_BROKEN },
    { "Eof too early", ZLT_WSD_FRAMED, { ZLT_EOF }, 0, 0, ZLT_WSD_BROKEN },
    { "a frame", ZLT_WSD_FRAMED, { ZLT_HEARTBEAT }, 8, 0, ZLT_WSD_OPEN },
    { "a frame too late", ZLT_WSD_BYTES, { ZLT_HEARTBEAT }, 8, 0,
      ZLT_WSD_BROKEN },
    { "the turn", ZLT_WSD_FRAMED, { ZLT_CONNECT_ACK, ZLT_DATA }, 16, 0,
      ZLT_WSD_OPEN },
    { "a frame behind it", ZLT_WSD_FRAMED, { ZLT_CONNECT_ACK, ZLT_HEARTBEAT },
      16, 0, ZLT_WSD_BROKEN },
    { "the turn of the other side", ZLT_WSD_FRAMED, { ZLT_CONNECT, ZLT_DATA },
      50, 0, ZLT_WSD_BROKEN },
    { "either: frames", ZLT_WSD_EITHER, { ZLT_HEARTBEAT, ZLT_HEARTBEAT }, 8, 0,
      ZLT_WSD_OPEN },
    { "either: Data", ZLT_WSD_EITHER, { ZLT_DATA, ZLT_DATA }, 8, 0,
      ZLT_WSD_OPEN },
    { "either, not both", ZLT_WSD_EITHER, { ZLT_DATA, ZLT_HEARTBEAT }, 8, 0,
      ZLT_WSD_BROKEN },
    { "longer than it says", ZLT_WSD_BYTES, { ZLT_DATA }, 8, -1,
      ZLT_WSD_BROKEN },
    { "shorter than it says", ZLT_WSD_BYTES, { ZLT_DATA }, 8, 1,
      ZLT_WSD_BROKEN },
    { NULL, ZLT_WSD_FRAMED, { 0 }, 0, 0, ZLT_WSD_OPEN }
};


static void
test_rules(void)
{
    size_t         made, len;
    uint8_t        message[100];
    unsigned       i, most;
    zlt_wsd_t      w;
    const rule_t  *r;

    for (most = 1; most <= 1000; most += 999) {
        for (r = rules; r->what; r++) {
            tap_note("%s", r->what);

            zlt_wsd_init(&w, NULL, r->phase, ZLT_WSD_FRAMED);
            made = 0;

            for (i = 0; i < 4 && r->types[i]; i++) {
                len = put(message, 0, r->types[i], r->len);
                (void) zlt_put32(message + 1,
                                 (uint32_t) ((int) r->len + r->more));
                made += frame(wire + made, ZLT_WS_OP_BINARY, 1, message, len);
            }

            (void) decode(&w, made, most);

            check(w.how == r->how);
            check((w.how == ZLT_WSD_BROKEN) == (w.error != NULL));
        }
    }
}


static void
test_frames(void)
{
    size_t     n;
    uint8_t    close[2] = { 0x03, 0xe8 }, eof[5] = { ZLT_EOF };
    zlt_wsd_t  w;

    zlt_wsd_init(&w, NULL, ZLT_WSD_FRAMED, ZLT_WSD_FRAMED);
    n = frame(wire, ZLT_WS_OP_CLOSE, 1, close, 2);
    (void) decode(&w, n, 100);
    check(w.how == ZLT_WSD_CLOSED);

    zlt_wsd_init(&w, NULL, ZLT_WSD_BYTES, ZLT_WSD_FRAMED);
    (void) decode(&w, n, 100);
    check(w.how == ZLT_WSD_RESET);

    zlt_wsd_init(&w, NULL, ZLT_WSD_BYTES, ZLT_WSD_FRAMED);
    n = frame(wire, ZLT_WS_OP_BINARY, 1, eof, 5);
    n += frame(wire + n, ZLT_WS_OP_CLOSE, 1, close, 2);
    (void) decode(&w, n, 100);
    check(w.how == ZLT_WSD_EOF);

    zlt_wsd_init(&w, NULL, ZLT_WSD_FRAMED, ZLT_WSD_FRAMED);
    n = frame(wire, ZLT_WS_OP_TEXT, 1, eof, 5);
    (void) decode(&w, n, 100);
    check(w.how == ZLT_WSD_BROKEN);

    zlt_wsd_init(&w, NULL, ZLT_WSD_FRAMED, ZLT_WSD_FRAMED);
    n = frame(wire, ZLT_WS_OP_BINARY, 1, eof, 0);
    (void) decode(&w, n, 100);
    check(w.how == ZLT_WSD_BROKEN);

    zlt_wsd_init(&w, NULL, ZLT_WSD_BYTES, ZLT_WSD_FRAMED);
    n = zlt_ws_header(wire, ZLT_WS_OP_BINARY, ZLT_WSD_MAX_MESSAGE + 1, eof);
    (void) decode(&w, n, 100);
    check(w.how == ZLT_WSD_BROKEN);
}


static void
test_pong(void)
{
    size_t      n, used;
    unsigned    client;
    uint8_t     ping[3] = { 'a', 'b', 'c' }, *pos;
    zlt_wsd_t   w;
    zlt_ws_parser_t  p;

    for (client = 0; client < 2; client++) {
        zlt_wsd_init(&w, client ? rnd_mask : NULL, ZLT_WSD_BYTES,
                     ZLT_WSD_FRAMED);

        n = frame(wire, ZLT_WS_OP_PING, 1, ping, 3);

        if (client) {
            n = zlt_ws_header(wire, ZLT_WS_OP_PING, 3, NULL);
            memcpy(wire + n, ping, 3);
            n += 3;
        }

        /* in the middle of a frame it has to wait */

        memcpy(stream, "\x30\0\0\0\x08" "12345678", 13);
        (void) zlt_wsd_encode(&w, back, 1000, stream, 7, &used);
        check(used == 7);

        (void) decode(&w, n, 100);
        check(w.ponging && !zlt_wsd_between(&w));
        check(zlt_wsd_pong(&w, back) == 0);

        n = zlt_wsd_encode(&w, back, 1000, stream + 7, 6, &used);
        check(used == 6 && !w.ponging);

        zlt_ws_init(&p, client ? ZLT_WS_SERVER : ZLT_WS_CLIENT, 1000);
        pos = back + 6;
        check(zlt_ws_parse(&p, &pos, back + n) == ZLT_WS_CONTROL);
        check(p.opcode == ZLT_WS_OP_PONG && p.control_len == 3
              && memcmp(p.control, ping, 3) == 0);
        check(pos == back + n);
        check(zlt_wsd_pong(&w, back) == 0);
    }
}


static void
test_mask_move(void)
{
    size_t    i, len, gap, offset;
    uint8_t  *buf, want[400] = { 0 }, mask[4] = { 1, 20, 130, 240 };

    for (gap = 0; gap < 45; gap++) {
        for (len = 0; len < 150; len++) {
            offset = rnd(4);
            buf = malloc(gap + len + 1);

            for (i = 0; i < len; i++) {
                buf[gap + i] = (uint8_t) rnd(256);
                want[i] = buf[gap + i] ^ mask[(offset + i) & 3];
            }

            zlt_ws_mask_move(buf, buf + gap, len, mask, offset);
            check(memcmp(buf, want, len) == 0);

            free(buf);
        }
    }
}


int
main(void)
{
    tap_run(test_round_trip, "what is encoded is decoded, wherever it is cut");
    tap_run(test_visit, "a visitor's channel turns the other way round");
    tap_run(test_datagrams, "frames alone, to the largest datagram");
    tap_run(test_in_place, "bytes that are sent from where they are");
    tap_run(test_fragments, "messages in fragments");
    tap_run(test_rules, "what may come, and when");
    tap_run(test_frames, "Close, text, nothing, too much");
    tap_run(test_pong, "a Ping is answered between messages");
    tap_run(test_mask_move, "masking on the way, over bytes close behind");

    return tap_done();
}
