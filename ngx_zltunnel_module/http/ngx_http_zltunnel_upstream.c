
/*
 * Copyright (C) zltunnel authors
 */

/*
 * zltunnel_service in an http upstream{}.
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

#include "ngx_http_zltunnel_host.h"
#include "ngx_http_zltunnel_variable.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_upstream.h"


typedef struct {
    ngx_zltunnel_upstream_conf_t   up;
    ngx_http_complex_value_t      *host;      /* of zltunnel_host */
    ngx_http_complex_value_t      *key;       /* of balance=hash: */
    ngx_http_upstream_srv_conf_t   backup;    /* of the servers so marked */
    ngx_http_upstream_init_peer_pt original_init_peer;
    unsigned                       ready:1;   /* init_upstream was called */
} ngx_http_zltunnel_ups_conf_t;


typedef struct {
    ngx_zltunnel_upstream_t        up;
    ngx_http_zltunnel_ups_conf_t  *conf;
    ngx_http_request_t            *request;
    ngx_zltunnel_conn_t           *conn;      /* until it may be gone */
    ngx_http_zltunnel_host_t       host;

    /* what variables show, after it */
    ngx_str_t                      service;
    ngx_str_t                      tunnel;
    u_char                         id[ZLT_ID_SIZE];
    ngx_msec_t                     connect_time;

    /* what is between the layers: of keepalive, or the inner one */
    ngx_event_get_peer_pt          get;
    ngx_event_free_peer_pt         free;
    void                          *data;
#if (NGX_HTTP_SSL)
    ngx_event_set_peer_session_pt  set_session;
    ngx_event_save_peer_session_pt save_session;
#endif

    /* what is below the inner one */
    ngx_event_get_peer_pt          backup_get;
    ngx_event_free_peer_pt         backup_free;
    void                          *backup_data;
#if (NGX_HTTP_SSL)
    ngx_event_set_peer_session_pt  backup_set_session;
    ngx_event_save_peer_session_pt backup_save_session;
#endif

    unsigned                       backup:1;  /* it serves now */
} ngx_http_zltunnel_peer_t;


static ngx_int_t ngx_http_zltunnel_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);
static void ngx_http_zltunnel_cleanup(void *data);
static ngx_http_zltunnel_peer_t *ngx_http_zltunnel_last(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_zltunnel_get_peer(ngx_peer_connection_t *pc,
    void *data);
static void ngx_http_zltunnel_free_peer(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state);
static ngx_uint_t ngx_http_zltunnel_kept(ngx_http_zltunnel_peer_t *zp);
static ngx_uint_t ngx_http_zltunnel_rest(ngx_http_zltunnel_peer_t *zp);
static ngx_uint_t ngx_http_zltunnel_broken(ngx_http_zltunnel_peer_t *zp);
static void ngx_http_zltunnel_keep(ngx_http_zltunnel_peer_t *zp);

static ngx_int_t ngx_http_zltunnel_init_upstream(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us);
static ngx_int_t ngx_http_zltunnel_init_backup(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us, ngx_http_zltunnel_ups_conf_t *zucf);
static ngx_int_t ngx_http_zltunnel_init_inner(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);
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
static ngx_int_t ngx_http_zltunnel_set_session_inner(
    ngx_peer_connection_t *pc, void *data);
static void ngx_http_zltunnel_save_session_inner(ngx_peer_connection_t *pc,
    void *data);
#endif

static ngx_int_t ngx_http_zltunnel_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_zltunnel_add_variables(ngx_conf_t *cf);
static char *ngx_http_zltunnel_ups_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_http_zltunnel_ups_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_zltunnel_ups_create_conf(ngx_conf_t *cf);
static char *ngx_http_zltunnel_service(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_http_complex_value_t *ngx_http_zltunnel_compile(ngx_conf_t *cf,
    ngx_str_t *text);


static ngx_command_t  ngx_http_zltunnel_ups_commands[] = {

    { ngx_string("zltunnel_service"),
      NGX_HTTP_UPS_CONF|NGX_CONF_1MORE,
      ngx_http_zltunnel_service,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("zltunnel_host"),
      NGX_HTTP_UPS_CONF|NGX_CONF_1MORE,
      ngx_http_zltunnel_service,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_zltunnel_upstream_module_ctx = {
    ngx_http_zltunnel_add_variables,       /* preconfiguration */
    NULL,                                  /* postconfiguration */

    ngx_http_zltunnel_ups_create_main_conf, /* create main configuration */
    ngx_http_zltunnel_ups_init_main_conf,  /* init main configuration */

    ngx_http_zltunnel_ups_create_conf,     /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_zltunnel_upstream_module = {
    NGX_MODULE_V1,
    &ngx_http_zltunnel_upstream_module_ctx, /* module context */
    ngx_http_zltunnel_ups_commands,        /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


#define NGX_HTTP_ZLTUNNEL_SERVICE        0
#define NGX_HTTP_ZLTUNNEL_TUNNEL         1
#define NGX_HTTP_ZLTUNNEL_CONNECTION_ID  2
#define NGX_HTTP_ZLTUNNEL_CONNECT_TIME   3
#define NGX_HTTP_ZLTUNNEL_ERROR          4


static ngx_http_variable_t  ngx_http_zltunnel_variables[] = {

    { ngx_string("zltunnel_service"), NULL, ngx_http_zltunnel_variable,
      NGX_HTTP_ZLTUNNEL_SERVICE, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("zltunnel_tunnel"), NULL, ngx_http_zltunnel_variable,
      NGX_HTTP_ZLTUNNEL_TUNNEL, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("zltunnel_connection_id"), NULL, ngx_http_zltunnel_variable,
      NGX_HTTP_ZLTUNNEL_CONNECTION_ID, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("zltunnel_connect_time"), NULL, ngx_http_zltunnel_variable,
      NGX_HTTP_ZLTUNNEL_CONNECT_TIME, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("zltunnel_error"), NULL, ngx_http_zltunnel_variable,
      NGX_HTTP_ZLTUNNEL_ERROR, NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


/* what stands for the service among the servers, with an address that nobody
   ever connects to */

static u_char  ngx_http_zltunnel_mark[] = "zltunnel_service";

static struct sockaddr_un  ngx_http_zltunnel_sockaddr = {
    AF_UNIX, { 0 }
};

static ngx_addr_t  ngx_http_zltunnel_addr = {
    (struct sockaddr *) &ngx_http_zltunnel_sockaddr,
    sizeof(sa_family_t),
    { sizeof(ngx_http_zltunnel_mark) - 1, ngx_http_zltunnel_mark }
};


/* the outer layer */

static ngx_int_t
ngx_http_zltunnel_init_peer(ngx_http_request_t *r,
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

    /* by which it is found again, see ngx_http_zltunnel_last() */

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


/* what the request has had last: an internal redirect, as of error_page, has
   cleared the contexts of modules; or NULL */

static ngx_http_zltunnel_peer_t *
ngx_http_zltunnel_last(ngx_http_request_t *r)
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

    if (zp->backup || (rc != NGX_OK && rc != NGX_DONE)) {
        return rc;
    }

    if (rc == NGX_DONE) {
        zp->conn = ngx_zltunnel_conn_of(pc->connection);
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
        ngx_zltunnel_conn_settle(conn, ngx_http_zltunnel_kept(zp));

        if (ngx_http_zltunnel_rest(zp)) {
            pc->connection->read->eof = 1;
        }
    }

    /* keepalive keeps it by the address of what a search has found */

    if (!zp->backup) {
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

static ngx_int_t
ngx_http_zltunnel_init_upstream(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us)
{
    ngx_http_zltunnel_ups_conf_t  *zucf;

    zucf = ngx_http_conf_upstream_srv_conf(us,
                                          ngx_http_zltunnel_upstream_module);

#if (NGX_HTTP_UPSTREAM_ZONE)

    if (us->shm_zone) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"zone\" cannot be in upstream \"%V\", which has "
                      "\"zltunnel_service\": all workers share its state "
                      "anyway, in %s:%ui",
                      &us->host, us->file_name, us->line);
        return NGX_ERROR;
    }

#endif

    if (ngx_http_zltunnel_init_backup(cf, us, zucf) != NGX_OK) {
        return NGX_ERROR;
    }

    us->peer.init = ngx_http_zltunnel_init_inner;
    zucf->ready = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_http_zltunnel_init_backup(ngx_conf_t *cf, ngx_http_upstream_srv_conf_t *us,
    ngx_http_zltunnel_ups_conf_t *zucf)
{
    ngx_uint_t                   i;
    ngx_http_upstream_server_t  *server, *copy;

    zucf->backup = *us;

    zucf->backup.servers = ngx_array_create(cf->pool, us->servers->nelts,
                                          sizeof(ngx_http_upstream_server_t));
    if (zucf->backup.servers == NULL) {
        return NGX_ERROR;
    }

    server = us->servers->elts;

    for (i = 0; i < us->servers->nelts; i++) {

        if (server[i].name.data == ngx_http_zltunnel_mark) {
            continue;
        }

        if (!server[i].backup) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "server \"%V\" must be marked \"backup\" beside "
                          "\"zltunnel_service\" in upstream \"%V\" in %s:%ui",
                          &server[i].name, &us->host, us->file_name,
                          us->line);
            return NGX_ERROR;
        }

        copy = ngx_array_push(zucf->backup.servers);
        if (copy == NULL) {
            return NGX_ERROR;
        }

        *copy = server[i];
        copy->backup = 0;

        zucf->up.backup = 1;
    }

    if (!zucf->up.backup) {
        return NGX_OK;
    }

    return ngx_http_upstream_init_round_robin(cf, &zucf->backup);
}


static ngx_int_t
ngx_http_zltunnel_init_inner(ngx_http_request_t *r,
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
    pc->set_session = ngx_http_zltunnel_set_session_inner;
    pc->save_session = ngx_http_zltunnel_save_session_inner;
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

    zp->backup_get = pc->get;
    zp->backup_free = pc->free;
    zp->backup_data = pc->data;

#if (NGX_HTTP_SSL)
    zp->backup_set_session = pc->set_session;
    zp->backup_save_session = pc->save_session;
#endif

    return NGX_OK;
}


static ngx_int_t
ngx_http_zltunnel_get_inner(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_zltunnel_peer_t *zp = data;

    ngx_int_t  rc;

    pc->cached = 0;
    pc->connection = NULL;

    if (zp->backup) {
        return zp->backup_get(pc, zp->backup_data);
    }

    rc = zp->up.chosen ? NGX_OK : ngx_zltunnel_balance(&zp->up);

    if (rc == NGX_BUSY && zp->up.absent && !zp->conf->up.backup) {

        /* a connection that is to come, or to fail */

        zp->up.name = zp->up.host.len ? zp->up.host : zp->conf->up.service;
        zp->up.sockaddr.sun_family = AF_UNIX;
        zp->up.socklen = sizeof(sa_family_t);

        rc = NGX_OK;
    }

    if (rc == NGX_OK) {
        pc->sockaddr = (struct sockaddr *) &zp->up.sockaddr;
        pc->socklen = zp->up.socklen;
        pc->name = &zp->up.name;

        return NGX_OK;
    }

    if (rc == NGX_BUSY && zp->conf->up.backup) {
        ngx_log_debug0(NGX_LOG_DEBUG_HTTP, pc->log, 0,
                       "zltunnel backup servers");

        zp->backup = 1;

        return zp->backup_get(pc, zp->backup_data);
    }

    pc->name = &zp->conf->up.service;

    return rc;
}


static void
ngx_http_zltunnel_free_inner(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state)
{
    ngx_http_zltunnel_peer_t *zp = data;

    ngx_str_t  *name;

    if (zp->backup) {
        zp->backup_free(pc, zp->backup_data, state);
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


#if (NGX_HTTP_SSL)

static ngx_int_t
ngx_http_zltunnel_set_session_inner(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_zltunnel_peer_t *zp = data;

    return zp->backup ? zp->backup_set_session(pc, zp->backup_data) : NGX_OK;
}


static void
ngx_http_zltunnel_save_session_inner(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_zltunnel_peer_t *zp = data;

    if (zp->backup) {
        zp->backup_save_session(pc, zp->backup_data);
    }
}

#endif


static ngx_int_t
ngx_http_zltunnel_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                    *p, *id;
    ngx_str_t                  value;
    ngx_msec_t                 time;
    ngx_zltunnel_dial_t       *dial;
    ngx_http_zltunnel_peer_t  *zp;

    zp = ngx_http_zltunnel_last(r);

    dial = (zp && zp->conn) ? &zp->conn->dial : NULL;

    if (zp && data == NGX_HTTP_ZLTUNNEL_ERROR) {
        ngx_http_zltunnel_host_error(&zp->host, &value);
        goto found;
    }

    if (zp == NULL || (dial ? dial->service.len : zp->service.len) == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    switch (data) {

    case NGX_HTTP_ZLTUNNEL_SERVICE:
        value = dial ? dial->service : zp->service;
        break;

    case NGX_HTTP_ZLTUNNEL_TUNNEL:
        value = dial ? dial->tunnel : zp->tunnel;
        break;

    default:
        id = dial ? dial->id : zp->id;
        time = dial ? dial->connect_time : zp->connect_time;

        p = ngx_pnalloc(r->pool, ngx_max(2 * ZLT_ID_SIZE,
                                         NGX_TIME_T_LEN + 4));
        if (p == NULL) {
            return NGX_ERROR;
        }

        value.data = p;

        if (data == NGX_HTTP_ZLTUNNEL_CONNECTION_ID) {
            p = ngx_hex_dump(p, id, ZLT_ID_SIZE);

        } else {
            p = ngx_sprintf(p, "%T.%03M", (time_t) time / 1000, time % 1000);
        }

        value.len = p - value.data;
        break;
    }

found:

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
    v->len = value.len;
    v->data = value.data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_zltunnel_add_variables(ngx_conf_t *cf)
{
    return ngx_http_zltunnel_variable_add(cf, ngx_http_zltunnel_variables);
}


/* init main configuration is called only where there is one */

static void *
ngx_http_zltunnel_ups_create_main_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, 1);
}


/* after that of all other modules: this one is the last */

static char *
ngx_http_zltunnel_ups_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_uint_t                      i;
    ngx_http_upstream_srv_conf_t  **uscfp;
    ngx_http_zltunnel_ups_conf_t   *zucf;
    ngx_http_upstream_main_conf_t  *umcf;

    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_upstream_module);
    uscfp = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        if (uscfp[i]->srv_conf == NULL) {
            continue;
        }

        zucf = ngx_http_conf_upstream_srv_conf(uscfp[i],
                                          ngx_http_zltunnel_upstream_module);

        if (zucf->up.service.len == 0) {
            continue;
        }

        if (!zucf->ready) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "another load balancing method cannot be in "
                          "upstream \"%V\", which has \"zltunnel_service\": "
                          "use its \"balance=\", in %s:%ui",
                          &uscfp[i]->host, uscfp[i]->file_name,
                          uscfp[i]->line);
            return NGX_CONF_ERROR;
        }

        zucf->original_init_peer = uscfp[i]->peer.init;
        uscfp[i]->peer.init = ngx_http_zltunnel_init_peer;
    }

    return NGX_CONF_OK;
}


static void *
ngx_http_zltunnel_ups_create_conf(ngx_conf_t *cf)
{
    /* all zero: there is no zltunnel_service */

    return ngx_pcalloc(cf->pool, sizeof(ngx_http_zltunnel_ups_conf_t));
}


static char *
ngx_http_zltunnel_service(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_zltunnel_ups_conf_t *zucf = conf;

    char                          *rv;
    ngx_http_upstream_server_t    *server;
    ngx_http_upstream_srv_conf_t  *uscf;

    rv = ngx_zltunnel_upstream_conf_parse(cf, &zucf->up);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (zucf->up.key.len) {
        zucf->key = ngx_http_zltunnel_compile(cf, &zucf->up.key);
        if (zucf->key == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    if (zucf->up.host) {
        zucf->host = ngx_http_zltunnel_compile(cf, &zucf->up.service);
        if (zucf->host == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    uscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_upstream_module);

    if (uscf->peer.init_upstream) {
        return "must stand before \"keepalive\", and with no other load "
               "balancing method";
    }

    server = ngx_array_push(uscf->servers);
    if (server == NULL) {
        return NGX_CONF_ERROR;
    }

    /* "no servers are inside upstream" otherwise */

    ngx_memzero(server, sizeof(ngx_http_upstream_server_t));

    server->addrs = &ngx_http_zltunnel_addr;
    server->naddrs = 1;
    server->weight = 1;

    server->name.data = ngx_http_zltunnel_mark;
    server->name.len = sizeof(ngx_http_zltunnel_mark) - 1;

    uscf->peer.init_upstream = ngx_http_zltunnel_init_upstream;

    uscf->flags = NGX_HTTP_UPSTREAM_CREATE
                  |NGX_HTTP_UPSTREAM_WEIGHT
                  |NGX_HTTP_UPSTREAM_MAX_CONNS
                  |NGX_HTTP_UPSTREAM_MAX_FAILS
                  |NGX_HTTP_UPSTREAM_FAIL_TIMEOUT
                  |NGX_HTTP_UPSTREAM_DOWN
                  |NGX_HTTP_UPSTREAM_BACKUP;

    return NGX_CONF_OK;
}


static ngx_http_complex_value_t *
ngx_http_zltunnel_compile(ngx_conf_t *cf, ngx_str_t *text)
{
    ngx_http_complex_value_t          *value;
    ngx_http_compile_complex_value_t   ccv;

    value = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (value == NULL) {
        return NULL;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = text;
    ccv.complex_value = value;

    return ngx_http_compile_complex_value(&ccv) == NGX_OK ? value : NULL;
}
