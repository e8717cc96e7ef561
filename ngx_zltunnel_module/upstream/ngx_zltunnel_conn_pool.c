
/*
 * Copyright (C) zltunnel authors
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_conn_pool.h"


static void ngx_zltunnel_conn_pool_cleanup(void *data);


ngx_zltunnel_conn_t *
ngx_zltunnel_conn_pool_add(ngx_pool_t *pool, ngx_zltunnel_conn_pt release)
{
    ngx_pool_cleanup_t   *cln;
    ngx_zltunnel_conn_t  *conn;

    cln = ngx_pool_cleanup_add(pool, sizeof(ngx_zltunnel_conn_t));
    if (cln == NULL) {
        return NULL;
    }

    conn = cln->data;
    ngx_memzero(conn, sizeof(ngx_zltunnel_conn_t));

    conn->release = release;
    cln->handler = ngx_zltunnel_conn_pool_cleanup;

    return conn;
}


ngx_zltunnel_conn_t *
ngx_zltunnel_conn_pool_find(ngx_connection_t *c)
{
    ngx_pool_cleanup_t  *cln;

    for (cln = c->pool ? c->pool->cleanup : NULL; cln; cln = cln->next) {

        if (cln->handler == ngx_zltunnel_conn_pool_cleanup) {
            return cln->data;
        }
    }

    return NULL;
}


static void
ngx_zltunnel_conn_pool_cleanup(void *data)
{
    ngx_zltunnel_conn_t *conn = data;

    conn->release(conn);
}
