
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects the message decoder from whatever a peer may send, and holds it
 * against the encoder: what was decoded is encoded, and must come back as
 * the same message and then as the same bytes.
 *
 * The first byte of an input says what it is: a limit and a message as it
 * came from the wire, or the fields of one that is to be encoded.
 */


#include "fuzz.h"
#include "vector.h"
#include "zlt_hex.h"
#include "zlt_name.h"
#include "zlt_utf8.h"


typedef struct {
    const uint8_t  *pos;
    const uint8_t  *end;
} msg_source_t;


static uint8_t  msg_first[ZLT_MAX_MESSAGE_SIZE];
static uint8_t  msg_second[ZLT_MAX_MESSAGE_SIZE];
static uint8_t  msg_third[ZLT_MAX_MESSAGE_SIZE];


/* Every pointer of a decoded message leads into its input. */

static void
msg_inside(const uint8_t *p, size_t len, const uint8_t *from, size_t size)
{
    if (p) {
        must(p >= from && len <= size && p <= from + size - len);

    } else {
        must(len == 0);
    }
}


static void
msg_all_inside(const zlt_msg_t *m, const uint8_t *p, size_t size)
{
    msg_inside(m->token.data, m->token.len, p, size);
    msg_inside(m->name.data, m->name.len, p, size);
    msg_inside(m->reason.data, m->reason.len, p, size);
    msg_inside(m->client_addr.data, m->client_addr.len, p, size);
    msg_inside(m->data.data, m->data.len, p, size);
    msg_inside(m->agent.data, m->agent.len, p, size);
    msg_inside(m->public_addr.data, m->public_addr.len, p, size);
    msg_inside(m->allow.data, m->allow.len, p, size);
    msg_inside(m->hosts.data, m->hosts.len, p, size);
    msg_inside(m->urls.data, m->urls.len, p, size);
    msg_inside(m->target.data, m->target.len, p, size);
    msg_inside(m->served_by.data, m->served_by.len, p, size);
    msg_inside(m->rights.data, m->rights.len, p, size);
    msg_inside(m->held.data, m->held.len, p, size);

    msg_inside(m->client_id, m->client_id ? ZLT_ID_SIZE : 0, p, size);
    msg_inside(m->tunnel_id, m->tunnel_id ? ZLT_ID_SIZE : 0, p, size);
    msg_inside(m->service_id, m->service_id ? ZLT_ID_SIZE : 0, p, size);
    msg_inside(m->connection_id, m->connection_id ? ZLT_ID_SIZE : 0, p, size);
    msg_inside(m->access_id, m->access_id ? ZLT_ID_SIZE : 0, p, size);
    msg_inside(m->node, m->node ? ZLT_ID_SIZE : 0, p, size);
    msg_inside(m->resume_key, m->resume_key ? ZLT_KEY_SIZE : 0, p, size);
    msg_inside(m->data_key, m->data_key ? ZLT_KEY_SIZE : 0, p, size);
}


/* Encodes *m, decodes that, and encodes again. */

static size_t
msg_round_trip(const zlt_msg_t *m)
{
    size_t     n, used;
    uint8_t   *room;
    zlt_msg_t  d;

    n = zlt_msg_encode(m, msg_first, sizeof(msg_first));
    must(n >= ZLT_HEADER_SIZE);

    must(zlt_msg_decode(&d, msg_first, n, ZLT_MAX_PAYLOAD, &used) == ZLT_OK);
    must(used == n);
    must(msg_differs(m, &d) == NULL);

    must(zlt_msg_encode(&d, msg_second, sizeof(msg_second)) == n);
    must(memcmp(msg_first, msg_second, n) == 0);

    /* it needs exactly the room that it takes */

    room = fuzz_copy(msg_first, n - 1);
    must(zlt_msg_encode(m, room, n - 1) == 0);
    free(room);

    return n;
}


static void
msg_from_wire(const uint8_t *data, size_t size, size_t max)
{
    int         rc;
    size_t      n, used, plain;
    uint8_t    *copy;
    zlt_msg_t   m, bare;

    copy = fuzz_copy(data, size);
    used = 0;

    rc = zlt_msg_decode(&m, copy, size, max, &used);

    if (rc == ZLT_AGAIN) {
        must(used > size);
        must(used == ZLT_HEADER_SIZE || size >= ZLT_HEADER_SIZE);
        must(used <= ZLT_HEADER_SIZE + max);
    }

    if (rc != ZLT_OK) {
        must(zlt_msg_strerror(rc) != zlt_msg_strerror(ZLT_OK));
        free(copy);
        return;
    }

    must(used <= size && used <= ZLT_HEADER_SIZE + max);
    must(strcmp(zlt_msg_name(m.type), "unknown") != 0);

    msg_all_inside(&m, copy + ZLT_HEADER_SIZE, used - ZLT_HEADER_SIZE);

    must(m.type != ZLT_AUTH || m.ext == 0 || (m.ext & ZLT_X_FEATURES));

    /* what was skipped or cut is gone, and nothing is added */

    n = msg_round_trip(&m);
    must(n <= used);

    /* the fixed fields stand as they came */

    bare = m;
    bare.ext = 0;
    plain = zlt_msg_encode(&bare, msg_third, sizeof(msg_third));

    must(plain >= ZLT_HEADER_SIZE && plain <= n);
    must(memcmp(msg_third + ZLT_HEADER_SIZE, copy + ZLT_HEADER_SIZE,
                plain - ZLT_HEADER_SIZE) == 0);

    /* one byte less is not enough, and says so */

    must(zlt_msg_decode(&bare, copy, used - 1, max, &plain) == ZLT_AGAIN);
    must(plain == used);

    free(copy);
}


static uint64_t
msg_take(msg_source_t *s, size_t n)
{
    uint64_t  v;

    for (v = 0; n && s->pos < s->end; n--) {
        v = v << 8 | *s->pos++;
    }

    return v;
}


static void
msg_take_str(msg_source_t *s, zlt_str_t *str, size_t max)
{
    size_t  n;

    n = (size_t) msg_take(s, 2);
    n = n > max ? max : n;

    if (n > (size_t) (s->end - s->pos)) {
        n = (size_t) (s->end - s->pos);
    }

    str->data = s->pos;
    str->len = n;
    s->pos += n;

    /* of what is not UTF-8 nothing is left */

    if (!zlt_utf8_valid(str->data, str->len)) {
        str->len = 0;
    }
}


/*
 * A message with every field set: the encoder must take those of its type
 * and leave the others.
 */

static void
msg_from_fields(const uint8_t *data, size_t size)
{
    size_t        n, used;
    zlt_msg_t     m, d;
    msg_source_t  s;

    static const uint8_t  ids[6][ZLT_ID_SIZE] = {
        "a", "b", "c", "d", "g", "h"
    };
    static const uint8_t  keys[2][ZLT_KEY_SIZE] = { "e", "f" };

    s.pos = data;
    s.end = data + size;

    memset(&m, 0, sizeof(zlt_msg_t));

    m.type = (uint8_t) msg_take(&s, 1);
    m.ext = (uint32_t) msg_take(&s, 3);
    m.protocol = (uint8_t) msg_take(&s, 1);
    m.local_port = (uint16_t) msg_take(&s, 2);
    m.remote_port = (uint16_t) msg_take(&s, 2);
    m.cause = (uint8_t) msg_take(&s, 1);
    m.session = (uint32_t) msg_take(&s, 4);
    m.timestamp = msg_take(&s, 8);
    m.features = (uint32_t) msg_take(&s, 4);
    m.heartbeat_interval = (uint32_t) msg_take(&s, 4);
    m.heartbeat_timeout = (uint32_t) msg_take(&s, 4);
    m.idle_least = (uint16_t) msg_take(&s, 2);
    m.idle_most = (uint16_t) msg_take(&s, 2);
    m.code = (uint8_t) msg_take(&s, 1);
    m.retry_after = (uint32_t) msg_take(&s, 4);
    m.flags = (uint8_t) msg_take(&s, 1);
    m.preferred_port = (uint16_t) msg_take(&s, 2);
    m.port = (uint16_t) msg_take(&s, 2);
    m.action = (uint8_t) msg_take(&s, 1);
    m.ttl = (uint32_t) msg_take(&s, 4);
    m.grace = (uint32_t) msg_take(&s, 4);

    msg_take_str(&s, &m.name, ZLT_MAX_NAME);
    msg_take_str(&s, &m.token, 65535);
    msg_take_str(&s, &m.reason, 65535);
    msg_take_str(&s, &m.client_addr, 65535);
    msg_take_str(&s, &m.data, 65535);
    msg_take_str(&s, &m.agent, 65535);
    msg_take_str(&s, &m.public_addr, 65535);
    msg_take_str(&s, &m.allow, 65535);
    msg_take_str(&s, &m.target, 65535);
    msg_take_str(&s, &m.served_by, 65535);
    msg_take_str(&s, &m.hosts, 65535);
    msg_take_str(&s, &m.urls, 65535);

    /* behind the others, so that inputs which were kept mean what they did */

    m.ext |= (uint32_t) msg_take(&s, 1) << 24;
    m.check = (uint8_t) msg_take(&s, 1);
    m.nodes = (uint16_t) msg_take(&s, 2);
    msg_take_str(&s, &m.held, 65535);
    msg_take_str(&s, &m.rights, 65535);

    m.client_id = ids[0];
    m.tunnel_id = ids[1];
    m.service_id = ids[2];
    m.connection_id = ids[3];
    m.access_id = ids[4];
    m.node = ids[5];
    m.resume_key = keys[0];
    m.data_key = keys[1];

    n = zlt_msg_encode(&m, msg_first, sizeof(msg_first));

    if (n == 0) {
        must(strcmp(zlt_msg_name(m.type), "unknown") == 0
             || m.protocol > 1
             || size > 32768);
        return;
    }

    must(zlt_msg_decode(&d, msg_first, n, ZLT_MAX_PAYLOAD, &used) == ZLT_OK);
    must(used == n);
    must(d.type == m.type && (d.ext & ~m.ext) == 0);

    memcpy(msg_third, msg_first, n);

    if (m.type == ZLT_AUTH && !(m.ext & ZLT_X_FEATURES)) {
        must(d.ext == 0);
        return;
    }

    /* the decoded one has the fields of its type only, and gives the same */

    must(zlt_msg_encode(&d, msg_first, sizeof(msg_first)) == n);
    must(memcmp(msg_first, msg_third, n) == 0);
}


static void
msg_strings(const uint8_t *data, size_t size)
{
    char     *hex;
    size_t    cut, max;
    uint8_t  *copy, *back;

    copy = fuzz_copy(data, size);

    if (zlt_name_valid(copy, size)) {
        must(size && size <= ZLT_MAX_NAME && zlt_utf8_valid(copy, size));
    }

    if (zlt_utf8_valid(copy, size)) {
        for (max = 0; max < size && max < 300; max++) {
            cut = zlt_utf8_cut(copy, size, max);

            must(cut <= max && max - cut < 4);
            must(zlt_utf8_valid(copy, cut));
            must(zlt_utf8_valid(copy + cut, size - cut));
        }
    }

    hex = (char *) fuzz_copy(NULL, 2 * size);
    back = fuzz_copy(NULL, size);

    zlt_hex_encode(hex, copy, size);
    must(zlt_hex_decode(back, hex, size) == 0);
    must(size == 0 || memcmp(back, copy, size) == 0);

    if (zlt_hex_decode(back, (char *) copy, size / 2) == 0) {
        zlt_hex_encode(hex, back, size / 2);

        for (cut = 0; cut < size / 2 * 2; cut++) {
            must((hex[cut] | 0x20) == (copy[cut] | 0x20));
        }
    }

    free(hex);
    free(back);
    free(copy);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }

    switch (data[0] & 3) {

    case 0:
        msg_from_wire(data + 1, size - 1, ZLT_MAX_PAYLOAD);
        break;

    case 1:
        msg_from_wire(data + 1, size - 1, ZLT_MAX_CHANNEL_FRAME);
        break;

    case 2:
        msg_from_fields(data + 1, size - 1);
        break;

    default:
        msg_strings(data + 1, size - 1);
        break;
    }

    return 0;
}
