
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


#include "zlt_ext.h"
#include "zlt_fields.h"
#include "zlt_utf8.h"
#include "zlt_wire.h"


typedef struct {
    uint8_t         type;
    const char     *name;
    zlt_field_t     fields[5];
} zlt_layout_t;


static const zlt_layout_t *zlt_layout_find(unsigned type);


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
        zlt_field(STR16, reason) } },

    { ZLT_HEALTH, "Health",
      { zlt_field(ID, service_id),
        zlt_field(U8, health),
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
