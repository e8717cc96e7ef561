
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The token's step: asks by an Auth what it may, and reads the answer.  What
 * comes before the answer is passed over; Ping is answered.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>

#include "log.h"
#include "probe_rights.h"
#include "probe_token.h"
#include "version.h"
#include "zlt_hex.h"


static int zlt_probe_token_frame(zlt_probe_t *p, unsigned opcode,
    const uint8_t *payload, size_t len);
static void zlt_probe_token_chunk(zlt_probe_t *p);
static void zlt_probe_token_control(zlt_probe_t *p);
static void zlt_probe_token_message(zlt_probe_t *p);
static void zlt_probe_token_node(zlt_probe_t *p, const zlt_msg_t *m);
static void zlt_probe_token_services(zlt_probe_t *p, zlt_str_t rights);


void
zlt_probe_token_ask(zlt_probe_t *p)
{
    size_t     len;
    uint8_t    client_id[ZLT_ID_SIZE], msg[ZLT_PROBE_OUT / 2];
    zlt_msg_t  m;

    static const char  agent[] = "zltunnel-agent/" ZLT_AGENT_VERSION;

    zlt_ws_init(&p->ws, ZLT_WS_CLIENT, ZLT_MAX_MESSAGE_SIZE);

    p->out_pos = 0;
    p->out_len = 0;
    len = 0;

    if (RAND_bytes(client_id, sizeof(client_id)) == 1) {
        memset(&m, 0, sizeof(zlt_msg_t));

        m.type = ZLT_AUTH;
        m.token.data = (const uint8_t *) p->token->text;
        m.token.len = p->token->len;
        m.client_id = client_id;
        m.ext = ZLT_X_FEATURES|ZLT_X_AGENT|ZLT_X_CHECK;
        m.features = ZLT_F_CHANNELS;
        m.agent.data = (const uint8_t *) agent;
        m.agent.len = sizeof(agent) - 1;
        m.check = 1;

        len = zlt_msg_encode(&m, msg, sizeof(msg));
    }

    if (len == 0 || zlt_probe_token_frame(p, ZLT_WS_OP_BINARY, msg, len) == -1)
    {
        zlt_probe_said(p, ZLT_PROBE_FAILED, "the question could not be made");
    }

    OPENSSL_cleanse(msg, sizeof(msg));
}


/* Behind what is to be sent still: 0, or -1 if there is no room. */

static int
zlt_probe_token_frame(zlt_probe_t *p, unsigned opcode, const uint8_t *payload,
    size_t len)
{
    uint8_t  *out, mask[4];

    if (p->out_pos == p->out_len) {
        p->out_pos = 0;
        p->out_len = 0;
    }

    if (ZLT_PROBE_OUT - p->out_len < ZLT_WS_MAX_HEADER + len
        || RAND_bytes(mask, sizeof(mask)) != 1)
    {
        return -1;
    }

    out = p->out + p->out_len;
    out += zlt_ws_header(out, opcode, len, mask);

    memcpy(out, payload, len);
    zlt_ws_mask(out, len, mask, 0);

    p->out_len = (size_t) (out - p->out) + len;

    return 0;
}


void
zlt_probe_token_input(zlt_probe_t *p)
{
    while (!p->over) {

        switch (zlt_ws_parse(&p->ws, &p->pos, p->last)) {

        case ZLT_WS_AGAIN:
            p->pos = p->in;
            p->last = p->in;
            return;

        case ZLT_WS_DATA:
            zlt_probe_token_chunk(p);
            break;

        case ZLT_WS_CONTROL:
            zlt_probe_token_control(p);
            break;

        case ZLT_WS_ERROR:
            zlt_probe_said(p, ZLT_PROBE_FAILED, "the server broke the "
                           "WebSocket protocol: %s", p->ws.error);
            return;
        }
    }
}


/* The parser bounds the whole message. */

static void
zlt_probe_token_chunk(zlt_probe_t *p)
{
    memcpy(p->message + p->message_len, p->ws.chunk, p->ws.chunk_len);
    p->message_len += p->ws.chunk_len;

    if (p->ws.message_end) {
        zlt_probe_token_message(p);
        p->message_len = 0;
    }
}


static void
zlt_probe_token_control(zlt_probe_t *p)
{
    char       text[ZLT_LOG_TEXT_SIZE];
    unsigned   code;
    zlt_str_t  reason;

    if (p->ws.opcode == ZLT_WS_OP_PING) {

        /* one that finds no room is answered by the next one's Pong */

        (void) zlt_probe_token_frame(p, ZLT_WS_OP_PONG, p->ws.control,
                                     p->ws.control_len);
        return;
    }

    if (p->ws.opcode == ZLT_WS_OP_CLOSE) {
        code = zlt_ws_close_code(p->ws.control, p->ws.control_len);

        reason.len = p->ws.control_len > 2 ? p->ws.control_len - 2 : 0;
        reason.data = p->ws.control + 2;

        zlt_probe_said(p, ZLT_PROBE_FAILED, "the server closed the control "
                       "channel without an answer: %u %s", code,
                       zlt_log_text(text, reason));
    }
}


static void
zlt_probe_token_message(zlt_probe_t *p)
{
    char       text[ZLT_LOG_TEXT_SIZE], rights[ZLT_LOG_TEXT_SIZE];
    size_t     used;
    zlt_msg_t  m;

    if (zlt_msg_decode(&m, p->message, p->message_len, ZLT_MAX_PAYLOAD, &used)
        != ZLT_OK)
    {
        zlt_probe_said(p, ZLT_PROBE_FAILED, "the server's answer is not "
                       "valid");
        return;
    }

    if (m.type == ZLT_AUTH_FAIL) {
        zlt_probe_said(p, ZLT_PROBE_FAILED, "%s%s",
                       zlt_log_text(text, m.reason),
                       (m.ext & ZLT_X_CODE) && m.code == ZLT_E_BAD_TOKEN
                       ? " (not in the server's token file, or added less "
                         "than 3 s ago)" : "");

    } else if (m.type == ZLT_AUTH_OK && (m.ext & ZLT_X_RIGHTS)) {
        zlt_probe_token_node(p, &m);
        zlt_probe_said(p, ZLT_PROBE_OK, "\"%s\": %s",
                       zlt_log_text(text, m.name),
                       zlt_log_text(rights, m.rights));
        zlt_probe_token_services(p, m.rights);

    } else if (m.type == ZLT_AUTH_OK) {
        zlt_probe_said(p, ZLT_PROBE_OK, "it is right; the server, an older "
                       "one, does not tell what it may");
    }
}


/* Who it is matters where there may be several. */

static void
zlt_probe_token_node(zlt_probe_t *p, const zlt_msg_t *m)
{
    char  id[2 * ZLT_ID_SIZE + 1], of[32];

    if (p->at == NULL || !(m->ext & ZLT_X_NODE)) {
        return;
    }

    zlt_hex_encode(id, m->node, ZLT_ID_SIZE);
    of[0] = '\0';

    if (m->ext & ZLT_X_NODES) {
        (void) snprintf(of, sizeof(of), ", one of %u", (unsigned) m->nodes);
    }

    zlt_probe_tell(p, "node", ZLT_PROBE_OK, "%.32s%s", id, of);
}


static void
zlt_probe_token_services(zlt_probe_t *p, zlt_str_t rights)
{
    char  *text;

    text = strndup((const char *) rights.data, rights.len);

    if (text) {
        p->failed += zlt_probe_rights(p->conf, text, p->tell);
        free(text);
    }
}
