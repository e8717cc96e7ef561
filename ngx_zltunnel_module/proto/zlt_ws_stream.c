
/*
 * Copyright (C) zltunnel authors
 */


#include <string.h>

#include "zlt_wire.h"
#include "zlt_ws_stream.h"


static size_t zlt_ws_stream_chunk(const zlt_ws_parser_t *p, uint8_t *out);
static void zlt_ws_stream_control(zlt_ws_stream_t *s);
static uint8_t *zlt_ws_stream_frame(zlt_ws_stream_t *s, uint8_t *p,
    unsigned opcode, const uint8_t *payload, size_t len);


void
zlt_ws_stream_init(zlt_ws_stream_t *s, zlt_ws_stream_random_pt random)
{
    memset(s, 0, sizeof(zlt_ws_stream_t));

    zlt_ws_init(&s->parser, random ? ZLT_WS_CLIENT : ZLT_WS_SERVER,
                UINT64_MAX);

    s->parser.binary = 1;
    s->parser.leave = 1;

    s->random = random;
}


size_t
zlt_ws_stream_decode(zlt_ws_stream_t *s, uint8_t *data, size_t len)
{
    uint8_t  *out, *pos, *end;

    out = data;
    pos = data;
    end = data + len;

    while (s->end == ZLT_WS_STREAM_OPEN) {

        switch (zlt_ws_parse(&s->parser, &pos, end)) {

        case ZLT_WS_AGAIN:
            return (size_t) (out - data);

        case ZLT_WS_DATA:
            out += zlt_ws_stream_chunk(&s->parser, out);
            break;

        case ZLT_WS_CONTROL:
            zlt_ws_stream_control(s);
            break;

        case ZLT_WS_ERROR:
            s->end = ZLT_WS_STREAM_BROKEN;
            break;
        }
    }

    return (size_t) (out - data);
}


/* Moves a chunk to out, which is before it, behind the header. */

static size_t
zlt_ws_stream_chunk(const zlt_ws_parser_t *p, uint8_t *out)
{
    if (p->chunk_len == 0) {
        return 0;
    }

    if (p->masked) {
        zlt_ws_mask_move(out, p->chunk, p->chunk_len, p->mask, p->chunk_mask);

    } else {
        memmove(out, p->chunk, p->chunk_len);
    }

    return p->chunk_len;
}


static void
zlt_ws_stream_control(zlt_ws_stream_t *s)
{
    zlt_ws_parser_t  *p;

    p = &s->parser;

    if (p->opcode == ZLT_WS_OP_PING) {
        s->ponging = 1;
        s->pong_len = (uint8_t) p->control_len;
        memcpy(s->pong, p->control, p->control_len);

    } else if (p->opcode == ZLT_WS_OP_CLOSE) {
        s->end = ZLT_WS_STREAM_CLOSED;
    }
}


size_t
zlt_ws_stream_encode(zlt_ws_stream_t *s, uint8_t *dst, size_t size,
    const uint8_t *src, size_t len, size_t *used)
{
    size_t    n;
    uint8_t  *p;

    *used = 0;
    p = dst;

    if (s->left) {

        /* of a message that a server has begun to send from its place */

        n = len < s->left ? len : s->left;
        n = n < size ? n : size;

        memcpy(p, src, n);

        p += n;
        src += n;
        len -= n;
        size -= n;
        s->left -= n;
        *used = n;
    }

    if (s->left || size <= ZLT_WS_STREAM_HEAD) {
        return (size_t) (p - dst);
    }

    p += zlt_ws_stream_pong(s, p);

    if (len) {
        n = size - ZLT_WS_STREAM_HEAD;
        n = n < len ? n : len;

        p = zlt_ws_stream_frame(s, p, ZLT_WS_OP_BINARY, src, n);
        *used += n;
    }

    return (size_t) (p - dst);
}


static uint8_t *
zlt_ws_stream_frame(zlt_ws_stream_t *s, uint8_t *p, unsigned opcode,
    const uint8_t *payload, size_t len)
{
    uint8_t  mask[4];

    if (s->random) {
        s->random(mask);

        p += zlt_ws_header(p, opcode, len, mask);
        zlt_ws_mask_move(p, payload, len, mask, 0);

    } else {
        p += zlt_ws_header(p, opcode, len, NULL);
        memcpy(p, payload, len);
    }

    return p + len;
}


size_t
zlt_ws_stream_begin(zlt_ws_stream_t *s, uint8_t *dst, size_t len)
{
    uint8_t  *p;

    if (s->left) {
        return 0;
    }

    p = dst + zlt_ws_stream_pong(s, dst);
    p += zlt_ws_header(p, ZLT_WS_OP_BINARY, len, NULL);

    s->left = len;

    return (size_t) (p - dst);
}


size_t
zlt_ws_stream_pong(zlt_ws_stream_t *s, uint8_t *dst)
{
    if (!s->ponging || s->left) {
        return 0;
    }

    s->ponging = 0;

    return (size_t) (zlt_ws_stream_frame(s, dst, ZLT_WS_OP_PONG, s->pong,
                                         s->pong_len)
                     - dst);
}


size_t
zlt_ws_stream_close(zlt_ws_stream_t *s, uint8_t *dst)
{
    uint8_t  code[2];

    if (s->left) {
        return 0;
    }

    (void) zlt_put16(code, ZLT_WS_NORMAL);

    return (size_t) (zlt_ws_stream_frame(s, dst, ZLT_WS_OP_CLOSE, code, 2)
                     - dst);
}
