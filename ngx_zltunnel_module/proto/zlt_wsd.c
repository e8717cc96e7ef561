
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Data channels within a WebSocket.
 *
 * Receiving, the header of a message is passed on, or dropped, byte by byte:
 * so nothing that goes out is ever longer than what came in, whatever the
 * pieces, and the rest of a buffer is never overtaken.
 *
 * Sending, frames are found by their headers, wherever the pieces are cut; a
 * header that is not whole yet is kept.
 */


#include <string.h>

#include "zlt_msg.h"
#include "zlt_wire.h"
#include "zlt_wsd.h"


/* messages that stand for something of a raw channel, and are not passed on */

#define zlt_wsd_meta(type)                                                    \
    ((type) == ZLT_DATA || (type) == ZLT_EOF || (type) == ZLT_RESET)


static uint8_t *zlt_wsd_chunk(zlt_wsd_t *w, uint8_t *out);
static int zlt_wsd_type(zlt_wsd_t *w);
static void zlt_wsd_message(zlt_wsd_t *w);
static void zlt_wsd_control(zlt_wsd_t *w);
static void zlt_wsd_broken(zlt_wsd_t *w, const char *text);
static int zlt_wsd_head(zlt_wsd_t *w, const uint8_t **src,
    const uint8_t *end);
static uint8_t *zlt_wsd_start(zlt_wsd_t *w, uint8_t *p, unsigned type,
    size_t len);
static uint8_t *zlt_wsd_frame(zlt_wsd_t *w, uint8_t *p, unsigned opcode,
    const uint8_t *payload, size_t len);
static void zlt_wsd_turn(zlt_wsd_t *w);


void
zlt_wsd_init(zlt_wsd_t *w, zlt_wsd_random_pt random, zlt_wsd_phase_t rx,
    zlt_wsd_phase_t tx)
{
    memset(w, 0, sizeof(zlt_wsd_t));

    zlt_ws_init(&w->parser, random ? ZLT_WS_CLIENT : ZLT_WS_SERVER,
                ZLT_WSD_MAX_MESSAGE);

    w->parser.binary = 1;
    w->parser.leave = 1;

    w->random = random;
    w->rx = (uint8_t) rx;
    w->tx = (uint8_t) tx;
    w->rx_turn = random ? ZLT_CONNECT : ZLT_CONNECT_ACK;
    w->tx_turn = random ? ZLT_CONNECT_ACK : ZLT_CONNECT;
}


void
zlt_wsd_visit(zlt_wsd_t *w)
{
    uint8_t  turn;

    turn = w->rx_turn;
    w->rx_turn = w->tx_turn;
    w->tx_turn = turn;
}


size_t
zlt_wsd_decode(zlt_wsd_t *w, uint8_t *data, size_t len)
{
    uint8_t  *out, *pos, *end;

    out = data;
    pos = data;
    end = data + len;

    while (w->how == ZLT_WSD_OPEN || w->how == ZLT_WSD_EOF) {

        switch (zlt_ws_parse(&w->parser, &pos, end)) {

        case ZLT_WS_AGAIN:
            return (size_t) (out - data);

        case ZLT_WS_DATA:
            out = zlt_wsd_chunk(w, out);
            break;

        case ZLT_WS_CONTROL:
            zlt_wsd_control(w);
            break;

        case ZLT_WS_ERROR:
            zlt_wsd_broken(w, w->parser.error);
            break;
        }
    }

    return (size_t) (out - data);
}


static uint8_t *
zlt_wsd_chunk(zlt_wsd_t *w, uint8_t *out)
{
    size_t           n, place;
    uint8_t         *p, ch;
    zlt_ws_parser_t *parser;

    parser = &w->parser;
    p = parser->chunk;
    n = parser->chunk_len;

    for ( /* void */ ; n && w->head < ZLT_HEADER_SIZE; n--) {

        ch = *p++;

        if (parser->masked) {
            place = (size_t) (p - 1 - parser->chunk) + parser->chunk_mask;
            ch ^= parser->mask[place & 3];
        }

        if (w->head == 0) {
            w->type = ch;
            w->left = 0;

            if (zlt_wsd_type(w) == -1) {
                return out;
            }

        } else {
            w->left = w->left << 8 | ch;
        }

        w->head++;

        if (!zlt_wsd_meta(w->type)) {
            *out++ = ch;
        }
    }

    if (n > w->left) {
        zlt_wsd_broken(w, "a message is longer than it says");
        return out;
    }

    if (n && zlt_wsd_meta(w->type) && w->type != ZLT_DATA) {
        zlt_wsd_broken(w, "Eof or Reset with a payload");
        return out;
    }

    if (n && parser->masked) {
        place = (size_t) (p - parser->chunk) + parser->chunk_mask;
        zlt_ws_mask_move(out, p, n, parser->mask, place & 3);

    } else if (n) {
        memmove(out, p, n);
    }

    w->left -= (uint32_t) n;

    if (parser->message_end) {
        zlt_wsd_message(w);
    }

    return out + n;
}


/* Whether a message of the type that was just read may come: 0 or -1. */

static int
zlt_wsd_type(zlt_wsd_t *w)
{
    unsigned  bytes;

    if (w->type == ZLT_RESET) {
        return 0;
    }

    if (w->how == ZLT_WSD_EOF) {
        zlt_wsd_broken(w, "a message behind Eof");
        return -1;
    }

    bytes = (w->type == ZLT_DATA || w->type == ZLT_EOF);

    if (w->rx == ZLT_WSD_EITHER) {
        w->rx = bytes ? ZLT_WSD_BYTES : ZLT_WSD_FRAMED;
    }

    if (bytes != (w->rx == ZLT_WSD_BYTES)) {
        zlt_wsd_broken(w, bytes ? "Data or Eof before the connection"
                                : "a frame where there should be Data");
        return -1;
    }

    return 0;
}


/* one is complete */

static void
zlt_wsd_message(zlt_wsd_t *w)
{
    if (w->head < ZLT_HEADER_SIZE || w->left) {
        zlt_wsd_broken(w, "a message is shorter than it says");
        return;
    }

    w->head = 0;

    switch (w->type) {

    case ZLT_EOF:
        w->how = ZLT_WSD_EOF;
        break;

    case ZLT_RESET:
        w->how = ZLT_WSD_RESET;
        break;

    default:
        if (w->type == w->rx_turn) {
            w->rx = ZLT_WSD_BYTES;
        }

        break;
    }
}


static void
zlt_wsd_control(zlt_wsd_t *w)
{
    switch (w->parser.opcode) {

    case ZLT_WS_OP_PING:

        /* of several the last one may be answered alone */

        w->ponging = !w->ended;
        w->pong_len = (uint8_t) w->parser.control_len;
        memcpy(w->pong, w->parser.control, w->parser.control_len);
        break;

    case ZLT_WS_OP_CLOSE:

        if (w->how == ZLT_WSD_OPEN) {
            w->how = (w->rx == ZLT_WSD_BYTES) ? ZLT_WSD_RESET
                                              : ZLT_WSD_CLOSED;
        }

        break;
    }
}


static void
zlt_wsd_broken(zlt_wsd_t *w, const char *text)
{
    w->how = ZLT_WSD_BROKEN;
    w->error = text;
}


size_t
zlt_wsd_encode(zlt_wsd_t *w, uint8_t *dst, size_t size, const uint8_t *src,
    size_t len, size_t *used)
{
    size_t          n;
    uint8_t        *p, *last;
    const uint8_t  *pos, *end;

    p = dst;
    last = dst + size;
    pos = src;
    end = src + len;

    for ( ;; ) {

        if (w->ponging && (size_t) (last - p) >= ZLT_WSD_PONG) {
            p += zlt_wsd_pong(w, p);
        }

        if (pos == end) {
            break;
        }

        if (w->tx_left == 0) {

            if ((size_t) (last - p) <= ZLT_WSD_HEADER) {
                break;
            }

            if (w->tx == ZLT_WSD_BYTES) {
                n = (size_t) (last - p) - ZLT_WSD_HEADER;

                if (n > (size_t) (end - pos)) {
                    n = (size_t) (end - pos);
                }

                p = zlt_wsd_start(w, p, ZLT_DATA, n);

            } else if (zlt_wsd_head(w, &pos, end)) {
                p = zlt_wsd_start(w, p, w->tx_header[0],
                                  zlt_get32(w->tx_header + 1));
            }

            continue;
        }

        n = (size_t) (end - pos);

        if (n > w->tx_left) {
            n = w->tx_left;
        }

        if (n > (size_t) (last - p)) {
            n = (size_t) (last - p);
        }

        if (n == 0) {
            break;
        }

        if (w->random) {
            zlt_ws_mask_move(p, pos, n, w->mask, w->mask_pos);
            w->mask_pos = (w->mask_pos + n) & 3;

        } else {
            memcpy(p, pos, n);
        }

        p += n;
        pos += n;
        w->tx_left -= (uint32_t) n;

        if (w->tx_left == 0) {
            zlt_wsd_turn(w);
        }
    }

    *used = (size_t) (pos - src);

    return (size_t) (p - dst);
}


/* Takes what there is of a frame's header: 1 if it is whole. */

static int
zlt_wsd_head(zlt_wsd_t *w, const uint8_t **src, const uint8_t *end)
{
    while (w->tx_head < ZLT_HEADER_SIZE && *src < end) {
        w->tx_header[w->tx_head++] = *(*src)++;
    }

    if (w->tx_head < ZLT_HEADER_SIZE) {
        return 0;
    }

    w->tx_head = 0;

    return 1;
}


/* The header of a message, of WebSocket and its own. */

static uint8_t *
zlt_wsd_start(zlt_wsd_t *w, uint8_t *p, unsigned type, size_t len)
{
    uint8_t  *head;

    if (w->random) {
        w->random(w->mask);
    }

    p += zlt_ws_header(p, ZLT_WS_OP_BINARY, ZLT_HEADER_SIZE + len,
                       w->random ? w->mask : NULL);
    head = p;

    *p++ = (uint8_t) type;
    p = zlt_put32(p, (uint32_t) len);

    if (w->random) {
        zlt_ws_mask(head, ZLT_HEADER_SIZE, w->mask, 0);
    }

    w->mask_pos = ZLT_HEADER_SIZE & 3;
    w->tx_type = (uint8_t) type;
    w->tx_left = (uint32_t) len;

    if (len == 0) {
        zlt_wsd_turn(w);
    }

    return p;
}


/* a message has been made whole */

static void
zlt_wsd_turn(zlt_wsd_t *w)
{
    if (w->tx_type == w->tx_turn) {
        w->tx = ZLT_WSD_BYTES;
    }
}


static uint8_t *
zlt_wsd_frame(zlt_wsd_t *w, uint8_t *p, unsigned opcode,
    const uint8_t *payload, size_t len)
{
    uint8_t  mask[4];

    if (w->random) {
        w->random(mask);
    }

    p += zlt_ws_header(p, opcode, len, w->random ? mask : NULL);

    if (w->random) {
        zlt_ws_mask_move(p, payload, len, mask, 0);

    } else if (len) {
        memcpy(p, payload, len);
    }

    return p + len;
}


size_t
zlt_wsd_begin(zlt_wsd_t *w, uint8_t *dst, size_t len)
{
    uint8_t  *p;

    if (w->tx_left) {
        return 0;
    }

    p = dst + zlt_wsd_pong(w, dst);
    p = zlt_wsd_start(w, p, ZLT_DATA, len);

    return (size_t) (p - dst);
}


size_t
zlt_wsd_pong(zlt_wsd_t *w, uint8_t *dst)
{
    if (!w->ponging || w->tx_left || w->ended) {
        return 0;
    }

    w->ponging = 0;

    return (size_t) (zlt_wsd_frame(w, dst, ZLT_WS_OP_PONG, w->pong,
                                   w->pong_len)
                     - dst);
}


size_t
zlt_wsd_eof(zlt_wsd_t *w, uint8_t *dst)
{
    uint8_t  *p, code[2];

    if (w->ended || w->finished || w->tx_left) {
        return 0;
    }

    w->finished = 1;

    p = dst + zlt_wsd_pong(w, dst);

    if (w->tx == ZLT_WSD_BYTES) {
        p = zlt_wsd_start(w, p, ZLT_EOF, 0);
    }

    if (w->tx != ZLT_WSD_BYTES || w->how == ZLT_WSD_EOF) {
        (void) zlt_put16(code, ZLT_WS_NORMAL);
        p = zlt_wsd_frame(w, p, ZLT_WS_OP_CLOSE, code, 2);
        w->ended = 1;
    }

    return (size_t) (p - dst);
}


size_t
zlt_wsd_reset(zlt_wsd_t *w, uint8_t *dst)
{
    if (w->ended || w->tx_left || w->tx_head) {
        return 0;
    }

    w->ended = 1;

    return (size_t) (zlt_wsd_start(w, dst, ZLT_RESET, 0) - dst);
}


int
zlt_wsd_between(const zlt_wsd_t *w)
{
    return w->how == ZLT_WSD_OPEN
           && w->parser.state == 0 && !w->parser.fragmented && w->head == 0
           && w->tx_head == 0 && w->tx_left == 0 && !w->ponging;
}
