
/*
 * Copyright (C) zltunnel authors
 */

/*
 * How a connection leaves http.
 *
 * The content handler sends 101 and keeps the request by a reference of its
 * own.  The rest happens in an event of ours, since core still touches the
 * request after any handler that it called: there, once every byte of the
 * response has left, the request is freed (and logged), and what remains is
 * a connection with its pool, its log and its TLS session, and the bytes that
 * came behind the request.
 *
 * The 101 of a data channel is not sent here: it stays in the output chain,
 * which is shorter than "postpone_output", and is taken from there, for the
 * core to send together with what may follow.
 *
 * If the request ends before that, a cleanup gives back what was reserved.
 */


#include "ngx_http_zltunnel.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_control.h"
#include "ngx_zltunnel_visit.h"


#define NGX_HTTP_ZLTUNNEL_GONE         410
#define NGX_HTTP_ZLTUNNEL_MISDIRECTED  421


typedef struct {
    ngx_http_request_t          *request;
    ngx_connection_t            *connection;
    ngx_zltunnel_registry_t     *registry;
    ngx_zltunnel_ask_conf_t     *asks;
    ngx_event_t                  event;       /* the next step */
    u_char                       tunnel_id[ZLT_ID_SIZE];
    u_char                       connection_id[ZLT_ID_SIZE];
    u_char                       node[ZLT_ID_SIZE];

    ngx_str_t                    host;        /* copies in the connection's */
    ngx_str_t                    addr_text;   /* pool */
    ngx_str_t                    data;
    ngx_str_t                    answer;      /* from ngx_alloc() */

    ngx_zltunnel_access_request_t  access;    /* of a visitor's channel */

    ngx_connection_t            *held;        /* for what it will need beside
                                                 its own, or NULL */
    unsigned                     channel:1;
    unsigned                     ws:1;
    unsigned                     fresh:1;
    unsigned                     visit:1;
    unsigned                     peer:1;
    unsigned                     former:1;
    unsigned                     reserved:1;
    unsigned                     flushed:1;
} ngx_http_zltunnel_detach_t;


static ngx_int_t ngx_http_zltunnel_reserve(ngx_http_request_t *r,
    ngx_http_zltunnel_detach_t *d, u_char *key);
static void ngx_http_zltunnel_cleanup(void *data);
static void ngx_http_zltunnel_write_handler(ngx_http_request_t *r);
static void ngx_http_zltunnel_event_handler(ngx_event_t *ev);
static ngx_int_t ngx_http_zltunnel_flush(ngx_http_zltunnel_detach_t *d);
static ngx_int_t ngx_http_zltunnel_keep(ngx_http_zltunnel_detach_t *d);
static ngx_int_t ngx_http_zltunnel_keep_visit(ngx_http_zltunnel_detach_t *d);
static ngx_int_t ngx_http_zltunnel_copy(ngx_pool_t *pool, ngx_str_t *dst,
    u_char *data, size_t len);
static void ngx_http_zltunnel_detach_done(ngx_http_zltunnel_detach_t *d);
static void ngx_http_zltunnel_trim(ngx_connection_t *c,
    ngx_http_connection_t *hc);


ngx_int_t
ngx_http_zltunnel_detach(ngx_http_request_t *r,
    ngx_http_zltunnel_upgrade_t *upgrade)
{
    ngx_int_t                    rc;
    ngx_http_cleanup_t          *cln;
    ngx_http_zltunnel_detach_t  *d;

    /* of the connection's pool: it outlives the request */

    d = ngx_pcalloc(r->connection->pool, sizeof(ngx_http_zltunnel_detach_t));
    if (d == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    d->request = r;
    d->connection = r->connection;
    d->registry = upgrade->registry;
    d->asks = upgrade->asks;
    d->channel = upgrade->channel;
    d->ws = upgrade->ws;
    d->fresh = upgrade->fresh;
    d->former = upgrade->former;
    ngx_memcpy(d->tunnel_id, upgrade->tunnel_id, ZLT_ID_SIZE);
    ngx_memcpy(d->connection_id, upgrade->connection_id, ZLT_ID_SIZE);
    ngx_memcpy(d->node, upgrade->node, ZLT_ID_SIZE);

    d->peer = upgrade->peer;
    d->visit = upgrade->access;
    ngx_memcpy(d->access.tunnel_id, upgrade->tunnel_id, ZLT_ID_SIZE);
    ngx_memcpy(d->access.access_id, upgrade->access_id, ZLT_ID_SIZE);
    d->access.client = upgrade->client;
    d->access.ws = upgrade->ws;

    d->event.handler = ngx_http_zltunnel_event_handler;
    d->event.data = d;
    d->event.log = r->connection->log;

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_zltunnel_cleanup;
    cln->data = d;

    rc = ngx_http_zltunnel_reserve(r, d, upgrade->key);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    rc = ngx_http_zltunnel_answer_switch(r, upgrade);

    if (rc == NGX_ERROR || rc > NGX_OK) {
        return rc;
    }

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_zltunnel_write_handler;
    ngx_http_set_ctx(r, d, ngx_http_zltunnel_module);

    r->main->count++;

    ngx_post_event(&d->event, &ngx_posted_events);

    return NGX_DONE;
}


/* NGX_DECLINED: the place is ours; otherwise it has been answered */

static ngx_int_t
ngx_http_zltunnel_reserve(ngx_http_request_t *r,
    ngx_http_zltunnel_detach_t *d, u_char *key)
{
    ngx_int_t  rc;

    if (!d->channel) {

        if (!ngx_zltunnel_control_allowed(d->registry,
                                          r->connection->sockaddr))
        {
            return ngx_http_zltunnel_answer(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                           NULL, "too many agents that have not sent Auth");
        }

        /* until the core counts it: many may be let in at one turn */

        d->registry->unauthenticated++;
        d->reserved = 1;

        return NGX_DECLINED;
    }

    if (d->peer) {
        rc = ngx_zltunnel_forward_check(d->registry, &d->held,
                                        r->connection->log);

    } else if (d->visit) {
        rc = ngx_zltunnel_visit_check(d->registry, &d->access, key,
                                      &d->held, r->connection->log);

    } else {
        rc = ngx_zltunnel_channel_place_take(d->registry, r->connection,
                                        d->tunnel_id, key,
                                        d->fresh ? d->connection_id : NULL,
                                        &d->held);
    }

    switch (rc) {

    case NGX_OK:
        d->reserved = 1;
        return NGX_DECLINED;

    case NGX_HTTP_FORBIDDEN:

        if (d->former) {

            /* it may be another server that has this id now */

            return ngx_http_zltunnel_answer_astray(r, d->registry, d->node);
        }

        return ngx_http_zltunnel_answer(r, rc, NULL, "no such tunnel or key");

    case NGX_HTTP_ZLTUNNEL_MISDIRECTED:

        return ngx_http_zltunnel_answer_astray(r, d->registry, NULL);

    case NGX_HTTP_ZLTUNNEL_GONE:
        return ngx_http_zltunnel_answer(r, rc, NULL,
                          d->visit
                          ? "no such access session (any more)"
                          : "nobody waits for this connection (any more)");

    case NGX_HTTP_SERVICE_UNAVAILABLE:
        return ngx_http_zltunnel_answer(r, rc, NULL, "a limit is reached");

    default:
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
}


/* the request ends, be it here or before its connection could be detached */

static void
ngx_http_zltunnel_cleanup(void *data)
{
    ngx_http_zltunnel_detach_t *d = data;

    if (d->event.posted) {
        ngx_delete_posted_event(&d->event);
    }

    if (d->reserved && d->answer.data) {
        ngx_free(d->answer.data);
    }

    if (!d->reserved) {
        return;
    }

    d->reserved = 0;

    if (!d->channel) {
        d->registry->unauthenticated--;
        return;
    }

    ngx_zltunnel_room_release(&d->held);

    if (d->peer) {
        ngx_zltunnel_forward_cancel(d->registry);
        return;
    }

    if (d->visit) {
        ngx_zltunnel_visit_cancel(d->registry, &d->access);
        return;
    }

    ngx_zltunnel_channel_place_leave(d->registry, d->tunnel_id,
                                     d->fresh ? d->connection_id : NULL);
}


/* the connection can be written to, or has failed, or timed out */

static void
ngx_http_zltunnel_write_handler(ngx_http_request_t *r)
{
    ngx_http_zltunnel_detach_t  *d;

    d = ngx_http_get_module_ctx(r, ngx_http_zltunnel_module);

    ngx_post_event(&d->event, &ngx_posted_events);
}


static void
ngx_http_zltunnel_event_handler(ngx_event_t *ev)
{
    ngx_int_t                    rc;
    ngx_connection_t            *c;
    ngx_http_request_t          *r;
    ngx_http_zltunnel_detach_t  *d;

    d = ev->data;
    r = d->request;
    c = d->connection;

    ngx_http_set_log_request(c->log, r);

    /*
     * A worker that is shutting down has told its idle connections already:
     * this one would stay for ever.
     */

    if ((ngx_exiting && !d->fresh) || ngx_terminate) {
        rc = NGX_ERROR;

    /* what is to go with the 101 would be within its WebSocket */

    } else if (d->channel && !d->ws
               && ngx_http_zltunnel_answer_take(r, &d->answer) == NGX_OK)
    {
        rc = NGX_OK;

    } else {
        rc = ngx_http_zltunnel_flush(d);

        if (rc == NGX_AGAIN) {
            return;
        }
    }

    if (rc == NGX_OK && ngx_http_zltunnel_keep(d) == NGX_OK) {
        ngx_http_zltunnel_detach_done(d);
        return;
    }

    c->error = 1;

    ngx_http_finalize_request(r, NGX_ERROR);
    ngx_http_run_posted_requests(c);
}


static ngx_int_t
ngx_http_zltunnel_flush(ngx_http_zltunnel_detach_t *d)
{
    ngx_event_t               *wev;
    ngx_connection_t          *c;
    ngx_http_request_t        *r;
    ngx_http_core_loc_conf_t  *clcf;

    r = d->request;
    c = d->connection;
    wev = c->write;

    if (wev->timedout && !wev->delayed) {
        ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT,
                      "client timed out");
        c->timedout = 1;
        return NGX_ERROR;
    }

    if (c->error || c->close) {
        return NGX_ERROR;
    }

    /* of the 101 of a channel, which could not be taken, nothing is due yet */

    if (d->channel && !d->flushed) {
        d->flushed = 1;

        if (ngx_http_send_special(r, NGX_HTTP_FLUSH) == NGX_ERROR) {
            return NGX_ERROR;
        }
    }

    if (!wev->delayed && (r->out || r->buffered || c->buffered)
        && ngx_http_output_filter(r, NULL) == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    if (!r->out && !r->buffered && !c->buffered) {
        return NGX_OK;
    }

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, c->log, 0,
                   "http zltunnel: response is not sent yet");

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (!wev->delayed) {
        ngx_add_timer(wev, clcf->send_timeout);
    }

    if (ngx_handle_write_event(wev, clcf->send_lowat) != NGX_OK) {
        return NGX_ERROR;
    }

    return NGX_AGAIN;
}


/* what the request takes with it when it is freed */

static ngx_int_t
ngx_http_zltunnel_keep(ngx_http_zltunnel_detach_t *d)
{
    ngx_buf_t           *b;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = d->request;
    c = d->connection;
    b = r->header_in;

    if (ngx_http_zltunnel_copy(c->pool, &d->data, b->pos, b->last - b->pos)
        != NGX_OK
        || ngx_http_zltunnel_copy(c->pool, &d->host,
                                  r->headers_in.server.data,
                                  r->headers_in.server.len)
           != NGX_OK
        || ngx_http_zltunnel_copy(c->pool, &d->addr_text, c->addr_text.data,
                                  c->addr_text.len)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* a token, perhaps, of which the core has the copy */

    ngx_explicit_memzero(b->pos, b->last - b->pos);

    return d->visit ? ngx_http_zltunnel_keep_visit(d) : NGX_OK;
}


/* the addresses of a visitor, as nginx sees it and as it says, for the log */

static ngx_int_t
ngx_http_zltunnel_keep_visit(ngx_http_zltunnel_detach_t *d)
{
    u_char             text[NGX_SOCKADDR_STRLEN], client[NGX_SOCKADDR_STRLEN];
    size_t             len;
    ngx_str_t          said;
    ngx_connection_t  *c;

    c = d->connection;

    len = ngx_sock_ntop(c->sockaddr, c->socklen, text, sizeof(text), 1);

    if (ngx_http_zltunnel_copy(c->pool, &d->access.client_addr, text, len)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* before the realip module puts back the address of the last proxy */

    d->access.local = ngx_zltunnel_util_client_local(c);

    said = d->access.client;
    ngx_str_null(&d->access.client);

    len = ngx_zltunnel_log_printable(client, sizeof(client), said.data,
                                     said.len);

    return ngx_http_zltunnel_copy(c->pool, &d->access.client, client, len);
}


static ngx_int_t
ngx_http_zltunnel_copy(ngx_pool_t *pool, ngx_str_t *dst, u_char *data,
    size_t len)
{
    ngx_str_t  src;

    if (len == 0) {
        return NGX_OK;
    }

    src.data = data;
    src.len = len;

    dst->data = ngx_pstrdup(pool, &src);
    dst->len = len;

    return dst->data ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_zltunnel_detach_done(ngx_http_zltunnel_detach_t *d)
{
    ngx_connection_t       *c;
    ngx_http_connection_t  *hc;

    c = d->connection;
    hc = d->request->http_connection;

    /* the reservation goes on to the core: it is not given back here */

    if (!d->channel) {
        d->registry->unauthenticated--;
    }

    d->reserved = 0;

    ngx_http_free_request(d->request, 0);
    d->request = NULL;

    ngx_http_zltunnel_trim(c, hc);

    /* the realip module has put back the address of the last proxy */

    c->addr_text = d->addr_text;

    c->log->handler = NULL;
    c->log->data = NULL;
    c->log->action = "taking over connection";

    c->data = NULL;
    c->sent = 0;
    c->destroyed = 0;
    c->idle = 1;
    ngx_reusable_connection(c, 0);

    c->read->handler = ngx_http_empty_handler;
    c->write->handler = ngx_http_empty_handler;

    ngx_zltunnel_room_release(&d->held);

    if (d->peer) {
        ngx_zltunnel_forward_start(d->registry, c, d->tunnel_id, d->data.data,
                                   d->data.len, &d->answer);
        return;
    }

    if (d->visit) {
        ngx_zltunnel_visit_start(d->registry, c, &d->access, d->data.data,
                                 d->data.len, &d->answer);
        return;
    }

    if (d->channel) {
        ngx_zltunnel_channel_start(d->registry, c, d->tunnel_id,
                                   d->fresh ? d->connection_id : NULL, d->ws,
                                   d->data.data, d->data.len, &d->answer);
        return;
    }

    ngx_zltunnel_control_start(d->registry, c, &d->host, d->asks,
                               d->data.data, d->data.len);
}


/*
 * Takes away what http left on the connection: timers, events that were
 * posted, and buffers, since a channel may be idle for long.
 */

static void
ngx_http_zltunnel_trim(ngx_connection_t *c, ngx_http_connection_t *hc)
{
    ngx_chain_t  *cl;

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    c->read->timedout = 0;
    c->read->delayed = 0;
    c->write->timedout = 0;
    c->write->delayed = 0;

    if (c->read->posted) {
        ngx_delete_posted_event(c->read);
    }

    if (c->write->posted) {
        ngx_delete_posted_event(c->write);
    }

    for (cl = hc->busy; cl; cl = cl->next) {
        ngx_pfree(c->pool, cl->buf->start);
    }

    for (cl = hc->free; cl; cl = cl->next) {
        ngx_pfree(c->pool, cl->buf->start);
    }

    hc->busy = NULL;
    hc->free = NULL;
    hc->nbusy = 0;

    if (c->buffer) {
        ngx_pfree(c->pool, c->buffer->start);
        c->buffer = NULL;
    }

#if (NGX_HTTP_SSL)
    if (c->ssl) {
        ngx_ssl_free_buffer(c);
    }
#endif
}
