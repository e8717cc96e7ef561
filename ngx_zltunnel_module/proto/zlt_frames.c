
/*
 * Copyright (C) zltunnel authors
 */


#include <string.h>

#include "zlt_frames.h"
#include "zlt_msg.h"
#include "zlt_wire.h"


static int zlt_frames_header(zlt_frames_in_t *in);


ssize_t
zlt_frames_decode(zlt_frames_in_t *in, uint8_t *buf, size_t len, size_t *rest)
{
    int       rc;
    size_t    n;
    uint8_t  *p, *end, *dst;

    p = buf;
    end = buf + len;
    dst = buf;

    *rest = 0;

    while (p < end && in->end == ZLT_FRAMES_OPEN) {

        n = (size_t) (end - p);

        if (in->left) {

            if (n > in->left) {
                n = in->left;
            }

            memmove(dst, p, n);

            dst += n;
            p += n;
            in->left -= (uint32_t) n;

            continue;
        }

        if (n > (size_t) (ZLT_HEADER_SIZE - in->have)) {
            n = ZLT_HEADER_SIZE - in->have;
        }

        memcpy(in->header + in->have, p, n);

        p += n;
        in->have += (uint8_t) n;

        if (in->have < ZLT_HEADER_SIZE) {
            break;
        }

        in->have = 0;

        rc = zlt_frames_header(in);

        if (rc != ZLT_OK) {
            return rc;
        }
    }

    if (in->end == ZLT_FRAMES_RAW) {
        memmove(dst, p, (size_t) (end - p));
        dst += end - p;

    } else {
        *rest = (size_t) (end - p);
    }

    return dst - buf;
}


static int
zlt_frames_header(zlt_frames_in_t *in)
{
    uint8_t   end;
    uint32_t  n;

    n = zlt_get32(in->header + 1);

    switch (in->header[0]) {

    case ZLT_DATA:
        if (n > ZLT_MAX_PAYLOAD) {
            return ZLT_ERR_SIZE;
        }

        in->left = n;
        return ZLT_OK;

    case ZLT_EOF:
        end = ZLT_FRAMES_EOF;
        break;

    case ZLT_RESET:
        end = ZLT_FRAMES_RESET;
        break;

    case ZLT_RAW:
        end = ZLT_FRAMES_RAW;
        break;

    case ZLT_MOVED:
        end = ZLT_FRAMES_MOVED;
        break;

    default:
        return ZLT_ERR_TYPE;
    }

    if (n) {
        return ZLT_ERR_SIZE;
    }

    in->end = end;

    return ZLT_OK;
}


void
zlt_frames_put(zlt_frames_out_t *out, const uint8_t *data, size_t len)
{
    memcpy(out->head + out->last, data, len);
    out->last += (uint8_t) len;
}


size_t
zlt_frames_data(zlt_frames_out_t *out, size_t size)
{
    uint8_t  header[ZLT_HEADER_SIZE];

    if (out->left == 0) {

        if (size > ZLT_MAX_PAYLOAD) {
            size = ZLT_MAX_PAYLOAD;
        }

        out->left = (uint32_t) size;

        header[0] = ZLT_DATA;
        zlt_put32(header + 1, out->left);

        zlt_frames_put(out, header, ZLT_HEADER_SIZE);
    }

    return size < out->left ? size : out->left;
}


void
zlt_frames_end(zlt_frames_out_t *out, zlt_frames_end_e end)
{
    uint8_t  header[ZLT_HEADER_SIZE];

    static const uint8_t  types[] = { ZLT_DATA, ZLT_EOF, ZLT_RESET, ZLT_RAW,
                                      ZLT_MOVED };

    out->end = (uint8_t) end;

    header[0] = types[end];
    zlt_put32(header + 1, 0);

    zlt_frames_put(out, header, ZLT_HEADER_SIZE);
}


uint8_t *
zlt_frames_prefix(const zlt_frames_out_t *out, uint8_t *buf)
{
    size_t  n;

    n = zlt_frames_pending(out);

    return memcpy(buf - n, out->head + out->pos, n);
}


size_t
zlt_frames_sent(zlt_frames_out_t *out, size_t n)
{
    size_t  head;

    head = zlt_frames_pending(out);

    if (n < head) {
        out->pos += (uint8_t) n;
        return 0;
    }

    out->pos = 0;
    out->last = 0;

    n -= head;
    out->left -= (uint32_t) n;

    return n;
}
