
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Which requests may become a channel, and the answers to those that may not.
 *
 * An answer says in one line of text what is wrong, for the person who tries
 * it by hand; agents look at the status only.
 */


#include <ngx_sha1.h>

#include "ngx_http_zltunnel.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_registry.h"

#include "zlt_hex.h"


#define NGX_HTTP_ZLTUNNEL_UPGRADE_REQUIRED  426

#define NGX_HTTP_ZLTUNNEL_WS_KEY            16   /* bytes */


static ngx_int_t ngx_http_zltunnel_request(ngx_http_request_t *r);
static ngx_int_t ngx_http_zltunnel_websocket(ngx_http_request_t *r,
    ngx_http_zltunnel_upgrade_t *upgrade);
static ngx_int_t ngx_http_zltunnel_websocket_key(ngx_http_request_t *r,
    ngx_str_t *key, ngx_str_t *accept);
static ngx_int_t ngx_http_zltunnel_channel(ngx_http_request_t *r,
    ngx_http_zltunnel_upgrade_t *upgrade);
static ngx_int_t ngx_http_zltunnel_peer(ngx_http_request_t *r,
    ngx_http_zltunnel_upgrade_t *upgrade, ngx_int_t rc);
static ngx_int_t ngx_http_zltunnel_upgrade_required(ngx_http_request_t *r,
    const char *text);

static ngx_uint_t ngx_http_zltunnel_header(ngx_http_request_t *r,
    const char *name, ngx_str_t *value);
static ngx_int_t ngx_http_zltunnel_header_hex(ngx_http_request_t *r,
    const char *name, u_char *dst, size_t len);
static ngx_uint_t ngx_http_zltunnel_header_has(ngx_http_request_t *r,
    const char *name, const char *token);
static ngx_uint_t ngx_http_zltunnel_list_has(ngx_str_t *list,
    const char *token);


ngx_int_t
ngx_http_zltunnel_handshake_handler(ngx_http_request_t *r)
{
    ngx_int_t                      rc;
    ngx_http_zltunnel_upgrade_t    upgrade;
    ngx_http_zltunnel_loc_conf_t  *zlcf;

    rc = ngx_http_zltunnel_request(r);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    zlcf = ngx_http_get_module_loc_conf(r, ngx_http_zltunnel_module);

    ngx_memzero(&upgrade, sizeof(ngx_http_zltunnel_upgrade_t));

    upgrade.registry = zlcf->registry;
    upgrade.asks = zlcf->asks;

    if (ngx_http_zltunnel_header_has(r, "upgrade", "zltunnel")) {
        upgrade.channel = 1;
        rc = ngx_http_zltunnel_channel(r, &upgrade);

    } else {
        rc = ngx_http_zltunnel_websocket(r, &upgrade);

        if (rc == NGX_DECLINED
            && ngx_http_zltunnel_header_has(r, "sec-websocket-protocol",
                                            "zltunnel-data"))
        {
            upgrade.channel = 1;
            upgrade.ws = 1;
            rc = ngx_http_zltunnel_channel(r, &upgrade);
        }
    }

    if (rc != NGX_DECLINED) {
        return rc;
    }

    /*
     * A channel that somebody waits for is taken nevertheless: it does not
     * stay here if the one who waits is elsewhere.
     */

    if ((ngx_exiting && !upgrade.fresh) || ngx_terminate) {
        return ngx_http_zltunnel_answer(r, NGX_HTTP_SERVICE_UNAVAILABLE, NULL,
                                        "this worker is shutting down");
    }

    if (upgrade.registry->slot == NGX_ZLTUNNEL_NO_SLOT) {
        return ngx_http_zltunnel_answer(r, NGX_HTTP_SERVICE_UNAVAILABLE, NULL,
                                        "this worker has no slot yet");
    }

    return ngx_http_zltunnel_detach(r, &upgrade);
}


/* what every upgrade must be; NGX_DECLINED if it is */

static ngx_int_t
ngx_http_zltunnel_request(ngx_http_request_t *r)
{
    ngx_str_t  value;

    if (r != r->main) {
        return NGX_HTTP_BAD_REQUEST;
    }

    if (r->method != NGX_HTTP_GET) {

        if (ngx_http_zltunnel_answer_header(r, "Allow", "GET") != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_http_zltunnel_answer(r, NGX_HTTP_NOT_ALLOWED, NULL,
                                        "the method must be GET");
    }

    /* agents send none, browsers always do */

    if (ngx_http_zltunnel_header(r, "origin", &value)) {
        return ngx_http_zltunnel_answer(r, NGX_HTTP_FORBIDDEN, NULL,
                                        "Origin: this is not for browsers");
    }

    if (r->http_version != NGX_HTTP_VERSION_11
#if (NGX_HTTP_V2)
        || r->stream
#endif
       )
    {
        return ngx_http_zltunnel_upgrade_required(r, "HTTP/1.1 is required");
    }

    if (r->headers_in.content_length_n > 0 || r->headers_in.chunked) {
        return ngx_http_zltunnel_answer(r, NGX_HTTP_BAD_REQUEST, NULL,
                                        "a request body is not allowed");
    }

    if (!ngx_http_zltunnel_header_has(r, "upgrade", "websocket")
        && !ngx_http_zltunnel_header_has(r, "upgrade", "zltunnel"))
    {
        return ngx_http_zltunnel_upgrade_required(r, "an upgrade to websocket "
                                                  "or zltunnel is required");
    }

    if (!ngx_http_zltunnel_header_has(r, "connection", "upgrade")) {
        return ngx_http_zltunnel_answer(r, NGX_HTTP_BAD_REQUEST, NULL,
                                        "Connection must say upgrade");
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_zltunnel_websocket(ngx_http_request_t *r,
    ngx_http_zltunnel_upgrade_t *upgrade)
{
    ngx_str_t   value;
    ngx_uint_t  n;

    n = ngx_http_zltunnel_header(r, "sec-websocket-version", &value);

    if (n != 1 || value.len != 2 || ngx_strncmp(value.data, "13", 2) != 0) {

        if (ngx_http_zltunnel_answer_header(r, "Sec-WebSocket-Version", "13")
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_http_zltunnel_upgrade_required(r,
                                        "Sec-WebSocket-Version must be 13");
    }

    n = ngx_http_zltunnel_header(r, "sec-websocket-key", &value);

    if (n != 1) {
        return ngx_http_zltunnel_answer(r, NGX_HTTP_BAD_REQUEST, NULL,
                                        "one Sec-WebSocket-Key is required");
    }

    switch (ngx_http_zltunnel_websocket_key(r, &value, &upgrade->accept)) {

    case NGX_OK:
        break;

    case NGX_DECLINED:
        return ngx_http_zltunnel_answer(r, NGX_HTTP_BAD_REQUEST, NULL,
                          "Sec-WebSocket-Key must be 16 bytes in base64");

    default:
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return NGX_DECLINED;
}


/* RFC 6455, section 4.2.2 */

static ngx_int_t
ngx_http_zltunnel_websocket_key(ngx_http_request_t *r, ngx_str_t *key,
    ngx_str_t *accept)
{
    u_char      buf[20];
    ngx_str_t   src;
    ngx_sha1_t  sha1;

    static const char  guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

    src.data = buf;

    if (key->len != ngx_base64_encoded_length(NGX_HTTP_ZLTUNNEL_WS_KEY)
        || ngx_decode_base64(&src, key) != NGX_OK
        || src.len != NGX_HTTP_ZLTUNNEL_WS_KEY)
    {
        return NGX_DECLINED;
    }

    ngx_sha1_init(&sha1);
    ngx_sha1_update(&sha1, key->data, key->len);
    ngx_sha1_update(&sha1, guid, sizeof(guid) - 1);
    ngx_sha1_final(buf, &sha1);

    src.data = buf;
    src.len = sizeof(buf);

    accept->data = ngx_pcalloc(r->pool,
                               ngx_base64_encoded_length(sizeof(buf)) + 1);
    if (accept->data == NULL) {
        return NGX_ERROR;
    }

    ngx_encode_base64(accept, &src);

    return NGX_OK;
}


static ngx_int_t
ngx_http_zltunnel_channel(ngx_http_request_t *r,
    ngx_http_zltunnel_upgrade_t *upgrade)
{
    ngx_int_t  rc;

    rc = ngx_http_zltunnel_header_hex(r, "zltunnel-node", upgrade->node,
                                      ZLT_ID_SIZE);

    if (rc == NGX_ERROR) {
        return ngx_http_zltunnel_answer(r, NGX_HTTP_BAD_REQUEST, NULL,
                          "Zltunnel-Node must be 32 hexadecimal digits");
    }

    if (rc == NGX_OK
        && !ngx_zltunnel_node_is(upgrade->registry, upgrade->node))
    {
        upgrade->former = ngx_zltunnel_node_was(upgrade->registry,
                                                upgrade->node);

        if (!upgrade->former) {
            return ngx_http_zltunnel_answer_astray(r, upgrade->registry,
                                                   upgrade->node);
        }
    }

    rc = ngx_http_zltunnel_header_hex(r, "zltunnel-peer", upgrade->tunnel_id,
                                      ZLT_ID_SIZE);

    if (rc != NGX_DECLINED) {
        return ngx_http_zltunnel_peer(r, upgrade, rc);
    }

    if (ngx_http_zltunnel_header_hex(r, "zltunnel-tunnel", upgrade->tunnel_id,
                                     ZLT_ID_SIZE)
        != NGX_OK)
    {
        return ngx_http_zltunnel_answer(r, NGX_HTTP_BAD_REQUEST, NULL,
                          "Zltunnel-Tunnel must be 32 hexadecimal digits");
    }

    if (ngx_http_zltunnel_header_hex(r, "zltunnel-key", upgrade->key,
                                     ZLT_KEY_SIZE)
        != NGX_OK)
    {
        return ngx_http_zltunnel_answer(r, NGX_HTTP_BAD_REQUEST, NULL,
                          "Zltunnel-Key must be 64 hexadecimal digits");
    }

    rc = ngx_http_zltunnel_header_hex(r, "zltunnel-connection",
                                      upgrade->connection_id, ZLT_ID_SIZE);

    if (rc == NGX_ERROR) {
        return ngx_http_zltunnel_answer(r, NGX_HTTP_BAD_REQUEST, NULL,
                          "Zltunnel-Connection must be 32 hexadecimal digits");
    }

    upgrade->fresh = (rc == NGX_OK);

    rc = ngx_http_zltunnel_header_hex(r, "zltunnel-access",
                                      upgrade->access_id, ZLT_ID_SIZE);

    if (rc == NGX_ERROR) {
        return ngx_http_zltunnel_answer(r, NGX_HTTP_BAD_REQUEST, NULL,
                          "Zltunnel-Access must be 32 hexadecimal digits");
    }

    upgrade->access = (rc == NGX_OK);

    if (upgrade->access && upgrade->fresh) {
        return ngx_http_zltunnel_answer(r, NGX_HTTP_BAD_REQUEST, NULL,
                          "either Zltunnel-Access or Zltunnel-Connection");
    }

    (void) ngx_http_zltunnel_header(r, "zltunnel-client", &upgrade->client);

    return NGX_DECLINED;
}


/* another node's channel, if its certificate says so: who has none is told what
   one without a key is */

static ngx_int_t
ngx_http_zltunnel_peer(ngx_http_request_t *r,
    ngx_http_zltunnel_upgrade_t *upgrade, ngx_int_t rc)
{
    if (!ngx_zltunnel_cluster_cert_known(upgrade->registry, r->connection)) {

        if (ngx_zltunnel_log_paced(r->connection->log,
                                   "channels of nodes that are refused"))
        {
            ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                          "channel of another node refused: its certificate is "
                          "not of \"cluster_trusted_certificate\", or "
                          "\"ssl_verify_client\" does not ask for one here");
        }

        return ngx_http_zltunnel_answer(r, NGX_HTTP_FORBIDDEN, NULL,
                                        "no such tunnel or key");
    }

    if (rc != NGX_OK || upgrade->ws) {
        return ngx_http_zltunnel_answer(r, NGX_HTTP_BAD_REQUEST, NULL,
                          "Zltunnel-Peer must be 32 hexadecimal digits, and "
                          "the upgrade to zltunnel");
    }

    upgrade->peer = 1;

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_zltunnel_upgrade_required(ngx_http_request_t *r, const char *text)
{
    /* a field of HTTP/1.1, which later versions forbid */

    if (r->http_version <= NGX_HTTP_VERSION_11
        && (ngx_http_zltunnel_answer_header(r, "Upgrade", "websocket") != NGX_OK
            || ngx_http_zltunnel_answer_header(r, "Upgrade", "zltunnel")
               != NGX_OK))
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_zltunnel_answer(r, NGX_HTTP_ZLTUNNEL_UPGRADE_REQUIRED,
                                    "426 Upgrade Required", text);
}


/*
 * The request's headers are searched as they came, since what nginx keeps of
 * known ones differs between versions.  Returns how many there are; *value
 * is the first.  The name is given in lower case.
 */

static ngx_uint_t
ngx_http_zltunnel_header(ngx_http_request_t *r, const char *name,
    ngx_str_t *value)
{
    size_t            len;
    ngx_uint_t        i, n;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    n = 0;
    len = ngx_strlen(name);

    for (part = &r->headers_in.headers.part; part; part = part->next) {

        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (h[i].key.len == len
                && ngx_strncmp(h[i].lowcase_key, name, len) == 0
                && n++ == 0)
            {
                *value = h[i].value;
            }
        }
    }

    return n;
}


/* NGX_OK; NGX_DECLINED: there is none; NGX_ERROR: several, or malformed */

static ngx_int_t
ngx_http_zltunnel_header_hex(ngx_http_request_t *r, const char *name,
    u_char *dst, size_t len)
{
    ngx_str_t   value;
    ngx_uint_t  n;

    n = ngx_http_zltunnel_header(r, name, &value);

    if (n == 0) {
        return NGX_DECLINED;
    }

    if (n > 1
        || value.len != 2 * len
        || zlt_hex_decode(dst, (char *) value.data, len) != 0)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_zltunnel_header_has(ngx_http_request_t *r, const char *name,
    const char *token)
{
    size_t            len;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    len = ngx_strlen(name);

    for (part = &r->headers_in.headers.part; part; part = part->next) {

        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (h[i].key.len == len
                && ngx_strncmp(h[i].lowcase_key, name, len) == 0
                && ngx_http_zltunnel_list_has(&h[i].value, token))
            {
                return 1;
            }
        }
    }

    return 0;
}


/* a list separated by commas, in either case of letters */

static ngx_uint_t
ngx_http_zltunnel_list_has(ngx_str_t *list, const char *token)
{
    u_char  *p, *end, *last, *next;
    size_t   len;

    len = ngx_strlen(token);
    last = list->data + list->len;

    for (p = list->data; p < last; p = next) {

        end = ngx_strlchr(p, last, ',');

        if (end == NULL) {
            end = last;
        }

        next = end + 1;

        while (p < end && (*p == ' ' || *p == '\t')) {
            p++;
        }

        while (end > p && (end[-1] == ' ' || end[-1] == '\t')) {
            end--;
        }

        if ((size_t) (end - p) == len
            && ngx_strncasecmp(p, (u_char *) token, len) == 0)
        {
            return 1;
        }
    }

    return 0;
}
