
/*
 * Copyright (C) zltunnel authors
 */

/* The control channel's WebSocket: bytes to messages, and back. */


#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>

#include "session.h"


#define ZLT_SESSION_MAX_OUT  (256 * 1024)


static void zlt_session_control(zlt_session_t *s);
static void zlt_session_chunk(zlt_session_t *s);
static int zlt_session_grow(uint8_t **buf, size_t *size, size_t need);


void
zlt_session_input(zlt_session_t *s, uint8_t *data, size_t len)
{
    uint8_t  *end;

    s->asked = 0;
    end = data + len;

    while (s->conn.io.fd != -1) {

        switch (zlt_ws_parse(&s->ws, &data, end)) {

        case ZLT_WS_AGAIN:
            return;

        case ZLT_WS_DATA:
            zlt_session_chunk(s);
            break;

        case ZLT_WS_CONTROL:
            zlt_session_control(s);
            break;

        case ZLT_WS_ERROR:
            zlt_session_fail(s, ZLT_DOWN_LOST, 0, "the server broke the "
                             "WebSocket protocol: %s", s->ws.error);
            return;
        }
    }
}


static void
zlt_session_chunk(zlt_session_t *s)
{
    if (s->message_len == 0 && s->ws.message_end) {
        /* in one piece, as nearly always */
        zlt_session_message(s, s->ws.chunk, s->ws.chunk_len);
        return;
    }

    if (zlt_session_keep(s, s->ws.chunk, s->ws.chunk_len) == -1) {
        zlt_session_fail(s, ZLT_DOWN_LOST, 0, "out of memory");
        return;
    }

    if (s->ws.message_end) {
        zlt_session_message(s, s->message, s->message_len);
        s->message_len = 0;
    }
}


static void
zlt_session_control(zlt_session_t *s)
{
    char       text[ZLT_LOG_TEXT_SIZE];
    size_t     n;
    uint8_t    payload[ZLT_WS_MAX_CONTROL];
    unsigned   code;
    zlt_str_t  reason;

    switch (s->ws.opcode) {

    case ZLT_WS_OP_PING:
        zlt_session_frame(s, ZLT_WS_OP_PONG, s->ws.control,
                          s->ws.control_len);
        break;

    case ZLT_WS_OP_CLOSE:
        code = zlt_ws_close_code(s->ws.control, s->ws.control_len);
        reason.data = s->ws.control;
        reason.len = 0;

        if (s->ws.control_len >= 2) {
            reason.data = s->ws.control + 2;
            reason.len = s->ws.control_len - 2;
        }

        if (!s->closing) {
            /* the answer, as far as it goes at once */
            n = (code == ZLT_WS_NO_CODE)
                ? 0 : zlt_ws_close_payload(payload, (uint16_t) code, NULL);

            zlt_session_frame(s, ZLT_WS_OP_CLOSE, payload, n);
        }

        if (s->conn.io.fd != -1) {
            zlt_session_fail(s, s->closing ? ZLT_DOWN_CLOSED : ZLT_DOWN_LOST,
                             0, "the server closed the control channel: "
                             "%u %s", code, zlt_log_text(text, reason));
        }

        break;
    }
}


void
zlt_session_send(zlt_session_t *s, const zlt_msg_t *m)
{
    size_t   n, size;
    uint8_t  small[512], *buf;

    /* a token, a name or a reason may be long; all else is short */

    size = ZLT_HEADER_SIZE + 256 + m->token.len + m->name.len
           + m->reason.len + m->agent.len;

    buf = small;

    if (size > sizeof(small)) {
        buf = malloc(size);

        if (buf == NULL) {
            zlt_session_fail(s, ZLT_DOWN_LOST, 0, "out of memory");
            return;
        }
    }

    n = zlt_msg_encode(m, buf, buf == small ? sizeof(small) : size);

    if (n) {
        zlt_session_frame(s, ZLT_WS_OP_BINARY, buf, n);

    } else {
        zlt_link_log(s->agent->label, ZLT_LOG_ERROR, "a message of type %s "
                     "could not be made", zlt_msg_name(m->type));
    }

    if (m->type == ZLT_AUTH) {
        OPENSSL_cleanse(buf, n);
    }

    if (buf != small) {
        free(buf);
    }
}


void
zlt_session_frame(zlt_session_t *s, unsigned opcode, const uint8_t *payload,
    size_t len)
{
    size_t   n;
    uint8_t  header[ZLT_WS_MAX_HEADER], mask[4];

    if (s->conn.io.fd == -1) {
        return;
    }

    if (RAND_bytes(mask, sizeof(mask)) != 1) {
        zlt_session_fail(s, ZLT_DOWN_LOST, 0, "no random numbers");
        return;
    }

    n = zlt_ws_header(header, opcode, len, mask);

    if (s->out_len + n + len > ZLT_SESSION_MAX_OUT
        || zlt_session_grow(&s->out, &s->out_size, s->out_len + n + len)
           == -1)
    {
        zlt_session_fail(s, ZLT_DOWN_LOST, 0, "the server takes no more "
                         "messages");
        return;
    }

    memcpy(s->out + s->out_len, header, n);
    s->out_len += n;

    if (len) {
        memcpy(s->out + s->out_len, payload, len);
        zlt_ws_mask(s->out + s->out_len, len, mask, 0);
        s->out_len += len;
    }

    (void) zlt_session_flush(s);
}


int
zlt_session_output(zlt_session_t *s, const void *data, size_t len)
{
    if (zlt_session_grow(&s->out, &s->out_size, s->out_len + len) == -1) {
        return -1;
    }

    memcpy(s->out + s->out_len, data, len);
    s->out_len += len;

    return 0;
}


int
zlt_session_flush(zlt_session_t *s)
{
    ssize_t  n;

    n = zlt_conn_flush(&s->conn);

    while (n >= 0 && s->out_len) {
        n = zlt_conn_write(&s->conn, s->out, s->out_len);

        if (n < 0) {
            break;
        }

        s->out_len -= (size_t) n;
        memmove(s->out, s->out + n, s->out_len);
    }

    if (n == ZLT_CONN_ERROR) {
        zlt_session_fail(s, ZLT_DOWN_LOST, 0, "the control channel broke: %s",
                         strerror(errno));
        return -1;
    }

    if (n == ZLT_CONN_AGAIN) {
        return 0;
    }

    /* there may have been a token in it, and mostly it is not needed */

    if (s->out) {
        OPENSSL_cleanse(s->out, s->out_size);
        free(s->out);
        s->out = NULL;
        s->out_size = 0;
    }

    return 0;
}


int
zlt_session_keep(zlt_session_t *s, const uint8_t *data, size_t len)
{
    if (zlt_session_grow(&s->message, &s->message_size, s->message_len + len)
        == -1)
    {
        return -1;
    }

    if (len) {
        memcpy(s->message + s->message_len, data, len);
    }

    s->message_len += len;

    return 0;
}


static int
zlt_session_grow(uint8_t **buf, size_t *size, size_t need)
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
