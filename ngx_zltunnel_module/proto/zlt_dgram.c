
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Frames of a datagram channel.
 *
 * The layouts are those of zlt_msg.c.  They are read here once more, since
 * a channel carries hundreds of thousands of frames a second of three types,
 * and since the answer to a malformed frame is another one: the general
 * decoder's is to end the channel.
 */


#include "zlt_utf8.h"
#include "zlt_ext.h"
#include "zlt_msg.h"
#include "zlt_wire.h"
#include "zlt_dgram.h"


static int zlt_dgram_skip(zlt_dgram_reader_t *r, const uint8_t **pos,
    const uint8_t *end);
static int zlt_dgram_type(unsigned type);
static int zlt_dgram_oversize(zlt_dgram_reader_t *r, zlt_dgram_t *f,
    size_t n, const uint8_t **pos, const uint8_t *end);
static int zlt_dgram_fields(zlt_dgram_t *f, const uint8_t *p,
    const uint8_t *end);
static int zlt_dgram_open_fields(zlt_dgram_t *f, const uint8_t *p,
    const uint8_t *end);


int
zlt_dgram_read(zlt_dgram_reader_t *r, zlt_dgram_t *f, const uint8_t **pos,
    const uint8_t *end)
{
    size_t          n;
    const uint8_t  *p;

    if (r->skip && zlt_dgram_skip(r, pos, end) != ZLT_OK) {
        return ZLT_AGAIN;
    }

    p = *pos;

    if (end - p < ZLT_HEADER_SIZE) {

        /* one byte is enough to see that this is nothing */

        if (p < end && !zlt_dgram_type(*p)) {
            return ZLT_ERR_TYPE;
        }

        r->need = ZLT_HEADER_SIZE;
        return ZLT_AGAIN;
    }

    n = zlt_get32(p + 1);

    f->type = *p;
    f->has_session = 0;

    if (f->type != ZLT_DATAGRAM) {

        if (!zlt_dgram_type(f->type)) {
            return ZLT_ERR_TYPE;
        }

        f->cause = 0;
        f->timestamp = 0;
        f->service_id = NULL;
        f->client_addr.data = NULL;
        f->client_addr.len = 0;
        f->target.data = NULL;
        f->target.len = 0;
        f->data.data = NULL;
        f->data.len = 0;
    }

    if (n > ZLT_MAX_PAYLOAD) {
        return zlt_dgram_oversize(r, f, n, pos, end);
    }

    if ((size_t) (end - p) < ZLT_HEADER_SIZE + n) {
        r->need = ZLT_HEADER_SIZE + n;
        return ZLT_AGAIN;
    }

    p += ZLT_HEADER_SIZE;
    *pos = p + n;

    return zlt_dgram_fields(f, p, *pos);
}


static int
zlt_dgram_skip(zlt_dgram_reader_t *r, const uint8_t **pos, const uint8_t *end)
{
    size_t  n;

    n = (size_t) (end - *pos);

    if (n < r->skip) {
        *pos = end;
        r->skip -= n;
        r->need = 1;
        return ZLT_AGAIN;
    }

    *pos += r->skip;
    r->skip = 0;

    return ZLT_OK;
}


static int
zlt_dgram_type(unsigned type)
{
    switch (type) {

    case ZLT_DATAGRAM:
    case ZLT_DATAGRAM_OPEN:
    case ZLT_DATAGRAM_CLOSE:
    case ZLT_HEARTBEAT:
    case ZLT_HEARTBEAT_ACK:
    case ZLT_RETIRE:
        return 1;

    default:
        return 0;
    }
}


/* The session is waited for, so that the right one can be ended. */

static int
zlt_dgram_oversize(zlt_dgram_reader_t *r, zlt_dgram_t *f, size_t n,
    const uint8_t **pos, const uint8_t *end)
{
    const uint8_t  *p;

    if (n > ZLT_DGRAM_MAX_SKIP) {
        return ZLT_ERR_SIZE;
    }

    p = *pos;

    if (end - p < ZLT_DGRAM_HEADER) {
        r->need = ZLT_DGRAM_HEADER;
        return ZLT_AGAIN;
    }

    if (f->type >= ZLT_DATAGRAM_OPEN && f->type <= ZLT_DATAGRAM_CLOSE) {
        f->session = zlt_get32(p + ZLT_HEADER_SIZE);
        f->has_session = 1;
    }

    *pos = p + ZLT_DGRAM_HEADER;
    r->skip = n - (ZLT_DGRAM_HEADER - ZLT_HEADER_SIZE);

    return ZLT_DGRAM_BAD;
}


static int
zlt_dgram_fields(zlt_dgram_t *f, const uint8_t *p, const uint8_t *end)
{
    switch (f->type) {

    case ZLT_RETIRE:
        return ZLT_OK;

    case ZLT_HEARTBEAT:
    case ZLT_HEARTBEAT_ACK:
        if (end - p < 8) {
            return ZLT_DGRAM_BAD;
        }

        f->timestamp = zlt_get64(p);
        return ZLT_OK;
    }

    if (end - p < 4) {
        return ZLT_DGRAM_BAD;
    }

    f->session = zlt_get32(p);
    f->has_session = 1;

    p += 4;

    if (f->type == ZLT_DATAGRAM) {
        f->data.data = p;
        f->data.len = (size_t) (end - p);
        return ZLT_OK;
    }

    if (f->type == ZLT_DATAGRAM_OPEN) {
        return zlt_dgram_open_fields(f, p, end);
    }

    /* ZLT_DATAGRAM_CLOSE */

    if (p == end) {
        return ZLT_DGRAM_BAD;
    }

    f->cause = *p;

    return ZLT_OK;
}


static int
zlt_dgram_open_fields(zlt_dgram_t *f, const uint8_t *p, const uint8_t *end)
{
    size_t     n;
    zlt_msg_t  m;

    if (end - p < ZLT_ID_SIZE + 2) {
        return ZLT_DGRAM_BAD;
    }

    n = zlt_get16(p + ZLT_ID_SIZE);

    if (n > ZLT_DGRAM_MAX_ADDR
        || (size_t) (end - p) < ZLT_ID_SIZE + 2 + n
        || !zlt_utf8_valid(p + ZLT_ID_SIZE + 2, n))
    {
        return ZLT_DGRAM_BAD;
    }

    f->service_id = p;
    f->client_addr.data = p + ZLT_ID_SIZE + 2;
    f->client_addr.len = n;

    p += ZLT_ID_SIZE + 2 + n;

    if (p < end) {
        memset(&m, 0, sizeof(zlt_msg_t));
        m.type = ZLT_DATAGRAM_OPEN;

        zlt_ext_read(&m, p, end);
        f->target = m.target;
    }

    return ZLT_OK;
}


uint8_t *
zlt_dgram_header(uint8_t *p, uint32_t session, size_t len)
{
    *p++ = ZLT_DATAGRAM;
    p = zlt_put32(p, (uint32_t) (4 + len));

    return zlt_put32(p, session);
}


uint8_t *
zlt_dgram_close(uint8_t *p, uint32_t session, unsigned cause)
{
    *p++ = ZLT_DATAGRAM_CLOSE;
    p = zlt_put32(p, 5);
    p = zlt_put32(p, session);
    *p++ = (uint8_t) cause;

    return p;
}


uint8_t *
zlt_dgram_open(uint8_t *p, const uint8_t *end, uint32_t session,
    const uint8_t *service_id, const char *addr, size_t addr_len)
{
    size_t  n;

    if (addr_len > ZLT_DGRAM_MAX_ADDR) {
        return NULL;
    }

    n = 4 + ZLT_ID_SIZE + 2 + addr_len;

    if ((size_t) (end - p) < ZLT_HEADER_SIZE + n) {
        return NULL;
    }

    *p++ = ZLT_DATAGRAM_OPEN;
    p = zlt_put32(p, (uint32_t) n);
    p = zlt_put32(p, session);

    memcpy(p, service_id, ZLT_ID_SIZE);
    p = zlt_put16(p + ZLT_ID_SIZE, (uint16_t) addr_len);

    if (addr_len) {
        memcpy(p, addr, addr_len);
    }

    return p + addr_len;
}


uint8_t *
zlt_dgram_open_target(uint8_t *p, const uint8_t *end, uint32_t session,
    const uint8_t *service_id, const char *addr, size_t addr_len,
    const zlt_str_t *target)
{
    uint8_t    *frame;
    zlt_msg_t   m;

    frame = p;

    p = zlt_dgram_open(p, end, session, service_id, addr, addr_len);

    if (p == NULL || target->len == 0) {
        return p;
    }

    if (target->len > ZLT_MAX_TARGET) {
        return NULL;
    }

    memset(&m, 0, sizeof(zlt_msg_t));
    m.type = ZLT_DATAGRAM_OPEN;
    m.ext = ZLT_X_TARGET;
    m.target = *target;

    p = zlt_ext_write(&m, p, p + (end - p));

    if (p) {
        zlt_put32(frame + 1, (uint32_t) (p - frame - ZLT_HEADER_SIZE));
    }

    return p;
}
