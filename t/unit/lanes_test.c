
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects: messages of a channel with lanes, against vectors written by hand
 * from docs/protocol.md.  However they are cut, the same comes out; a part of
 * a message is never taken for one, and what may not come is an error as soon
 * as its type and length are there.
 */


#include "tap.h"
#include "vector.h"

#include "zlt_lanes.h"


#define MOST_MESSAGES  64
#define MOST_BYTES     (3 * ZLT_LANE_MAX)


/* what a stream of messages is to the one who reads it; Lane in one piece */

typedef struct {
    zlt_lanes_msg_t   m[MOST_MESSAGES];
    unsigned          n;
    unsigned          parts;       /* of Lane that were given out */
    uint32_t          left;        /* of the last one, to come */
    int               rc;          /* ZLT_AGAIN, or the error */
    size_t            taken;       /* bytes before it */
} seen_t;


static uint8_t  bytes[MOST_BYTES];         /* of all Lanes */
static size_t   nbytes;


/* A part of a Lane is added to the one before it. */

static void
see(seen_t *s, const zlt_lanes_msg_t *m, uint32_t left)
{
    uint32_t          more;
    zlt_lanes_msg_t  *last;

    more = s->left;
    s->left = left;

    if (m->type == ZLT_LANE) {
        check(m->len > 0);
        check(nbytes + m->len <= sizeof(bytes));

        memcpy(bytes + nbytes, m->data, m->len);
        nbytes += m->len;
        s->parts++;

        if (more) {
            last = &s->m[s->n - 1];

            check(last->type == ZLT_LANE && last->lane == m->lane);
            last->len += m->len;
            return;
        }
    }

    if (check(s->n < MOST_MESSAGES)) {
        s->m[s->n] = *m;
        s->m[s->n++].data = NULL;
    }
}


/* Reads a piece, which lies in memory of its very size. */

static void
take(zlt_lanes_in_t *in, seen_t *s, const uint8_t *data, size_t len)
{
    size_t            pos, used;
    uint8_t          *p;
    zlt_lanes_msg_t   m;

    p = tap_copy(data, len);
    pos = 0;

    for ( ;; ) {
        memset(&m, 0, sizeof(m));

        s->rc = zlt_lanes_decode(in, &m, p + pos, len - pos, &used);

        check(used <= len - pos);

        pos += used;
        s->taken += used;

        if (s->rc != ZLT_OK) {
            break;
        }

        check(m.type != ZLT_LANE
              || (m.data >= p && m.data + m.len == p + pos));

        see(s, &m, in->left);
    }

    check(s->rc != ZLT_AGAIN || pos == len);

    tap_free(p, len);
}


/* The pieces are of "size" bytes, the first of "first". */

static void
read_all(seen_t *s, const uint8_t *data, size_t len, size_t first,
    size_t size)
{
    size_t          pos, n;
    zlt_lanes_in_t  in;

    memset(s, 0, sizeof(seen_t));
    memset(&in, 0, sizeof(in));

    nbytes = 0;
    n = first;

    for (pos = 0; pos < len; pos += n, n = size) {
        n = n < len - pos ? n : len - pos;

        take(&in, s, data + pos, n);

        if (s->rc != ZLT_AGAIN) {
            return;
        }
    }
}


static void
expect_same(const seen_t *a, const seen_t *b)
{
    unsigned  i;

    check(a->rc == b->rc);

    if (!check(a->n == b->n)) {
        return;
    }

    for (i = 0; i < a->n; i++) {
        check(a->m[i].type == b->m[i].type);
        check(a->m[i].lane == b->m[i].lane);
        check(a->m[i].len == b->m[i].len);
        check(a->m[i].credit == b->m[i].credit);
        check(a->m[i].timestamp == b->m[i].timestamp);
    }
}


/* One of each kind, and Lanes of one byte, side by side and of one lane. */

static const char  all[] =
    "60 00000009 00000001 'hello'"
    "60 00000005 00000001 'x'"
    "30 00000008 0000019312345678"
    "60 00000005 ffffffff 00"
    "61 00000008 00000001 00008000"
    "31 00000008 fedcba9876543210"
    "62 00000004 00000001"
    "53 00000000"
    "61 00000008 fffffffe ffffffff"
    "60 00000007 01020304 'end'";


static void
test_vectors(void)
{
    seen_t   s;
    size_t   len;
    uint8_t  buf[256];

    len = vector_read(buf, 0, all);
    read_all(&s, buf, len, len, len);

    check(s.rc == ZLT_AGAIN);
    check(s.taken == len);

    if (!check(s.n == 10)) {
        return;
    }

    check(s.m[0].type == ZLT_LANE);
    check(s.m[0].lane == 1);
    check(s.m[0].len == 5);

    check(s.m[1].type == ZLT_LANE);
    check(s.m[1].lane == 1);
    check(s.m[1].len == 1);

    check(s.m[2].type == ZLT_HEARTBEAT);
    check(s.m[2].timestamp == 0x0000019312345678);

    check(s.m[3].type == ZLT_LANE);
    check(s.m[3].lane == 0xffffffff);
    check(s.m[3].len == 1);

    check(s.m[4].type == ZLT_LANE_CREDIT);
    check(s.m[4].lane == 1);
    check(s.m[4].credit == 0x8000);

    check(s.m[5].type == ZLT_HEARTBEAT_ACK);
    check(s.m[5].timestamp == 0xfedcba9876543210);

    check(s.m[6].type == ZLT_LANE_END);
    check(s.m[6].lane == 1);

    check(s.m[7].type == ZLT_RETIRE);

    check(s.m[8].type == ZLT_LANE_CREDIT);
    check(s.m[8].lane == 0xfffffffe);
    check(s.m[8].credit == 0xffffffff);

    check(s.m[9].type == ZLT_LANE);
    check(s.m[9].lane == 0x01020304);
    check(s.m[9].len == 3);

    check(nbytes == 10);
    check(memcmp(bytes, "hellox\0end", 10) == 0);
}


static void
test_pieces(void)
{
    seen_t   whole, s;
    size_t   len, at, size;
    uint8_t  buf[256];

    len = vector_read(buf, 0, all);
    read_all(&whole, buf, len, len, len);

    for (size = 1; size < 20; size++) {

        for (at = 1; at < len; at++) {
            tap_note("split at %zu, then %zu", at, size);

            read_all(&s, buf, len, at, size);
            expect_same(&whole, &s);
            check(s.taken == len);
            check(nbytes == 10 && memcmp(bytes, "hellox\0end", 10) == 0);
        }
    }

    for (at = 1; at < len; at++) {
        tap_note("in two, at %zu", at);

        read_all(&s, buf, len, at, len);
        expect_same(&whole, &s);
        check(nbytes == 10 && memcmp(bytes, "hellox\0end", 10) == 0);
    }

    tap_note("byte by byte");

    read_all(&s, buf, len, 1, 1);
    check(s.parts == 10);
}


/* A message that is cut is none, and what there is of a Lane is given out. */

static void
test_truncated(void)
{
    unsigned  i;
    seen_t    s;
    size_t    len, at, have;
    uint8_t   buf[64];

    static const struct {
        const char  *text;
        size_t       front;       /* before the bytes of a Lane, or 0 */
    } messages[] = {
        { "60 00000009 00000001 'hello'", 9 },
        { "60 00000005 00000001 'x'", 9 },
        { "61 00000008 00000001 00008000", 0 },
        { "62 00000004 00000001", 0 },
        { "30 00000008 0000019312345678", 0 },
        { "31 00000008 0000019312345678", 0 },
        { "53 00000000", 0 }
    };

    for (i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
        len = vector_read(buf, 0, messages[i].text);

        for (at = 0; at < len; at++) {
            tap_note("%s, %zu bytes of it", messages[i].text, at);

            have = messages[i].front && at > messages[i].front
                   ? at - messages[i].front : 0;

            read_all(&s, buf, at, at, at);
            check(s.rc == (at ? ZLT_AGAIN : 0));
            check(s.taken == at);
            check(s.n == (have ? 1 : 0));
            check(nbytes == have);

            read_all(&s, buf, at, 1, 1);
            check(s.n == (have ? 1 : 0));
            check(nbytes == have);
        }
    }
}


/* Nothing comes of no bytes, wherever one is. */

static void
test_empty(void)
{
    seen_t          s;
    size_t          len, at;
    uint8_t         buf[256];
    zlt_lanes_in_t  in;

    len = vector_read(buf, 0, all);

    memset(&s, 0, sizeof(s));
    memset(&in, 0, sizeof(in));
    nbytes = 0;

    for (at = 0; at < len; at++) {
        take(&in, &s, buf + at, 0);
        check(s.rc == ZLT_AGAIN);

        take(&in, &s, buf + at, 1);
        check(s.rc == ZLT_AGAIN);
    }

    check(s.n == 10);
    check(nbytes == 10);
}


static void
test_errors(void)
{
    seen_t    s;
    size_t    len, size;
    uint8_t   buf[64];
    unsigned  i;

    static const struct {
        const char  *text;
        int          rc;
        size_t       taken;       /* no more than this is needed to see it */
    } errors[] = {
        { "60 00000000 'xxxx'",                   ZLT_ERR_SHORT, 5 },
        { "60 00000003 000000",                   ZLT_ERR_SHORT, 5 },
        { "60 00000004 00000001",                 ZLT_ERR_SHORT, 5 },
        { "60 00008005 00000001 'x'",             ZLT_ERR_SIZE,  5 },
        { "60 00010000 00000001 'x'",             ZLT_ERR_SIZE,  5 },
        { "60 ffffffff 00000001 'x'",             ZLT_ERR_SIZE,  5 },
        { "60 80000005 00000001 'x'",             ZLT_ERR_SIZE,  5 },
        { "60 00000005 00000000 'x'",             ZLT_ERR_VALUE, 9 },
        { "61 00000007 00000001 000080",          ZLT_ERR_SHORT, 5 },
        { "61 00000000",                          ZLT_ERR_SHORT, 5 },
        { "61 00000009 00000001 00008000 00",     ZLT_ERR_SIZE,  5 },
        { "61 00000008 00000000 00008000",        ZLT_ERR_VALUE, 13 },
        { "62 00000003 000001",                   ZLT_ERR_SHORT, 5 },
        { "62 00000000",                          ZLT_ERR_SHORT, 5 },
        { "62 00000005 00000001 00",              ZLT_ERR_SIZE,  5 },
        { "62 00000004 00000000",                 ZLT_ERR_VALUE, 9 },
        { "30 00000007 00000000000000",           ZLT_ERR_SHORT, 5 },
        { "30 00000009 000000000000000000",       ZLT_ERR_SIZE,  5 },
        { "31 00000000",                          ZLT_ERR_SHORT, 5 },
        { "31 00000009 000000000000000000",       ZLT_ERR_SIZE,  5 },
        { "53 00000001 00",                       ZLT_ERR_SIZE,  5 },
        { "53 ffffffff",                          ZLT_ERR_SIZE,  5 }
    };

    for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        len = vector_read(buf, 0, errors[i].text);

        for (size = 1; size <= len; size++) {
            tap_note("%s, in pieces of %zu", errors[i].text, size);

            read_all(&s, buf, len, size, size);
            check(s.rc == errors[i].rc);
            check(s.n == 0);
            check(s.taken == errors[i].taken);
        }
    }

    /* every other type, also those of other channels */

    for (i = 0; i < 256; i++) {

        switch (i) {

        case 0x30: case 0x31: case 0x53: case 0x60: case 0x61: case 0x62:
            continue;
        }

        tap_note("type %u", i);

        len = vector_read(buf, 0, "00 00000008 00000001 00000001");
        buf[0] = (uint8_t) i;

        read_all(&s, buf, len, len, len);
        check(s.rc == ZLT_ERR_TYPE);
        check(s.n == 0);

        /* behind one that may come */

        len = vector_read(buf, 0,
                          "60 00000005 00000001 'x' 00 00000004 00000001");
        buf[10] = (uint8_t) i;

        read_all(&s, buf, len, 1, 1);
        check(s.rc == ZLT_ERR_TYPE);
        check(s.n == 1);
        check(s.taken == 15);
    }
}


/* Of 32767 and 32768 bytes, in pieces; 32769 are too many. */

static void
test_largest(void)
{
    size_t    n, len, size, i;
    seen_t    s;
    uint8_t  *buf;

    buf = malloc(ZLT_LANE_MAX + 64);

    for (n = ZLT_LANE_MAX - 1; n <= ZLT_LANE_MAX + 1; n++) {

        len = vector_read(buf, 0, "60 00000000 00000007");
        buf[3] = (uint8_t) ((n + 4) >> 8);
        buf[4] = (uint8_t) (n + 4);

        for (i = 0; i < n; i++) {
            buf[len++] = (uint8_t) (i * 7 + i / 251);
        }

        len = vector_read(buf, len, "62 00000004 00000007");

        for (size = 1; size <= len; size = size * 3 + 1) {
            tap_note("%zu bytes, in pieces of %zu", n, size);

            read_all(&s, buf, len, size, size);

            if (n > ZLT_LANE_MAX) {
                check(s.rc == ZLT_ERR_SIZE);
                check(s.n == 0);
                check(s.taken == 5);
                continue;
            }

            check(s.rc == ZLT_AGAIN);
            check(s.n == 2);
            check(s.m[0].type == ZLT_LANE && s.m[0].lane == 7);
            check(s.m[0].len == n);
            check(s.m[1].type == ZLT_LANE_END && s.m[1].lane == 7);
            check(nbytes == n && memcmp(bytes, buf + 9, n) == 0);
        }
    }

    free(buf);
}


static void
test_encode(void)
{
    size_t    len;
    uint8_t   buf[32], *p;

    p = tap_copy(NULL, ZLT_LANE_HEADER);
    zlt_lanes_header(p, 0x01020304, 1);
    len = vector_read(buf, 0, "60 00000005 01020304");
    check(len == ZLT_LANE_HEADER && memcmp(p, buf, len) == 0);

    zlt_lanes_header(p, 0xffffffff, ZLT_LANE_MAX);
    len = vector_read(buf, 0, "60 00008004 ffffffff");
    check(memcmp(p, buf, len) == 0);

    zlt_lanes_end(p, 0x80000001);
    len = vector_read(buf, 0, "62 00000004 80000001");
    check(len == ZLT_LANE_HEADER && memcmp(p, buf, len) == 0);
    tap_free(p, ZLT_LANE_HEADER);

    p = tap_copy(NULL, ZLT_LANE_CREDIT_SIZE);
    zlt_lanes_credit(p, 1, 0x00010000);
    len = vector_read(buf, 0, "61 00000008 00000001 00010000");
    check(len == ZLT_LANE_CREDIT_SIZE && memcmp(p, buf, len) == 0);
    tap_free(p, ZLT_LANE_CREDIT_SIZE);
}


int
main(void)
{
    tap_run(test_vectors, "vectors of every message");
    tap_run(test_pieces, "the same, however they are cut");
    tap_run(test_truncated, "a part of a message is none");
    tap_run(test_empty, "nothing comes of nothing");
    tap_run(test_errors, "what may not come");
    tap_run(test_largest, "the largest Lane");
    tap_run(test_encode, "what is sent");

    return tap_done();
}
