
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Placeholders: connections of nginx's upstream code on a descriptor on which
 * nothing happens, as if connect() were under way.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_placeholder.h"


/* descriptors of placeholders that are kept for later ones */
#define NGX_ZLTUNNEL_PLACEHOLDER_SPARE  32


static ngx_socket_t ngx_zltunnel_placeholder_descriptor(ngx_log_t *log);


static ngx_socket_t  ngx_zltunnel_placeholder_spares[
                                               NGX_ZLTUNNEL_PLACEHOLDER_SPARE];
static ngx_uint_t    ngx_zltunnel_placeholder_nspare;
static ngx_uint_t    ngx_zltunnel_placeholder_spared;    /* some, of late */


/* as ngx_event_connect_peer() would make one, but for connect() */

ngx_connection_t *
ngx_zltunnel_placeholder_create(ngx_peer_connection_t *pc)
{
    ngx_socket_t       s;
    ngx_connection_t  *c;

    s = ngx_zltunnel_placeholder_descriptor(pc->log);

    if (s == (ngx_socket_t) -1) {
        return NULL;
    }

    c = ngx_get_connection(s, pc->log);

    if (c == NULL) {
        if (ngx_close_socket(s) == -1) {
            ngx_log_error(NGX_LOG_ALERT, pc->log, ngx_socket_errno,
                          ngx_close_socket_n " failed");
        }

        return NULL;
    }

    c->type = SOCK_STREAM;

    c->recv = ngx_recv;
    c->send = ngx_send;
    c->recv_chain = ngx_recv_chain;
    c->send_chain = ngx_send_chain;

    /*
     * The channel has its TCP_NODELAY already, a socketpair needs none.  The
     * channel may be under TLS, which has no sendfile(), and core wants to
     * know that now.
     */

    c->sendfile = 0;
    c->tcp_nopush = NGX_TCP_NOPUSH_DISABLED;
    c->tcp_nodelay = NGX_TCP_NODELAY_DISABLED;

    c->log_error = pc->log_error;
    c->log = pc->log;
    c->read->log = pc->log;
    c->write->log = pc->log;

    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);
    c->start_time = ngx_current_msec;

    return c;
}


/* nobody reads or writes it, but core asks it for SO_ERROR */

static ngx_socket_t
ngx_zltunnel_placeholder_descriptor(ngx_log_t *log)
{
    ngx_socket_t  s;

    if (ngx_zltunnel_placeholder_nspare) {
        return ngx_zltunnel_placeholder_spares[--ngx_zltunnel_placeholder_nspare];
    }

    s = socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0);

    if (s == (ngx_socket_t) -1) {
        ngx_log_error(NGX_LOG_CRIT, log, ngx_socket_errno,
                      ngx_socket_n " failed");
    }

    return s;
}


/*
 * Puts fd in place of the connection's, and has it reported as writable.
 * Not dup2(), which would cost a call more: nothing but the connection itself
 * knows the number.
 */

void
ngx_zltunnel_placeholder_swap(ngx_connection_t *c, ngx_socket_t fd)
{
    ngx_zltunnel_placeholder_spare(c);

    c->fd = fd;

    if (ngx_add_conn(c) == NGX_ERROR) {
        c->write->timedout = 1;
    }

    c->write->ready = 1;
    ngx_post_event(c->write, &ngx_posted_events);
}


void
ngx_zltunnel_placeholder_spare(ngx_connection_t *c)
{
    ngx_zltunnel_placeholder_spared = 1;

    if (ngx_zltunnel_placeholder_nspare < NGX_ZLTUNNEL_PLACEHOLDER_SPARE) {
        ngx_zltunnel_placeholder_spares[ngx_zltunnel_placeholder_nspare++] = c->fd;

    } else if (ngx_close_socket(c->fd) == -1) {
        ngx_log_error(NGX_LOG_ALERT, c->log, ngx_socket_errno,
                      ngx_close_socket_n " failed");
    }
}


/* the upstream code finds that connecting has taken too long */

void
ngx_zltunnel_placeholder_time_out(ngx_connection_t *c)
{
    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    c->write->timedout = 1;
    ngx_post_event(c->write, &ngx_posted_events);
}


/* a socket that getsockopt(SO_ERROR) says is reset; -1: there is none */

ngx_socket_t
ngx_zltunnel_placeholder_dead(ngx_log_t *log)
{
    ngx_socket_t  s[2];

    if (socketpair(AF_UNIX, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0, s)
        == -1)
    {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_socket_errno,
                      "socketpair() failed");
        return (ngx_socket_t) -1;
    }

    /* one end is closed with a byte unread, which resets the other */

    (void) send(s[0], "", 1, MSG_NOSIGNAL);
    (void) ngx_close_socket(s[1]);

    return s[0];
}


void
ngx_zltunnel_placeholder_check(void)
{
    while (ngx_zltunnel_placeholder_nspare
           && !ngx_zltunnel_placeholder_spared)
    {
        (void) ngx_close_socket(ngx_zltunnel_placeholder_spares[
                                          --ngx_zltunnel_placeholder_nspare]);
    }

    ngx_zltunnel_placeholder_spared = 0;
}
