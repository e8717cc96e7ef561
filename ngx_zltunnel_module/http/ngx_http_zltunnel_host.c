
/*
 * Copyright (C) zltunnel authors
 */

/*
 * zltunnel_host in http: for which host, and what a client is told.
 *
 * The upstream code has one answer where no connection can be had, 502.  But a
 * name that nobody has is a 404, and an agent that is away is a 503.  So in
 * these cases the upstream is ended as at the end of its request, by the cleanup
 * handler that it leaves there, and the request with the right status.  It goes
 * the way of each other one from there, to "error_page" for instance.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_zltunnel_host.h"
#include "ngx_http_zltunnel.h"

#include "zlt_host.h"
#include "zlt_msg.h"


static ngx_uint_t ngx_http_zltunnel_host_failed(void *data,
    ngx_zltunnel_dial_e rc, ngx_uint_t code);
static ngx_uint_t ngx_http_zltunnel_host_status(
    ngx_http_zltunnel_host_t *host, ngx_zltunnel_dial_e rc, ngx_uint_t code);
static ngx_uint_t ngx_http_zltunnel_host_stale(ngx_http_request_t *r,
    ngx_zltunnel_dial_e rc);
static void ngx_http_zltunnel_host_answer(ngx_event_t *ev);
static void ngx_http_zltunnel_host_forget(ngx_http_request_t *r);


static u_char  ngx_http_zltunnel_retry[] = "5";      /* seconds, Retry-After */


ngx_int_t
ngx_http_zltunnel_host_init(ngx_http_zltunnel_host_t *host,
    ngx_http_request_t *r, ngx_zltunnel_upstream_t *up,
    ngx_http_complex_value_t *value)
{
    u_char     *p;
    ngx_str_t   name;

    host->request = r;
    host->up = up;

    up->failed = ngx_http_zltunnel_host_failed;
    up->data = host;

    ngx_http_zltunnel_host_forget(r);

    if (value == NULL) {
        return NGX_OK;
    }

    if (ngx_http_complex_value(r, value, &name) != NGX_OK) {
        return NGX_ERROR;
    }

    p = ngx_pnalloc(r->pool, ZLT_MAX_HOST);
    if (p == NULL) {
        return NGX_ERROR;
    }

    up->host.len = zlt_host_authority(p, name.data, name.len);
    up->host.data = p;

    return NGX_OK;
}


void
ngx_http_zltunnel_host_done(ngx_http_zltunnel_host_t *host)
{
    if (host->answer.posted) {
        ngx_delete_posted_event(&host->answer);
    }
}


void
ngx_http_zltunnel_host_error(ngx_http_zltunnel_host_t *host, ngx_str_t *error)
{
    ngx_http_upstream_state_t  *state;

    *error = host->error;

    if (error->len || host->request->upstream == NULL) {
        return;
    }

    /* the service was reached, and then? */

    state = host->request->upstream->state;

    if (state && state->status == NGX_HTTP_GATEWAY_TIME_OUT
        && state->header_time == (ngx_msec_t) -1)
    {
        ngx_str_set(error, "silent");
    }
}


/* 1: it is seen to here */

static ngx_uint_t
ngx_http_zltunnel_host_failed(void *data, ngx_zltunnel_dial_e rc,
    ngx_uint_t code)
{
    ngx_http_zltunnel_host_t *host = data;

    ngx_http_request_t  *r;

    r = host->request;

    host->status = ngx_http_zltunnel_host_status(host, rc, code);

    if (!host->up->conf->host || host->status == 0
        || (host->up->absent == NGX_ZLTUNNEL_THERE
            && r->upstream->peer.tries > 1)
        || ngx_http_zltunnel_host_stale(r, rc))
    {
        return 0;
    }

    host->answer.handler = ngx_http_zltunnel_host_answer;
    host->answer.data = host;
    host->answer.log = r->connection->log;

    ngx_post_event(&host->answer, &ngx_posted_events);

    return 1;
}


/* sets the error; 0: the upstream code's own status is right */

static ngx_uint_t
ngx_http_zltunnel_host_status(ngx_http_zltunnel_host_t *host,
    ngx_zltunnel_dial_e rc, ngx_uint_t code)
{
    ngx_zltunnel_upstream_t  *up;

    up = host->up;

    switch (rc) {

    case NGX_ZLTUNNEL_DIAL_REFUSED:

        if (code == ZLT_E_UNREACHABLE) {
            ngx_str_set(&host->error, "unreachable");

        } else {
            ngx_str_set(&host->error, "refused");
        }

        return 0;

    case NGX_ZLTUNNEL_DIAL_LIMIT:
        ngx_str_set(&host->error, "busy");
        return NGX_HTTP_SERVICE_UNAVAILABLE;

    case NGX_ZLTUNNEL_DIAL_NO_SERVICE:

        if (up->absent == NGX_ZLTUNNEL_NOWHERE) {
            ngx_str_set(&host->error, "unknown");
            return NGX_HTTP_NOT_FOUND;
        }

        ngx_str_set(&host->error, "away");
        return NGX_HTTP_SERVICE_UNAVAILABLE;

    case NGX_ZLTUNNEL_DIAL_TIMEOUT:

        if (ngx_zltunnel_balance_away(up)) {
            ngx_str_set(&host->error, "away");
            return NGX_HTTP_SERVICE_UNAVAILABLE;
        }

        ngx_str_set(&host->error, "silent");
        return 0;

    default:
        ngx_str_set(&host->error, "failed");
        return 0;
    }
}


/* an answer of the cache is better than none: the upstream code sends it */

static ngx_uint_t
ngx_http_zltunnel_host_stale(ngx_http_request_t *r, ngx_zltunnel_dial_e rc)
{
#if (NGX_HTTP_CACHE)
    ngx_uint_t            how;
    ngx_http_upstream_t  *u;

    u = r->upstream;

    /* as ngx_http_upstream_next() has it, to which it looks like that */

    how = (rc == NGX_ZLTUNNEL_DIAL_TIMEOUT) ? NGX_HTTP_UPSTREAM_FT_TIMEOUT
                                            : NGX_HTTP_UPSTREAM_FT_ERROR;

    return r->cache && u->cache_status == NGX_HTTP_CACHE_EXPIRED
           && ((u->conf->cache_use_stale & how) || r->cache->stale_error);
#else
    return 0;
#endif
}


/* of a former one, which error_page has led here from: the answer is another */

static void
ngx_http_zltunnel_host_forget(ngx_http_request_t *r)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    for (part = &r->headers_out.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (h[i].value.data == ngx_http_zltunnel_retry) {
                h[i].hash = 0;
            }
        }
    }
}


static void
ngx_http_zltunnel_host_answer(ngx_event_t *ev)
{
    ngx_int_t                  status;
    ngx_connection_t          *c;
    ngx_http_request_t        *r;
    ngx_http_upstream_t       *u;
    ngx_http_zltunnel_host_t  *host;

    host = ev->data;
    r = host->request;
    c = r->connection;
    u = r->upstream;
    status = host->status;

    ngx_http_set_log_request(c->log, r);

    if (u->state) {
        u->state->status = status;
    }

    if (status == NGX_HTTP_SERVICE_UNAVAILABLE
        && ngx_http_zltunnel_answer_header(r, "Retry-After",
                                           (char *) ngx_http_zltunnel_retry)
           != NGX_OK)
    {
        status = NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* once for the upstream's end, once for the request's */

    r->main->count++;

    (*u->cleanup)(r);

    ngx_http_finalize_request(r, status);

    ngx_http_run_posted_requests(c);
}
