
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The extension block: "tag u8, length u16, value", behind the fixed fields.
 *
 * The rules let old and new versions meet, in both directions.  An unknown
 * tag is skipped and a value that has grown is cut, so a later version can
 * add; of a tag that comes twice the first counts, so that there is one
 * reading only.  A value that is too short, a string that is not UTF-8, or a
 * length that points past the payload means that these bytes were not meant
 * as a block, and nothing in them is believed, not even what came before.
 */


#include "zlt_ext.h"
#include "zlt_fields.h"
#include "zlt_wire.h"


#define ZLT_EXT_HEADER  3


typedef struct {
    uint8_t         type;
    uint8_t         tag;
    uint32_t        bit;           /* ZLT_X_* */
    zlt_field_t     fields[3];
} zlt_ext_t;


static int zlt_ext_parse(zlt_msg_t *m, const uint8_t *p, const uint8_t *end);
static const zlt_ext_t *zlt_ext_find(unsigned type, unsigned tag);


/* The tags of a type stand in rising order, in which they are written. */

static const zlt_ext_t  zlt_exts[] = {

    { ZLT_AUTH, 0x01, ZLT_X_FEATURES,
      { zlt_field(U32, features) } },

    { ZLT_AUTH, 0x02, ZLT_X_AGENT,
      { zlt_field(TEXT, agent) } },

    { ZLT_AUTH, 0x03, ZLT_X_RESUME_KEY,
      { zlt_field(KEY, resume_key) } },

    { ZLT_AUTH, 0x04, ZLT_X_CHECK,
      { zlt_field(U8, check) } },

    { ZLT_AUTH, 0x05, ZLT_X_HELD,
      { zlt_field(BYTES, held) } },

    { ZLT_AUTH_OK, 0x01, ZLT_X_FEATURES,
      { zlt_field(U32, features) } },

    { ZLT_AUTH_OK, 0x02, ZLT_X_DATA_KEY,
      { zlt_field(KEY, data_key) } },

    { ZLT_AUTH_OK, 0x03, ZLT_X_RESUME_KEY,
      { zlt_field(KEY, resume_key) } },

    { ZLT_AUTH_OK, 0x04, ZLT_X_HEARTBEAT,
      { zlt_field(U32, heartbeat_interval),
        zlt_field(U32, heartbeat_timeout) } },

    { ZLT_AUTH_OK, 0x05, ZLT_X_IDLE,
      { zlt_field(U16, idle_least),
        zlt_field(U16, idle_most) } },

    { ZLT_AUTH_OK, 0x06, ZLT_X_TOKEN_NAME,
      { zlt_field(TEXT, name) } },

    { ZLT_AUTH_OK, 0x07, ZLT_X_RIGHTS,
      { zlt_field(TEXT, rights) } },

    { ZLT_AUTH_OK, 0x08, ZLT_X_NODE,
      { zlt_field(ID, node) } },

    { ZLT_AUTH_OK, 0x09, ZLT_X_NODES,
      { zlt_field(U16, nodes) } },

    { ZLT_AUTH_FAIL, 0x01, ZLT_X_CODE,
      { zlt_field(U8, code) } },

    { ZLT_AUTH_FAIL, 0x02, ZLT_X_RETRY,
      { zlt_field(U32, retry_after) } },

    { ZLT_REGISTER, 0x01, ZLT_X_FLAGS,
      { zlt_field(U8, flags) } },

    { ZLT_REGISTER, 0x02, ZLT_X_PREFERRED,
      { zlt_field(U16, preferred_port) } },

    { ZLT_REGISTER, 0x03, ZLT_X_ALLOW,
      { zlt_field(TEXT, allow) } },

    { ZLT_REGISTER, 0x04, ZLT_X_HOSTS,
      { zlt_field(TEXT, hosts) } },

    { ZLT_REGISTER, 0x05, ZLT_X_HEALTH,
      { zlt_field(U8, health),
        zlt_field(TEXT, reason) } },

    { ZLT_REGISTER_OK, 0x01, ZLT_X_PORT,
      { zlt_field(U16, port) } },

    { ZLT_REGISTER_OK, 0x02, ZLT_X_PUBLIC,
      { zlt_field(TEXT, public_addr) } },

    { ZLT_REGISTER_OK, 0x03, ZLT_X_URLS,
      { zlt_field(TEXT, urls) } },

    { ZLT_REGISTER_FAIL, 0x01, ZLT_X_CODE,
      { zlt_field(U8, code) } },

    { ZLT_CONNECT, 0x01, ZLT_X_TARGET,
      { zlt_field(TEXT, target) } },

    { ZLT_CONNECT_FAIL, 0x01, ZLT_X_CODE,
      { zlt_field(U8, code) } },

    { ZLT_DISCONNECT, 0x01, ZLT_X_ACTION,
      { zlt_field(U8, action) } },

    { ZLT_DISCONNECT, 0x02, ZLT_X_RETRY,
      { zlt_field(U32, retry_after) } },

    { ZLT_DATAGRAM_OPEN, 0x01, ZLT_X_TARGET,
      { zlt_field(TEXT, target) } },

    { ZLT_ACCESS_OPEN, 0x01, ZLT_X_ACCESS_ID,
      { zlt_field(ID, access_id) } },

    { ZLT_ACCESS_OPEN, 0x02, ZLT_X_TARGET,
      { zlt_field(TEXT, target) } },

    { ZLT_ACCESS_OK, 0x01, ZLT_X_SERVED_BY,
      { zlt_field(TEXT, served_by) } },

    { ZLT_ACCESS_FAIL, 0x01, ZLT_X_CODE,
      { zlt_field(U8, code) } },

    { ZLT_ACCESS_FAIL, 0x02, ZLT_X_ACCESS_ID,
      { zlt_field(ID, access_id) } },

    { ZLT_ACCESS_CLOSE, 0x01, ZLT_X_CODE,
      { zlt_field(U8, code) } }
};

#define ZLT_NEXTS  (sizeof(zlt_exts) / sizeof(zlt_exts[0]))


void
zlt_ext_read(zlt_msg_t *m, const uint8_t *p, const uint8_t *end)
{
    zlt_msg_t  ext;

    ext = *m;

    if (zlt_ext_parse(&ext, p, end) != ZLT_OK) {
        return;
    }

    /* an Auth of version 1 with bytes behind it that happen to parse */

    if (m->type == ZLT_AUTH && !(ext.ext & ZLT_X_FEATURES)) {
        return;
    }

    *m = ext;
}


static int
zlt_ext_parse(zlt_msg_t *m, const uint8_t *p, const uint8_t *end)
{
    int               rc;
    size_t            n;
    unsigned          tag;
    const uint8_t    *value;
    const zlt_ext_t  *x;

    while (p < end) {

        if (end - p < ZLT_EXT_HEADER) {
            return ZLT_ERR_SHORT;
        }

        tag = p[0];
        n = zlt_get16(p + 1);
        p += ZLT_EXT_HEADER;

        if ((size_t) (end - p) < n) {
            return ZLT_ERR_SHORT;
        }

        value = p;
        p += n;

        x = zlt_ext_find(m->type, tag);

        if (x == NULL || (m->ext & x->bit)) {
            continue;
        }

        rc = zlt_fields_read(m, x->fields, &value, p);

        if (rc != ZLT_OK) {
            return rc;
        }

        m->ext |= x->bit;
    }

    return ZLT_OK;
}


uint8_t *
zlt_ext_write(const zlt_msg_t *m, uint8_t *p, uint8_t *end)
{
    size_t            n;
    uint8_t          *value, *next;
    const zlt_ext_t  *x;

    for (x = zlt_exts; x < zlt_exts + ZLT_NEXTS; x++) {

        if (x->type != m->type || !(m->ext & x->bit)) {
            continue;
        }

        if (end - p < ZLT_EXT_HEADER) {
            return NULL;
        }

        value = p + ZLT_EXT_HEADER;

        next = zlt_fields_write(m, x->fields, value, end);

        if (next == NULL) {
            return NULL;
        }

        /* cannot exceed the u16: a whole payload is 65531 bytes at most */

        n = (size_t) (next - value);

        *p++ = x->tag;
        zlt_put16(p, (uint16_t) n);

        p = next;
    }

    return p;
}


static const zlt_ext_t *
zlt_ext_find(unsigned type, unsigned tag)
{
    const zlt_ext_t  *x;

    for (x = zlt_exts; x < zlt_exts + ZLT_NEXTS; x++) {
        if (x->type == type && x->tag == tag) {
            return x;
        }
    }

    return NULL;
}
