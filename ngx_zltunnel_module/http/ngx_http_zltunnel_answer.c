
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Responses of our own: refusals, in plain text, and 101, and what they say to
 * agents.
 */


#include <ngx_sha1.h>

#include "ngx_http_zltunnel.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_registry.h"

#include "zlt_hex.h"


#define NGX_HTTP_ZLTUNNEL_MISDIRECTED  421

/* behind the id: the other one may be the binary that serves beside this one */
#define NGX_HTTP_ZLTUNNEL_BESIDE       "; upgrade"


static void ngx_http_zltunnel_answer_complain(ngx_http_request_t *r,
    ngx_zltunnel_registry_t *registry, u_char *node, const char *id);
static ngx_int_t ngx_http_zltunnel_answer_worker(ngx_http_request_t *r);


ngx_int_t
ngx_http_zltunnel_answer(ngx_http_request_t *r, ngx_uint_t status,
    const char *line, const char *text)
{
    u_char       *p;
    ngx_int_t     rc;
    ngx_buf_t    *b;
    ngx_chain_t   out;

    /* what came behind the request was not meant to be one */

    r->keepalive = 0;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    b = ngx_create_temp_buf(r->pool, ngx_strlen(text) + 1);

    if (b == NULL
        || ngx_http_zltunnel_answer_header(r, "Cache-Control", "no-store")
           != NGX_OK
        || ngx_http_zltunnel_answer_worker(r) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = ngx_cpymem(b->last, text, ngx_strlen(text));
    *p++ = LF;

    b->last = p;
    b->last_buf = 1;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    r->headers_out.status = status;

    if (line) {
        r->headers_out.status_line.data = (u_char *) line;
        r->headers_out.status_line.len = ngx_strlen(line);
    }

    r->headers_out.content_length_n = b->last - b->pos;
    ngx_str_set(&r->headers_out.content_type, "text/plain");
    r->headers_out.content_type_len = r->headers_out.content_type.len;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, &out);
}


ngx_int_t
ngx_http_zltunnel_answer_astray(ngx_http_request_t *r,
    ngx_zltunnel_registry_t *registry, u_char *node)
{
    char  *id;

    id = ngx_pcalloc(r->pool, 2 * ZLT_ID_SIZE
                              + sizeof(NGX_HTTP_ZLTUNNEL_BESIDE));

    if (id == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    zlt_hex_encode(id, ngx_zltunnel_node_id(registry), ZLT_ID_SIZE);

    if (ngx_zltunnel_overlap_look()) {
        ngx_memcpy(id + 2 * ZLT_ID_SIZE, NGX_HTTP_ZLTUNNEL_BESIDE,
                   sizeof(NGX_HTTP_ZLTUNNEL_BESIDE));
    }

    if (ngx_http_zltunnel_answer_header(r, "Zltunnel-Node", id) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (node) {
        ngx_http_zltunnel_answer_complain(r, registry, node, id);
    }

    /* core has no text for it */

    return ngx_http_zltunnel_answer(r, NGX_HTTP_ZLTUNNEL_MISDIRECTED,
                                    "421 Misdirected Request",
                                    node ? "this is another node, ask again"
                                    : "no such tunnel or key here, ask again");
}


/* in an upgrade the other binary is another node, too */

static void
ngx_http_zltunnel_answer_complain(ngx_http_request_t *r,
    ngx_zltunnel_registry_t *registry, u_char *node, const char *id)
{
    char        meant[2 * ZLT_ID_SIZE];
    ngx_uint_t  n;

    if (ngx_zltunnel_overlap_look()) {
        return;
    }

    n = ngx_zltunnel_node_astray(registry);

    if (n == 0) {
        return;
    }

    zlt_hex_encode(meant, node, ZLT_ID_SIZE);

    ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                  "data channel of the agent at %V is for node %*s, and this "
                  "is node %s: what balances the servers should send all "
                  "connections of an agent's address to the same one, as nginx "
                  "does with \"hash $remote_addr\" and HAProxy with \"balance "
                  "source\"; this is number %ui of such",
                  &r->connection->addr_text, sizeof(meant), meant, id, n);
}


ngx_int_t
ngx_http_zltunnel_answer_body(ngx_http_request_t *r, ngx_uint_t status,
    const char *type, ngx_chain_t *out, off_t size)
{
    ngx_int_t     rc;
    ngx_chain_t  *cl;

    if (ngx_http_zltunnel_answer_header(r, "Cache-Control", "no-store")
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    for (cl = out; cl->next; cl = cl->next) { /* void */ }

    cl->buf->last_buf = (r == r->main);
    cl->buf->last_in_chain = 1;

    r->headers_out.status = status;
    r->headers_out.content_length_n = size;
    r->headers_out.content_type.data = (u_char *) type;
    r->headers_out.content_type.len = ngx_strlen(type);
    r->headers_out.content_type_len = r->headers_out.content_type.len;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, out);
}


ngx_int_t
ngx_http_zltunnel_answer_switch(ngx_http_request_t *r,
    ngx_http_zltunnel_upgrade_t *upgrade)
{
    ngx_int_t  rc;

    if (ngx_http_zltunnel_answer_header(r, "Cache-Control", "no-store")
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (upgrade->channel && !upgrade->ws) {
        rc = ngx_http_zltunnel_answer_header(r, "Upgrade", "zltunnel");

    } else {
        rc = ngx_http_zltunnel_answer_header(r, "Upgrade", "websocket");

        if (rc == NGX_OK) {
            rc = ngx_http_zltunnel_answer_header(r, "Sec-WebSocket-Accept",
                                                 (char *) upgrade->accept.data);
        }
    }

    if (rc == NGX_OK && upgrade->ws) {
        rc = ngx_http_zltunnel_answer_header(r, "Sec-WebSocket-Protocol",
                                             "zltunnel-data");
    }

    if (rc == NGX_OK && upgrade->channel) {
        rc = ngx_http_zltunnel_answer_worker(r);
    }

    if (rc != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* the header filter adds "Connection: upgrade" by itself */

    r->headers_out.status = NGX_HTTP_SWITCHING_PROTOCOLS;
    ngx_str_set(&r->headers_out.status_line, "101 Switching Protocols");

    r->keepalive = 0;
    r->limit_rate = 0;
    r->limit_rate_set = 1;

    if (ngx_tcp_nodelay(r->connection) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || upgrade->channel) {
        return rc;
    }

    return ngx_http_send_special(r, NGX_HTTP_FLUSH) == NGX_ERROR ? NGX_ERROR
                                                                 : NGX_OK;
}


ngx_int_t
ngx_http_zltunnel_answer_take(ngx_http_request_t *r, ngx_str_t *answer)
{
    u_char       *p;
    size_t        len;
    ngx_chain_t  *cl;

    if (r->out == NULL || r->connection->buffered
        || r->connection->sent || r->connection->error
        || r->connection->close)
    {
        return NGX_DECLINED;
    }

    len = 0;

    for (cl = r->out; cl; cl = cl->next) {

        if (!ngx_buf_in_memory_only(cl->buf)) {
            return NGX_DECLINED;
        }

        len += ngx_buf_size(cl->buf);
    }

    if (len > NGX_ZLTUNNEL_ANSWER_SIZE) {
        return NGX_DECLINED;
    }

    p = ngx_alloc(len, r->connection->log);
    if (p == NULL) {
        return NGX_DECLINED;
    }

    answer->data = p;
    answer->len = len;

    for (cl = r->out; cl; cl = cl->next) {
        p = ngx_cpymem(p, cl->buf->pos, cl->buf->last - cl->buf->pos);
    }

    r->out = NULL;

    /* as the log would have it */

    r->connection->sent = len;

    return NGX_OK;
}


static ngx_int_t
ngx_http_zltunnel_answer_worker(ngx_http_request_t *r)
{
    u_char           *p;
    size_t            len;
    ngx_uint_t        n, worker;
    ngx_core_conf_t  *ccf;

    ccf = (ngx_core_conf_t *) ngx_get_conf(ngx_cycle->conf_ctx,
                                           ngx_core_module);

    if (ngx_process == NGX_PROCESS_WORKER) {
        worker = ngx_worker;
        n = ccf->worker_processes;

    } else {
        worker = 0;
        n = 1;
    }

    len = 2 * NGX_INT_T_LEN + sizeof("/");

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    *ngx_snprintf(p, len - 1, "%ui/%ui", worker, n) = '\0';

    return ngx_http_zltunnel_answer_header(r, "Zltunnel-Worker", (char *) p);
}


ngx_int_t
ngx_http_zltunnel_answer_header(ngx_http_request_t *r, const char *name,
    const char *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value.data = (u_char *) value;
    h->value.len = ngx_strlen(value);

    return NGX_OK;
}
