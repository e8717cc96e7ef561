
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The fields of messages, and of values in their extension blocks.
 *
 * A peer's length is compared with what is there before it is added to
 * anything.
 */


#include "zlt_fields.h"
#include "zlt_utf8.h"
#include "zlt_wire.h"


static size_t zlt_field_size(unsigned kind);
static int zlt_field_read(zlt_msg_t *m, const zlt_field_t *f,
    const uint8_t **pos, const uint8_t *end);
static int zlt_string_read(zlt_str_t *s, size_t n, const uint8_t **pos,
    const uint8_t *end);
static uint8_t *zlt_field_write(const zlt_msg_t *m, const zlt_field_t *f,
    uint8_t *p, uint8_t *end);
static uint8_t *zlt_bytes_write(const uint8_t *data, size_t n, uint8_t *p,
    uint8_t *end);


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
