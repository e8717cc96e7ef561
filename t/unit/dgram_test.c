
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects the frames of a datagram channel: each as docs/protocol.md has it,
 * byte for byte; the same result wherever the input is cut; and a malformed
 * frame that costs its own session only, with the next one read whole.
 */


#include "tap.h"
#include "vector.h"
#include "zlt_dgram.h"


#define ID  "00112233445566778899aabbccddeeff"

static const uint8_t  id[] = {
    0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
    0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff
};


typedef struct {
    int          rc;
    zlt_dgram_t  f;
    uint8_t      data[ZLT_MAX_MESSAGE_SIZE];
    uint8_t      service[ZLT_ID_SIZE];
    char         addr[ZLT_DGRAM_MAX_ADDR + 1];
} seen_t;


static seen_t   seen[32];
static uint8_t  input[2 * ZLT_DGRAM_MAX_SKIP];


/* What a frame points to is copied: the buffer it was in is gone by then. */

static void
remember(seen_t *s, int rc, const zlt_dgram_t *f)
{
    s->rc = rc;
    s->f = *f;

    if (rc != ZLT_OK) {
        return;
    }

    if (f->type == ZLT_DATAGRAM && f->data.len) {
        memcpy(s->data, f->data.data, f->data.len);
    }

    if (f->type == ZLT_DATAGRAM_OPEN) {
        memcpy(s->service, f->service_id, ZLT_ID_SIZE);
        memcpy(s->addr, f->client_addr.data, f->client_addr.len);
        s->addr[f->client_addr.len] = '\0';
    }
}


/*
 * Reads the input as a receiver does, that gets at most "step" bytes at a
 * time and has a buffer of exactly what is there.  Returns the number of
 * frames; *last is what ended it.
 */

static unsigned
read_all(size_t len, size_t step, int *last)
{
    int                  rc;
    size_t               have, got, n;
    uint8_t             *buf;
    unsigned             count;
    zlt_dgram_t          f;
    const uint8_t       *pos;
    zlt_dgram_reader_t   r;

    memset(&r, 0, sizeof(r));
    memset(seen, 0, sizeof(seen));

    count = 0;
    have = 0;      /* the first byte that is not stepped over yet */
    got = 0;       /* the end of what has come */

    for ( ;; ) {
        buf = tap_copy(input + have, got - have);
        pos = buf;

        do {
            rc = zlt_dgram_read(&r, &f, &pos, buf + (got - have));

            if (rc == ZLT_OK || rc == ZLT_DGRAM_BAD) {
                if (!check(count < 32)) {
                    exit(1);
                }

                remember(&seen[count++], rc, &f);
            }
        } while (rc == ZLT_OK || rc == ZLT_DGRAM_BAD);

        n = (size_t) (pos - buf);
        tap_free(buf, got - have);
        have += n;

        if (rc != ZLT_AGAIN) {
            *last = rc;
            return count;
        }

        check(r.need > got - have);
        check(r.need <= ZLT_MAX_MESSAGE_SIZE);

        if (got == len) {
            *last = rc;
            return count;
        }

        got += (len - got < step) ? len - got : step;
    }
}


static void
frames(void)
{
    int      last;
    size_t   len, step;

    len = vector_read(input, 0,
            "50 00000025 00000001" ID "000f '198.51.100.9:53'"
            "51 00000007 00000001 00ff80"
            "51 00000004 ffffffff"
            "30 00000008 0102030405060708"
            "31 00000008 0000000000000009"
            "52 00000005 00000001 02"
            "53 00000000"
            /* a longer payload than the fields: the rest is ignored */
            "52 00000008 00000007 09 010203");

    for (step = 1; step <= len; step++) {
        tap_note("step %zu", step);

        if (!check(read_all(len, step, &last) == 8)) {
            return;
        }

        check(last == ZLT_AGAIN);

        check(seen[0].rc == ZLT_OK && seen[0].f.type == ZLT_DATAGRAM_OPEN);
        check(seen[0].f.session == 1 && seen[0].f.has_session);
        check(memcmp(seen[0].service, id, ZLT_ID_SIZE) == 0);
        check(strcmp(seen[0].addr, "198.51.100.9:53") == 0);

        check(seen[1].rc == ZLT_OK && seen[1].f.type == ZLT_DATAGRAM);
        check(seen[1].f.session == 1 && seen[1].f.data.len == 3);
        check(memcmp(seen[1].data, "\x00\xff\x80", 3) == 0);

        check(seen[2].rc == ZLT_OK && seen[2].f.type == ZLT_DATAGRAM);
        check(seen[2].f.session == UINT32_MAX && seen[2].f.data.len == 0);

        check(seen[3].rc == ZLT_OK && seen[3].f.type == ZLT_HEARTBEAT);
        check(seen[3].f.timestamp == UINT64_C(0x0102030405060708));
        check(!seen[3].f.has_session);

        check(seen[4].rc == ZLT_OK && seen[4].f.type == ZLT_HEARTBEAT_ACK);
        check(seen[4].f.timestamp == 9);

        check(seen[5].rc == ZLT_OK && seen[5].f.type == ZLT_DATAGRAM_CLOSE);
        check(seen[5].f.session == 1);
        check(seen[5].f.cause == 2);

        check(seen[6].rc == ZLT_OK && seen[6].f.type == ZLT_RETIRE);

        check(seen[7].rc == ZLT_OK && seen[7].f.type == ZLT_DATAGRAM_CLOSE);
        check(seen[7].f.session == 7 && seen[7].f.cause == 9);
    }
}


static void
sizes(void)
{
    static const size_t  list[] = {
        0, 1, 512, 1472, 1473, 9000, ZLT_DGRAM_MAX4, ZLT_DGRAM_MAX
    };

    int       last;
    size_t    i, j, len, n;
    uint8_t  *p;

    for (i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        n = list[i];
        tap_note("size %zu", n);

        p = zlt_dgram_header(input, 42, n);
        check(p == input + ZLT_DGRAM_HEADER);

        for (j = 0; j < n; j++) {
            p[j] = (uint8_t) (j * 31 + n);
        }

        p = zlt_dgram_close(p + n, 43, ZLT_DGRAM_ENDED);
        len = (size_t) (p - input);

        check(len == ZLT_DGRAM_HEADER + n + ZLT_DGRAM_CLOSE_SIZE);
        check(read_all(len, 4099, &last) == 2);
        check(last == ZLT_AGAIN);
        check(seen[0].rc == ZLT_OK && seen[0].f.session == 42);
        check(seen[0].f.data.len == n);

        for (j = 0; j < n && seen[0].data[j] == (uint8_t) (j * 31 + n); j++) {
            /* void */
        }

        check(j == n);
        check(seen[1].rc == ZLT_OK && seen[1].f.session == 43);
        check(seen[1].f.cause == ZLT_DGRAM_ENDED);
    }
}


static void
written(void)
{
    size_t     n, len;
    uint8_t    buf[512] = { 0 }, want[512], *p;
    zlt_str_t  none = { NULL, 0 }, target = vector_str("dns:53");
    char       addr[ZLT_DGRAM_MAX_ADDR + 1], long_target[ZLT_MAX_TARGET + 2];

    memset(long_target, 'h', sizeof(long_target));
    long_target[ZLT_MAX_TARGET + 1] = '\0';

    len = vector_read(want, 0,
            "50 00000025 00000003" ID "000f '198.51.100.9:53'");

    p = zlt_dgram_open(buf, buf + len, 3, id, "198.51.100.9:53", 15);
    check(p == buf + len && memcmp(buf, want, len) == 0);

    check(zlt_dgram_open(buf, buf + len - 1, 3, id, "198.51.100.9:53", 15)
          == NULL);

    memset(addr, 'a', sizeof(addr));
    check(zlt_dgram_open(buf, buf + sizeof(buf), 3, id, addr, sizeof(addr))
          == NULL);
    p = zlt_dgram_open(buf, buf + sizeof(buf), 3, id, addr,
                       ZLT_DGRAM_MAX_ADDR);
    check(p == buf + ZLT_HEADER_SIZE + 22 + ZLT_DGRAM_MAX_ADDR);

    /* without a target it is the same frame */

    p = zlt_dgram_open(buf, buf + len, 3, id, "198.51.100.9:53", 15);
    check(p == buf + len && memcmp(buf, want, len) == 0);

    p = zlt_dgram_open_target(buf, buf + sizeof(buf), 3, id,
                              "198.51.100.9:53", 15, &none);
    check(p == buf + len && memcmp(buf, want, len) == 0);

    len = vector_read(want, 0,
            "50 0000002e 00000003" ID "000f '198.51.100.9:53'"
            "01 0006 'dns:53'");

    p = zlt_dgram_open_target(buf, buf + len, 3, id, "198.51.100.9:53", 15,
                              &target);
    check(p == buf + len && memcmp(buf, want, len) == 0);

    for (n = 0; n < len; n++) {
        tap_note("DatagramOpen into %zu bytes", n);
        check(zlt_dgram_open_target(buf, buf + n, 3, id, "198.51.100.9:53",
                                    15, &target)
              == NULL);
    }

    target = vector_str(long_target);
    check(target.len == ZLT_MAX_TARGET + 1);
    check(zlt_dgram_open_target(buf, buf + sizeof(buf), 3, id, "a", 1,
                                &target)
          == NULL);

    target.len--;
    p = zlt_dgram_open_target(buf, buf + sizeof(buf), 3, id, "a", 1, &target);
    check(p == buf + ZLT_HEADER_SIZE + 23 + 3 + ZLT_MAX_TARGET);

    len = vector_read(want, 0, "51 00000006 80000001");
    p = zlt_dgram_header(buf, 0x80000001, 2);
    check(p == buf + len && memcmp(buf, want, len) == 0);

    len = vector_read(want, 0, "52 00000005 80000001 06");
    p = zlt_dgram_close(buf, 0x80000001, ZLT_E_FORBIDDEN);
    check(p == buf + len && memcmp(buf, want, len) == 0);
}


/* Each is followed by a datagram of session 9, which must be read whole. */

static void
malformed(void)
{
    static const struct {
        const char  *bytes;
        int          session;      /* -1: none is known */
        unsigned     type;
    } list[] = {
        { "51 00000000", -1, ZLT_DATAGRAM },
        { "51 00000003 000001", -1, ZLT_DATAGRAM },
        { "52 00000004 00000001", 1, ZLT_DATAGRAM_CLOSE },
        { "52 00000001 00", -1, ZLT_DATAGRAM_CLOSE },
        { "50 00000000", -1, ZLT_DATAGRAM_OPEN },
        { "50 00000004 00000002", 2, ZLT_DATAGRAM_OPEN },
        { "50 00000015 00000003" ID "00", 3, ZLT_DATAGRAM_OPEN },
        { "50 00000017 00000004" ID "0002 '1'", 4, ZLT_DATAGRAM_OPEN },
        { "50 00000017 00000004" ID "ffff '1'", 4, ZLT_DATAGRAM_OPEN },
        { "50 00000018 00000005" ID "0002 c328", 5, ZLT_DATAGRAM_OPEN },
        { "30 00000007 00000000000000", -1, ZLT_HEARTBEAT },
        { "31 00000000", -1, ZLT_HEARTBEAT_ACK }
    };

    int       last;
    size_t    i, len, step;

    for (i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        len = vector_read(input, 0, list[i].bytes);
        len = vector_read(input, len, "51 00000006 00000009 'ok'");

        for (step = 1; step <= len; step++) {
            tap_note("\"%s\", step %zu", list[i].bytes, step);

            check(read_all(len, step, &last) == 2);
            check(last == ZLT_AGAIN);
            check(seen[0].rc == ZLT_DGRAM_BAD);
            check(seen[0].f.type == list[i].type);
            check(seen[0].f.has_session == (list[i].session != -1));

            if (list[i].session != -1) {
                check(seen[0].f.session == (uint32_t) list[i].session);
            }

            check(seen[1].rc == ZLT_OK && seen[1].f.session == 9);
            check(seen[1].f.data.len == 2);
            check(memcmp(seen[1].data, "ok", 2) == 0);
        }
    }

    /* an address one byte too long, all of it there */

    len = vector_read(input, 0, "50 00000116 00000006" ID "0100");
    memset(input + len, 'a', 256);
    len = vector_read(input, len + 256, "51 00000006 00000009 'ok'");

    tap_note("long address");
    check(read_all(len, 7, &last) == 2);
    check(seen[0].rc == ZLT_DGRAM_BAD && seen[0].f.session == 6);
    check(seen[1].rc == ZLT_OK && seen[1].f.session == 9);
}


static void
oversize(void)
{
    static const size_t  steps[] = { 1, 5, 6, 9, 10, 65536, 3000000 };
    static const size_t  list[] = {
        ZLT_MAX_PAYLOAD + 1, ZLT_MAX_PAYLOAD + 5, 200000, ZLT_DGRAM_MAX_SKIP
    };

    static const uint8_t  first[] = {
        ZLT_DATAGRAM, ZLT_DATAGRAM_OPEN, ZLT_DATAGRAM_CLOSE, ZLT_HEARTBEAT
    };

    int     last;
    size_t  i, j, len, n;

    for (i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        n = list[i];

        for (j = 0; j < sizeof(steps) / sizeof(steps[0]); j++) {

            if (steps[j] < 9 && n > ZLT_MAX_PAYLOAD + 1) {
                continue;   /* slow, and says nothing more */
            }

            tap_note("length %zu, step %zu", n, steps[j]);

            /* what is stepped over looks like frames */

            memset(input, ZLT_RETIRE, ZLT_HEADER_SIZE + n);

            input[0] = first[i];
            input[1] = (uint8_t) (n >> 24);
            input[2] = (uint8_t) (n >> 16);
            input[3] = (uint8_t) (n >> 8);
            input[4] = (uint8_t) n;
            vector_read(input, 5, "00000007");

            len = vector_read(input, ZLT_HEADER_SIZE + n,
                              "51 00000006 00000009 'ok'");

            /* read_all() copies what is there; a step of 1 keeps it short */

            check(read_all(len, steps[j], &last) == 2);
            check(last == ZLT_AGAIN);
            check(seen[0].rc == ZLT_DGRAM_BAD);
            check(seen[0].f.type == first[i]);
            check(seen[0].f.has_session == (first[i] != ZLT_HEARTBEAT));

            if (seen[0].f.has_session) {
                check(seen[0].f.session == 7);
            }

            check(seen[1].rc == ZLT_OK && seen[1].f.session == 9);
            check(memcmp(seen[1].data, "ok", 2) == 0);
        }
    }
}


static void
errors(void)
{
    int       last;
    size_t    len, ok;
    unsigned  type;

    for (type = 0; type < 256; type++) {
        tap_note("type %02x", type);

        ok = vector_read(input, 0, "51 00000006 00000009 'ok'");
        input[ok] = (uint8_t) type;

        if ((type >= 0x50 && type <= 0x53) || type == 0x30 || type == 0x31) {
            check(read_all(ok + 1, 3, &last) == 1);
            check(last == ZLT_AGAIN);
            continue;
        }

        /* known from the first byte on */

        check(read_all(ok + 1, 3, &last) == 1);
        check(last == ZLT_ERR_TYPE);

        len = vector_read(input, ok + 1, "00000000 51");
        check(read_all(len, len, &last) == 1);
        check(last == ZLT_ERR_TYPE);
    }

    tap_note("lengths");

    len = vector_read(input, 0, "51 00100001 00000001");
    check(read_all(len, 1, &last) == 0);
    check(last == ZLT_ERR_SIZE);

    len = vector_read(input, 0, "51 ffffffff 00000001");
    check(read_all(len, len, &last) == 0);
    check(last == ZLT_ERR_SIZE);
}


/* The general decoder and this one must read the same frames alike. */

static void
agrees(void)
{
    static const char *const  list[] = {
        "50 00000025 00000001" ID "000f '198.51.100.9:53'",
        "50 00000020 00000001" ID "0001 'a'" "01 0006 'dns:53'",
        "50 00000024 00000001" ID "0001 'a'" "09 0001 00 01 0006 'dns:53'",
        "50 00000020 00000001" ID "0001 'a'" "01 0007 'dns:53'",
        "50 00000020 00000001" ID "0001 'a'" "01 0006 'dns:5' ff",
        "50 00000018 00000001" ID "0001 'a'" "01",
        "51 00000007 01020304 00ff80",
        "52 00000005 00000001 03",
        "30 00000008 0102030405060708",
        "31 00000008 0102030405060708",
        "53 00000000"
    };

    size_t               i, len, used;
    zlt_msg_t            m;
    zlt_dgram_t          f;
    const uint8_t       *pos;
    zlt_dgram_reader_t   r;

    for (i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        tap_note("\"%s\"", list[i]);

        len = vector_read(input, 0, list[i]);
        pos = input;

        memset(&r, 0, sizeof(r));
        memset(&f, 0, sizeof(f));

        check(zlt_msg_decode(&m, input, len, ZLT_MAX_PAYLOAD, &used)
              == ZLT_OK);
        check(zlt_dgram_read(&r, &f, &pos, input + len) == ZLT_OK);

        check(pos == input + used);
        check(f.type == m.type);
        check(f.session == m.session);
        check(f.cause == m.cause);
        check(f.timestamp == m.timestamp);
        check(f.service_id == m.service_id);
        check(str_equal(&f.client_addr, &m.client_addr));
        check(str_equal(&f.target, &m.target));
        check(str_equal(&f.data, &m.data));
    }
}


/* Bytes of any kind: nothing is read outside, and there is always an end. */

static void
garbage(void)
{
    static const uint8_t  types[] = { 0x50, 0x51, 0x52, 0x30, 0x31, 0x53 };

    int       last;
    size_t    i, len;
    uint32_t  seed;
    unsigned  round;

    seed = 1;

    for (round = 0; round < 20000; round++) {
        seed = seed * 1103515245 + 12345;
        len = (seed >> 16) % 120;

        for (i = 0; i < len; i++) {
            seed = seed * 1103515245 + 12345;
            input[i] = (uint8_t) (seed >> 16);

            if (seed >> 30 == 0) {
                input[i] = types[(seed >> 16) % sizeof(types)];

            } else if (seed >> 30 == 1) {
                input[i] = 0;
            }
        }

        tap_note("round %u", round);
        read_all(len, 1 + seed % 40, &last);
        check(last == ZLT_AGAIN || last == ZLT_ERR_TYPE
              || last == ZLT_ERR_SIZE);
    }
}


int
main(void)
{
    tap_run(frames, "every frame, cut at every place");
    tap_run(sizes, "datagrams of all sizes");
    tap_run(written, "what is written, byte for byte");
    tap_run(malformed, "a malformed frame costs itself only");
    tap_run(oversize, "an oversized frame is stepped over");
    tap_run(errors, "a header that makes no sense ends the channel");
    tap_run(agrees, "the general decoder reads the same");
    tap_run(garbage, "garbage");

    return tap_done();
}
