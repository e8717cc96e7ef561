
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects the rules by which versions meet: what a newer peer adds is
 * passed over, and what an older one happened to put behind its fields is
 * never taken for an extension, in whole or in part.
 *
 * The vectors are written out by hand from docs/protocol.md.
 */


#include "tap.h"
#include "vector.h"


#define S(text)  { (const uint8_t *) text, sizeof(text) - 1 }

#define ID1   "00112233445566778899aabbccddeeff"
#define KEY1  "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define KEY2  "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0efeeedecebeae9e8e7e6e5e4e3e2e1e0"

#define MAX_TAGS  7

static const uint8_t  id1[] = {
    0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
    0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff
};

static const uint8_t  key1[] = {
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07,
    0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f,
    0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17,
    0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f
};

static const uint8_t  key2[] = {
    0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0xfa, 0xf9, 0xf8,
    0xf7, 0xf6, 0xf5, 0xf4, 0xf3, 0xf2, 0xf1, 0xf0,
    0xef, 0xee, 0xed, 0xec, 0xeb, 0xea, 0xe9, 0xe8,
    0xe7, 0xe6, 0xe5, 0xe4, 0xe3, 0xe2, 0xe1, 0xe0
};


typedef struct {
    const char  *bytes;
    uint32_t     bit;
    int          text;      /* of any length */
} ext_tag_t;

typedef struct {
    const char  *head;      /* the length in it is that of the whole */
    ext_tag_t    tags[MAX_TAGS];
    zlt_msg_t    msg;
} ext_vector_t;


static const ext_vector_t  vectors[] = {

    { .head = "01 00000056 0003 'tok'" ID1,
      .tags = { { "01 0004 00000007", ZLT_X_FEATURES, 0 },
                { "02 0014 'zltunnel-agent/0.1.0'", ZLT_X_AGENT, 1 },
                { "03 0020" KEY1, ZLT_X_RESUME_KEY, 0 } },
      .msg = { .type = ZLT_AUTH, .token = S("tok"), .client_id = id1,
               .ext = ZLT_X_FEATURES|ZLT_X_AGENT|ZLT_X_RESUME_KEY,
               .features = ZLT_F_CHANNELS|ZLT_F_HEARTBEATS|ZLT_F_DATAGRAMS,
               .agent = S("zltunnel-agent/0.1.0"), .resume_key = key1 } },

    { .head = "01 0000001f 0003 'tok'" ID1,
      .tags = { { "01 0004 ffffffff", ZLT_X_FEATURES, 0 },
                { "02 0000", ZLT_X_AGENT, 1 } },
      .msg = { .type = ZLT_AUTH, .token = S("tok"), .client_id = id1,
               .ext = ZLT_X_FEATURES|ZLT_X_AGENT,
               .features = UINT32_MAX } },

    { .head = "02 0000007c" ID1,
      .tags = { { "01 0004 0000000d", ZLT_X_FEATURES, 0 },
                { "02 0020" KEY1, ZLT_X_DATA_KEY, 0 },
                { "03 0020" KEY2, ZLT_X_RESUME_KEY, 0 },
                { "04 0008 00007530 00009c40", ZLT_X_HEARTBEAT, 0 },
                { "05 0004 0001 0040", ZLT_X_IDLE, 0 },
                { "06 0004 'home'", ZLT_X_TOKEN_NAME, 1 },
                { "07 0003 'all'", ZLT_X_RIGHTS, 1 } },
      .msg = { .type = ZLT_AUTH_OK, .tunnel_id = id1,
               .ext = ZLT_X_FEATURES|ZLT_X_DATA_KEY|ZLT_X_RESUME_KEY
                      |ZLT_X_HEARTBEAT|ZLT_X_IDLE|ZLT_X_TOKEN_NAME
                      |ZLT_X_RIGHTS,
               .features = ZLT_F_CHANNELS|ZLT_F_DATAGRAMS|ZLT_F_ACCESS,
               .data_key = key1, .resume_key = key2,
               .heartbeat_interval = 30000, .heartbeat_timeout = 40000,
               .idle_least = 1, .idle_most = 64, .name = S("home"),
               .rights = S("all") } },

    { .head = "02 00000017" ID1,
      .tags = { { "05 0004 fffe ffff", ZLT_X_IDLE, 0 } },
      .msg = { .type = ZLT_AUTH_OK, .tunnel_id = id1, .ext = ZLT_X_IDLE,
               .idle_least = 65534, .idle_most = 65535 } },

    { .head = "03 00000021 0014 'Token already in use'",
      .tags = { { "01 0001 03", ZLT_X_CODE, 0 },
                { "02 0004 00001388", ZLT_X_RETRY, 0 } },
      .msg = { .type = ZLT_AUTH_FAIL, .reason = S("Token already in use"),
               .ext = ZLT_X_CODE|ZLT_X_RETRY, .code = ZLT_E_IN_USE,
               .retry_after = 5000 } },

    { .head = "03 00000009 0000",
      .tags = { { "02 0004 80000000", ZLT_X_RETRY, 0 } },
      .msg = { .type = ZLT_AUTH_FAIL, .ext = ZLT_X_RETRY,
               .retry_after = 0x80000000 } },

    { .head = "10 00000012 03 'web' 00 1f90 0000",
      .tags = { { "01 0001 03", ZLT_X_FLAGS, 0 },
                { "02 0002 7918", ZLT_X_PREFERRED, 0 } },
      .msg = { .type = ZLT_REGISTER, .name = S("web"), .local_port = 8080,
               .ext = ZLT_X_FLAGS|ZLT_X_PREFERRED,
               .flags = ZLT_R_PRIVATE|ZLT_R_INTERNAL,
               .preferred_port = 31000 } },

    { .head = "11 0000004a" ID1,
      .tags = { { "01 0002 7530", ZLT_X_PORT, 0 },
                { "02 0018 'tunnel.example.com:30000'", ZLT_X_PUBLIC, 1 },
                { "03 0017 'https://a.b http://c:80'", ZLT_X_URLS, 1 } },
      .msg = { .type = ZLT_REGISTER_OK, .service_id = id1,
               .ext = ZLT_X_PORT|ZLT_X_PUBLIC|ZLT_X_URLS, .port = 30000,
               .public_addr = S("tunnel.example.com:30000"),
               .urls = S("https://a.b http://c:80") } },

    { .head = "12 0000000a 0004 'busy'",
      .tags = { { "01 0001 0a", ZLT_X_CODE, 0 } },
      .msg = { .type = ZLT_REGISTER_FAIL, .reason = S("busy"),
               .ext = ZLT_X_CODE, .code = ZLT_E_BUSY } },

    { .head = "22 0000001d" ID1 "0007 'refused'",
      .tags = { { "01 0001 07", ZLT_X_CODE, 0 } },
      .msg = { .type = ZLT_CONNECT_FAIL, .connection_id = id1,
               .reason = S("refused"), .ext = ZLT_X_CODE,
               .code = ZLT_E_REFUSED } },

    { .head = "41 00000013 0006 'reload'",
      .tags = { { "01 0001 01", ZLT_X_ACTION, 0 },
                { "02 0004 000003e8", ZLT_X_RETRY, 0 } },
      .msg = { .type = ZLT_DISCONNECT, .reason = S("reload"),
               .ext = ZLT_X_ACTION|ZLT_X_RETRY, .action = ZLT_D_RECONNECT,
               .retry_after = 1000 } },

    { .head = "10 0000002e 03 'web' 00 1f90 0000",
      .tags = { { "01 0001 04", ZLT_X_FLAGS, 0 },
                { "02 0002 0001", ZLT_X_PREFERRED, 0 },
                { "03 0006 'ab,c-d'", ZLT_X_ALLOW, 1 },
                { "04 0008 'auto,a.b'", ZLT_X_HOSTS, 1 },
                { "05 0005 01 'gone'", ZLT_X_HEALTH, 1 } },
      .msg = { .type = ZLT_REGISTER, .name = S("web"), .local_port = 8080,
               .ext = ZLT_X_FLAGS|ZLT_X_PREFERRED|ZLT_X_ALLOW|ZLT_X_HOSTS
                      |ZLT_X_HEALTH,
               .health = ZLT_H_DOWN, .reason = S("gone"),
               .flags = ZLT_R_OPEN, .preferred_port = 1,
               .allow = S("ab,c-d"), .hosts = S("auto,a.b") } },

    { .head = "20 00000034" ID1 ID1 "0003 'a:1'",
      .tags = { { "01 000c 'db.lan:54321'", ZLT_X_TARGET, 1 } },
      .msg = { .type = ZLT_CONNECT, .service_id = id1, .connection_id = id1,
               .client_addr = S("a:1"), .ext = ZLT_X_TARGET,
               .target = S("db.lan:54321") } },

    { .head = "50 00000028 00000007" ID1 "0001 'a'",
      .tags = { { "01 000e '[2001:db8::]:5'", ZLT_X_TARGET, 1 } },
      .msg = { .type = ZLT_DATAGRAM_OPEN, .session = 7, .service_id = id1,
               .client_addr = S("a"), .ext = ZLT_X_TARGET,
               .target = S("[2001:db8::]:5") } },

    { .head = "59 0000002b 06 'office' 00 0000003c 00000005",
      .tags = { { "01 0010" ID1, ZLT_X_ACCESS_ID, 0 },
                { "02 0005 'h:443'", ZLT_X_TARGET, 1 } },
      .msg = { .type = ZLT_ACCESS_OPEN, .name = S("office"), .ttl = 60,
               .grace = 5, .ext = ZLT_X_ACCESS_ID|ZLT_X_TARGET,
               .access_id = id1, .target = S("h:443") } },

    { .head = "5a 0000001c" ID1 "00000001",
      .tags = { { "01 0005 'alice'", ZLT_X_SERVED_BY, 1 } },
      .msg = { .type = ZLT_ACCESS_OK, .access_id = id1, .ttl = 1,
               .ext = ZLT_X_SERVED_BY, .served_by = S("alice") } },

    { .head = "5b 0000001d 0004 'gone'",
      .tags = { { "01 0001 02", ZLT_X_CODE, 0 },
                { "02 0010" ID1, ZLT_X_ACCESS_ID, 0 } },
      .msg = { .type = ZLT_ACCESS_FAIL, .reason = S("gone"),
               .ext = ZLT_X_CODE|ZLT_X_ACCESS_ID, .code = ZLT_E_EXPIRED,
               .access_id = id1 } },

    { .head = "5d 0000001a" ID1 "0004 'over'",
      .tags = { { "01 0001 06", ZLT_X_CODE, 0 } },
      .msg = { .type = ZLT_ACCESS_CLOSE, .access_id = id1,
               .reason = S("over"), .ext = ZLT_X_CODE,
               .code = ZLT_E_FORBIDDEN } },

    { .head = "01 00000020 0003 'tok'" ID1,
      .tags = { { "01 0004 00000001", ZLT_X_FEATURES, 0 },
                { "04 0001 01", ZLT_X_CHECK, 0 } },
      .msg = { .type = ZLT_AUTH, .token = S("tok"), .client_id = id1,
               .ext = ZLT_X_FEATURES|ZLT_X_CHECK, .features = 1,
               .check = 1 } },

    { .head = "01 00000043 0003 'tok'" ID1,
      .tags = { { "01 0004 00000001", ZLT_X_FEATURES, 0 },
                { "04 0001 01", ZLT_X_CHECK, 0 },
                { "05 0020" KEY1, ZLT_X_HELD, 1 } },
      .msg = { .type = ZLT_AUTH, .token = S("tok"), .client_id = id1,
               .ext = ZLT_X_FEATURES|ZLT_X_CHECK|ZLT_X_HELD,
               .features = ZLT_F_CHANNELS, .check = 1,
               .held = { key1, 32 } } },

    { .head = "02 0000002f" ID1,
      .tags = { { "01 0004 00000001", ZLT_X_FEATURES, 0 },
                { "08 0010" ID1, ZLT_X_NODE, 0 },
                { "09 0002 0003", ZLT_X_NODES, 0 } },
      .msg = { .type = ZLT_AUTH_OK, .tunnel_id = id1,
               .ext = ZLT_X_FEATURES|ZLT_X_NODE|ZLT_X_NODES,
               .features = ZLT_F_CHANNELS, .node = id1, .nodes = 3 } }
};

#define NVECTORS  (sizeof(vectors) / sizeof(vectors[0]))


static uint8_t  buf[VECTOR_MAX];
static uint8_t  big[VECTOR_MAX];


static void
put_length(uint8_t *message, size_t size)
{
    size -= ZLT_HEADER_SIZE;

    message[1] = (uint8_t) (size >> 24);
    message[2] = (uint8_t) (size >> 16);
    message[3] = (uint8_t) (size >> 8);
    message[4] = (uint8_t) size;
}


/* Decodes from a copy that ends where the message does. */

static int
decode(zlt_msg_t *m, size_t len)
{
    size_t           used;
    static size_t    copy_len;
    static uint8_t  *copy;        /* *m points into it until the next call */

    if (copy) {
        tap_free(copy, copy_len);
    }

    copy = tap_copy(buf, len);
    copy_len = len;

    memset(m, 0x5a, sizeof(zlt_msg_t));

    return zlt_msg_decode(m, copy, len, ZLT_MAX_PAYLOAD, &used);
}


static size_t
head(const ext_vector_t *v)
{
    return vector_read(buf, 0, v->head);
}


static size_t
tag(const ext_vector_t *v, size_t i, size_t len)
{
    return vector_read(buf, len, v->tags[i].bytes);
}


static size_t
whole(const ext_vector_t *v)
{
    size_t  i, len;

    len = head(v);

    for (i = 0; i < MAX_TAGS && v->tags[i].bytes; i++) {
        len = tag(v, i, len);
    }

    return len;
}


/* The message of a vector with no more than these values of its block. */

static zlt_msg_t
with(const ext_vector_t *v, uint32_t bits)
{
    zlt_msg_t  m;

    m = v->msg;
    m.ext &= bits;

    if (!(bits & ZLT_X_FEATURES)) { m.features = 0; }
    if (!(bits & ZLT_X_AGENT)) { memset(&m.agent, 0, sizeof(zlt_str_t)); }
    if (!(bits & ZLT_X_RESUME_KEY)) { m.resume_key = NULL; }
    if (!(bits & ZLT_X_DATA_KEY)) { m.data_key = NULL; }
    if (!(bits & ZLT_X_CODE)) { m.code = 0; }
    if (!(bits & ZLT_X_RETRY)) { m.retry_after = 0; }
    if (!(bits & ZLT_X_FLAGS)) { m.flags = 0; }
    if (!(bits & ZLT_X_PREFERRED)) { m.preferred_port = 0; }
    if (!(bits & ZLT_X_PORT)) { m.port = 0; }
    if (!(bits & ZLT_X_ACTION)) { m.action = 0; }

    if (!(bits & ZLT_X_PUBLIC)) {
        memset(&m.public_addr, 0, sizeof(zlt_str_t));
    }

    if (!(bits & ZLT_X_ALLOW)) { memset(&m.allow, 0, sizeof(zlt_str_t)); }
    if (!(bits & ZLT_X_HOSTS)) { memset(&m.hosts, 0, sizeof(zlt_str_t)); }

    if (!(bits & ZLT_X_HEALTH) && m.type == ZLT_REGISTER) {
        m.health = 0;
        memset(&m.reason, 0, sizeof(zlt_str_t));
    }

    if (!(bits & ZLT_X_URLS)) { memset(&m.urls, 0, sizeof(zlt_str_t)); }
    if (!(bits & ZLT_X_TARGET)) { memset(&m.target, 0, sizeof(zlt_str_t)); }

    if (!(bits & ZLT_X_CHECK)) { m.check = 0; }
    if (!(bits & ZLT_X_RIGHTS)) { memset(&m.rights, 0, sizeof(zlt_str_t)); }
    if (!(bits & ZLT_X_HELD)) { memset(&m.held, 0, sizeof(zlt_str_t)); }
    if (!(bits & ZLT_X_NODE)) { m.node = NULL; }
    if (!(bits & ZLT_X_NODES)) { m.nodes = 0; }

    if (!(bits & ZLT_X_SERVED_BY)) {
        memset(&m.served_by, 0, sizeof(zlt_str_t));
    }

    /* of the others these are fixed fields */

    if (!(bits & ZLT_X_TOKEN_NAME) && m.type == ZLT_AUTH_OK) {
        memset(&m.name, 0, sizeof(zlt_str_t));
    }

    if (!(bits & ZLT_X_ACCESS_ID)
        && (m.type == ZLT_ACCESS_OPEN || m.type == ZLT_ACCESS_FAIL))
    {
        m.access_id = NULL;
    }

    if (!(bits & ZLT_X_HEARTBEAT)) {
        m.heartbeat_interval = 0;
        m.heartbeat_timeout = 0;
    }

    if (!(bits & ZLT_X_IDLE)) {
        m.idle_least = 0;
        m.idle_most = 0;
    }

    return m;
}


/* buf, once its length is set, decodes to the vector with just these bits */

static void
expect(const ext_vector_t *v, size_t len, uint32_t bits)
{
    zlt_msg_t  m, e;

    e = with(v, bits);
    put_length(buf, len);

    if (check(decode(&m, len) == ZLT_OK)) {
        check(m.ext == e.ext);
        check(msg_differs(&m, &e) == NULL);
    }
}


#define ALL  UINT32_MAX
#define VOID  0


static void
test_decode(void)
{
    size_t     i, len, used;
    zlt_msg_t  m;

    for (i = 0; i < NVECTORS; i++) {
        tap_note("%s ...", vectors[i].head);

        /* with the length that is written in the vector */

        len = whole(&vectors[i]);

        check(zlt_msg_decode(&m, buf, len, ZLT_MAX_PAYLOAD, &used) == ZLT_OK);
        check(used == len);
        check(msg_differs(&m, &vectors[i].msg) == NULL);

        expect(&vectors[i], len, ALL);
    }
}


static void
test_encode(void)
{
    size_t  i, len;

    for (i = 0; i < NVECTORS; i++) {
        tap_note("%s ...", vectors[i].head);

        len = whole(&vectors[i]);

        check(zlt_msg_encode(&vectors[i].msg, big, sizeof(big)) == len);
        check(memcmp(buf, big, len) == 0);
    }
}


static void
test_encode_into_little_room(void)
{
    size_t    i, n, len;
    uint8_t  *copy;

    for (i = 0; i < NVECTORS; i++) {
        len = whole(&vectors[i]);

        for (n = 0; n < len; n++) {
            tap_note("%s ... into %zu bytes", vectors[i].head, n);

            copy = tap_copy(NULL, n);
            check(zlt_msg_encode(&vectors[i].msg, copy, n) == 0);
            tap_free(copy, n);
        }
    }
}


static void
test_input_cut(void)
{
    size_t     i, n, len, used;
    uint8_t   *copy;
    zlt_msg_t  m;

    for (i = 0; i < NVECTORS; i++) {
        len = whole(&vectors[i]);

        for (n = 0; n < len; n++) {
            tap_note("%s ... cut at %zu", vectors[i].head, n);

            copy = tap_copy(buf, n);
            check(zlt_msg_decode(&m, copy, n, ZLT_MAX_PAYLOAD, &used)
                  == ZLT_AGAIN);
            check(used == (n < ZLT_HEADER_SIZE ? ZLT_HEADER_SIZE : len));
            tap_free(copy, n);
        }
    }
}


/*
 * A block that ends between two values is a shorter block; one that ends
 * within a value is none at all, whatever came before.
 */

static void
test_payload_cut(void)
{
    size_t               i, j, n, from, len;
    uint32_t             bits;
    zlt_msg_t            m;
    const ext_vector_t  *v;

    for (i = 0; i < NVECTORS; i++) {
        v = &vectors[i];

        len = head(v);
        whole(v);

        for (n = ZLT_HEADER_SIZE; n < len; n++) {
            tap_note("%s ... ends at %zu", v->head, n);
            put_length(buf, n);
            check(decode(&m, n) == ZLT_ERR_SHORT);
        }

        bits = 0;
        expect(v, len, VOID);

        for (j = 0; j < MAX_TAGS && v->tags[j].bytes; j++) {
            from = len;
            len = tag(v, j, from);

            for (n = from + 1; n < len; n++) {
                tap_note("%s ... ends at %zu", v->head, n);
                expect(v, n, VOID);
            }

            bits |= v->tags[j].bit;

            tap_note("%s ... ends at %zu", v->head, len);
            expect(v, len, bits);
        }
    }
}


static void
test_unknown_tags(void)
{
    size_t                    i, j, k, at, len;
    const ext_vector_t       *v;
    static const char *const  unknown[] = {
        "00 0000", "18 0001 00", "fe 0003 010203", "ff 0007 'unknown'",
        ("7f 0020" KEY1)
    };

    for (i = 0; i < NVECTORS; i++) {
        v = &vectors[i];

        for (k = 0; k < sizeof(unknown) / sizeof(unknown[0]); k++) {

            for (at = 0; at <= MAX_TAGS; at++) {
                tap_note("%s ... with %s at %zu", v->head, unknown[k], at);

                len = head(v);

                for (j = 0; j < MAX_TAGS && v->tags[j].bytes; j++) {
                    if (j == at) {
                        len = vector_read(buf, len, unknown[k]);
                    }

                    len = tag(v, j, len);
                }

                if (at >= j) {
                    len = vector_read(buf, len, unknown[k]);
                }

                expect(v, len, ALL);
            }
        }
    }
}


/* Every tag that a type does not define, with a value of every length. */

static void
test_all_unknown_tags(void)
{
    size_t               i, n, len;
    unsigned             t, least;
    const ext_vector_t  *v;

    for (i = 0; i < NVECTORS; i++) {
        v = &vectors[i];

        switch (v->msg.type) {
        case ZLT_AUTH_OK:        least = 10; break;
        case ZLT_REGISTER:       least = 6; break;
        case ZLT_AUTH:           least = 6; break;
        case ZLT_REGISTER_OK:    least = 4; break;
        case ZLT_REGISTER_FAIL:
        case ZLT_DATAGRAM_OPEN:
        case ZLT_ACCESS_OK:
        case ZLT_ACCESS_CLOSE:
        case ZLT_CONNECT_FAIL:   least = 2; break;
        default:                 least = 3; break;
        }

        for (t = 0; t < 256; t = (t == 0) ? least : t + 1) {
            for (n = 0; n < 40; n += 3) {
                tap_note("%s ... with tag %u of %zu bytes", v->head, t, n);

                len = whole(v);
                buf[len++] = (uint8_t) t;
                buf[len++] = 0;
                buf[len++] = (uint8_t) n;
                memset(buf + len, 0xff, n);
                len += n;

                expect(v, len, ALL);
            }
        }
    }
}


static void
test_order(void)
{
    size_t               i, j, len;
    const ext_vector_t  *v;

    for (i = 0; i < NVECTORS; i++) {
        v = &vectors[i];
        tap_note("%s ... backwards", v->head);

        len = head(v);

        for (j = MAX_TAGS; j > 0; j--) {
            if (v->tags[j - 1].bytes) {
                len = tag(v, j - 1, len);
            }
        }

        expect(v, len, ALL);
    }
}


/* Only the first counts; the others are not even looked into. */

static void
test_repeated_tags(void)
{
    size_t               i, j, len, first, end;
    const ext_vector_t  *v;

    for (i = 0; i < NVECTORS; i++) {
        v = &vectors[i];

        for (j = 0; j < MAX_TAGS && v->tags[j].bytes; j++) {
            tap_note("%s ... with %s repeated", v->head, v->tags[j].bytes);

            first = whole(v);
            end = tag(v, j, first);

            /* every bit of the value is another, and it is not UTF-8 */

            for (len = first + 3; len < end; len++) {
                buf[len] ^= 0xff;
            }

            expect(v, end, ALL);

            /* one that would be too short */

            buf[first + 1] = 0;
            buf[first + 2] = 0;
            expect(v, first + 3, ALL);

            /* but a length that leads past the end voids all the same */

            buf[first + 2] = 1;
            expect(v, first + 3, VOID);
        }
    }
}


static void
test_longer_values(void)
{
    size_t               i, j, k, more, from, len, n;
    const ext_vector_t  *v;

    for (i = 0; i < NVECTORS; i++) {
        v = &vectors[i];

        for (j = 0; j < MAX_TAGS && v->tags[j].bytes; j++) {

            if (v->tags[j].text) {
                continue;
            }

            for (more = 1; more <= 600; more += (more < 5) ? 1 : 119) {
                tap_note("%s ... %s longer by %zu", v->head,
                         v->tags[j].bytes, more);

                len = head(v);

                for (k = 0; k < MAX_TAGS && v->tags[k].bytes; k++) {
                    from = len;
                    len = tag(v, k, from);

                    if (k == j) {
                        n = len - from - 3 + more;
                        buf[from + 1] = (uint8_t) (n >> 8);
                        buf[from + 2] = (uint8_t) n;
                        memset(buf + len, 0x01, more);
                        len += more;
                    }
                }

                expect(v, len, ALL);
            }
        }
    }
}


static void
test_shorter_values(void)
{
    size_t               i, j, k, n, from, len;
    const ext_vector_t  *v;

    for (i = 0; i < NVECTORS; i++) {
        v = &vectors[i];

        for (j = 0; j < MAX_TAGS && v->tags[j].bytes; j++) {

            if (v->tags[j].text) {
                continue;
            }

            n = tag(v, j, 0) - 3;

            while (n--) {
                tap_note("%s ... %s of %zu bytes", v->head,
                         v->tags[j].bytes, n);

                len = head(v);

                for (k = 0; k < MAX_TAGS && v->tags[k].bytes; k++) {
                    from = len;
                    len = tag(v, k, from);

                    if (k == j) {
                        buf[from + 2] = (uint8_t) n;
                        len = from + 3 + n;
                    }
                }

                expect(v, len, VOID);
            }
        }
    }
}


static void
test_lengths_past_the_end(void)
{
    size_t               i, len;
    unsigned             n;
    const ext_vector_t  *v;

    for (i = 0; i < NVECTORS; i++) {
        v = &vectors[i];

        for (n = 1; n < 65536; n = (n < 8) ? n + 1 : n * 2 + 1) {
            tap_note("%s ... with an unknown tag of %u bytes", v->head, n);

            len = whole(v);
            buf[len++] = 0xee;
            buf[len++] = (uint8_t) (n >> 8);
            buf[len++] = (uint8_t) n;

            expect(v, len, VOID);

            memset(buf + len, 0, n - 1);
            expect(v, len + n - 1, VOID);

            if (len + n <= ZLT_MAX_MESSAGE_SIZE) {
                buf[len + n - 1] = 0;
                expect(v, len + n, ALL);
            }
        }
    }
}


/*
 * Without tag 0x01 there is no extended Auth: not for an agent name, not
 * for a resume key.  With it, its place does not matter.
 */

static void
test_auth_without_features(void)
{
    size_t               len;
    const ext_vector_t  *v;

    v = &vectors[0];

    len = tag(v, 1, head(v));
    expect(v, len, VOID);

    len = tag(v, 2, len);
    expect(v, len, VOID);

    expect(v, vector_read(buf, len, "04 0004 00000007"), VOID);

    expect(v, tag(v, 0, len), ALL);

    len = tag(v, 0, len);
    buf[len++] = 0;
    expect(v, len, VOID);

    /* no features are still an extended Auth */

    len = vector_read(buf, 0, "01 0000001c 0003 'tok'" ID1 "01 0004 00000000");
    expect(&(ext_vector_t) {
               .msg = { .type = ZLT_AUTH, .token = S("tok"),
                        .client_id = id1, .ext = ZLT_X_FEATURES } },
           len, ALL);
}


static void
test_utf8(void)
{
    size_t               len;
    const ext_vector_t  *v;

    v = &vectors[0];

    len = tag(v, 0, head(v));
    expect(v, vector_read(buf, len, "02 0001 ff"), VOID);
    expect(v, vector_read(buf, len, "02 0003 e282 20"), VOID);
    expect(v, vector_read(buf, len, "02 0002 c3a9 03 0020" KEY1 "ff"), VOID);
    expect(v, vector_read(buf, len, "06 0001 ff"), ZLT_X_FEATURES);

    v = &vectors[7];

    len = tag(v, 0, head(v));
    expect(v, vector_read(buf, len, "02 0002 'x' 80"), VOID);
}


/* Types that have no block: nothing behind their fields means anything. */

static void
test_types_without_a_block(void)
{
    size_t                     i, j, len;
    static const ext_vector_t  plain[] = {
        { .head = "21 00000000" ID1,
          .msg = { .type = ZLT_CONNECT_ACK, .connection_id = id1 } },
        { .head = "30 00000000 0000000000000001",
          .msg = { .type = ZLT_HEARTBEAT, .timestamp = 1 } },
        { .head = "31 00000000 0000000000000001",
          .msg = { .type = ZLT_HEARTBEAT_ACK, .timestamp = 1 } },
        { .head = "40 00000000" ID1,
          .msg = { .type = ZLT_UNREGISTER, .service_id = id1 } },
        { .head = "52 00000000 00000001 02",
          .msg = { .type = ZLT_DATAGRAM_CLOSE, .session = 1, .cause = 2 } },
        { .head = "53 00000000", .msg = { .type = ZLT_RETIRE } },
        { .head = "54 00000000", .msg = { .type = ZLT_RAW } },
        { .head = "56 00000000", .msg = { .type = ZLT_EOF } },
        { .head = "57 00000000", .msg = { .type = ZLT_RESET } },
        { .head = "58 00000000" ID1 "0001 'r'",
          .msg = { .type = ZLT_WITHDRAW, .service_id = id1,
                   .reason = S("r") } },
        { .head = "5c 00000000" ID1 "00000001",
          .msg = { .type = ZLT_ACCESS_RENEW, .access_id = id1, .ttl = 1 } }
    };

    static const char *const  blocks[] = {
        "01 0004 00000007", "01 0001 03 02 0004 00000001", ("02 0020" KEY1),
        "04 0008 0000000000000000", "01 0004 0000", "ff"
    };

    for (i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        for (j = 0; j < sizeof(blocks) / sizeof(blocks[0]); j++) {
            tap_note("%s then %s", plain[i].head, blocks[j]);

            len = vector_read(buf, head(&plain[i]), blocks[j]);
            expect(&plain[i], len, ALL);
        }
    }
}


/* A tag means what its own message says: 0x01 of one is not 0x01 of another. */

static void
test_encode_only_what_belongs(void)
{
    size_t     i, len;
    zlt_msg_t  m;

    for (i = 0; i < NVECTORS; i++) {
        tap_note("%s ... with bits of others", vectors[i].head);

        len = whole(&vectors[i]);

        m = vectors[i].msg;
        m.ext |= 0xfc000000;

        if (m.type == ZLT_AUTH_FAIL || m.type == ZLT_DISCONNECT) {
            m.ext |= ZLT_X_PORT|ZLT_X_PUBLIC|ZLT_X_FEATURES|ZLT_X_DATA_KEY;

        } else {
            m.ext |= ZLT_X_RETRY|ZLT_X_ACTION;
        }

        check(zlt_msg_encode(&m, big, sizeof(big)) == len);
        check(memcmp(buf, big, len) == 0);

        /* what is set but not marked is not sent */

        len = head(&vectors[i]);
        m.ext = 0;

        check(zlt_msg_encode(&m, big, sizeof(big)) == len);
        check(memcmp(buf + 5, big + 5, len - 5) == 0);
    }

    m = vectors[2].msg;
    m.data_key = NULL;
    check(zlt_msg_encode(&m, big, sizeof(big)) == 0);
}


static void
test_encode_long_strings(void)
{
    size_t     n;
    zlt_msg_t  m, d;

    memset(big, 'a', sizeof(big));

    m = vectors[7].msg;
    m.ext &= ~(uint32_t) ZLT_X_URLS;
    memset(&m.urls, 0, sizeof(zlt_str_t));
    m.public_addr.data = big;

    /* 16 + 5 + 3 + 65507 = 65531 */

    for (n = 65480; n <= 65540; n++) {
        tap_note("public address of %zu bytes", n);
        m.public_addr.len = n;

        if (n > 65507) {
            check(zlt_msg_encode(&m, buf, sizeof(buf)) == 0);
            continue;
        }

        check(zlt_msg_encode(&m, buf, sizeof(buf)) == n + 29);
        check(decode(&d, n + 29) == ZLT_OK);
        check(msg_differs(&m, &d) == NULL);
    }
}


int
main(void)
{
    tap_run(test_decode, "every block is decoded");
    tap_run(test_encode, "every block is encoded, in the order of tags");
    tap_run(test_encode_into_little_room, "buffers of every size");
    tap_run(test_input_cut, "input cut at every byte: more is asked for");
    tap_run(test_payload_cut, "payload cut at every byte: whole or nothing");
    tap_run(test_unknown_tags, "unknown tags are skipped, at any place");
    tap_run(test_all_unknown_tags, "all unknown tags are skipped");
    tap_run(test_order, "tags in another order");
    tap_run(test_repeated_tags, "the first of repeated tags counts");
    tap_run(test_longer_values, "a longer value is cut");
    tap_run(test_shorter_values, "a shorter value voids the block");
    tap_run(test_lengths_past_the_end, "a length past the end voids it");
    tap_run(test_auth_without_features, "Auth is extended by features only");
    tap_run(test_utf8, "a string that is not UTF-8 voids the block");
    tap_run(test_types_without_a_block, "types without a block");
    tap_run(test_encode_only_what_belongs, "values of other types stay out");
    tap_run(test_encode_long_strings, "strings up to the largest payload");

    return tap_done();
}
