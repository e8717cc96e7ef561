
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The connection of a UDP client, as ngx_event_recvmsg() would make it, and its
 * datagrams as long as nginx's own handlers read them.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_udp_connection.h"
#include "ngx_zltunnel_client.h"
#include "ngx_zltunnel_newcomer.h"


static ngx_int_t ngx_zltunnel_udp_connection_init(ngx_connection_t *c,
    ngx_listening_t *ls, struct sockaddr *sa, socklen_t socklen,
    ngx_sockaddr_t *local, u_char *data, size_t len);
static void ngx_zltunnel_udp_connection_discard(ngx_connection_t *c);
static ssize_t ngx_zltunnel_udp_connection_recv(ngx_connection_t *c,
    u_char *buf, size_t size);


/* the datagram that nginx's handlers are about to read, and of whom */

static ngx_connection_t *ngx_zltunnel_udp_reader;
static u_char           *ngx_zltunnel_in_pos;
static size_t            ngx_zltunnel_in_len;


/* what ngx_event_recvmsg() does with the first datagram of a client */

ngx_connection_t *
ngx_zltunnel_udp_connection_create(ngx_zltunnel_newcomer_t *newcomer)
{
    ngx_listening_t   *ls;
    ngx_connection_t  *c;

    ls = newcomer->listening;

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_accepted, 1);
#endif

    ngx_accept_disabled = ngx_cycle->connection_n / 8
                          - ngx_cycle->free_connection_n;

    c = ngx_get_connection(ls->fd, &ls->log);
    if (c == NULL) {
        return NULL;
    }

    c->shared = 1;
    c->type = SOCK_DGRAM;

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_active, 1);
#endif

    if (ngx_zltunnel_udp_connection_init(c, ls, &newcomer->addr.sockaddr,
                                         newcomer->socklen, &newcomer->local,
                                         newcomer->first->data,
                                         newcomer->first->len)
        != NGX_OK
        || ngx_zltunnel_client_insert(c, &newcomer->key, newcomer->hash)
           != NGX_OK)
    {
        ngx_zltunnel_udp_connection_discard(c);
        return NULL;
    }

    return c;
}


static ngx_int_t
ngx_zltunnel_udp_connection_init(ngx_connection_t *c, ngx_listening_t *ls,
    struct sockaddr *sa, socklen_t socklen, ngx_sockaddr_t *local,
    u_char *data, size_t len)
{
    ngx_log_t  *log;

    c->pool = ngx_create_pool(ls->pool_size, &ls->log);
    if (c->pool == NULL) {
        return NGX_ERROR;
    }

    log = ngx_palloc(c->pool, sizeof(ngx_log_t));
    c->sockaddr = ngx_palloc(c->pool, socklen);

    if (log == NULL || c->sockaddr == NULL) {
        return NGX_ERROR;
    }

    *log = ls->log;

    c->log = log;
    c->pool->log = log;

    ngx_memcpy(c->sockaddr, sa, socklen);
    c->socklen = socklen;
    c->listening = ls;

    c->local_sockaddr = ls->sockaddr;
    c->local_socklen = ls->socklen;

    if (ls->wildcard) {
        c->local_sockaddr = ngx_palloc(c->pool, ls->socklen);

        if (c->local_sockaddr == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(c->local_sockaddr, local, ls->socklen);
    }

    c->recv = ngx_zltunnel_udp_connection_recv;
    c->send = ngx_udp_send;
    c->send_chain = ngx_udp_send_chain;
    ngx_zltunnel_need_flush_buf(c);

    c->buffer = ngx_create_temp_buf(c->pool, len);
    if (c->buffer == NULL) {
        return NGX_ERROR;
    }

    c->buffer->last = ngx_cpymem(c->buffer->last, data, len);

    if (ls->addr_ntop) {
        c->addr_text.data = ngx_pnalloc(c->pool, ls->addr_text_max_len);
        if (c->addr_text.data == NULL) {
            return NGX_ERROR;
        }

        c->addr_text.len = ngx_sock_ntop(c->sockaddr, c->socklen,
                                         c->addr_text.data,
                                         ls->addr_text_max_len, 0);
        if (c->addr_text.len == 0) {
            return NGX_ERROR;
        }
    }

    c->read->active = 1;
    c->write->ready = 1;

    c->read->log = log;
    c->write->log = log;

    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);
    c->start_time = ngx_current_msec;

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_handled, 1);
#endif

    return NGX_OK;
}


static void
ngx_zltunnel_udp_connection_discard(ngx_connection_t *c)
{
    ngx_free_connection(c);

    c->fd = (ngx_socket_t) -1;

    if (c->pool) {
        ngx_destroy_pool(c->pool);
    }

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_active, -1);
#endif
}


void
ngx_zltunnel_udp_connection_event(ngx_connection_t *c, u_char *data,
    size_t len)
{
    ngx_event_t  *rev;

    rev = c->read;

    ngx_zltunnel_udp_reader = c;
    ngx_zltunnel_in_pos = data;
    ngx_zltunnel_in_len = len;

    rev->ready = 1;
    rev->active = 0;

    rev->handler(rev);

    /* the event stays valid, whatever came of the connection */

    if (ngx_zltunnel_udp_reader) {
        ngx_zltunnel_udp_reader = NULL;
        rev->ready = 0;
        rev->active = 1;
    }
}


static ssize_t
ngx_zltunnel_udp_connection_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    size_t  n;

    if (ngx_zltunnel_udp_reader != c) {
        return NGX_AGAIN;
    }

    n = ngx_min(ngx_zltunnel_in_len, size);

    ngx_memcpy(buf, ngx_zltunnel_in_pos, n);

    ngx_zltunnel_udp_reader = NULL;

    c->read->ready = 0;
    c->read->active = 1;

    return n;
}


void
ngx_zltunnel_udp_connection_forget(ngx_connection_t *c)
{
    if (ngx_zltunnel_udp_reader == c) {
        ngx_zltunnel_udp_reader = NULL;
    }
}
