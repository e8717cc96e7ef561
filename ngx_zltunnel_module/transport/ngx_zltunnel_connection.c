
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Connections of our own, on descriptors that nginx has not accepted.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_connection.h"

#include <poll.h>                /* after ngx_config.h: it needs _GNU_SOURCE */


ngx_connection_t *
ngx_zltunnel_connection_create(ngx_socket_t fd, ngx_log_t *log)
{
    ngx_log_t         *clog;
    ngx_connection_t  *c;

    if (ngx_nonblocking(fd) == -1) {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_socket_errno,
                      ngx_nonblocking_n " failed");
        goto failed;
    }

    c = ngx_get_connection(fd, log);
    if (c == NULL) {
        goto failed;
    }

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_active, 1);
#endif

    c->pool = ngx_create_pool(512, log);
    if (c->pool == NULL) {
        goto close;
    }

    clog = ngx_palloc(c->pool, sizeof(ngx_log_t));
    if (clog == NULL) {
        goto close;
    }

    /* what the handler of the given log would print may go before us */

    *clog = *log;
    clog->handler = NULL;
    clog->data = NULL;
    clog->action = NULL;

    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);
    clog->connection = c->number;

    c->log = clog;
    c->pool->log = clog;
    c->read->log = clog;
    c->write->log = clog;

    c->type = SOCK_STREAM;
    c->log_error = NGX_ERROR_INFO;
    c->start_time = ngx_current_msec;

    c->recv = ngx_recv;
    c->send = ngx_send;
    c->recv_chain = ngx_recv_chain;
    c->send_chain = ngx_send_chain;

    c->write->ready = 1;

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        goto close;
    }

    return c;

close:

    ngx_zltunnel_connection_close(c);
    return NULL;

failed:

    if (ngx_close_socket(fd) == -1) {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_socket_errno,
                      ngx_close_socket_n " failed");
    }

    return NULL;
}


void
ngx_zltunnel_connection_close(ngx_connection_t *c)
{
    ngx_pool_t  *pool;

#if (NGX_SSL)

    /* sends nothing, waits for nothing, frees */

    if (c->ssl) {
        c->ssl->no_wait_shutdown = 1;
        c->ssl->no_send_shutdown = 1;

        (void) ngx_ssl_shutdown(c);
    }

#endif

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_active, -1);
#endif

    c->destroyed = 1;

    pool = c->pool;

    ngx_close_connection(c);

    if (pool) {
        ngx_destroy_pool(pool);
    }
}


ngx_socket_t
ngx_zltunnel_connection_detach(ngx_connection_t *c)
{
    ngx_pool_t    *pool;
    ngx_socket_t   fd;

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    /* epoll forgets only the last copy of a descriptor by itself */

    (void) ngx_del_conn(c, 0);

    if (c->read->posted) {
        ngx_delete_posted_event(c->read);
    }

    if (c->write->posted) {
        ngx_delete_posted_event(c->write);
    }

    c->read->closed = 1;
    c->write->closed = 1;

    ngx_reusable_connection(c, 0);

    fd = c->fd;
    pool = c->pool;

    ngx_free_connection(c);
    c->fd = (ngx_socket_t) -1;
    c->destroyed = 1;

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_active, -1);
#endif

    if (pool) {
        ngx_destroy_pool(pool);
    }

    return fd;
}
