
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Messages: the header, and the fixed fields of each type.
 *
 * A peer's length is compared with the limit, and with what is there, before
 * it is added to anything.  Whatever follows the fixed fields goes to the
 * extension block, which can be void but never makes a message invalid: a
 * peer of protocol version 1 may have put anything there.
 */


#include "zlt_utf8.h"
#include "zlt_wire.h"


typedef struct {
    uint8_t         type;
    const char     *name;
    zlt_field_t     fields[5];
} zlt_layout_t;


static const zlt_layout_t *zlt_layout_find(unsigned type);
static size_t zlt_field_size(unsigned kind);
static int zlt_field_read(zlt_msg_t *m, const zlt_field_t *f,
    const uint8_t **pos, const uint8_t *end);
static int zlt_string_read(zlt_str_t *s, size_t n, const uint8_t **pos,
    const uint8_t *end);
static uint8_t *zlt_field_write(const zlt_msg_t *m, const zlt_field_t *f,
    uint8_t *p, uint8_t *end);
static uint8_t *zlt_bytes_write(const uint8_t *data, size_t n, uint8_t *p,
    uint8_t *end);


static const zlt_layout_t  zlt_layouts[] = {

    { ZLT_AUTH, "Auth",
      { zlt_field(STR16, token),
        zlt_field(ID, client_id) } },

    { ZLT_AUTH_OK, "AuthOk",
      { zlt_field(ID, tunnel_id) } },

    { ZLT_AUTH_FAIL, "AuthFail",
      { zlt_field(STR16, reason) } },

    { ZLT_REGISTER, "Register",
      { zlt_field(STR8, name),
        zlt_field(PROTOCOL, protocol),
        zlt_field(U16, local_port),
        zlt_field(U16, remote_port) } },

    { ZLT_REGISTER_OK, "RegisterOk",
      { zlt_field(ID, service_id) } },

    { ZLT_REGISTER_FAIL, "RegisterFail",
      { zlt_field(STR16, reason) } },

    { ZLT_CONNECT, "Connect",
      { zlt_field(ID, service_id),
        zlt_field(ID, connection_id),
        zlt_field(STR16, client_addr) } },

    { ZLT_CONNECT_ACK, "ConnectAck",
      { zlt_field(ID, connection_id) } },

    { ZLT_CONNECT_FAIL, "ConnectFail",
      { zlt_field(ID, connection_id),
        zlt_field(STR16, reason) } },

    { ZLT_HEARTBEAT, "Heartbeat",
      { zlt_field(U64, timestamp) } },

    { ZLT_HEARTBEAT_ACK, "HeartbeatAck",
      { zlt_field(U64, timestamp) } },

    { ZLT_UNREGISTER, "Unregister",
      { zlt_field(ID, service_id) } },

    { ZLT_DISCONNECT, "Disconnect",
      { zlt_field(STR16, reason) } },

    { ZLT_DATAGRAM_OPEN, "DatagramOpen",
      { zlt_field(U32, session),
        zlt_field(ID, service_id),
        zlt_field(STR16, client_addr) } },

    { ZLT_DATAGRAM, "Datagram",
      { zlt_field(U32, session),
        zlt_field(BYTES, data) } },

    { ZLT_DATAGRAM_CLOSE, "DatagramClose",
      { zlt_field(U32, session),
        zlt_field(U8, cause) } },

    { ZLT_RETIRE, "Retire",
      { zlt_field_none } },

    { ZLT_RAW, "Raw",
      { zlt_field_none } },

    { ZLT_DATA, "Data",
      { zlt_field(BYTES, data) } },

    { ZLT_EOF, "Eof",
      { zlt_field_none } },

    { ZLT_RESET, "Reset",
      { zlt_field_none } },

    { ZLT_MOVE, "Move",
      { zlt_field(ID, connection_id) } },

    { ZLT_WITHDRAW, "Withdraw",
      { zlt_field(ID, service_id),
        zlt_field(STR16, reason) } },

    { ZLT_ACCESS_OPEN, "AccessOpen",
      { zlt_field(STR8, name),
        zlt_field(PROTOCOL, protocol),
        zlt_field(U32, ttl),
        zlt_field(U32, grace) } },

    { ZLT_ACCESS_OK, "AccessOk",
      { zlt_field(ID, access_id),
        zlt_field(U32, ttl) } },

    { ZLT_ACCESS_FAIL, "AccessFail",
      { zlt_field(STR16, reason) } },

    { ZLT_ACCESS_RENEW, "AccessRenew",
      { zlt_field(ID, access_id),
        zlt_field(U32, ttl) } },

    { ZLT_ACCESS_CLOSE, "AccessClose",
      { zlt_field(ID, access_id),
        zlt_field(STR16, reason) } }
};


int
zlt_msg_decode(zlt_msg_t *m, const uint8_t *buf, size_t len,
    size_t max_payload, size_t *used)
{
    int                  rc;
    uint32_t             n;
    const uint8_t       *p, *end;
    const zlt_layout_t  *layout;

    if (len < ZLT_HEADER_SIZE) {
        *used = ZLT_HEADER_SIZE;
        return ZLT_AGAIN;
    }

    layout = zlt_layout_find(buf[0]);

    if (layout == NULL) {
        return ZLT_ERR_TYPE;
    }

    n = zlt_get32(buf + 1);

    if (n > max_payload) {
        return ZLT_ERR_SIZE;
    }

    *used = ZLT_HEADER_SIZE + (size_t) n;

    if (len < *used) {
        return ZLT_AGAIN;
    }

    p = buf + ZLT_HEADER_SIZE;
    end = buf + *used;

    memset(m, 0, sizeof(zlt_msg_t));

    m->type = buf[0];

    rc = zlt_fields_read(m, layout->fields, &p, end);

    if (rc != ZLT_OK) {
        return rc;
    }

    zlt_ext_read(m, p, end);

    return ZLT_OK;
}


size_t
zlt_msg_encode(const zlt_msg_t *m, uint8_t *buf, size_t size)
{
    uint8_t             *p, *end;
    const zlt_layout_t  *layout;

    layout = zlt_layout_find(m->type);

    if (layout == NULL || size < ZLT_HEADER_SIZE) {
        return 0;
    }

    if (size > ZLT_MAX_MESSAGE_SIZE) {
        size = ZLT_MAX_MESSAGE_SIZE;
    }

    p = buf + ZLT_HEADER_SIZE;
    end = buf + size;

    p = zlt_fields_write(m, layout->fields, p, end);

    if (p == NULL) {
        return 0;
    }

    p = zlt_ext_write(m, p, end);

    if (p == NULL) {
        return 0;
    }

    buf[0] = m->type;
    zlt_put32(buf + 1, (uint32_t) (p - buf - ZLT_HEADER_SIZE));

    return (size_t) (p - buf);
}


const char *
zlt_msg_name(unsigned type)
{
    const zlt_layout_t  *layout;

    layout = zlt_layout_find(type);

    return layout ? layout->name : "unknown";
}


const char *
zlt_msg_strerror(int rc)
{
    switch (rc) {

    case ZLT_OK:
        return "no error";

    case ZLT_AGAIN:
        return "message incomplete";

    case ZLT_ERR_TYPE:
        return "unknown message type";

    case ZLT_ERR_SIZE:
        return "message too long";

    case ZLT_ERR_SHORT:
        return "payload too short";

    case ZLT_ERR_UTF8:
        return "string is not UTF-8";

    case ZLT_ERR_VALUE:
        return "unknown protocol";

    default:
        return "unknown error";
    }
}


int
zlt_fields_read(zlt_msg_t *m, const zlt_field_t *f, const uint8_t **pos,
    const uint8_t *end)
{
    int  rc;

    for ( /* void */ ; f->kind != ZLT_FIELD_END; f++) {
        rc = zlt_field_read(m, f, pos, end);

        if (rc != ZLT_OK) {
            return rc;
        }
    }

    return ZLT_OK;
}


uint8_t *
zlt_fields_write(const zlt_msg_t *m, const zlt_field_t *f, uint8_t *p,
    uint8_t *end)
{
    for ( /* void */ ; f->kind != ZLT_FIELD_END && p; f++) {
        p = zlt_field_write(m, f, p, end);
    }

    return p;
}


static const zlt_layout_t *
zlt_layout_find(unsigned type)
{
    size_t  i;

    for (i = 0; i < sizeof(zlt_layouts) / sizeof(zlt_layouts[0]); i++) {
        if (zlt_layouts[i].type == type) {
            return &zlt_layouts[i];
        }
    }

    return NULL;
}


/* The bytes that a field takes before its string, if it has one, begins. */

static size_t
zlt_field_size(unsigned kind)
{
    switch (kind) {

    case ZLT_FIELD_U8:
    case ZLT_FIELD_PROTOCOL:
    case ZLT_FIELD_STR8:
        return 1;

    case ZLT_FIELD_U16:
    case ZLT_FIELD_STR16:
        return 2;

    case ZLT_FIELD_U32:
        return 4;

    case ZLT_FIELD_U64:
        return 8;

    case ZLT_FIELD_ID:
        return ZLT_ID_SIZE;

    case ZLT_FIELD_KEY:
        return ZLT_KEY_SIZE;

    default:  /* ZLT_FIELD_TEXT, ZLT_FIELD_BYTES */
        return 0;
    }
}


static int
zlt_field_read(zlt_msg_t *m, const zlt_field_t *f, const uint8_t **pos,
    const uint8_t *end)
{
    void           *member;
    size_t          size;
    zlt_str_t      *s;
    const uint8_t  *p;

    size = zlt_field_size(f->kind);

    if ((size_t) (end - *pos) < size) {
        return ZLT_ERR_SHORT;
    }

    p = *pos;
    *pos += size;

    member = (char *) m + f->offset;

    switch (f->kind) {

    case ZLT_FIELD_PROTOCOL:
        if (*p > ZLT_PROTO_UDP) {
            return ZLT_ERR_VALUE;
        }

        /* fall through */

    case ZLT_FIELD_U8:
        *(uint8_t *) member = *p;
        return ZLT_OK;

    case ZLT_FIELD_U16:
        *(uint16_t *) member = zlt_get16(p);
        return ZLT_OK;

    case ZLT_FIELD_U32:
        *(uint32_t *) member = zlt_get32(p);
        return ZLT_OK;

    case ZLT_FIELD_U64:
        *(uint64_t *) member = zlt_get64(p);
        return ZLT_OK;

    case ZLT_FIELD_ID:
    case ZLT_FIELD_KEY:
        *(const uint8_t **) member = p;
        return ZLT_OK;

    case ZLT_FIELD_STR8:
        return zlt_string_read(member, *p, pos, end);

    case ZLT_FIELD_STR16:
        return zlt_string_read(member, zlt_get16(p), pos, end);

    case ZLT_FIELD_TEXT:
        return zlt_string_read(member, (size_t) (end - p), pos, end);

    default:  /* ZLT_FIELD_BYTES */
        s = member;
        s->data = p;
        s->len = (size_t) (end - p);
        *pos = end;
        return ZLT_OK;
    }
}


static int
zlt_string_read(zlt_str_t *s, size_t n, const uint8_t **pos,
    const uint8_t *end)
{
    if ((size_t) (end - *pos) < n) {
        return ZLT_ERR_SHORT;
    }

    if (!zlt_utf8_valid(*pos, n)) {
        return ZLT_ERR_UTF8;
    }

    s->data = *pos;
    s->len = n;

    *pos += n;

    return ZLT_OK;
}


static uint8_t *
zlt_field_write(const zlt_msg_t *m, const zlt_field_t *f, uint8_t *p,
    uint8_t *end)
{
    size_t            size;
    const void       *member;
    const zlt_str_t  *s;

    size = zlt_field_size(f->kind);

    if ((size_t) (end - p) < size) {
        return NULL;
    }

    member = (const char *) m + f->offset;

    switch (f->kind) {

    case ZLT_FIELD_PROTOCOL:
        if (*(const uint8_t *) member > ZLT_PROTO_UDP) {
            return NULL;
        }

        /* fall through */

    case ZLT_FIELD_U8:
        *p = *(const uint8_t *) member;
        return p + 1;

    case ZLT_FIELD_U16:
        return zlt_put16(p, *(const uint16_t *) member);

    case ZLT_FIELD_U32:
        return zlt_put32(p, *(const uint32_t *) member);

    case ZLT_FIELD_U64:
        return zlt_put64(p, *(const uint64_t *) member);

    case ZLT_FIELD_ID:
    case ZLT_FIELD_KEY:
        return zlt_bytes_write(*(const uint8_t *const *) member, size, p, end);

    default:  /* strings */
        s = member;
        break;
    }

    if (f->kind == ZLT_FIELD_STR8) {
        if (s->len > UINT8_MAX) {
            return NULL;
        }

        *p++ = (uint8_t) s->len;

    } else if (f->kind == ZLT_FIELD_STR16) {
        if (s->len > UINT16_MAX) {
            return NULL;
        }

        p = zlt_put16(p, (uint16_t) s->len);
    }

    return zlt_bytes_write(s->data, s->len, p, end);
}


static uint8_t *
zlt_bytes_write(const uint8_t *data, size_t n, uint8_t *p, uint8_t *end)
{
    if (n == 0) {
        return p;
    }

    if (data == NULL || (size_t) (end - p) < n) {
        return NULL;
    }

    memcpy(p, data, n);

    return p + n;
}
