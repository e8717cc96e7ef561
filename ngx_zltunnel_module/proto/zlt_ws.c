
/*
 * Copyright (C) zltunnel authors
 */

/*
 * WebSocket frames.
 *
 * A header is read one byte at a time, each state taking exactly one, and a
 * fault is reported at the byte that shows it: where the input is cut makes
 * no difference then.  Only payload is taken in bulk.  When the last byte of
 * a header has been read and the payload is empty, the frame is finished at
 * once: there may be no further byte to wake the parser.
 */


#include <string.h>

#include "zlt_utf8.h"
#include "zlt_ws.h"


#define ZLT_WS_FIN      0x80
#define ZLT_WS_RSV      0x70
#define ZLT_WS_OPCODE   0x0f
#define ZLT_WS_MASKED   0x80
#define ZLT_WS_LENGTH   0x7f
#define ZLT_WS_LEN16    126
#define ZLT_WS_LEN64    127

/* all opcodes of control frames, known and reserved, have this bit */
#define ZLT_WS_IS_CONTROL  0x08


typedef enum {
    zlt_ws_st_opcode = 0,
    zlt_ws_st_length,
    zlt_ws_st_extended,
    zlt_ws_st_mask,
    zlt_ws_st_payload,
    zlt_ws_st_error
} zlt_ws_state_t;


static zlt_ws_event_t zlt_ws_opcode(zlt_ws_parser_t *p, unsigned ch);
static zlt_ws_event_t zlt_ws_length(zlt_ws_parser_t *p, unsigned ch);
static zlt_ws_event_t zlt_ws_extended(zlt_ws_parser_t *p, unsigned ch);
static zlt_ws_event_t zlt_ws_length_done(zlt_ws_parser_t *p);
static zlt_ws_event_t zlt_ws_payload(zlt_ws_parser_t *p, uint8_t **pos,
    uint8_t *end);
static zlt_ws_event_t zlt_ws_error(zlt_ws_parser_t *p, unsigned code,
    const char *text);


void
zlt_ws_init(zlt_ws_parser_t *p, unsigned role, uint64_t max_message)
{
    memset(p, 0, sizeof(zlt_ws_parser_t));

    p->role = role & 1;
    p->max_message = max_message;
}


zlt_ws_event_t
zlt_ws_parse(zlt_ws_parser_t *p, uint8_t **pos, uint8_t *end)
{
    zlt_ws_event_t  event;

    for ( ;; ) {

        if (p->state == zlt_ws_st_error) {
            return ZLT_WS_ERROR;
        }

        if (p->state == zlt_ws_st_payload) {

            if (*pos == end && p->left) {
                return ZLT_WS_AGAIN;
            }

            event = zlt_ws_payload(p, pos, end);

            if (event != ZLT_WS_AGAIN) {
                return event;
            }

            continue;
        }

        if (*pos == end) {
            return ZLT_WS_AGAIN;
        }

        switch (p->state) {

        case zlt_ws_st_opcode:
            event = zlt_ws_opcode(p, *(*pos)++);
            break;

        case zlt_ws_st_length:
            event = zlt_ws_length(p, *(*pos)++);
            break;

        case zlt_ws_st_extended:
            event = zlt_ws_extended(p, *(*pos)++);
            break;

        default:  /* zlt_ws_st_mask */
            p->mask[4 - p->need] = *(*pos)++;

            if (--p->need == 0) {
                p->state = zlt_ws_st_payload;
            }

            event = ZLT_WS_AGAIN;
            break;
        }

        if (event != ZLT_WS_AGAIN) {
            return event;
        }
    }
}


static zlt_ws_event_t
zlt_ws_opcode(zlt_ws_parser_t *p, unsigned ch)
{
    if (ch & ZLT_WS_RSV) {
        return zlt_ws_error(p, ZLT_WS_PROTOCOL, "reserved bit set");
    }

    p->fin = (ch & ZLT_WS_FIN) != 0;
    p->op = ch & ZLT_WS_OPCODE;

    switch (p->op) {

    case ZLT_WS_OP_CONT:
        if (!p->fragmented) {
            return zlt_ws_error(p, ZLT_WS_PROTOCOL, "continuation of nothing");
        }

        break;

    case ZLT_WS_OP_TEXT:
    case ZLT_WS_OP_BINARY:
        if (p->fragmented) {
            return zlt_ws_error(p, ZLT_WS_PROTOCOL,
                                "new message inside another");
        }

        p->text = (p->op == ZLT_WS_OP_TEXT);
        p->message_len = 0;

        if (p->text && p->binary) {
            return zlt_ws_error(p, ZLT_WS_UNSUPPORTED, "text");
        }

        break;

    case ZLT_WS_OP_CLOSE:
    case ZLT_WS_OP_PING:
    case ZLT_WS_OP_PONG:
        if (!p->fin) {
            return zlt_ws_error(p, ZLT_WS_PROTOCOL,
                                "fragmented control frame");
        }

        p->control_len = 0;

        break;

    default:
        return zlt_ws_error(p, ZLT_WS_PROTOCOL, "unknown opcode");
    }

    p->state = zlt_ws_st_length;

    return ZLT_WS_AGAIN;
}


static zlt_ws_event_t
zlt_ws_length(zlt_ws_parser_t *p, unsigned ch)
{
    p->masked = (ch & ZLT_WS_MASKED) != 0;

    if (p->role == ZLT_WS_SERVER && !p->masked) {
        return zlt_ws_error(p, ZLT_WS_PROTOCOL, "unmasked frame from client");
    }

    if (p->role == ZLT_WS_CLIENT && p->masked) {
        return zlt_ws_error(p, ZLT_WS_PROTOCOL, "masked frame from server");
    }

    ch &= ZLT_WS_LENGTH;

    if ((p->op & ZLT_WS_IS_CONTROL) && ch > ZLT_WS_MAX_CONTROL) {
        return zlt_ws_error(p, ZLT_WS_PROTOCOL, "control frame too long");
    }

    if (ch >= ZLT_WS_LEN16) {
        p->left = 0;
        p->need = (ch == ZLT_WS_LEN16) ? 2 : 8;
        p->state = zlt_ws_st_extended;

        /* which of the two is not known from "need" once it counts down */
        p->wide = (ch == ZLT_WS_LEN64);

        return ZLT_WS_AGAIN;
    }

    p->left = ch;

    return zlt_ws_length_done(p);
}


static zlt_ws_event_t
zlt_ws_extended(zlt_ws_parser_t *p, unsigned ch)
{
    p->left = p->left << 8 | ch;

    if (--p->need) {
        return ZLT_WS_AGAIN;
    }

    if (p->left >> 63) {
        return zlt_ws_error(p, ZLT_WS_PROTOCOL, "top bit of length set");
    }

    if (p->left < ZLT_WS_LEN16 || (p->wide && p->left <= UINT16_MAX)) {
        return zlt_ws_error(p, ZLT_WS_PROTOCOL,
                            "length not in its shortest form");
    }

    return zlt_ws_length_done(p);
}


static zlt_ws_event_t
zlt_ws_length_done(zlt_ws_parser_t *p)
{
    if (!(p->op & ZLT_WS_IS_CONTROL)) {

        /* message_len never exceeds max_message, so this cannot wrap */

        if (p->left > p->max_message - p->message_len) {
            return zlt_ws_error(p, ZLT_WS_TOO_BIG, "message too big");
        }

        p->message_len += p->left;
    }

    p->mask_pos = 0;

    if (p->masked) {
        p->need = 4;
        p->state = zlt_ws_st_mask;

    } else {
        p->state = zlt_ws_st_payload;
    }

    return ZLT_WS_AGAIN;
}


/*
 * Takes what there is of the payload.  ZLT_WS_AGAIN means there is nothing
 * to report; the caller goes on with the input, if any is left.
 */

static zlt_ws_event_t
zlt_ws_payload(zlt_ws_parser_t *p, uint8_t **pos, uint8_t *end)
{
    size_t   n;
    uint8_t  *data;

    data = *pos;
    n = (size_t) (end - data);

    if (n > p->left) {
        n = (size_t) p->left;
    }

    *pos += n;
    p->left -= n;

    if (p->left == 0) {
        p->state = zlt_ws_st_opcode;
    }

    if (p->op & ZLT_WS_IS_CONTROL) {

        if (n) {
            memcpy(p->control + p->control_len, data, n);

            if (p->masked) {
                zlt_ws_mask(p->control + p->control_len, n, p->mask,
                            p->mask_pos);
                p->mask_pos = (p->mask_pos + n) & 3;
            }

            p->control_len += n;
        }

        if (p->left) {
            return ZLT_WS_AGAIN;
        }

        p->opcode = p->op;

        return ZLT_WS_CONTROL;
    }

    if (p->left == 0) {
        p->fragmented = !p->fin;
    }

    if (p->text) {
        return ZLT_WS_AGAIN;
    }

    p->chunk_mask = p->mask_pos;

    if (p->masked) {
        p->mask_pos = (p->mask_pos + n) & 3;

        if (!p->leave) {
            zlt_ws_mask(data, n, p->mask, p->chunk_mask);
        }
    }

    p->message_end = (p->left == 0 && p->fin);

    if (n == 0 && !p->message_end) {
        return ZLT_WS_AGAIN;
    }

    p->chunk = data;
    p->chunk_len = n;

    return ZLT_WS_DATA;
}


static zlt_ws_event_t
zlt_ws_error(zlt_ws_parser_t *p, unsigned code, const char *text)
{
    p->state = zlt_ws_st_error;
    p->close_code = (uint16_t) code;
    p->error = text;

    return ZLT_WS_ERROR;
}


size_t
zlt_ws_header(uint8_t *dst, unsigned opcode, size_t payload_len,
    const uint8_t *mask)
{
    unsigned  i, bit;
    uint8_t   *p;
    uint64_t  n;

    p = dst;
    n = payload_len;
    bit = mask ? ZLT_WS_MASKED : 0;

    *p++ = (uint8_t) (ZLT_WS_FIN | opcode);

    if (n < ZLT_WS_LEN16) {
        *p++ = (uint8_t) (bit | n);

    } else if (n <= UINT16_MAX) {
        *p++ = (uint8_t) (bit | ZLT_WS_LEN16);
        *p++ = (uint8_t) (n >> 8);
        *p++ = (uint8_t) n;

    } else {
        *p++ = (uint8_t) (bit | ZLT_WS_LEN64);

        for (i = 0; i < 8; i++) {
            *p++ = (uint8_t) (n >> (56 - 8 * i));
        }
    }

    if (mask) {
        memcpy(p, mask, 4);
        p += 4;
    }

    return (size_t) (p - dst);
}


void
zlt_ws_mask(uint8_t *data, size_t len, const uint8_t mask[4], size_t offset)
{
    zlt_ws_mask_move(data, data, len, mask, offset);
}


/*
 * A copy of a known size is some loads or stores, and may be unaligned.  All
 * of a block is loaded before any of it is stored, so dst may lie a few bytes
 * before src.
 */

void
zlt_ws_mask_move(uint8_t *dst, const uint8_t *src, size_t len,
    const uint8_t mask[4], size_t offset)
{
    size_t    i;
    uint8_t   key[8];
    uint64_t  k, w[4];

    for (i = 0; i < 8; i++) {
        key[i] = mask[(offset + i) & 3];
    }

    memcpy(&k, key, 8);

    while (len >= sizeof(w)) {
        memcpy(w, src, sizeof(w));

        w[0] ^= k;
        w[1] ^= k;
        w[2] ^= k;
        w[3] ^= k;

        memcpy(dst, w, sizeof(w));

        dst += sizeof(w);
        src += sizeof(w);
        len -= sizeof(w);
    }

    while (len >= 8) {
        memcpy(w, src, 8);
        w[0] ^= k;
        memcpy(dst, w, 8);

        dst += 8;
        src += 8;
        len -= 8;
    }

    for (i = 0; i < len; i++) {
        dst[i] = src[i] ^ key[i];
    }
}


size_t
zlt_ws_close_payload(uint8_t *dst, uint16_t code, const char *reason)
{
    size_t  n;

    dst[0] = (uint8_t) (code >> 8);
    dst[1] = (uint8_t) code;

    if (reason == NULL) {
        return 2;
    }

    n = zlt_utf8_cut((const uint8_t *) reason, strlen(reason),
                     ZLT_WS_MAX_CONTROL - 2);

    memcpy(dst + 2, reason, n);

    return 2 + n;
}


uint16_t
zlt_ws_close_code(const uint8_t *payload, size_t len)
{
    uint16_t  code;

    if (len == 0) {
        return ZLT_WS_NO_CODE;
    }

    if (len == 1) {
        return ZLT_WS_PROTOCOL;
    }

    code = (uint16_t) (payload[0] << 8 | payload[1]);

    /* 1004 to 1006 and 1015 are not for the wire, 1016 and up unassigned */

    if (code < ZLT_WS_NORMAL || (code >= 1004 && code <= 1006)
        || (code >= 1015 && code < 3000) || code >= 5000)
    {
        return ZLT_WS_PROTOCOL;
    }

    if (!zlt_utf8_valid(payload + 2, len - 2)) {
        return ZLT_WS_INVALID_DATA;
    }

    return code;
}
