
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects the wire format of every message: peers of version 1 must be met
 * byte for byte, and no input, cut at any place or with any length in it,
 * may be read past its end or taken for something else.
 *
 * The vectors are written out by hand from docs/protocol.md.
 */


#include "tap.h"
#include "vector.h"


#define S(text)  { (const uint8_t *) text, sizeof(text) - 1 }

#define ID1  "00112233445566778899aabbccddeeff"
#define ID2  "f0e1d2c3b4a5968778695a4b3c2d1e0f"

static const uint8_t  id1[] = {
    0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
    0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff
};

static const uint8_t  id2[] = {
    0xf0, 0xe1, 0xd2, 0xc3, 0xb4, 0xa5, 0x96, 0x87,
    0x78, 0x69, 0x5a, 0x4b, 0x3c, 0x2d, 0x1e, 0x0f
};


typedef struct {
    const char  *bytes;
    zlt_msg_t    msg;
    size_t       open;       /* the payload may end anywhere from ... */
    int          is_open;    /* ... here on, being "the rest" */
} proto_vector_t;


static const proto_vector_t  vectors[] = {

    { .bytes = "01 00000015 0003 'tok'" ID1,
      .msg = { .type = ZLT_AUTH, .token = S("tok"), .client_id = id1 } },

    { .bytes = "01 00000012 0000" ID2,
      .msg = { .type = ZLT_AUTH, .client_id = id2 } },

    { .bytes = "02 00000010" ID2,
      .msg = { .type = ZLT_AUTH_OK, .tunnel_id = id2 } },

    { .bytes = "03 0000000b 0009 'bad token'",
      .msg = { .type = ZLT_AUTH_FAIL, .reason = S("bad token") } },

    { .bytes = "03 00000002 0000",
      .msg = { .type = ZLT_AUTH_FAIL } },

    { .bytes = "10 00000009 03 'web' 00 1f90 7530",
      .msg = { .type = ZLT_REGISTER, .name = S("web"),
               .protocol = ZLT_PROTO_TCP, .local_port = 8080,
               .remote_port = 30000 } },

    { .bytes = "10 00000009 03 'dns' 01 0035 0000",
      .msg = { .type = ZLT_REGISTER, .name = S("dns"),
               .protocol = ZLT_PROTO_UDP, .local_port = 53 } },

    { .bytes = "10 0000000b 05 c3a9 't' c3a9 00 ffff ffff",
      .msg = { .type = ZLT_REGISTER, .name = S("\xc3\xa9t\xc3\xa9"),
               .local_port = 65535, .remote_port = 65535 } },

    /* an empty name is for the server to refuse, not for the decoder */

    { .bytes = "10 00000006 00 00 0001 0002",
      .msg = { .type = ZLT_REGISTER, .local_port = 1, .remote_port = 2 } },

    { .bytes = "11 00000010" ID1,
      .msg = { .type = ZLT_REGISTER_OK, .service_id = id1 } },

    { .bytes = "12 0000000c 000a 'port taken'",
      .msg = { .type = ZLT_REGISTER_FAIL, .reason = S("port taken") } },

    { .bytes = "20 00000031" ID1 ID2 "000f '203.0.113.7:443'",
      .msg = { .type = ZLT_CONNECT, .service_id = id1, .connection_id = id2,
               .client_addr = S("203.0.113.7:443") } },

    { .bytes = "20 00000033" ID2 ID1 "0011 '[2001:db8::1]:443'",
      .msg = { .type = ZLT_CONNECT, .service_id = id2, .connection_id = id1,
               .client_addr = S("[2001:db8::1]:443") } },

    { .bytes = "21 00000010" ID1,
      .msg = { .type = ZLT_CONNECT_ACK, .connection_id = id1 } },

    { .bytes = "63 00000010" ID2,
      .msg = { .type = ZLT_MOVE, .connection_id = id2 } },

    { .bytes = "22 00000021" ID2 "000f 'no data channel'",
      .msg = { .type = ZLT_CONNECT_FAIL, .connection_id = id2,
               .reason = S("no data channel") } },

    { .bytes = "30 00000008 0102030405060708",
      .msg = { .type = ZLT_HEARTBEAT,
               .timestamp = UINT64_C(72623859790382856) } },

    { .bytes = "30 00000008 0000000000000000",
      .msg = { .type = ZLT_HEARTBEAT } },

    { .bytes = "31 00000008 ffffffffffffffff",
      .msg = { .type = ZLT_HEARTBEAT_ACK, .timestamp = UINT64_MAX } },

    { .bytes = "40 00000010" ID2,
      .msg = { .type = ZLT_UNREGISTER, .service_id = id2 } },

    { .bytes = "41 0000000a 0008 'shutdown'",
      .msg = { .type = ZLT_DISCONNECT, .reason = S("shutdown") } },

    { .bytes = "50 00000025 00000001" ID1 "000f '198.51.100.9:53'",
      .msg = { .type = ZLT_DATAGRAM_OPEN, .session = 1, .service_id = id1,
               .client_addr = S("198.51.100.9:53") } },

    { .bytes = "51 00000007 01020304 00ff80",
      .msg = { .type = ZLT_DATAGRAM, .session = 16909060,
               .data = S("\x00\xff\x80") },
      .open = 4, .is_open = 1 },

    { .bytes = "51 00000004 ffffffff",
      .msg = { .type = ZLT_DATAGRAM, .session = UINT32_MAX },
      .open = 4, .is_open = 1 },

    { .bytes = "52 00000005 00000003 07",
      .msg = { .type = ZLT_DATAGRAM_CLOSE, .session = 3, .cause = 7 } },

    { .bytes = "53 00000000",
      .msg = { .type = ZLT_RETIRE } },

    { .bytes = "54 00000000",
      .msg = { .type = ZLT_RAW } },

    { .bytes = "55 00000004 00 'ab' ff",
      .msg = { .type = ZLT_DATA, .data = S("\x00" "ab" "\xff") },
      .open = 0, .is_open = 1 },

    { .bytes = "55 00000000",
      .msg = { .type = ZLT_DATA },
      .open = 0, .is_open = 1 },

    { .bytes = "56 00000000",
      .msg = { .type = ZLT_EOF } },

    { .bytes = "57 00000000",
      .msg = { .type = ZLT_RESET } },

    { .bytes = "58 0000001b" ID2 "0009 'withdrawn'",
      .msg = { .type = ZLT_WITHDRAW, .service_id = id2,
               .reason = S("withdrawn") } },

    { .bytes = "5e 0000001a" ID2 "02 0007 'refused'",
      .msg = { .type = ZLT_HEALTH, .service_id = id2, .health = ZLT_H_REFUSE,
               .reason = S("refused") } },

    { .bytes = "5e 00000013" ID2 "00 0000",
      .msg = { .type = ZLT_HEALTH, .service_id = id2 } },

    { .bytes = "59 0000000d 03 'web' 00 00000e10 0000003c",
      .msg = { .type = ZLT_ACCESS_OPEN, .name = S("web"), .ttl = 3600,
               .grace = 60 } },

    { .bytes = "59 0000000d 03 'dns' 01 00000000 fffffffe",
      .msg = { .type = ZLT_ACCESS_OPEN, .name = S("dns"),
               .protocol = ZLT_PROTO_UDP, .grace = 4294967294 } },

    { .bytes = "5a 00000014" ID1 "00015180",
      .msg = { .type = ZLT_ACCESS_OK, .access_id = id1, .ttl = 86400 } },

    { .bytes = "5b 0000000b 0009 'forbidden'",
      .msg = { .type = ZLT_ACCESS_FAIL, .reason = S("forbidden") } },

    { .bytes = "5c 00000014" ID2 "0000001e",
      .msg = { .type = ZLT_ACCESS_RENEW, .access_id = id2, .ttl = 30 } },

    { .bytes = "5d 00000019" ID1 "0007 'expired'",
      .msg = { .type = ZLT_ACCESS_CLOSE, .access_id = id1,
               .reason = S("expired") } },

    { .bytes = "5d 00000012" ID2 "0000",
      .msg = { .type = ZLT_ACCESS_CLOSE, .access_id = id2 } }
};

#define NVECTORS  (sizeof(vectors) / sizeof(vectors[0]))


static uint8_t  buf[VECTOR_MAX];
static uint8_t  big[VECTOR_MAX];


static void
put_length(uint8_t *message, uint32_t len)
{
    message[1] = (uint8_t) (len >> 24);
    message[2] = (uint8_t) (len >> 16);
    message[3] = (uint8_t) (len >> 8);
    message[4] = (uint8_t) len;
}


/* Decodes from a copy that ends where the input does. */

static int
decode(zlt_msg_t *m, const uint8_t *p, size_t len, size_t max, size_t *used)
{
    static size_t    copy_len;
    static uint8_t  *copy;        /* *m points into it until the next call */

    if (copy) {
        tap_free(copy, copy_len);
    }

    copy = tap_copy(p, len);
    copy_len = len;

    memset(m, 0x5a, sizeof(zlt_msg_t));
    *used = 0;

    return zlt_msg_decode(m, copy, len, max, used);
}


static void
test_decode(void)
{
    size_t       i, len, used;
    zlt_msg_t    m;
    const char  *differs;

    for (i = 0; i < NVECTORS; i++) {
        tap_note("%s", vectors[i].bytes);
        len = vector_read(buf, 0, vectors[i].bytes);

        check(decode(&m, buf, len, ZLT_MAX_PAYLOAD, &used) == ZLT_OK);
        check(used == len);

        differs = msg_differs(&m, &vectors[i].msg);
        check(differs == NULL);
    }
}


static void
test_encode(void)
{
    size_t  i, len;

    for (i = 0; i < NVECTORS; i++) {
        tap_note("%s", vectors[i].bytes);
        len = vector_read(buf, 0, vectors[i].bytes);

        check(zlt_msg_encode(&vectors[i].msg, big, sizeof(big)) == len);
        check(memcmp(buf, big, len) == 0);
    }
}


static void
test_every_type_has_a_vector(void)
{
    size_t    i, n;
    unsigned  type;

    for (type = 0; type < 256; type++) {
        tap_note("type 0x%02x", type);

        n = 0;

        for (i = 0; i < NVECTORS; i++) {
            n += (vectors[i].msg.type == type);
        }

        check((n != 0) == (strcmp(zlt_msg_name(type), "unknown") != 0));
    }
}


/* The next message in the buffer is left alone. */

static void
test_used(void)
{
    size_t     i, len, used;
    zlt_msg_t  m;

    for (i = 0; i < NVECTORS; i++) {
        tap_note("%s", vectors[i].bytes);
        len = vector_read(buf, 0, vectors[i].bytes);
        memset(buf + len, 0xff, 64);

        check(decode(&m, buf, len + 64, ZLT_MAX_PAYLOAD, &used) == ZLT_OK);
        check(used == len);
        check(msg_differs(&m, &vectors[i].msg) == NULL);
    }
}


static void
test_input_cut(void)
{
    size_t     i, n, len, used;
    zlt_msg_t  m;

    for (i = 0; i < NVECTORS; i++) {
        len = vector_read(buf, 0, vectors[i].bytes);

        for (n = 0; n < len; n++) {
            tap_note("%s cut at %zu", vectors[i].bytes, n);

            check(decode(&m, buf, n, ZLT_MAX_PAYLOAD, &used) == ZLT_AGAIN);
            check(used == (n < ZLT_HEADER_SIZE ? ZLT_HEADER_SIZE : len));
        }
    }
}


/* A payload that is shorter than its fields, and says so. */

static void
test_payload_cut(void)
{
    int        rc;
    size_t     i, n, len, used;
    zlt_msg_t  m;

    for (i = 0; i < NVECTORS; i++) {
        len = vector_read(buf, 0, vectors[i].bytes) - ZLT_HEADER_SIZE;

        for (n = 0; n < len; n++) {
            tap_note("%s payload cut at %zu", vectors[i].bytes, n);
            put_length(buf, (uint32_t) n);

            rc = decode(&m, buf, ZLT_HEADER_SIZE + n, ZLT_MAX_PAYLOAD, &used);

            if (vectors[i].is_open && n >= vectors[i].open) {
                check(rc == ZLT_OK);
                check(m.data.len == n - vectors[i].open);

            } else {
                check(rc == ZLT_ERR_SHORT);
            }

            /* the bytes of the next message are not taken for the rest */

            rc = decode(&m, buf, ZLT_HEADER_SIZE + len, ZLT_MAX_PAYLOAD,
                        &used);

            check(rc == ((vectors[i].is_open && n >= vectors[i].open)
                         ? ZLT_OK : ZLT_ERR_SHORT));
        }
    }
}


static void
test_bytes_after_the_fields(void)
{
    size_t                    i, j, len, used;
    zlt_msg_t                 m;
    static const char *const  tails[] = {
        "00", "ff", "ff ff", "01 0001", "fe ffff 00", "'some more text'"
    };

    for (i = 0; i < NVECTORS; i++) {

        if (vectors[i].is_open) {
            continue;
        }

        for (j = 0; j < sizeof(tails) / sizeof(tails[0]); j++) {
            tap_note("%s then %s", vectors[i].bytes, tails[j]);

            len = vector_read(buf, 0, vectors[i].bytes);
            len = vector_read(buf, len, tails[j]);
            put_length(buf, (uint32_t) (len - ZLT_HEADER_SIZE));

            check(decode(&m, buf, len, ZLT_MAX_PAYLOAD, &used) == ZLT_OK);
            check(used == len);
            check(msg_differs(&m, &vectors[i].msg) == NULL);
        }
    }
}


static void
test_encode_into_little_room(void)
{
    size_t    i, n, len;
    uint8_t  *copy;

    for (i = 0; i < NVECTORS; i++) {
        len = vector_read(buf, 0, vectors[i].bytes);

        for (n = 0; n < len; n++) {
            tap_note("%s into %zu bytes", vectors[i].bytes, n);

            copy = tap_copy(NULL, n);
            check(zlt_msg_encode(&vectors[i].msg, copy, n) == 0);
            tap_free(copy, n);
        }

        copy = tap_copy(NULL, len);
        check(zlt_msg_encode(&vectors[i].msg, copy, len) == len);
        check(memcmp(copy, buf, len) == 0);
        tap_free(copy, len);
    }
}


static void
test_unknown_types(void)
{
    int        known;
    size_t     used;
    unsigned   type;
    zlt_msg_t  m;

    for (type = 0; type < 256; type++) {
        tap_note("type 0x%02x", type);

        known = strcmp(zlt_msg_name(type), "unknown") != 0;

        /* the type is looked at before the length, and both before waiting */

        buf[0] = (uint8_t) type;
        put_length(buf, UINT32_MAX);

        check(decode(&m, buf, 5, ZLT_MAX_PAYLOAD, &used)
              == (known ? ZLT_ERR_SIZE : ZLT_ERR_TYPE));

        put_length(buf, 1);

        check(decode(&m, buf, 5, ZLT_MAX_PAYLOAD, &used)
              == (known ? ZLT_AGAIN : ZLT_ERR_TYPE));

        if (!known) {
            memset(&m, 0, sizeof(zlt_msg_t));
            m.type = (uint8_t) type;

            check(zlt_msg_encode(&m, buf, sizeof(buf)) == 0);
        }
    }
}


static void
test_payload_limits(void)
{
    size_t           i, used;
    zlt_msg_t        m;
    static const struct {
        uint32_t     len;
        size_t       max;
        int          rc;
    } cases[] = {
        { 0,          ZLT_MAX_PAYLOAD,       ZLT_OK },
        { 65530,      ZLT_MAX_PAYLOAD,       ZLT_OK },
        { 65531,      ZLT_MAX_PAYLOAD,       ZLT_OK },
        { 65532,      ZLT_MAX_PAYLOAD,       ZLT_ERR_SIZE },
        { 65536,      ZLT_MAX_PAYLOAD,       ZLT_ERR_SIZE },
        { 0x7fffffff, ZLT_MAX_PAYLOAD,       ZLT_ERR_SIZE },
        { 0x80000000, ZLT_MAX_PAYLOAD,       ZLT_ERR_SIZE },
        { 4294967295, ZLT_MAX_PAYLOAD,       ZLT_ERR_SIZE },
        { 4295,       ZLT_MAX_CHANNEL_FRAME, ZLT_ERR_SIZE },
        { 4095,       ZLT_MAX_CHANNEL_FRAME, ZLT_OK },
        { 4096,       ZLT_MAX_CHANNEL_FRAME, ZLT_OK },
        { 4097,       ZLT_MAX_CHANNEL_FRAME, ZLT_ERR_SIZE },
        { 4294967295, ZLT_MAX_CHANNEL_FRAME, ZLT_ERR_SIZE }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        tap_note("length %u, limit %zu", (unsigned) cases[i].len,
                 cases[i].max);

        memset(buf, 'x', sizeof(buf));
        buf[0] = ZLT_DATA;
        put_length(buf, cases[i].len);

        /* the header alone decides */

        check(decode(&m, buf, 5, cases[i].max, &used)
              == (cases[i].rc == ZLT_OK && cases[i].len ? ZLT_AGAIN
                                                        : cases[i].rc));

        if (cases[i].rc != ZLT_OK) {
            check(decode(&m, buf, sizeof(buf), cases[i].max, &used)
                  == cases[i].rc);
            continue;
        }

        check(used == 5 + cases[i].len);
        check(decode(&m, buf, 5 + cases[i].len, cases[i].max, &used)
              == ZLT_OK);
        check(m.data.len == cases[i].len);
    }
}


static void
test_largest_encoded(void)
{
    size_t     used;
    zlt_msg_t  m, d;

    memset(big, 'x', sizeof(big));
    memset(&m, 0, sizeof(zlt_msg_t));

    m.type = ZLT_DATA;
    m.data.data = big;
    m.data.len = 65531;

    check(zlt_msg_encode(&m, buf, sizeof(buf)) == 65536);
    check(memcmp(buf, "\x55\x00\x00\xff\xfb", 5) == 0);
    check(decode(&d, buf, 65536, ZLT_MAX_PAYLOAD, &used) == ZLT_OK);
    check(d.data.len == 65531);

    m.data.len = 65532;
    check(zlt_msg_encode(&m, buf, sizeof(buf)) == 0);

    m.data.len = SIZE_MAX;
    check(zlt_msg_encode(&m, buf, sizeof(buf)) == 0);

    /* the largest datagrams over IPv4 and IPv6 */

    m.type = ZLT_DATAGRAM;

    m.data.len = 65507;
    check(zlt_msg_encode(&m, buf, sizeof(buf)) == 65516);

    m.data.len = 65527;
    check(zlt_msg_encode(&m, buf, sizeof(buf)) == 65536);
    check(decode(&d, buf, 65536, ZLT_MAX_PAYLOAD, &used) == ZLT_OK);
    check(d.data.len == 65527);

    m.data.len = 65528;
    check(zlt_msg_encode(&m, buf, sizeof(buf)) == 0);
}


static void
test_token_lengths(void)
{
    size_t     n, used, expect;
    zlt_msg_t  m, d;

    memset(big, 't', sizeof(big));
    memset(&m, 0, sizeof(zlt_msg_t));

    m.type = ZLT_AUTH;
    m.client_id = id1;
    m.token.data = big;

    for (n = 0; n <= 65540; n++) {

        if (n == 300) {
            n = 65500;
        }

        tap_note("token of %zu bytes", n);

        /* 2 + 65513 + 16 = 65531 */

        expect = n <= 65513 ? 5 + 2 + n + 16 : 0;
        m.token.len = n;

        check(zlt_msg_encode(&m, buf, sizeof(buf)) == expect);

        if (expect) {
            check(decode(&d, buf, expect, ZLT_MAX_PAYLOAD, &used) == ZLT_OK);
            check(d.token.len == n);
            check(memcmp(d.client_id, id1, ZLT_ID_SIZE) == 0);
        }
    }

    /* lengths that promise more than is there */

    memset(buf, 't', sizeof(buf));
    buf[0] = ZLT_AUTH;
    put_length(buf, 65531);

    for (n = 65514; n <= 65535; n++) {
        tap_note("token of %zu bytes in the largest payload", n);

        buf[5] = (uint8_t) (n >> 8);
        buf[6] = (uint8_t) n;

        check(decode(&d, buf, 65536, ZLT_MAX_PAYLOAD, &used)
              == ZLT_ERR_SHORT);
    }
}


static void
test_name_lengths(void)
{
    size_t     n, used, expect;
    zlt_msg_t  m, d;

    memset(big, 'n', sizeof(big));
    memset(&m, 0, sizeof(zlt_msg_t));

    m.type = ZLT_REGISTER;
    m.name.data = big;

    for (n = 0; n <= 600; n++) {
        tap_note("name of %zu bytes", n);

        expect = n <= 255 ? 5 + 1 + n + 5 : 0;
        m.name.len = n;

        check(zlt_msg_encode(&m, buf, sizeof(buf)) == expect);

        if (expect) {
            check(buf[5] == n);
            check(decode(&d, buf, expect, ZLT_MAX_PAYLOAD, &used) == ZLT_OK);
            check(msg_differs(&m, &d) == NULL);
        }
    }
}


static void
test_reason_lengths(void)
{
    size_t     n;
    zlt_msg_t  m;

    memset(big, 'r', sizeof(big));
    memset(&m, 0, sizeof(zlt_msg_t));

    m.type = ZLT_AUTH_FAIL;
    m.reason.data = big;

    for (n = 65500; n <= 65600; n++) {
        tap_note("reason of %zu bytes", n);
        m.reason.len = n;

        check(zlt_msg_encode(&m, buf, sizeof(buf))
              == (n <= 65529 ? 5 + 2 + n : 0));
    }
}


static void
test_utf8(void)
{
    size_t                    i, len, used;
    zlt_msg_t                 m;
    static const char *const  invalid[] = {
        "01 00000015 0003 't' ff 'k'" ID1,
        "01 00000015 0003 'to' c3" ID1,
        "03 00000005 0003 'a' 80 'b'",
        "10 00000009 03 'w' c0 80 00 1f90 7530",
        "12 00000005 0003 ed a0 80",
        "20 00000025" ID1 ID2 "0003 fe fe ff",
        "22 00000015" ID1 "0003 e2 82 20",
        "41 00000006 0004 f4 90 80 80",
        "50 00000019 00000001" ID1 "0003 c1 bf 'x'",
        "58 00000013" ID1 "0001 ff"
    };

    for (i = 0; i < sizeof(invalid) / sizeof(invalid[0]); i++) {
        tap_note("%s", invalid[i]);

        len = vector_read(buf, 0, invalid[i]);

        check(decode(&m, buf, len, ZLT_MAX_PAYLOAD, &used) == ZLT_ERR_UTF8);
    }

    /* what is no string may hold anything */

    len = vector_read(buf, 0, "51 00000006 00000000 ff fe");
    check(decode(&m, buf, len, ZLT_MAX_PAYLOAD, &used) == ZLT_OK);
}


static void
test_protocol_byte(void)
{
    size_t     len, used;
    unsigned   n;
    zlt_msg_t  m;

    for (n = 0; n < 256; n++) {
        tap_note("protocol %u", n);

        len = vector_read(buf, 0, "10 00000009 03 'web' 00 1f90 7530");
        buf[9] = (uint8_t) n;

        check(decode(&m, buf, len, ZLT_MAX_PAYLOAD, &used)
              == (n < 2 ? ZLT_OK : ZLT_ERR_VALUE));

        m = vectors[5].msg;
        m.protocol = (uint8_t) n;

        check(zlt_msg_encode(&m, buf, sizeof(buf)) == (n < 2 ? 14 : 0));
    }
}


/* A field that was forgotten is not sent as whatever lies at NULL. */

static void
test_ids_missing(void)
{
    size_t     i;
    zlt_msg_t  m;

    for (i = 0; i < NVECTORS; i++) {
        m = vectors[i].msg;

        if (m.client_id || m.tunnel_id || m.service_id || m.connection_id) {
            tap_note("%s without its id", vectors[i].bytes);

            m.client_id = NULL;
            m.tunnel_id = NULL;
            m.connection_id = NULL;
            m.service_id = NULL;

            check(zlt_msg_encode(&m, buf, sizeof(buf)) == 0);
        }
    }
}


static void
test_texts(void)
{
    int       rc, other;
    unsigned  type;
    static const struct {
        unsigned     type;
        const char  *name;
    } names[] = {
        { 0x01, "Auth" }, { 0x02, "AuthOk" }, { 0x03, "AuthFail" },
        { 0x10, "Register" }, { 0x11, "RegisterOk" },
        { 0x12, "RegisterFail" }, { 0x20, "Connect" },
        { 0x21, "ConnectAck" }, { 0x22, "ConnectFail" },
        { 0x30, "Heartbeat" }, { 0x31, "HeartbeatAck" },
        { 0x40, "Unregister" }, { 0x41, "Disconnect" },
        { 0x50, "DatagramOpen" }, { 0x51, "Datagram" },
        { 0x52, "DatagramClose" }, { 0x53, "Retire" }, { 0x54, "Raw" },
        { 0x55, "Data" }, { 0x56, "Eof" }, { 0x57, "Reset" },
        { 0x58, "Withdraw" }, { 0x5e, "Health" },
        { 0x00, "unknown" }, { 0x5f, "unknown" }, { 0x101, "unknown" }
    };

    for (type = 0; type < sizeof(names) / sizeof(names[0]); type++) {
        tap_note("%s", names[type].name);
        check(strcmp(zlt_msg_name(names[type].type), names[type].name) == 0);
    }

    for (rc = 0; rc >= ZLT_ERR_VALUE; rc--) {
        for (other = 0; other > rc; other--) {
            check(strcmp(zlt_msg_strerror(rc), zlt_msg_strerror(other)) != 0);
        }
    }

    check(strcmp(zlt_msg_strerror(ZLT_ERR_SHORT), "payload too short") == 0);
    check(strcmp(zlt_msg_strerror(1), zlt_msg_strerror(-100)) == 0);
}


int
main(void)
{
    tap_run(test_decode, "every message is decoded");
    tap_run(test_encode, "every message is encoded");
    tap_run(test_every_type_has_a_vector, "every type has a vector");
    tap_run(test_used, "a message ends where its length says");
    tap_run(test_input_cut, "input cut at every byte: more is asked for");
    tap_run(test_payload_cut, "payload cut at every byte: too short");
    tap_run(test_bytes_after_the_fields, "bytes after the fields: ignored");
    tap_run(test_encode_into_little_room, "buffers of every size");
    tap_run(test_unknown_types, "unknown types, before their lengths");
    tap_run(test_payload_limits, "limits of the payload");
    tap_run(test_largest_encoded, "the largest messages");
    tap_run(test_token_lengths, "tokens of every length");
    tap_run(test_name_lengths, "names of every length");
    tap_run(test_reason_lengths, "reasons around the limit");
    tap_run(test_utf8, "strings that are not UTF-8");
    tap_run(test_protocol_byte, "protocol bytes");
    tap_run(test_ids_missing, "ids that are missing");
    tap_run(test_texts, "names and error texts");

    return tap_done();
}
