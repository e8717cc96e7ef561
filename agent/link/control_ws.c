
/*
 * Copyright (C) zltunnel authors
 */

/* The control channel's WebSocket: bytes to messages, and back. */


#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>

#include "control_msg.h"
#include "control_ws.h"
#include "link.h"
#include "log.h"


#define ZLT_CONTROL_MAX_OUT  (256 * 1024)


static void zlt_control_ws_control(zlt_control_t *c);
static void zlt_control_ws_chunk(zlt_control_t *c);
static int zlt_control_ws_keep(zlt_control_t *c, const uint8_t *data,
    size_t len);
static int zlt_control_ws_grow(uint8_t **buf, size_t *size, size_t need);


void
zlt_control_ws_input(zlt_control_t *c)
{
    c->asked = 0;

    while (c->conn.io.fd != -1) {

        switch (zlt_ws_parse(&c->ws, &c->pos, c->last)) {

        case ZLT_WS_AGAIN:
            return;

        case ZLT_WS_DATA:
            zlt_control_ws_chunk(c);
            break;

        case ZLT_WS_CONTROL:
            zlt_control_ws_control(c);
            break;

        case ZLT_WS_ERROR:
            zlt_control_fail(c, ZLT_DOWN_LOST, 0, "the server broke the "
                             "WebSocket protocol: %s", c->ws.error);
            return;
        }

        if (c->conn.io.fd != -1 && !zlt_io_message(&c->conn.io)) {
            /* the others first */
            return;
        }
    }
}


static void
zlt_control_ws_chunk(zlt_control_t *c)
{
    if (c->message_len == 0 && c->ws.message_end) {
        /* in one piece, as nearly always */
        zlt_control_msg(c, c->ws.chunk, c->ws.chunk_len);
        return;
    }

    if (zlt_control_ws_keep(c, c->ws.chunk, c->ws.chunk_len) == -1) {
        zlt_control_fail(c, ZLT_DOWN_LOST, 0, "out of memory");
        return;
    }

    if (c->ws.message_end) {
        zlt_control_msg(c, c->message, c->message_len);
        c->message_len = 0;
    }
}


static void
zlt_control_ws_control(zlt_control_t *c)
{
    char       text[ZLT_LOG_TEXT_SIZE];
    size_t     n;
    uint8_t    payload[ZLT_WS_MAX_CONTROL];
    unsigned   code;
    zlt_str_t  reason;

    switch (c->ws.opcode) {

    case ZLT_WS_OP_PING:
        zlt_control_ws_frame(c, ZLT_WS_OP_PONG, c->ws.control,
                             c->ws.control_len);
        break;

    case ZLT_WS_OP_CLOSE:
        code = zlt_ws_close_code(c->ws.control, c->ws.control_len);
        reason.data = c->ws.control;
        reason.len = 0;

        if (c->ws.control_len >= 2) {
            reason.data = c->ws.control + 2;
            reason.len = c->ws.control_len - 2;
        }

        if (c->state != ZLT_CONTROL_CLOSING) {
            /* the answer, as far as it goes at once */
            n = (code == ZLT_WS_NO_CODE)
                ? 0 : zlt_ws_close_payload(payload, (uint16_t) code, NULL);

            zlt_control_ws_frame(c, ZLT_WS_OP_CLOSE, payload, n);
        }

        if (c->conn.io.fd != -1) {
            zlt_control_fail(c, c->state == ZLT_CONTROL_CLOSING
                                ? ZLT_DOWN_CLOSED : ZLT_DOWN_LOST,
                             0, "the server closed the control channel: "
                             "%u %s", code, zlt_log_text(text, reason));
        }

        break;
    }
}


void
zlt_control_ws_send(zlt_control_t *c, const zlt_msg_t *m)
{
    size_t   n, size;
    uint8_t  small[512], *buf;

    /* a token, a name or a reason may be long; all else is short */

    size = ZLT_HEADER_SIZE + 256 + m->token.len + m->name.len
           + m->reason.len + m->agent.len + m->held.len;

    buf = small;

    if (size > sizeof(small)) {
        buf = malloc(size);

        if (buf == NULL) {
            zlt_control_fail(c, ZLT_DOWN_LOST, 0, "out of memory");
            return;
        }
    }

    n = zlt_msg_encode(m, buf, buf == small ? sizeof(small) : size);

    if (n) {
        zlt_control_ws_frame(c, ZLT_WS_OP_BINARY, buf, n);

    } else {
        zlt_log_link(c->link->owner.label, ZLT_LOG_ERROR,
                     "a message of type %s could not be made",
                     zlt_msg_name(m->type));
    }

    if (m->type == ZLT_AUTH) {
        OPENSSL_cleanse(buf, n);
    }

    if (buf != small) {
        free(buf);
    }
}


void
zlt_control_ws_frame(zlt_control_t *c, unsigned opcode, const uint8_t *payload,
    size_t len)
{
    size_t   n;
    uint8_t  header[ZLT_WS_MAX_HEADER], mask[4];

    if (c->conn.io.fd == -1) {
        return;
    }

    if (RAND_bytes(mask, sizeof(mask)) != 1) {
        zlt_control_fail(c, ZLT_DOWN_LOST, 0, "no random numbers");
        return;
    }

    n = zlt_ws_header(header, opcode, len, mask);

    if (c->out_len + n + len > ZLT_CONTROL_MAX_OUT
        || zlt_control_ws_grow(&c->out, &c->out_size, c->out_len + n + len)
           == -1)
    {
        zlt_control_fail(c, ZLT_DOWN_LOST, 0, "the server takes no more "
                         "messages");
        return;
    }

    memcpy(c->out + c->out_len, header, n);
    c->out_len += n;

    if (len) {
        memcpy(c->out + c->out_len, payload, len);
        zlt_ws_mask(c->out + c->out_len, len, mask, 0);
        c->out_len += len;
    }

    (void) zlt_control_ws_flush(c);
}


int
zlt_control_ws_flush(zlt_control_t *c)
{
    ssize_t  n;

    n = zlt_conn_flush(&c->conn);

    while (n >= 0 && c->out_len) {
        n = zlt_conn_write(&c->conn, c->out, c->out_len);

        if (n < 0) {
            break;
        }

        c->out_len -= (size_t) n;
        memmove(c->out, c->out + n, c->out_len);
    }

    if (n == ZLT_CONN_ERROR) {
        zlt_control_fail(c, ZLT_DOWN_LOST, 0, "the control channel broke: %s",
                         strerror(errno));
        return -1;
    }

    if (n == ZLT_CONN_AGAIN) {
        return 0;
    }

    /* there may have been a token in it, and mostly it is not needed */

    if (c->out) {
        OPENSSL_cleanse(c->out, c->out_size);
        free(c->out);
        c->out = NULL;
        c->out_size = 0;
    }

    return 0;
}


/* Appends to the message that is being received: 0 or -1. */

static int
zlt_control_ws_keep(zlt_control_t *c, const uint8_t *data, size_t len)
{
    if (zlt_control_ws_grow(&c->message, &c->message_size,
                            c->message_len + len)
        == -1)
    {
        return -1;
    }

    if (len) {
        memcpy(c->message + c->message_len, data, len);
    }

    c->message_len += len;

    return 0;
}


static int
zlt_control_ws_grow(uint8_t **buf, size_t *size, size_t need)
{
    size_t    n;
    uint8_t  *p;

    if (need <= *size && *buf) {
        return 0;
    }

    for (n = 256; n < need; n *= 2) { /* void */ }

    p = realloc(*buf, n);
    if (p == NULL) {
        return -1;
    }

    *buf = p;
    *size = n;

    return 0;
}
