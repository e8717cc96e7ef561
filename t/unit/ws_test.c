
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects the WebSocket framing, RFC 6455, in both roles: what the parser
 * reports depends on the bytes alone and not on how they came, nothing is
 * taken that the standard forbids, and no length is believed before it is
 * known to be within the limit.
 *
 * Events are compared as a trace: a data byte is one entry, however many
 * came in a chunk, so that traces of one input are equal wherever it is cut.
 */


#include "tap.h"
#include "vector.h"

#include "zlt_ws.h"


#define MAX_INPUT  (400 * 1024)
#define MAX_TRACE  (2 * MAX_INPUT)

#define MASK  "37fa213d"


typedef struct {
    uint8_t  bytes[MAX_TRACE];
    size_t   len;
} trace_t;


static uint8_t   input[MAX_INPUT];
static size_t    input_len;
static uint8_t   payload[MAX_INPUT];

static trace_t   expected;
static trace_t   seen;

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
trace_data(trace_t *t, const uint8_t *p, size_t len)
{
    size_t  i;

    for (i = 0; i < len; i++) {
        t->bytes[t->len++] = 'd';
        t->bytes[t->len++] = p[i];
    }
}


static void
trace_end(trace_t *t)
{
    t->bytes[t->len++] = 'e';
}


static void
trace_control(trace_t *t, unsigned opcode, const uint8_t *p, size_t len)
{
    t->bytes[t->len++] = 'c';
    t->bytes[t->len++] = (uint8_t) opcode;
    t->bytes[t->len++] = (uint8_t) len;

    if (len) {
        memcpy(t->bytes + t->len, p, len);
        t->len += len;
    }
}


/* The position is that after the byte which shows the fault. */

static void
trace_error(trace_t *t, unsigned code, size_t pos)
{
    t->len += (size_t) sprintf((char *) t->bytes + t->len, "x%u@%zu", code,
                               pos);
}


/* Feeds n bytes of the input, from "from" on, in memory that ends there. */

static int
feed(zlt_ws_parser_t *p, trace_t *t, size_t from, size_t n)
{
    int              rc;
    uint8_t         *copy, *pos, *end;
    zlt_ws_event_t   event;

    copy = tap_copy(input + from, n);
    pos = copy;
    end = copy + n;
    rc = 1;

    for ( ;; ) {
        event = zlt_ws_parse(p, &pos, end);

        if (event == ZLT_WS_AGAIN) {
            check(pos == end);
            break;
        }

        if (event == ZLT_WS_DATA) {
            check(p->chunk >= copy && p->chunk + p->chunk_len <= end);
            check(p->chunk_len || p->message_end);

            trace_data(t, p->chunk, p->chunk_len);

            if (p->message_end) {
                trace_end(t);
            }

        } else if (event == ZLT_WS_CONTROL) {
            trace_control(t, p->opcode, p->control, p->control_len);

        } else {
            check(p->error != NULL);

            trace_error(t, p->close_code, from + (size_t) (pos - copy));

            /* and it stays so */

            check(zlt_ws_parse(p, &pos, end) == ZLT_WS_ERROR);
            check(zlt_ws_parse(p, &end, end) == ZLT_WS_ERROR);

            rc = 0;
            break;
        }
    }

    tap_free(copy, n);

    return rc;
}


/* Feeds the input in pieces of 1 to "most" bytes, or cut once at "cut". */

static void
parse(unsigned role, size_t max, size_t most, size_t cut)
{
    size_t           n, from;
    zlt_ws_parser_t  p;

    seen.len = 0;
    zlt_ws_init(&p, role, max);

    for (from = 0; from < input_len; from += n) {
        n = most ? 1 + rnd((uint32_t) most) : (from < cut ? cut : input_len);

        if (n > input_len - from) {
            n = input_len - from;
        }

        if (!feed(&p, &seen, from, n)) {
            return;
        }
    }
}


static int
same(void)
{
    return check(seen.len == expected.len
                 && memcmp(seen.bytes, expected.bytes, seen.len) == 0);
}


/* The input gives the expected trace, whole and however it is cut. */

static void
expect(unsigned role, size_t max)
{
    size_t  i;

    parse(role, max, 0, 0);

    if (!same()) {
        return;
    }

    parse(role, max, 1, 0);
    same();

    for (i = 1; i < input_len && i < 300; i++) {
        parse(role, max, 0, i);
        same();
    }

    for (i = 0; i < 20; i++) {
        parse(role, max, 1 + i * i * (input_len / 400 + 1), 0);
        same();
    }
}


static void
begin(void)
{
    input_len = 0;
    expected.len = 0;
}


static void
bytes(const char *text)
{
    input_len = vector_read(input, input_len, text);
}


/* A frame built apart from zlt_ws_header() and zlt_ws_mask(). */

static void
frame(unsigned role, unsigned first, const uint8_t *p, size_t len)
{
    size_t    i;
    uint8_t   mask[4];
    unsigned  bit;

    bit = (role == ZLT_WS_SERVER) ? 0x80 : 0;

    input[input_len++] = (uint8_t) first;

    if (len <= 125) {
        input[input_len++] = (uint8_t) (bit | len);

    } else if (len <= 65535) {
        input[input_len++] = (uint8_t) (bit | 126);
        input[input_len++] = (uint8_t) (len / 256);
        input[input_len++] = (uint8_t) (len % 256);

    } else {
        input[input_len++] = (uint8_t) (bit | 127);
        memset(input + input_len, 0, 4);
        input_len += 4;
        input[input_len++] = (uint8_t) (len / 16777216);
        input[input_len++] = (uint8_t) (len / 65536 % 256);
        input[input_len++] = (uint8_t) (len / 256 % 256);
        input[input_len++] = (uint8_t) (len % 256);
    }

    for (i = 0; i < 4; i++) {
        mask[i] = bit ? (uint8_t) rnd(256) : 0;

        if (bit) {
            input[input_len++] = mask[i];
        }
    }

    for (i = 0; i < len; i++) {
        input[input_len++] = p[i] ^ mask[i % 4];
    }
}


static void
test_rfc_examples(void)
{
    tap_note("binary, unmasked");
    begin();
    bytes("82 05 'Hello'");
    trace_data(&expected, (const uint8_t *) "Hello", 5);
    trace_end(&expected);
    expect(ZLT_WS_CLIENT, 65536);

    tap_note("binary, masked");
    begin();
    bytes("82 85" MASK "7f9f4d5158");
    trace_data(&expected, (const uint8_t *) "Hello", 5);
    trace_end(&expected);
    expect(ZLT_WS_SERVER, 65536);

    tap_note("in two fragments");
    begin();
    bytes("02 03 'Hel' 80 02 'lo'");
    trace_data(&expected, (const uint8_t *) "Hello", 5);
    trace_end(&expected);
    expect(ZLT_WS_CLIENT, 65536);

    tap_note("ping, masked pong");
    begin();
    bytes("89 05 'Hello'");
    trace_control(&expected, 9, (const uint8_t *) "Hello", 5);
    expect(ZLT_WS_CLIENT, 65536);

    begin();
    bytes("8a 85" MASK "7f9f4d5158");
    trace_control(&expected, 10, (const uint8_t *) "Hello", 5);
    expect(ZLT_WS_SERVER, 65536);

    tap_note("close 1001 'bye'");
    begin();
    bytes("88 05 03e9 'bye'");
    trace_control(&expected, 8, (const uint8_t *) "\x03\xe9" "bye", 5);
    expect(ZLT_WS_CLIENT, 65536);
}


static void
test_lengths(void)
{
    size_t               i, n;
    unsigned             role;
    static const size_t  lengths[] = {
        0, 1, 2, 3, 4, 5, 7, 8, 9, 124, 125, 126, 127, 128, 255, 256, 4095,
        65534, 65535, 65536, 65537, 70000
    };

    for (i = 0; i < sizeof(payload); i++) {
        payload[i] = (uint8_t) rnd(256);
    }

    for (role = 0; role < 2; role++) {
        for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
            n = lengths[i];
            tap_note("role %u, length %zu", role, n);

            begin();
            frame(role, 0x82, payload, n);
            trace_data(&expected, payload, n);
            trace_end(&expected);

            expect(role, 70000);
        }
    }
}


/* Nothing may wait for a byte after the frame: there may be none. */

static void
test_empty_frames(void)
{
    unsigned  role;

    for (role = 0; role < 2; role++) {
        tap_note("role %u", role);

        begin();
        frame(role, 0x82, NULL, 0);
        trace_end(&expected);
        expect(role, 65536);

        begin();
        frame(role, 0x89, NULL, 0);
        trace_control(&expected, 9, payload, 0);
        expect(role, 65536);

        begin();
        frame(role, 0x88, NULL, 0);
        trace_control(&expected, 8, payload, 0);
        expect(role, 65536);

        begin();
        frame(role, 0x02, NULL, 0);
        expect(role, 65536);

        frame(role, 0x00, NULL, 0);
        expect(role, 65536);

        frame(role, 0x80, NULL, 0);
        trace_end(&expected);
        expect(role, 65536);

        frame(role, 0x01, NULL, 0);
        frame(role, 0x80, NULL, 0);
        frame(role, 0x81, NULL, 0);
        expect(role, 65536);

        frame(role, 0x82, NULL, 0);
        trace_end(&expected);
        expect(role, 65536);
    }
}


static void
test_first_byte(void)
{
    int       good;
    unsigned  b, role, opcode;

    for (role = 0; role < 2; role++) {
        for (b = 0; b < 256; b++) {
            tap_note("role %u, first byte %02x", role, b);

            opcode = b & 0x0f;

            good = (b & 0x70) == 0
                   && (opcode == 1 || opcode == 2
                       || ((b & 0x80) && opcode >= 8 && opcode <= 10));

            begin();
            frame(role, b, (const uint8_t *) "ab", 2);

            if (!good) {
                trace_error(&expected, 1002, 1);

            } else if (opcode >= 8) {
                trace_control(&expected, opcode, (const uint8_t *) "ab", 2);

            } else if (opcode == 2) {
                trace_data(&expected, (const uint8_t *) "ab", 2);

                if (b & 0x80) {
                    trace_end(&expected);
                }
            }

            expect(role, 65536);
        }
    }
}


static void
test_masking_is_by_role(void)
{
    begin();
    bytes("82 05 'Hello'");
    trace_error(&expected, 1002, 2);
    expect(ZLT_WS_SERVER, 65536);

    begin();
    bytes("82 85" MASK "7f9f4d5158");
    trace_error(&expected, 1002, 2);
    expect(ZLT_WS_CLIENT, 65536);

    begin();
    bytes("89 00");
    trace_error(&expected, 1002, 2);
    expect(ZLT_WS_SERVER, 65536);

    begin();
    bytes("88 80" MASK);
    trace_error(&expected, 1002, 2);
    expect(ZLT_WS_CLIENT, 65536);

    /* a good frame first */

    begin();
    frame(ZLT_WS_SERVER, 0x82, (const uint8_t *) "a", 1);
    bytes("82 00");
    trace_data(&expected, (const uint8_t *) "a", 1);
    trace_end(&expected);
    trace_error(&expected, 1002, input_len);
    expect(ZLT_WS_SERVER, 65536);
}


static void
test_length_forms(void)
{
    size_t  i;
    static const struct {
        const char  *bytes;
        unsigned     code;
        size_t       pos;
    } cases[] = {
        { "82 7e 0000",              1002, 4 },
        { "82 7e 0001",              1002, 4 },
        { "82 7e 007d",              1002, 4 },
        { "02 7e 007d",              1002, 4 },
        { "81 7e 007d",              1002, 4 },
        { "82 7f 0000000000000000",  1002, 10 },
        { "82 7f 000000000000007d",  1002, 10 },
        { "82 7f 000000000000007e",  1002, 10 },
        { "82 7f 000000000000ffff",  1002, 10 },
        { "81 7f 0000000000000001",  1002, 10 },
        { "82 7f 8000000000000000",  1002, 10 },
        { "82 7f 8000000000000001",  1002, 10 },
        { "82 7f ffffffffffffffff",  1002, 10 },
        { "82 7f 7fffffffffffffff",  1009, 10 },
        { "82 7f 0000000100000000",  1009, 10 },
        { "82 7f 0000000100000001",  1009, 10 },
        { "82 7f 0000000000010001",  1009, 10 },
        { "81 7f 7fffffffffffffff",  1009, 10 },
        { "81 7f 0000000000010001",  1009, 10 },
        { "02 7f 0000000000010001",  1009, 10 },
        { "01 7f 0000000000010001",  1009, 10 },

        /* control frames have one form only */

        { "89 7e 007e",              1002, 2 },
        { "89 7e 0001",              1002, 2 },
        { "8a 7f 0000000000010000",  1002, 2 },
        { "88 7e 00ff",              1002, 2 }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        tap_note("%s", cases[i].bytes);

        begin();
        bytes(cases[i].bytes);
        trace_error(&expected, cases[i].code, cases[i].pos);
        expect(ZLT_WS_CLIENT, 65536);

        /* the server knows it before the mask has come */

        begin();
        bytes(cases[i].bytes);
        input[1] |= 0x80;
        trace_error(&expected, cases[i].code, cases[i].pos);
        expect(ZLT_WS_SERVER, 65536);
    }
}


static void
test_control_frames(void)
{
    size_t    n;
    unsigned  role, opcode;

    for (n = 0; n < 125; n++) {
        payload[n] = (uint8_t) rnd(256);
    }

    for (role = 0; role < 2; role++) {
        for (opcode = 8; opcode <= 10; opcode++) {
            for (n = 0; n <= 125; n += (n < 10 || n > 114) ? 1 : 13) {
                tap_note("role %u, opcode %u, length %zu", role, opcode, n);

                begin();
                frame(role, 0x80 | opcode, payload, n);
                frame(role, 0x80 | opcode, payload, n / 2);
                trace_control(&expected, opcode, payload, n);
                trace_control(&expected, opcode, payload, n / 2);

                expect(role, 0);
            }
        }
    }
}


static void
test_fragments(void)
{
    unsigned        role;
    const uint8_t  *p;

    p = (const uint8_t *) "abcdefghijklmnop";

    for (role = 0; role < 2; role++) {
        tap_note("role %u", role);

        begin();
        frame(role, 0x02, p, 5);
        frame(role, 0x89, (const uint8_t *) "1", 1);
        frame(role, 0x00, p + 5, 3);
        frame(role, 0x8a, NULL, 0);
        frame(role, 0x89, (const uint8_t *) "22", 2);
        frame(role, 0x00, NULL, 0);
        frame(role, 0x80, p + 8, 8);
        frame(role, 0x82, p, 1);

        trace_data(&expected, p, 5);
        trace_control(&expected, 9, (const uint8_t *) "1", 1);
        trace_data(&expected, p + 5, 3);
        trace_control(&expected, 10, NULL, 0);
        trace_control(&expected, 9, (const uint8_t *) "22", 2);
        trace_data(&expected, p + 8, 8);
        trace_end(&expected);
        trace_data(&expected, p, 1);
        trace_end(&expected);

        expect(role, 16);

        tap_note("role %u, an empty last fragment", role);

        begin();
        frame(role, 0x02, p, 5);
        frame(role, 0x88, NULL, 0);
        frame(role, 0x80, NULL, 0);

        trace_data(&expected, p, 5);
        trace_control(&expected, 8, NULL, 0);
        trace_end(&expected);

        expect(role, 16);
    }
}


static void
test_fragment_errors(void)
{
    size_t    pos;
    unsigned  i, role, b;

    for (role = 0; role < 2; role++) {

        /* a continuation of nothing, at the start and after a message */

        for (b = 0x00; b <= 0x80; b += 0x80) {
            tap_note("role %u, %02x continues nothing", role, b);

            begin();
            frame(role, b, payload, 3);
            trace_error(&expected, 1002, 1);
            expect(role, 65536);

            begin();
            frame(role, 0x82, payload, 3);
            frame(role, 0x89, NULL, 0);
            pos = input_len;
            frame(role, b, payload, 3);

            trace_data(&expected, payload, 3);
            trace_end(&expected);
            trace_control(&expected, 9, NULL, 0);
            trace_error(&expected, 1002, pos + 1);
            expect(role, 65536);

            begin();
            frame(role, 0x81, payload, 3);
            pos = input_len;
            frame(role, b, payload, 3);
            trace_error(&expected, 1002, pos + 1);
            expect(role, 65536);
        }

        /* a new message inside another, of either kind */

        for (i = 0; i < 8; i++) {
            b = (i & 1 ? 0x80 : 0) | (i & 2 ? 1 : 2);
            tap_note("role %u, %02x inside another", role, b);

            begin();
            frame(role, i & 4 ? 1 : 2, payload, 3);
            frame(role, 0x00, payload, 3);
            frame(role, 0x89, NULL, 0);
            pos = input_len;
            frame(role, b, payload, 3);

            if (!(i & 4)) {
                trace_data(&expected, payload, 3);
                trace_data(&expected, payload, 3);
            }

            trace_control(&expected, 9, NULL, 0);
            trace_error(&expected, 1002, pos + 1);
            expect(role, 65536);
        }

        tap_note("role %u, a fragmented control frame", role);

        for (b = 8; b <= 10; b++) {
            begin();
            frame(role, 0x02, payload, 3);
            pos = input_len;
            frame(role, b, payload, 3);
            trace_data(&expected, payload, 3);
            trace_error(&expected, 1002, pos + 1);
            expect(role, 65536);
        }
    }
}


static void
test_text(void)
{
    unsigned  i, role;

    for (role = 0; role < 2; role++) {
        tap_note("role %u, text is discarded", role);

        begin();
        frame(role, 0x81, payload, 10);
        frame(role, 0x01, payload, 200);
        frame(role, 0x89, payload, 4);
        frame(role, 0x80, payload, 300);
        frame(role, 0x82, payload, 5);

        trace_control(&expected, 9, payload, 4);
        trace_data(&expected, payload, 5);
        trace_end(&expected);
        expect(role, 65536);

        tap_note("role %u, text of 65536 bytes", role);

        begin();
        frame(role, 0x81, payload, 65536);
        frame(role, 0x82, payload, 1);
        trace_data(&expected, payload, 1);
        trace_end(&expected);
        expect(role, 65536);

        tap_note("role %u, text of 65537 bytes", role);

        begin();
        frame(role, 0x81, payload, 65537);
        trace_error(&expected, 1009, 10);
        expect(role, 65536);

        tap_note("role %u, text of 1 MB", role);

        begin();
        bytes("81 7f 0000000000100000");
        input[1] |= (role == ZLT_WS_SERVER) ? 0x80 : 0;
        trace_error(&expected, 1009, 10);
        expect(role, 65536);

        tap_note("role %u, text of 65537 bytes in fragments", role);

        begin();
        frame(role, 0x01, payload, 32768);
        frame(role, 0x00, payload, 32768);
        frame(role, 0x8a, payload, 0);
        frame(role, 0x00, payload, 0);
        i = (unsigned) input_len;
        frame(role, 0x80, payload, 1);
        trace_control(&expected, 10, payload, 0);
        trace_error(&expected, 1009, i + 2);
        expect(role, 65536);
    }
}


static void
test_message_limit(void)
{
    size_t    max, n, pos;
    unsigned  role;

    for (role = 0; role < 2; role++) {
        for (max = 0; max < 140; max += 7) {
            tap_note("role %u, limit %zu", role, max);

            begin();
            frame(role, 0x82, payload, max);
            frame(role, 0x82, payload, max);
            trace_data(&expected, payload, max);
            trace_end(&expected);
            trace_data(&expected, payload, max);
            trace_end(&expected);
            expect(role, max);

            begin();
            frame(role, 0x82, payload, max + 1);
            trace_error(&expected, 1009, max + 1 > 125 ? 4 : 2);
            expect(role, max);

            for (n = 0; n <= max; n += 5) {
                tap_note("role %u, limit %zu, cut at %zu", role, max, n);

                begin();
                frame(role, 0x02, payload, n);
                pos = input_len;
                frame(role, 0x80, payload, max - n + 1);
                trace_data(&expected, payload, n);
                trace_error(&expected, 1009,
                            pos + (max - n + 1 > 125 ? 4 : 2));
                expect(role, max);
            }
        }
    }

    /* lengths that would wrap around if they were added up */

    begin();
    bytes("02 02 'ab' 00 7f 7ffffffffffffffe");
    trace_data(&expected, (const uint8_t *) "ab", 2);
    trace_error(&expected, 1009, input_len);
    expect(ZLT_WS_CLIENT, SIZE_MAX / 4);
}


/* Streams of good frames, ended by a bad one, built beside their trace. */

static void
test_random_streams(void)
{
    int       open, text, bad;
    size_t    i, n, pos, total;
    unsigned  role, round, frames, fin;

    for (round = 0; round < 400; round++) {
        role = round & 1;
        tap_note("round %u", round);

        begin();
        open = 0;
        text = 0;
        total = 0;

        for (frames = rnd(12); frames; frames--) {

            for (i = 0; i < 300; i++) {
                payload[i] = (uint8_t) rnd(256);
            }

            if (rnd(3) == 0) {
                n = rnd(126);
                i = 8 + rnd(3);
                frame(role, 0x80 | (unsigned) i, payload, n);
                trace_control(&expected, (unsigned) i, payload, n);
                continue;
            }

            n = rnd(2) ? rnd(300) : rnd(10);
            fin = rnd(2) ? 0x80 : 0;

            if (!open) {
                total = 0;
                text = rnd(4) == 0;
            }

            if (total + n > 1000) {
                n = 1000 - total;
            }

            total += n;
            frame(role, fin | (open ? 0 : text ? 1 : 2), payload, n);
            open = !fin;

            if (!text) {
                trace_data(&expected, payload, n);

                if (fin) {
                    trace_end(&expected);
                }
            }
        }

        bad = (int) rnd(4);
        pos = input_len;

        switch (bad) {

        case 0:
            frame(role, 0x90 | rnd(128), payload, rnd(10));
            input[pos] |= 0x10;
            trace_error(&expected, 1002, pos + 1);
            break;

        case 1:
            frame(role, open ? 0x82 : 0x80, payload, rnd(10));
            trace_error(&expected, 1002, pos + 1);
            break;

        case 2:
            frame(!role, 0x8a, payload, rnd(10));
            trace_error(&expected, 1002, pos + 2);
            break;

        default:
            break;
        }

        expect(role, 1000);
    }
}


static void
test_mask(void)
{
    size_t    i, len, align, offset;
    uint8_t   mask[4], area[160], before[160];

    for (align = 0; align < 9; align++) {
        for (len = 0; len < 80; len++) {
            for (offset = 0; offset < 10; offset++) {
                tap_note("alignment %zu, length %zu, offset %zu", align, len,
                         offset);

                for (i = 0; i < sizeof(area); i++) {
                    area[i] = (uint8_t) rnd(256);
                }

                for (i = 0; i < 4; i++) {
                    mask[i] = (uint8_t) rnd(256);
                }

                memcpy(before, area, sizeof(area));

                zlt_ws_mask(area + align, len, mask, offset);

                for (i = 0; i < len; i++) {
                    before[align + i] ^= mask[(offset + i) % 4];
                }

                check(memcmp(before, area, sizeof(area)) == 0);
            }
        }
    }
}


/* A mask position that has come round: pieces give what the whole gives. */

static void
test_mask_in_pieces(void)
{
    size_t   i, n, round;
    uint8_t  mask[4], whole[1000], pieces[1000];

    for (round = 0; round < 200; round++) {

        for (i = 0; i < sizeof(whole); i++) {
            whole[i] = pieces[i] = (uint8_t) rnd(256);
        }

        for (i = 0; i < 4; i++) {
            mask[i] = (uint8_t) rnd(256);
        }

        zlt_ws_mask(whole, sizeof(whole), mask, 0);

        for (i = 0; i < sizeof(pieces); i += n) {
            n = rnd(40);

            if (n > sizeof(pieces) - i) {
                n = sizeof(pieces) - i;
            }

            zlt_ws_mask(pieces + i, n, mask, i);
        }

        check(memcmp(whole, pieces, sizeof(whole)) == 0);
    }
}


static void
test_header(void)
{
    size_t   i, len, n;
    uint8_t  dst[ZLT_WS_MAX_HEADER + 1], want[ZLT_WS_MAX_HEADER];
    static const struct {
        unsigned     opcode;
        size_t       len;
        const char  *server;
        const char  *client;
    } cases[] = {
        { 2, 0,      "82 00",   "82 80" MASK },
        { 2, 1,      "82 01",   "82 81" MASK },
        { 9, 125,    "89 7d",   "89 fd" MASK },
        { 8, 2,      "88 02",   "88 82" MASK },
        { 10, 0,     "8a 00",   "8a 80" MASK },
        { 2, 126,    "82 7e 007e", "82 fe 007e" MASK },
        { 2, 256,    "82 7e 0100", "82 fe 0100" MASK },
        { 2, 65535,  "82 7e ffff", "82 fe ffff" MASK },
        { 2, 65536,  "82 7f 0000000000010000",
                     "82 ff 0000000000010000" MASK },
        { 2, 0x12345678, "82 7f 0000000012345678",
                         "82 ff 0000000012345678" MASK }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        tap_note("%s", cases[i].server);

        memset(dst, 0xee, sizeof(dst));
        n = vector_read(want, 0, cases[i].server);
        len = zlt_ws_header(dst, cases[i].opcode, cases[i].len, NULL);
        check(len == n && memcmp(dst, want, n) == 0 && dst[n] == 0xee);

        memset(dst, 0xee, sizeof(dst));
        n = vector_read(want, 0, cases[i].client);
        len = zlt_ws_header(dst, cases[i].opcode, cases[i].len,
                            (const uint8_t *) "\x37\xfa\x21\x3d");
        check(len == n && memcmp(dst, want, n) == 0 && dst[n] == 0xee);
    }
}


/* What one side writes the other one reads. */

static void
test_round_trip(void)
{
    size_t    i, n;
    unsigned  role;
    uint8_t   mask[4];

    for (role = 0; role < 2; role++) {
        for (n = 0; n < 70000; n += (n < 300 ? 1 : 7919)) {
            tap_note("role %u, length %zu", role, n);

            for (i = 0; i < n; i++) {
                payload[i] = (uint8_t) rnd(256);
            }

            for (i = 0; i < 4; i++) {
                mask[i] = (uint8_t) rnd(256);
            }

            begin();
            trace_data(&expected, payload, n);
            trace_end(&expected);

            input_len = zlt_ws_header(input, ZLT_WS_OP_BINARY, n,
                                      role == ZLT_WS_SERVER ? mask : NULL);
            memcpy(input + input_len, payload, n);

            if (role == ZLT_WS_SERVER) {
                zlt_ws_mask(input + input_len, n, mask, 0);
            }

            input_len += n;

            parse(role, 70000, 0, 0);
            same();

            parse(role, 70000, n / 10 + 1, 0);
            same();
        }
    }
}


static void
test_close_payload(void)
{
    char                      reason[300];
    size_t                    i, n;
    uint8_t                   dst[ZLT_WS_MAX_CONTROL + 1];
    static const char *const  chars[] = {
        "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"
    };

    dst[ZLT_WS_MAX_CONTROL] = 0xee;

    check(zlt_ws_close_payload(dst, 1002, NULL) == 2);
    check(memcmp(dst, "\x03\xea", 2) == 0);

    check(zlt_ws_close_payload(dst, 1009, "") == 2);
    check(memcmp(dst, "\x03\xf1", 2) == 0);

    check(zlt_ws_close_payload(dst, 1000, "bye") == 5);
    check(memcmp(dst, "\x03\xe8" "bye", 5) == 0);

    memset(reason, 'r', sizeof(reason));

    for (n = 0; n < 140; n++) {
        tap_note("reason of %zu bytes", n);
        reason[n] = '\0';

        check(zlt_ws_close_payload(dst, 1002, reason)
              == 2 + (n < 123 ? n : 123));
        check(zlt_ws_close_code(dst, 2 + (n < 123 ? n : 123)) == 1002);

        reason[n] = 'r';
    }

    /* characters of 2, 3 and 4 bytes across byte 123 */

    for (i = 110; i <= 123; i++) {
        for (n = 0; n < 3; n++) {
            tap_note("a character of %zu bytes at %zu", n + 2, i);

            memset(reason, 'r', i);
            strcpy(reason + i, chars[n]);
            strcat(reason, "and more, up to the limit and beyond");

            check(zlt_ws_close_payload(dst, 1002, reason)
                  == 2 + (i + n + 2 <= 123 || i == 123 ? 123 : i));
        }
    }

    check(dst[ZLT_WS_MAX_CONTROL] == 0xee);
}


static void
test_close_code(void)
{
    int       good;
    uint8_t   p[8];
    unsigned  code;

    check(zlt_ws_close_code(NULL, 0) == ZLT_WS_NO_CODE);
    check(zlt_ws_close_code((const uint8_t *) "\x03", 1) == ZLT_WS_PROTOCOL);

    for (code = 0; code < 65536; code++) {
        tap_note("code %u", code);

        p[0] = (uint8_t) (code >> 8);
        p[1] = (uint8_t) code;

        good = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014)
               || (code >= 3000 && code <= 4999);

        check(zlt_ws_close_code(p, 2) == (good ? code : ZLT_WS_PROTOCOL));
    }

    check(zlt_ws_close_code((const uint8_t *) "\x03\xe8ok", 4) == 1000);
    check(zlt_ws_close_code((const uint8_t *) "\x03\xe8\xff", 3) == 1007);
    check(zlt_ws_close_code((const uint8_t *) "\x03\xe8\xc3", 3) == 1007);
    check(zlt_ws_close_code((const uint8_t *) "\x00\x00\xff", 3) == 1002);
}


int
main(void)
{
    tap_run(test_rfc_examples, "examples of the RFC");
    tap_run(test_lengths, "lengths of 7, 16 and 64 bits");
    tap_run(test_empty_frames, "empty frames are finished at once");
    tap_run(test_first_byte, "every first byte");
    tap_run(test_masking_is_by_role, "clients mask, servers do not");
    tap_run(test_length_forms, "lengths too long, top bit, over the limit");
    tap_run(test_control_frames, "control frames of every length");
    tap_run(test_fragments, "fragments, with control frames between");
    tap_run(test_fragment_errors, "continuations of nothing, nested messages");
    tap_run(test_text, "text is discarded up to its limit");
    tap_run(test_message_limit, "the limit counts all fragments");
    tap_run(test_random_streams, "random streams, cut at random");
    tap_run(test_mask, "masking by words, against bytes");
    tap_run(test_mask_in_pieces, "masking in pieces");
    tap_run(test_header, "headers, written");
    tap_run(test_round_trip, "what is written is read");
    tap_run(test_close_payload, "payload of Close, cut");
    tap_run(test_close_code, "payload of Close, read");

    return tap_done();
}
