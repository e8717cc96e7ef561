
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Requests to a location of this nginx that no client has made.
 *
 * nginx knows subrequests only, within the request of a client on its
 * connection.  When something has to be asked there is none (any more): so one
 * is made, a request on a connection whose socket nobody is at the other end
 * of, and the question is a subrequest of it, as auth_request's.  Of a
 * subrequest nginx sends no headers, and by "header_only" no body: nothing is
 * ever written to that socket.  It is a real one nevertheless, so that nginx
 * may add it to its events and close it as any other, whatever the location
 * does.
 *
 * The subrequest ends in one of two ways.  It is done: its parent is woken, and
 * reads what came.  Or nginx terminates the whole, for an error within, for the
 * time limit, or since it is cancelled: then the cleanup of the request runs.
 */


#include "ngx_http_zltunnel_subrequest.h"


struct ngx_http_zltunnel_subrequest_s {
    ngx_queue_t                       queue;
    ngx_http_request_t               *request;    /* on that connection */
    ngx_http_request_t               *asked;      /* .. its subrequest */
    ngx_event_t                       event;      /* the start, then the time
                                                     limit */
    ngx_http_connection_t             hc;
    ngx_http_log_ctx_t                log_ctx;
    ngx_http_zltunnel_subrequest_pt   handler;    /* NULL: was called */
    void                             *data;
    unsigned                          done:1;
    unsigned                          timedout:1;
};


static ngx_connection_t *ngx_http_zltunnel_subrequest_connection(
    ngx_http_zltunnel_question_t *question);
static ngx_int_t ngx_http_zltunnel_subrequest_client(ngx_connection_t *c,
    ngx_connection_t *client);
static ngx_http_zltunnel_subrequest_t *ngx_http_zltunnel_subrequest_create(
    ngx_connection_t *c, ngx_http_zltunnel_question_t *question);
static ngx_int_t ngx_http_zltunnel_subrequest_fill(ngx_http_request_t *r,
    ngx_http_zltunnel_question_t *question);
static ngx_int_t ngx_http_zltunnel_subrequest_body(ngx_http_request_t *r,
    ngx_str_t *body);
static ngx_int_t ngx_http_zltunnel_subrequest_ask(
    ngx_http_zltunnel_subrequest_t *sub,
    ngx_http_zltunnel_question_t *question);
static ngx_int_t ngx_http_zltunnel_subrequest_copy(ngx_pool_t *pool,
    ngx_str_t *dst, ngx_str_t *src);
static ngx_http_zltunnel_subrequest_t *ngx_http_zltunnel_subrequest_of(
    ngx_connection_t *c);
static void ngx_http_zltunnel_subrequest_handler(ngx_event_t *ev);
static ngx_int_t ngx_http_zltunnel_subrequest_done(ngx_http_request_t *sr,
    void *data, ngx_int_t rc);
static void ngx_http_zltunnel_subrequest_woken(ngx_http_request_t *r);
static void ngx_http_zltunnel_subrequest_event(ngx_event_t *ev);
static void ngx_http_zltunnel_subrequest_end(
    ngx_http_zltunnel_subrequest_t *sub);
static void ngx_http_zltunnel_subrequest_cleanup(void *data);
static void ngx_http_zltunnel_subrequest_tell(
    ngx_http_zltunnel_subrequest_t *sub, ngx_uint_t status,
    ngx_list_t *headers);
static u_char *ngx_http_zltunnel_subrequest_log(ngx_log_t *log, u_char *buf,
    size_t len);


static ngx_queue_t  ngx_http_zltunnel_subrequests;
static ngx_uint_t   ngx_http_zltunnel_subrequests_over;


ngx_int_t
ngx_http_zltunnel_subrequest_uri(ngx_conf_t *cf, ngx_str_t *uri)
{
    u_char     *last;
    ngx_str_t  *name;

    name = cf->args->elts;
    last = uri->data + uri->len;

    if (uri->len == 0 || uri->data[0] != '/') {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" has \"%V\", which is no URI of a location: "
                           "it must begin with \"/\"", name, uri);
        return NGX_ERROR;
    }

    if (ngx_strlchr(uri->data, last, '?') || ngx_strlchr(uri->data, last, '$'))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" has \"%V\": arguments and variables belong "
                           "into the \"proxy_pass\" of that location", name,
                           uri);
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_http_zltunnel_subrequest_t *
ngx_http_zltunnel_subrequest_start(ngx_http_zltunnel_question_t *question)
{
    ngx_connection_t                *c;
    ngx_http_zltunnel_subrequest_t  *sub;

    if (ngx_http_zltunnel_subrequests.next == NULL) {
        ngx_queue_init(&ngx_http_zltunnel_subrequests);
    }

    if (ngx_http_zltunnel_subrequests_over) {
        return NULL;
    }

    c = ngx_http_zltunnel_subrequest_connection(question);
    if (c == NULL) {
        return NULL;
    }

    sub = ngx_http_zltunnel_subrequest_create(c, question);

    if (sub == NULL) {
        ngx_http_close_connection(c);
        return NULL;
    }

    if (ngx_http_zltunnel_subrequest_fill(sub->request, question) != NGX_OK
        || ngx_http_zltunnel_subrequest_ask(sub, question) != NGX_OK)
    {
        sub->handler = NULL;
        ngx_http_zltunnel_subrequest_end(sub);
        return NULL;
    }

    ngx_post_event(&sub->event, &ngx_posted_events);
    ngx_add_timer(&sub->event, question->timeout);

    return sub;
}


static ngx_connection_t *
ngx_http_zltunnel_subrequest_connection(ngx_http_zltunnel_question_t *question)
{
    ngx_log_t         *log;
    ngx_pool_t        *pool;
    ngx_socket_t       s;
    ngx_connection_t  *c;

    pool = ngx_create_pool(1024, ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    log = ngx_palloc(pool, sizeof(ngx_log_t));
    if (log == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    *log = *ngx_cycle->log;

    /* of datagrams: one that is not connected is no error to the kernel */

    s = ngx_socket(AF_UNIX, SOCK_DGRAM|SOCK_CLOEXEC|SOCK_NONBLOCK, 0);

    if (s == (ngx_socket_t) -1) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_socket_errno,
                      ngx_socket_n " failed");
        ngx_destroy_pool(pool);
        return NULL;
    }

    c = ngx_get_connection(s, ngx_cycle->log);

    if (c == NULL) {
        (void) ngx_close_socket(s);
        ngx_destroy_pool(pool);
        return NULL;
    }

#if (NGX_STAT_STUB)
    /* ngx_http_close_connection() takes it off */
    (void) ngx_atomic_fetch_add(ngx_stat_active, 1);
#endif

    c->pool = pool;
    c->log = log;
    pool->log = log;

    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);
    c->start_time = ngx_current_msec;
    log->connection = c->number;
    log->action = NULL;

    c->recv = ngx_recv;
    c->send = ngx_send;
    c->recv_chain = ngx_recv_chain;
    c->send_chain = ngx_send_chain;

    c->read->log = log;
    c->write->log = log;
    c->read->handler = ngx_http_zltunnel_subrequest_handler;
    c->write->handler = ngx_http_zltunnel_subrequest_handler;

    /* for ngx_http_finalize_connection(): the client will send no more */

    c->read->eof = 1;

    if (ngx_http_zltunnel_subrequest_client(c, question->client) != NGX_OK) {
        ngx_http_close_connection(c);
        return NULL;
    }

    return c;
}


static ngx_int_t
ngx_http_zltunnel_subrequest_client(ngx_connection_t *c,
    ngx_connection_t *client)
{
    struct sockaddr_un  *nobody;

    if (client == NULL) {
        nobody = ngx_pcalloc(c->pool, sizeof(struct sockaddr_un));
        if (nobody == NULL) {
            return NGX_ERROR;
        }

        nobody->sun_family = AF_UNIX;

        c->sockaddr = (struct sockaddr *) nobody;
        c->socklen = sizeof(sa_family_t);
        c->local_sockaddr = c->sockaddr;
        c->local_socklen = c->socklen;
        ngx_str_set(&c->addr_text, "unix:");

        return NGX_OK;
    }

    if (ngx_connection_local_sockaddr(client, NULL, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    c->sockaddr = ngx_palloc(c->pool, client->socklen);
    c->local_sockaddr = ngx_palloc(c->pool, client->local_socklen);

    if (c->sockaddr == NULL || c->local_sockaddr == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(c->sockaddr, client->sockaddr, client->socklen);
    c->socklen = client->socklen;

    ngx_memcpy(c->local_sockaddr, client->local_sockaddr,
               client->local_socklen);
    c->local_socklen = client->local_socklen;

    return ngx_http_zltunnel_subrequest_copy(c->pool, &c->addr_text,
                                             &client->addr_text);
}


static ngx_http_zltunnel_subrequest_t *
ngx_http_zltunnel_subrequest_create(ngx_connection_t *c,
    ngx_http_zltunnel_question_t *question)
{
    ngx_http_cleanup_t              *cln;
    ngx_http_request_t              *r;
    ngx_http_zltunnel_subrequest_t  *sub;

    /* of the connection's pool, which lasts longer than the request */

    sub = ngx_pcalloc(c->pool, sizeof(ngx_http_zltunnel_subrequest_t));
    if (sub == NULL) {
        return NULL;
    }

    c->buffer = ngx_create_temp_buf(c->pool, 1);
    if (c->buffer == NULL) {
        return NULL;
    }

    sub->hc.conf_ctx = question->ctx;
    sub->log_ctx.connection = c;

    c->log->data = &sub->log_ctx;
    c->data = &sub->hc;

    r = ngx_http_create_request(c);
    if (r == NULL) {
        return NULL;
    }

    c->data = r;
    c->log->handler = ngx_http_zltunnel_subrequest_log;

    sub->request = r;
    sub->handler = question->handler;
    sub->data = question->data;

    sub->event.handler = ngx_http_zltunnel_subrequest_event;
    sub->event.data = sub;
    sub->event.log = c->log;

    ngx_queue_insert_tail(&ngx_http_zltunnel_subrequests, &sub->queue);

    /* it is no client's: neither logged, nor followed by a "post_action" */

    r->logged = 1;
    r->post_action = 1;
    r->uri_changes = 0;

    r->http_state = NGX_HTTP_PROCESS_REQUEST_STATE;
    r->write_event_handler = ngx_http_zltunnel_subrequest_woken;

    cln = ngx_http_cleanup_add(r, 0);

    if (cln == NULL) {
        ngx_queue_remove(&sub->queue);
        ngx_http_free_request(r, 0);
        return NULL;
    }

    cln->handler = ngx_http_zltunnel_subrequest_cleanup;
    cln->data = sub;

    return sub;
}


static ngx_int_t
ngx_http_zltunnel_subrequest_fill(ngx_http_request_t *r,
    ngx_http_zltunnel_question_t *question)
{
    ngx_uint_t        i;
    ngx_table_elt_t  *h;

    if (ngx_list_init(&r->headers_in.headers, r->pool, 8,
                      sizeof(ngx_table_elt_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (question->body.len) {
        r->method = NGX_HTTP_POST;
        ngx_str_set(&r->method_name, "POST");

    } else {
        r->method = NGX_HTTP_GET;
        ngx_str_set(&r->method_name, "GET");
    }

    r->http_version = NGX_HTTP_VERSION_11;
    ngx_str_set(&r->http_protocol, "HTTP/1.1");

    if (ngx_http_zltunnel_subrequest_copy(r->pool, &r->uri, &question->uri)
        != NGX_OK
        || ngx_http_zltunnel_subrequest_copy(r->pool, &r->headers_in.server,
                                             &question->host)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    r->unparsed_uri = r->uri;
    r->request_line = r->uri;

    for (i = 0; i < question->nheaders; i++) {

        h = ngx_list_push(&r->headers_in.headers);

        if (h == NULL
            || ngx_http_zltunnel_subrequest_copy(r->pool, &h->key,
                                                 &question->headers[i].key)
               != NGX_OK
            || ngx_http_zltunnel_subrequest_copy(r->pool, &h->value,
                                                 &question->headers[i].value)
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        h->lowcase_key = ngx_pnalloc(r->pool, h->key.len);
        if (h->lowcase_key == NULL) {
            return NGX_ERROR;
        }

        h->hash = ngx_hash_strlow(h->lowcase_key, h->key.data, h->key.len);
    }

    return question->body.len
           ? ngx_http_zltunnel_subrequest_body(r, &question->body) : NGX_OK;
}


static ngx_int_t
ngx_http_zltunnel_subrequest_body(ngx_http_request_t *r, ngx_str_t *body)
{
    ngx_buf_t                *b;
    ngx_chain_t              *cl;
    ngx_http_request_body_t  *rb;

    rb = ngx_pcalloc(r->pool, sizeof(ngx_http_request_body_t));
    b = ngx_create_temp_buf(r->pool, body->len);
    cl = ngx_alloc_chain_link(r->pool);

    if (rb == NULL || b == NULL || cl == NULL) {
        return NGX_ERROR;
    }

    b->last = ngx_cpymem(b->last, body->data, body->len);
    b->last_buf = 1;
    b->last_in_chain = 1;

    cl->buf = b;
    cl->next = NULL;

    rb->bufs = cl;
    rb->buf = b;

    r->request_body = rb;
    r->headers_in.content_length_n = body->len;

    return NGX_OK;
}


static ngx_int_t
ngx_http_zltunnel_subrequest_ask(ngx_http_zltunnel_subrequest_t *sub,
    ngx_http_zltunnel_question_t *question)
{
    ngx_http_request_t          *r, *sr;
    ngx_http_post_subrequest_t  *ps;

    r = sub->request;

    ps = ngx_palloc(r->pool, sizeof(ngx_http_post_subrequest_t));
    if (ps == NULL) {
        return NGX_ERROR;
    }

    ps->handler = ngx_http_zltunnel_subrequest_done;
    ps->data = sub;

    if (ngx_http_subrequest(r, &r->uri, NULL, &sr, ps,
                            NGX_HTTP_SUBREQUEST_WAITED)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    sr->header_only = 1;

    /* a subrequest is a GET unless it is told otherwise */

    sr->method = r->method;
    sr->method_name = r->method_name;

    sub->asked = sr;

    return NGX_OK;
}


static ngx_int_t
ngx_http_zltunnel_subrequest_copy(ngx_pool_t *pool, ngx_str_t *dst,
    ngx_str_t *src)
{
    if (src->len == 0) {
        ngx_str_set(dst, "");
        return NGX_OK;
    }

    /* a value of a header has a NUL behind it */

    dst->data = ngx_pnalloc(pool, src->len + 1);
    if (dst->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(dst->data, src->data, src->len);
    dst->data[src->len] = '\0';
    dst->len = src->len;

    return NGX_OK;
}


static ngx_http_zltunnel_subrequest_t *
ngx_http_zltunnel_subrequest_of(ngx_connection_t *c)
{
    ngx_http_log_ctx_t  *ctx;

    ctx = c->log->data;

    return (ngx_http_zltunnel_subrequest_t *)
               ((u_char *) ctx - offsetof(ngx_http_zltunnel_subrequest_t,
                                          log_ctx));
}


/*
 * As nginx's for a client's connection, which is for http alone to use.
 * limit_req delays by a timer of it, and by worker_shutdown_timeout nginx
 * closes it.
 */

static void
ngx_http_zltunnel_subrequest_handler(ngx_event_t *ev)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    c = ev->data;
    r = c->data;

    ngx_http_set_log_request(c->log, r);

    if (c->close) {
        ngx_http_zltunnel_subrequests_over = 1;
        ngx_http_zltunnel_subrequest_end(ngx_http_zltunnel_subrequest_of(c));
        return;
    }

    if (ev->delayed && ev->timedout) {
        ev->delayed = 0;
        ev->timedout = 0;
    }

    if (ev->write) {
        r->write_event_handler(r);

    } else {
        r->read_event_handler(r);
    }

    ngx_http_run_posted_requests(c);
}


/* more than once, perhaps: a status may still become a response */

static ngx_int_t
ngx_http_zltunnel_subrequest_done(ngx_http_request_t *sr, void *data,
    ngx_int_t rc)
{
    ngx_http_zltunnel_subrequest_t *sub = data;

    sub->done = 1;

    return rc;
}


static void
ngx_http_zltunnel_subrequest_woken(ngx_http_request_t *r)
{
    ngx_uint_t                       status;
    ngx_http_zltunnel_subrequest_t  *sub;

    sub = ngx_http_zltunnel_subrequest_of(r->connection);

    if (!sub->done || !sub->asked->done) {
        return;
    }

    status = sub->asked->headers_out.status;

    if (status == 0) {
        status = NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_zltunnel_subrequest_tell(sub, status,
                                      &sub->asked->headers_out.headers);

    ngx_http_finalize_request(r, NGX_DONE);
}


static void
ngx_http_zltunnel_subrequest_event(ngx_event_t *ev)
{
    ngx_http_zltunnel_subrequest_t  *sub;

    sub = ev->data;

    if (!ev->timedout) {
        ngx_http_run_posted_requests(sub->request->connection);
        return;
    }

    ngx_log_error(NGX_LOG_ERR, ev->log, NGX_ETIMEDOUT,
                  "no answer from \"%V\" in time", &sub->request->uri);

    sub->timedout = 1;
    ngx_http_zltunnel_subrequest_end(sub);
}


void
ngx_http_zltunnel_subrequest_cancel(ngx_http_zltunnel_subrequest_t *sub)
{
    sub->handler = NULL;
    ngx_http_zltunnel_subrequest_end(sub);
}


static void
ngx_http_zltunnel_subrequest_end(ngx_http_zltunnel_subrequest_t *sub)
{
    ngx_connection_t  *c;

    c = sub->request->connection;

    ngx_http_finalize_request(sub->request, NGX_ERROR);
    ngx_http_run_posted_requests(c);
}


/* the request goes, answered or not */

static void
ngx_http_zltunnel_subrequest_cleanup(void *data)
{
    ngx_http_zltunnel_subrequest_t *sub = data;

    if (sub->event.timer_set) {
        ngx_del_timer(&sub->event);
    }

    if (sub->event.posted) {
        ngx_delete_posted_event(&sub->event);
    }

    ngx_queue_remove(&sub->queue);

    ngx_http_zltunnel_subrequest_tell(sub,
                                      sub->timedout
                                      ? NGX_HTTP_GATEWAY_TIME_OUT
                                      : NGX_HTTP_INTERNAL_SERVER_ERROR,
                                      NULL);
}


static void
ngx_http_zltunnel_subrequest_tell(ngx_http_zltunnel_subrequest_t *sub,
    ngx_uint_t status, ngx_list_t *headers)
{
    ngx_http_zltunnel_subrequest_pt  handler;

    handler = sub->handler;
    sub->handler = NULL;

    if (handler) {
        handler(sub->data, status, headers);
    }
}


ngx_int_t
ngx_http_zltunnel_subrequest_header(ngx_list_t *headers, const char *name,
    ngx_str_t *value)
{
    size_t            len;
    ngx_int_t         rc;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    rc = NGX_DECLINED;
    part = headers ? &headers->part : NULL;
    len = ngx_strlen(name);

    for ( /* void */ ; part; part = part->next) {

        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (h[i].hash && h[i].key.len == len
                && ngx_strncasecmp(h[i].key.data, (u_char *) name, len) == 0)
            {
                if (rc == NGX_OK) {
                    return NGX_BUSY;
                }

                *value = h[i].value;
                rc = NGX_OK;
            }
        }
    }

    return rc;
}


ngx_uint_t
ngx_http_zltunnel_subrequest_over(void)
{
    return ngx_http_zltunnel_subrequests_over;
}


void
ngx_http_zltunnel_subrequest_exit(void)
{
    ngx_queue_t  *q;

    if (ngx_http_zltunnel_subrequests.next == NULL) {
        return;
    }

    while (!ngx_queue_empty(&ngx_http_zltunnel_subrequests)) {
        q = ngx_queue_head(&ngx_http_zltunnel_subrequests);

        ngx_http_zltunnel_subrequest_cancel(
              ngx_queue_data(q, ngx_http_zltunnel_subrequest_t, queue));
    }
}


static u_char *
ngx_http_zltunnel_subrequest_log(ngx_log_t *log, u_char *buf, size_t len)
{
    u_char              *p;
    ngx_http_request_t  *r;
    ngx_http_log_ctx_t  *ctx;

    if (log->action) {
        p = ngx_snprintf(buf, len, " while %s", log->action);
        len -= p - buf;
        buf = p;
    }

    ctx = log->data;
    r = ctx->request;

    p = ngx_snprintf(buf, len, ", client: %V", &ctx->connection->addr_text);
    len -= p - buf;

    return r ? r->log_handler(r, ctx->current_request, p, len) : p;
}
