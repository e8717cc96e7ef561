
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The peers of an http upstream{} with zltunnel_service.
 *
 * Two layers of peer functions, with those of keepalive between them.  The
 * inner one chooses an agent's service and gives it a name and an address, by
 * which keepalive looks for a connection.  If it has none, the outer one makes
 * one; it comes back as NGX_AGAIN, which keepalive would not cache.
 *
 *     outer --> keepalive (if any) --> inner --> servers marked "backup"
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_zltunnel_upstream.h"
#include "ngx_zltunnel_config.h"


static void ngx_http_zltunnel_cleanup(void *data);
static ngx_int_t ngx_http_zltunnel_get_peer(ngx_peer_connection_t *pc,
    void *data);
static void ngx_http_zltunnel_free_peer(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state);
static ngx_uint_t ngx_http_zltunnel_kept(ngx_http_zltunnel_peer_t *zp);
static ngx_uint_t ngx_http_zltunnel_rest(ngx_http_zltunnel_peer_t *zp);
static ngx_uint_t ngx_http_zltunnel_broken(ngx_http_zltunnel_peer_t *zp);
static void ngx_http_zltunnel_keep(ngx_http_zltunnel_peer_t *zp);

static ngx_int_t ngx_http_zltunnel_init_inner_backup(ngx_http_request_t *r,
    ngx_http_zltunnel_peer_t *zp);
static ngx_int_t ngx_http_zltunnel_get_inner(ngx_peer_connection_t *pc,
    void *data);
static void ngx_http_zltunnel_free_inner(ngx_peer_connection_t *pc,
    void *data, ngx_uint_t state);

#if (NGX_HTTP_SSL)
static ngx_int_t ngx_http_zltunnel_set_session(ngx_peer_connection_t *pc,
    void *data);
static void ngx_http_zltunnel_save_session(ngx_peer_connection_t *pc,
    void *data);
#endif


/* the outer layer */

ngx_int_t
ngx_http_zltunnel_upstream_init(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us)
{
    ngx_pool_cleanup_t            *cln;
    ngx_peer_connection_t         *pc;
    ngx_http_zltunnel_peer_t      *zp;
    ngx_http_zltunnel_ups_conf_t  *zucf;

    zucf = ngx_http_conf_upstream_srv_conf(us,
                                          ngx_http_zltunnel_upstream_module);

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_zltunnel_peer_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    zp = cln->data;
    ngx_memzero(zp, sizeof(ngx_http_zltunnel_peer_t));

    /* by which it is found again, see ngx_http_zltunnel_upstream_last() */

    cln->handler = ngx_http_zltunnel_cleanup;

    zp->conf = zucf;
    zp->request = r;

    ngx_http_set_ctx(r, zp, ngx_http_zltunnel_upstream_module);

    if (zucf->original_init_peer(r, us) != NGX_OK) {
        return NGX_ERROR;
    }

    pc = &r->upstream->peer;

    zp->get = pc->get;
    zp->free = pc->free;
    zp->data = pc->data;

    pc->get = ngx_http_zltunnel_get_peer;
    pc->free = ngx_http_zltunnel_free_peer;
    pc->data = zp;

#if (NGX_HTTP_SSL)
    zp->set_session = pc->set_session;
    zp->save_session = pc->save_session;
    pc->set_session = ngx_http_zltunnel_set_session;
    pc->save_session = ngx_http_zltunnel_save_session;
#endif

    return NGX_OK;
}


static void
ngx_http_zltunnel_cleanup(void *data)
{
    /* void */
}


ngx_http_zltunnel_peer_t *
ngx_http_zltunnel_upstream_last(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t        *cln;
    ngx_http_zltunnel_peer_t  *zp;

    zp = ngx_http_get_module_ctx(r, ngx_http_zltunnel_upstream_module);

    if (zp || !(r->internal || r->filter_finalize)) {
        return zp;
    }

    for (cln = r->pool->cleanup; cln; cln = cln->next) {

        zp = cln->data;

        /* subrequests have the pool of the main request */

        if (cln->handler == ngx_http_zltunnel_cleanup && zp->request == r) {
            return zp;
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_zltunnel_get_peer(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_zltunnel_peer_t *zp = data;

    ngx_int_t  rc;

    zp->conn = NULL;

    rc = zp->get(pc, zp->data);

    if (rc == NGX_OK || rc == NGX_DONE) {

        /* a former attempt's: another one is made */

        ngx_str_null(&zp->host.error);
    }

    if (zp->up.backup.serves || (rc != NGX_OK && rc != NGX_DONE)) {
        return rc;
    }

    if (rc == NGX_DONE) {
        zp->conn = ngx_zltunnel_conn_pool_find(pc->connection);
        return NGX_DONE;
    }

    return ngx_zltunnel_conn_connect(&zp->up, pc,
                                     zp->request->connection, NULL,
                                     &zp->conn);
}


static void
ngx_http_zltunnel_free_peer(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state)
{
    ngx_http_zltunnel_peer_t *zp = data;

    ngx_zltunnel_conn_t  *conn;

    ngx_http_zltunnel_host_done(&zp->host);

    conn = (zp->conn && ngx_zltunnel_conn_bound(zp->conn) && pc->connection)
           ? zp->conn : NULL;

    if (conn) {
        ngx_zltunnel_conn_end_settle(conn, ngx_http_zltunnel_kept(zp));

        if (ngx_http_zltunnel_rest(zp)) {
            pc->connection->read->eof = 1;
        }
    }

    /* keepalive keeps it by the address of what a search has found */

    if (!zp->up.backup.serves) {
        pc->socklen = zp->up.socklen;
    }

    /* keepalive may close a connection instead of keeping it */

    ngx_http_zltunnel_keep(zp);

    zp->free(pc, zp->data, state);

    /* one that is not kept is of use as a channel */

    if (conn && pc->connection && !(state & NGX_PEER_FAILED)
        && ngx_zltunnel_lend_return(conn, ngx_http_zltunnel_broken(zp))
           == NGX_OK)
    {
        pc->connection = NULL;
    }
}


/* keepalive is between the layers, and may take the connection */

static ngx_uint_t
ngx_http_zltunnel_kept(ngx_http_zltunnel_peer_t *zp)
{
    return zp->free != ngx_http_zltunnel_free_inner
           && zp->request->upstream->keepalive;
}


/*
 * Bytes behind an answer that has no body.  nginx has taken them from the
 * connection and forgets them, but where they came from there may be more.
 */

static ngx_uint_t
ngx_http_zltunnel_rest(ngx_http_zltunnel_peer_t *zp)
{
    ngx_http_upstream_t  *u;

    u = zp->request->upstream;

    return (zp->request->header_only || !u->header_sent)
           && u->buffer.pos != u->buffer.last;
}


/* the response was not read to its end, as far as that can be known */

static ngx_uint_t
ngx_http_zltunnel_broken(ngx_http_zltunnel_peer_t *zp)
{
    ngx_http_upstream_t  *u;

    u = zp->request->upstream;

    return zp->request->connection->error
           || (u->buffering && u->pipe ? u->pipe->length : u->length) > 0;
}


/* counts, and remembers for the log, what goes with the connection */

static void
ngx_http_zltunnel_keep(ngx_http_zltunnel_peer_t *zp)
{
    u_char                     *p;
    ngx_zltunnel_dial_t        *dial;
    ngx_http_upstream_state_t  *state;

    if (zp->conn == NULL) {
        return;
    }

    dial = &zp->conn->dial;
    state = zp->request->upstream->state;

    if (state) {
        ngx_zltunnel_conn_count(zp->conn, state->bytes_sent,
                                state->bytes_received);
    }

    p = ngx_pnalloc(zp->request->pool,
                    dial->service.len + dial->tunnel.len);
    if (p) {
        zp->service.data = p;
        zp->service.len = dial->service.len;
        p = ngx_cpymem(p, dial->service.data, dial->service.len);

        zp->tunnel.data = p;
        zp->tunnel.len = dial->tunnel.len;
        ngx_memcpy(p, dial->tunnel.data, dial->tunnel.len);
    }

    ngx_memcpy(zp->id, dial->id, ZLT_ID_SIZE);
    zp->connect_time = dial->connect_time;

    zp->conn = NULL;
}


#if (NGX_HTTP_SSL)

static ngx_int_t
ngx_http_zltunnel_set_session(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_zltunnel_peer_t *zp = data;

    return zp->set_session(pc, zp->data);
}


static void
ngx_http_zltunnel_save_session(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_zltunnel_peer_t *zp = data;

    zp->save_session(pc, zp->data);
}

#endif


/* the inner layer */

ngx_int_t
ngx_http_zltunnel_upstream_init_inner(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us)
{
    ngx_str_t                  key;
    ngx_uint_t                 tries;
    ngx_peer_connection_t     *pc;
    ngx_zltunnel_upstream_t   *up;
    ngx_http_zltunnel_peer_t  *zp;

    zp = ngx_http_get_module_ctx(r, ngx_http_zltunnel_upstream_module);

    pc = &r->upstream->peer;
    up = &zp->up;

    up->conf = &zp->conf->up;
    up->pool = r->pool;
    up->log = r->connection->log;
    up->local = ngx_zltunnel_util_client_local(r->connection);

    up->requests = 1;

    /* who makes the request knows the protocol: proxy, grpc, fastcgi .. */

    up->speaks[0] = (uintptr_t) r->upstream->create_request;

#if (NGX_HTTP_SSL)
    up->direct = !r->upstream->ssl;
    up->speaks[1] = up->direct ? 0 : (uintptr_t) r->upstream->conf->ssl;
#else
    up->direct = 1;
#endif

    /* see ngx_http_upstream_next(): what it would send again */

    up->early = (up->direct && !r->request_body_no_buffering
                 && !(r->method & (NGX_HTTP_POST|NGX_HTTP_LOCK
                                   |NGX_HTTP_PATCH)));
    up->timeout = r->upstream->conf->connect_timeout;

    if (zp->conf->key) {

        if (ngx_http_complex_value(r, zp->conf->key, &key) != NGX_OK) {
            return NGX_ERROR;
        }

        up->hash = ngx_murmur_hash2(key.data, key.len);
    }

    if (ngx_http_zltunnel_host_init(&zp->host, r, up, zp->conf->host)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    tries = 0;

    if (up->conf->backup) {

        if (ngx_http_zltunnel_init_inner_backup(r, zp) != NGX_OK) {
            return NGX_ERROR;
        }

        tries = pc->tries;
    }

    /* the first choice, already now: it tells how many there are */

    if (ngx_zltunnel_balance(up) == NGX_ERROR) {
        return NGX_ERROR;
    }

    pc->tries = tries + ngx_max(up->candidates, 1);
    pc->get = ngx_http_zltunnel_get_inner;
    pc->free = ngx_http_zltunnel_free_inner;
    pc->notify = NULL;
    pc->data = zp;

#if (NGX_HTTP_SSL)
    pc->set_session = ngx_zltunnel_choice_set_session;
    pc->save_session = ngx_zltunnel_choice_save_session;
#endif

    return NGX_OK;
}


static ngx_int_t
ngx_http_zltunnel_init_inner_backup(ngx_http_request_t *r,
    ngx_http_zltunnel_peer_t *zp)
{
    ngx_peer_connection_t  *pc;

    pc = &r->upstream->peer;
    pc->data = NULL;

    if (ngx_http_upstream_init_round_robin_peer(r, &zp->conf->backup)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_zltunnel_choice_backup(&zp->up, pc);

    return NGX_OK;
}


static ngx_int_t
ngx_http_zltunnel_get_inner(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_zltunnel_peer_t *zp = data;

    return ngx_zltunnel_choice_get(&zp->up, pc);
}


static void
ngx_http_zltunnel_free_inner(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state)
{
    ngx_http_zltunnel_peer_t *zp = data;

    ngx_str_t  *name;

    if (zp->up.backup.serves) {
        zp->up.backup.free(pc, zp->up.backup.data, state);
        return;
    }

    if (!(state & NGX_PEER_FAILED)) {
        ngx_zltunnel_balance_works(&zp->up);

    } else if (pc->cached) {

        /* it was closed while it was idle: no fault of the service */

        zp->up.again = 1;

    } else {
        ngx_zltunnel_balance_failed(&zp->up);
    }

    ngx_zltunnel_balance_done(&zp->up);

    if (pc->tries) {
        pc->tries--;
    }

    /* the next choice must not change the name that this one is logged by */

    name = ngx_palloc(zp->request->pool, sizeof(ngx_str_t));

    if (name) {
        *name = zp->up.name;

        if (zp->request->upstream->state) {
            zp->request->upstream->state->peer = name;
        }

        pc->name = name;
    }
}
