
/*
 * Copyright (C) zltunnel authors
 */

/* As much of HTTP/1.1 as an upgrade takes. */


#define _GNU_SOURCE           /* memmem(), strptime(), timegm() */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "http.h"
#include "url.h"
#include "version.h"
#include "zlt_hex.h"


#define ZLT_HTTP_GUID      "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define ZLT_HTTP_KEY_SIZE  25

/* what an upgrade to WebSocket takes */
#define ZLT_HTTP_WEBSOCKET                                                    \
    "Connection: Upgrade\r\n"                                                 \
    "Upgrade: websocket\r\n"                                                  \
    "Sec-WebSocket-Version: 13\r\n"                                           \
    "Sec-WebSocket-Key: %s\r\n"


static int zlt_http_websocket(char key[ZLT_HTTP_KEY_SIZE],
    zlt_http_want_t *want);
static size_t zlt_http_data(char *buf, const zlt_url_t *url,
    const zlt_http_tunnel_t *tunnel, const char *what, const uint8_t *id,
    const char *client, int websocket, zlt_http_want_t *want);
static int zlt_http_status(zlt_http_answer_t *a, const char *line,
    size_t len);
static int zlt_http_header(zlt_http_answer_t *a, const char *line,
    size_t len);
static time_t zlt_http_date(const char *value);
static uint32_t zlt_http_retry(const char *value);
static int zlt_http_token(const char *value, size_t len, const char *token);


size_t
zlt_http_control(char *buf, const zlt_url_t *url, zlt_http_want_t *want)
{
    int   n;
    char  key[ZLT_HTTP_KEY_SIZE];

    want->protocol = ZLT_HTTP_WANT_CONTROL;

    if (zlt_http_websocket(key, want) == -1) {
        return 0;
    }

    n = snprintf(buf, ZLT_HTTP_REQUEST_SIZE,
                 "GET %s HTTP/1.1\r\n"
                 "Host: %s\r\n"
                 "User-Agent: zltunnel-agent/" ZLT_AGENT_VERSION "\r\n"
                 ZLT_HTTP_WEBSOCKET
                 "\r\n",
                 url->path, url->authority, key);

    return (n < 0 || n >= ZLT_HTTP_REQUEST_SIZE) ? 0 : (size_t) n;
}


/* A new key, and the answer that it wants: 0 or -1. */

static int
zlt_http_websocket(char key[ZLT_HTTP_KEY_SIZE], zlt_http_want_t *want)
{
    char      text[ZLT_HTTP_KEY_SIZE + sizeof(ZLT_HTTP_GUID)];
    uint8_t   nonce[16], digest[EVP_MAX_MD_SIZE];
    unsigned  len;

    if (RAND_bytes(nonce, sizeof(nonce)) != 1) {
        return -1;
    }

    (void) EVP_EncodeBlock((uint8_t *) key, nonce, sizeof(nonce));
    (void) snprintf(text, sizeof(text), "%s%s", key, ZLT_HTTP_GUID);

    if (EVP_Digest(text, strlen(text), digest, &len, EVP_sha1(), NULL) != 1) {
        return -1;
    }

    (void) EVP_EncodeBlock((uint8_t *) want->accept, digest, 20);

    return 0;
}


size_t
zlt_http_plain(char *buf, const zlt_url_t *url, zlt_http_want_t *want)
{
    int  n;

    want->protocol = ZLT_HTTP_WANT_NONE;

    n = snprintf(buf, ZLT_HTTP_REQUEST_SIZE,
                 "GET %s HTTP/1.1\r\n"
                 "Host: %s\r\n"
                 "User-Agent: zltunnel-agent/" ZLT_AGENT_VERSION "\r\n"
                 "Connection: close\r\n"
                 "\r\n",
                 url->path, url->authority);

    return (n < 0 || n >= ZLT_HTTP_REQUEST_SIZE) ? 0 : (size_t) n;
}


size_t
zlt_http_channel(char *buf, const zlt_url_t *url,
    const zlt_http_tunnel_t *tunnel, const uint8_t *connection_id,
    int websocket, zlt_http_want_t *want)
{
    return zlt_http_data(buf, url, tunnel, "Connection", connection_id, NULL,
                         websocket, want);
}


size_t
zlt_http_access(char *buf, const zlt_url_t *url,
    const zlt_http_tunnel_t *tunnel, const uint8_t *access_id,
    const char *client, int websocket, zlt_http_want_t *want)
{
    return zlt_http_data(buf, url, tunnel, "Access", access_id, client,
                         websocket, want);
}


/* id: what the channel is for, or NULL; client: or NULL */

static size_t
zlt_http_data(char *buf, const zlt_url_t *url,
    const zlt_http_tunnel_t *tunnel, const char *what, const uint8_t *id,
    const char *client, int websocket, zlt_http_want_t *want)
{
    int   n;
    char  tunnel_id[2 * ZLT_ID_SIZE], secret[2 * ZLT_KEY_SIZE],
          purpose[2 * ZLT_ID_SIZE], node[2 * ZLT_ID_SIZE], upgrade[256],
          ws_key[ZLT_HTTP_KEY_SIZE];

    want->protocol = websocket ? ZLT_HTTP_WANT_WEBSOCKET
                               : ZLT_HTTP_WANT_ZLTUNNEL;

    if (!websocket) {
        (void) strcpy(upgrade, "Connection: Upgrade\r\n"
                               "Upgrade: zltunnel\r\n");

    } else if (zlt_http_websocket(ws_key, want) == 0) {
        (void) snprintf(upgrade, sizeof(upgrade), ZLT_HTTP_WEBSOCKET
                        "Sec-WebSocket-Protocol: zltunnel-data\r\n", ws_key);

    } else {
        return 0;
    }

    zlt_hex_encode(tunnel_id, tunnel->id, ZLT_ID_SIZE);
    zlt_hex_encode(secret, tunnel->key, ZLT_KEY_SIZE);

    if (tunnel->node) {
        zlt_hex_encode(node, tunnel->node, ZLT_ID_SIZE);
    }

    if (id) {
        zlt_hex_encode(purpose, id, ZLT_ID_SIZE);
    }

    n = snprintf(buf, ZLT_HTTP_REQUEST_SIZE,
                 "GET %s HTTP/1.1\r\n"
                 "Host: %s\r\n"
                 "User-Agent: zltunnel-agent/" ZLT_AGENT_VERSION "\r\n"
                 "%s"
                 "Zltunnel-Tunnel: %.*s\r\n"
                 "Zltunnel-Key: %.*s\r\n"
                 "%s%.*s%s"
                 "%s%s%s%.*s%s"
                 "%s%s%s"
                 "\r\n",
                 url->path, url->authority, upgrade,
                 (int) sizeof(tunnel_id), tunnel_id,
                 (int) sizeof(secret), secret,
                 tunnel->node ? "Zltunnel-Node: " : "",
                 tunnel->node ? (int) sizeof(node) : 0, node,
                 tunnel->node ? "\r\n" : "",
                 id ? "Zltunnel-" : "", id ? what : "", id ? ": " : "",
                 id ? (int) sizeof(purpose) : 0, purpose, id ? "\r\n" : "",
                 client ? "Zltunnel-Client: " : "", client ? client : "",
                 client ? "\r\n" : "");

    return (n < 0 || n >= ZLT_HTTP_REQUEST_SIZE) ? 0 : (size_t) n;
}


int
zlt_http_upgraded(const zlt_http_answer_t *a, const zlt_http_want_t *want)
{
    if (a->status != 101 || !a->upgrade) {
        return 0;
    }

    switch (want->protocol) {

    case ZLT_HTTP_WANT_NONE:
        return 0;

    case ZLT_HTTP_WANT_ZLTUNNEL:
        return a->zltunnel;

    default:
        return a->websocket && strcmp(a->accept, want->accept) == 0
               && (a->data || want->protocol == ZLT_HTTP_WANT_CONTROL);
    }
}


ssize_t
zlt_http_parse(zlt_http_answer_t *a, const char *data, size_t len)
{
    size_t       n;
    const char  *p, *end, *line;

    memset(a, 0, sizeof(zlt_http_answer_t));

    /* what is not HTTP at all should not have to be 8 KiB long */

    n = len < 5 ? len : 5;

    if (memcmp(data, "HTTP/", n) != 0) {
        return -1;
    }

    end = memmem(data, len, "\r\n\r\n", 4);

    if (end == NULL || (size_t) (end - data) > ZLT_HTTP_HEADER_MAX) {
        return (len > ZLT_HTTP_HEADER_MAX) ? -1 : 0;
    }

    for (line = data; line <= end; line = p + 2) {

        p = memmem(line, (size_t) (end + 2 - line), "\r\n", 2);

        if (p == NULL) {
            break;
        }

        if (line == data) {
            if (zlt_http_status(a, line, (size_t) (p - line)) == -1) {
                return -1;
            }

        } else if (zlt_http_header(a, line, (size_t) (p - line)) == -1) {
            return -1;
        }
    }

    return end + 4 - data;
}


static int
zlt_http_status(zlt_http_answer_t *a, const char *line, size_t len)
{
    size_t  i, n;

    if (len < 12 || memcmp(line, "HTTP/1.", 7) != 0 || line[8] != ' ') {
        return -1;
    }

    for (i = 9; i < 12; i++) {
        if (line[i] < '0' || line[i] > '9') {
            return -1;
        }

        a->status = a->status * 10 + (unsigned) (line[i] - '0');
    }

    n = 0;

    for (i = 13; i < len && n < sizeof(a->reason) - 1; i++) {
        a->reason[n++] = (line[i] < 0x20 || line[i] > 0x7e) ? '?' : line[i];
    }

    a->reason[n] = '\0';

    return 0;
}


/* 0, or -1 if there is a byte in it that no header has. */

static int
zlt_http_header(zlt_http_answer_t *a, const char *line, size_t len)
{
    char         value[64];
    size_t       name, n;
    unsigned     worker, workers;
    const char  *colon;

    for (n = 0; n < len; n++) {
        if (((unsigned char) line[n] < 0x20 && line[n] != '\t')
            || line[n] == 0x7f)
        {
            return -1;
        }
    }

    colon = memchr(line, ':', len);

    if (colon == NULL) {
        return 0;
    }

    name = (size_t) (colon - line);
    colon++;
    n = len - name - 1;

    while (n && (*colon == ' ' || *colon == '\t')) {
        colon++;
        n--;
    }

    while (n && (colon[n - 1] == ' ' || colon[n - 1] == '\t')) {
        n--;
    }

    if (n >= sizeof(value)) {
        /* none of those that are looked at */
        return 0;
    }

    memcpy(value, colon, n);
    value[n] = '\0';

    if (name == 7 && strncasecmp(line, "Upgrade", name) == 0) {
        a->websocket = (strcasecmp(value, "websocket") == 0);
        a->zltunnel = (strcasecmp(value, "zltunnel") == 0);

    } else if (name == 10 && strncasecmp(line, "Connection", name) == 0) {
        a->upgrade = zlt_http_token(value, n, "upgrade") ? 1 : 0;

    } else if (name == 20
               && strncasecmp(line, "Sec-WebSocket-Accept", name) == 0)
    {
        (void) snprintf(a->accept, sizeof(a->accept), "%.28s", value);

    } else if (name == 22
               && strncasecmp(line, "Sec-WebSocket-Protocol", name) == 0)
    {
        a->data = (strcmp(value, "zltunnel-data") == 0);

    } else if (name == 15 && strncasecmp(line, "Zltunnel-Worker", name) == 0) {

        if (sscanf(value, "%5u/%5u", &worker, &workers) == 2
            && worker < workers)
        {
            a->worker = worker;
            a->workers = workers;
        }

    } else if (name == 13 && strncasecmp(line, "Zltunnel-Node", name) == 0) {
        a->has_node = (n >= 2 * ZLT_ID_SIZE
                       && zlt_hex_decode(a->node, value, ZLT_ID_SIZE) == 0);
        a->beside = (n > 2 * ZLT_ID_SIZE
                     && strcmp(value + 2 * ZLT_ID_SIZE, "; upgrade") == 0);

    } else if (name == 4 && strncasecmp(line, "Date", name) == 0) {
        a->date = zlt_http_date(value);

    } else if (name == 11 && strncasecmp(line, "Retry-After", name) == 0) {
        a->retry_after = zlt_http_retry(value);
    }

    return 0;
}


/* 0: it is none */

static time_t
zlt_http_date(const char *value)
{
    time_t       date;
    struct tm    tm;
    const char  *end;

    memset(&tm, 0, sizeof(struct tm));

    end = strptime(value, "%a, %d %b %Y %H:%M:%S GMT", &tm);

    if (end == NULL || *end != '\0') {
        return 0;
    }

    date = timegm(&tm);

    return date == (time_t) -1 ? 0 : date;
}


/* In ms, seconds only: a date would need a clock that is right. */

static uint32_t
zlt_http_retry(const char *value)
{
    unsigned long  seconds;

    if (*value < '0' || *value > '9') {
        return 0;
    }

    seconds = strtoul(value, NULL, 10);

    if (seconds > ZLT_RETRY_MAX / 1000) {
        return ZLT_RETRY_MAX;
    }

    return (uint32_t) seconds * 1000;
}


/* 1 if token is one of a comma-separated list. */

static int
zlt_http_token(const char *value, size_t len, const char *token)
{
    size_t       n;
    const char  *end, *p;

    end = value + len;

    while (value < end) {
        value += strspn(value, " \t,");
        p = value;
        n = strcspn(p, " \t,");

        if (n == strlen(token) && strncasecmp(p, token, n) == 0) {
            return 1;
        }

        /* and what has ended it */
        value = p + n + 1;
    }

    return 0;
}
