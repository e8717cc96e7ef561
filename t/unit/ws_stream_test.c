
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects a stream of bytes within a WebSocket: what one side encodes, the
 * other decodes to the same bytes, wherever either is cut, and into no more
 * memory than came.  Messages have any length, in any fragments.  A Ping is
 * answered between messages and nowhere else.  What may not come is known at
 * once, and Close is the end.
 */


#include "tap.h"

#include "zlt_ws_stream.h"


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


static size_t
make_stream(size_t len)
{
    size_t  i;

    for (i = 0; i < len; i++) {
        stream[i] = (uint8_t) rnd(256);
    }

    return len;
}


/* One side of a stream, and the other. */

static void
make_sides(zlt_ws_stream_t *from, zlt_ws_stream_t *to, unsigned client)
{
    zlt_ws_stream_init(from, client ? rnd_mask : NULL);
    zlt_ws_stream_init(to, client ? NULL : rnd_mask);
}


/* Encodes the stream in pieces, into pieces; returns the bytes made. */

static size_t
encode(zlt_ws_stream_t *s, size_t len, unsigned most)
{
    size_t    pos, made, n, size, used;
    uint8_t  *src, *dst;

    made = 0;

    for (pos = 0; pos < len; pos += used) {
        n = 1 + rnd(most);
        n = n < len - pos ? n : len - pos;
        size = ZLT_WS_STREAM_HEAD + 1 + rnd(most);

        src = tap_copy(stream + pos, n);
        dst = tap_copy(NULL, size);

        n = zlt_ws_stream_encode(s, dst, size, src, n, &used);

        check(n <= size && used > 0);
        memcpy(wire + made, dst, n);
        made += n;

        free(src);
        free(dst);
    }

    return made;
}


/* Decodes the wire in pieces; returns the bytes of the stream. */

static size_t
decode(zlt_ws_stream_t *s, size_t len, unsigned most)
{
    size_t    pos, got, n, m;
    uint8_t  *buf;

    got = 0;

    for (pos = 0; pos < len; pos += n) {
        n = 1 + rnd(most);
        n = n < len - pos ? n : len - pos;

        buf = tap_copy(wire + pos, n);
        m = zlt_ws_stream_decode(s, buf, n);

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
    size_t           len, made;
    unsigned         i, most;
    zlt_ws_stream_t  from, to;

    static const unsigned  sizes[] = { 1, 3, 8, 100, 5000, 100000 };

    for (i = 0; i < 240; i++) {
        most = sizes[(i / 2) % 6];
        tap_note("round %u, pieces up to %u", i, most);

        make_sides(&from, &to, i & 1);

        len = make_stream(most < 100 ? rnd(2000) : rnd(300000));
        made = encode(&from, len, most);

        check(decode(&to, made, sizes[rnd(6)]) == len);
        check(memcmp(back, stream, len) == 0);
        check(to.end == ZLT_WS_STREAM_OPEN && !zlt_ws_stream_amid(&to));

        made = zlt_ws_stream_close(&from, wire);
        check(made > 0 && made <= ZLT_WS_STREAM_CLOSE);
        check(decode(&to, made, 3) == 0);
        check(to.end == ZLT_WS_STREAM_CLOSED);
    }
}


/* A server's bytes go as they are; what is left of a message may be copied. */

static void
test_in_place(void)
{
    size_t           made, pos, len, n, used;
    unsigned         i;
    zlt_ws_stream_t  from, to;

    for (i = 0; i < 40; i++) {
        make_sides(&from, &to, 0);

        len = make_stream(1 + rnd(200000));
        made = 0;

        for (pos = 0; pos < len; pos += n) {
            n = 1 + rnd(70000);
            n = n < len - pos ? n : len - pos;

            if (from.left == 0) {
                made += zlt_ws_stream_begin(&from, wire + made, len - pos < 9
                                            ? len - pos : 9 + rnd(30000));
            }

            check(zlt_ws_stream_begin(&from, wire + made, n) == 0);
            check(zlt_ws_stream_close(&from, wire + made) == 0);

            if (n > from.left) {
                n = from.left;
            }

            if (rnd(3) == 0) {
                made += zlt_ws_stream_encode(&from, wire + made, n,
                                             stream + pos, n, &used);
                check(used == n);
                continue;
            }

            memcpy(wire + made, stream + pos, n);
            made += n;
            zlt_ws_stream_sent(&from, n);
        }

        check(decode(&to, made, 3000) == len);
        check(memcmp(back, stream, len) == 0);
    }
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

    if (len) {
        memcpy(dst + n, payload, len);
        zlt_ws_mask(dst + n, len, mask, 0);
    }

    return n + len;
}


/* Fragments of every length, and what may come between them. */

static void
test_fragments(void)
{
    size_t           len, made, pos, n;
    unsigned         i, first, fin;
    zlt_ws_stream_t  s;

    for (i = 0; i < 60; i++) {
        zlt_ws_stream_init(&s, NULL);

        len = make_stream(rnd(i & 1 ? 200000 : 2000));
        made = 0;
        first = 1;

        for (pos = 0; pos < len; pos += n) {
            n = rnd(i & 1 ? 20000 : 10);
            n = n < len - pos ? n : len - pos;
            fin = rnd(4) == 0;

            made += frame(wire + made, first ? ZLT_WS_OP_BINARY
                                             : ZLT_WS_OP_CONT,
                          fin, stream + pos, n);
            first = fin;

            if (rnd(3) == 0) {
                made += frame(wire + made, ZLT_WS_OP_PONG, 1, stream, 5);
            }
        }

        check(decode(&s, made, 4000) == len);
        check(memcmp(back, stream, len) == 0);
        check(s.end == ZLT_WS_STREAM_OPEN && !zlt_ws_stream_amid(&s));
    }
}


/* The longest messages that there are pass in the pieces in which they come. */

static void
test_endless(void)
{
    size_t           n;
    unsigned         i;
    zlt_ws_stream_t  s;

    static const uint8_t  head[] = { 0x02, 0xff, 0x7f, 0xff, 0xff, 0xff,
                                     0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0 };
    static const uint8_t  more[] = { 0x00, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0 };

    zlt_ws_stream_init(&s, NULL);

    memcpy(wire, head, sizeof(head));
    check(decode(&s, sizeof(head), 5) == 0);

    for (i = 0; i < 50; i++) {
        n = make_stream(1 + rnd(50000));
        memcpy(wire, stream, n);

        check(decode(&s, n, 7000) == n);
        check(memcmp(back, stream, n) == 0);
        check(s.end == ZLT_WS_STREAM_OPEN && zlt_ws_stream_amid(&s));
    }

    /* a fragment behind such a one, and a length with its top bit */

    zlt_ws_stream_init(&s, NULL);
    n = frame(wire, ZLT_WS_OP_BINARY, 0, stream, 100);
    memcpy(wire + n, head, sizeof(head));
    wire[n] = 0;
    check(decode(&s, n + sizeof(head), 50) == 100);
    check(s.end == ZLT_WS_STREAM_OPEN);

    zlt_ws_stream_init(&s, NULL);
    n = frame(wire, ZLT_WS_OP_BINARY, 0, stream, 100);
    memcpy(wire + n, more, sizeof(more));
    check(decode(&s, n + sizeof(more), 50) == 100);
    check(s.end == ZLT_WS_STREAM_BROKEN);
}


typedef struct {
    const char           *what;
    const char           *bytes;       /* of a client, its mask zeros */
    size_t                len;
    size_t                got;         /* bytes of the stream */
    zlt_ws_stream_end_e   end;
} rule_t;


#define RULE(what, bytes, got, end)                                           \
    { what, bytes, sizeof(bytes) - 1, got, end }

#define MASK  "\0\0\0\0"

static const rule_t  rules[] = {
    RULE("bytes", "\x82\x83" MASK "abc", 3, ZLT_WS_STREAM_OPEN),
    RULE("an empty message", "\x82\x80" MASK "\x82\x81" MASK "a", 1,
         ZLT_WS_STREAM_OPEN),
    RULE("a fragment, and no more", "\x02\x82" MASK "ab", 2,
         ZLT_WS_STREAM_OPEN),
    RULE("Pong", "\x8a\x82" MASK "ab\x82\x81" MASK "x", 1,
         ZLT_WS_STREAM_OPEN),
    RULE("Close", "\x88\x82" MASK "\x03\xe8", 0, ZLT_WS_STREAM_CLOSED),
    RULE("Close without a code", "\x88\x80" MASK, 0, ZLT_WS_STREAM_CLOSED),
    RULE("Close behind bytes", "\x82\x81" MASK "a\x88\x80" MASK, 1,
         ZLT_WS_STREAM_CLOSED),
    RULE("bytes behind Close", "\x88\x80" MASK "\x82\x81" MASK "a", 0,
         ZLT_WS_STREAM_CLOSED),
    RULE("Close within a message", "\x02\x81" MASK "a\x88\x80" MASK, 1,
         ZLT_WS_STREAM_CLOSED),
    RULE("text", "\x81\x81" MASK "a", 0, ZLT_WS_STREAM_BROKEN),
    RULE("text behind bytes", "\x82\x81" MASK "a\x81\x81", 1,
         ZLT_WS_STREAM_BROKEN),
    RULE("no mask", "\x82\x01" "a", 0, ZLT_WS_STREAM_BROKEN),
    RULE("RSV1", "\xc2\x81" MASK "a", 0, ZLT_WS_STREAM_BROKEN),
    RULE("RSV3", "\x92\x81" MASK "a", 0, ZLT_WS_STREAM_BROKEN),
    RULE("opcode 3", "\x83\x81" MASK "a", 0, ZLT_WS_STREAM_BROKEN),
    RULE("opcode 11", "\x8b\x81" MASK "a", 0, ZLT_WS_STREAM_BROKEN),
    RULE("a continuation of nothing", "\x80\x81" MASK "a", 0,
         ZLT_WS_STREAM_BROKEN),
    RULE("a message within a message", "\x02\x81" MASK "a\x82\x81", 1,
         ZLT_WS_STREAM_BROKEN),
    RULE("a Ping in fragments", "\x09\x81" MASK "a", 0,
         ZLT_WS_STREAM_BROKEN),
    RULE("a Ping of 126 bytes", "\x89\xfe\0\x7e", 0, ZLT_WS_STREAM_BROKEN),
    RULE("a length not in its shortest form", "\x82\xfe\0\x7d", 0,
         ZLT_WS_STREAM_BROKEN),
    RULE("a length with its top bit", "\x82\xff\x80\0\0\0\0\0\0\0", 0,
         ZLT_WS_STREAM_BROKEN),
    { NULL, NULL, 0, 0, ZLT_WS_STREAM_OPEN }
};


static void
test_rules(void)
{
    unsigned         most;
    const rule_t    *r;
    zlt_ws_stream_t  s;

    for (most = 1; most <= 1000; most += 999) {
        for (r = rules; r->what; r++) {
            tap_note("%s", r->what);

            zlt_ws_stream_init(&s, NULL);
            memcpy(wire, r->bytes, r->len);

            check(decode(&s, r->len, most) == r->got);
            check(s.end == r->end);
            check((s.end == ZLT_WS_STREAM_BROKEN)
                  == (s.parser.error != NULL));
        }
    }

    tap_note("a masked frame of a server");

    zlt_ws_stream_init(&s, rnd_mask);
    memcpy(wire, "\x82\x81" MASK "a", 7);
    (void) decode(&s, 7, 100);
    check(s.end == ZLT_WS_STREAM_BROKEN);
}


/* Feeds two Pings of the peer. */

static void
ping(zlt_ws_stream_t *s, unsigned client)
{
    size_t   n;
    uint8_t  text[3] = { 'a', 'b', 'c' };

    if (client) {
        n = zlt_ws_header(wire, ZLT_WS_OP_PING, 0, NULL);
        n += zlt_ws_header(wire + n, ZLT_WS_OP_PING, 3, NULL);
        memcpy(wire + n, text, 3);
        n += 3;

    } else {
        n = frame(wire, ZLT_WS_OP_PING, 1, text, 0);
        n += frame(wire + n, ZLT_WS_OP_PING, 1, text, 3);
    }

    check(decode(s, n, 4) == 0);
    check(s->ponging);
}


static void
check_pong(const uint8_t *data, size_t len, unsigned client)
{
    uint8_t          copy[ZLT_WS_STREAM_PONG], *pos;
    zlt_ws_parser_t  p;

    check(len <= sizeof(copy));
    memcpy(copy, data, len);

    zlt_ws_init(&p, client ? ZLT_WS_SERVER : ZLT_WS_CLIENT, 0);
    pos = copy;

    check(zlt_ws_parse(&p, &pos, copy + len) == ZLT_WS_CONTROL);
    check(p.opcode == ZLT_WS_OP_PONG && p.control_len == 3
          && memcmp(p.control, "abc", 3) == 0);
    check(pos == copy + len);
}


static void
test_pong(void)
{
    size_t           n, used;
    unsigned         client;
    zlt_ws_stream_t  s;

    for (client = 0; client < 2; client++) {
        zlt_ws_stream_init(&s, client ? rnd_mask : NULL);

        tap_note("by itself");
        ping(&s, client);
        n = zlt_ws_stream_pong(&s, back);
        check_pong(back, n, client);
        check(zlt_ws_stream_pong(&s, back) == 0);

        tap_note("before what goes");
        ping(&s, client);
        n = zlt_ws_stream_encode(&s, back, 1000, stream, 2, &used);
        check(used == 2 && !s.ponging);
        check_pong(back, n - (client ? 8 : 4), client);
    }

    tap_note("not within a message");
    zlt_ws_stream_init(&s, NULL);
    (void) zlt_ws_stream_begin(&s, back, 10);
    zlt_ws_stream_sent(&s, 4);
    ping(&s, 0);
    check(zlt_ws_stream_pong(&s, back) == 0);

    n = zlt_ws_stream_encode(&s, back, 1000, stream, 8, &used);
    check(used == 8 && memcmp(back, stream, 6) == 0);
    check_pong(back + 6, n - 6 - 4, 0);

    tap_note("before a message that goes from its place");
    ping(&s, 0);
    n = zlt_ws_stream_begin(&s, back, 10);
    check_pong(back, n - 2, 0);
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
    tap_run(test_in_place, "bytes that are sent from where they are");
    tap_run(test_fragments, "messages in fragments");
    tap_run(test_endless, "messages of any length");
    tap_run(test_rules, "what may come");
    tap_run(test_pong, "a Ping is answered between messages");
    tap_run(test_mask_move, "masking on the way, over bytes close behind");

    return tap_done();
}
