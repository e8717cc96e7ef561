
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Ends that are sockets with nothing in between: of a client or an agent, or
 * one end of a socketpair.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_socket.h"
#include "ngx_zltunnel_end.h"


#define NGX_ZLTUNNEL_NOTSENT       65536   /* bytes */

#define NGX_ZLTUNNEL_UNACKED_TIME  60000   /* ms without an ACK */
#define NGX_ZLTUNNEL_UNACKED_TRIES 3


static ssize_t ngx_zltunnel_socket_recv(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
static ssize_t ngx_zltunnel_socket_send(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
static ngx_int_t ngx_zltunnel_socket_shutdown(ngx_zltunnel_end_t *end);
static void ngx_zltunnel_socket_abort(ngx_zltunnel_end_t *end);
static ngx_uint_t ngx_zltunnel_socket_tcp(ngx_connection_t *c);
static void ngx_zltunnel_socket_option(ngx_connection_t *c, int level,
    int name, int value, const char *text);


const ngx_zltunnel_end_ops_t  ngx_zltunnel_socket_ops = {
    .recv = ngx_zltunnel_socket_recv,
    .send = ngx_zltunnel_socket_send,
    .shutdown = ngx_zltunnel_socket_shutdown,
    .abort = ngx_zltunnel_socket_abort,
    .most = NGX_ZLTUNNEL_END_ALL,
    .raw = 1,
    .network = 1,
    .moves = 1
};


const ngx_zltunnel_end_ops_t  ngx_zltunnel_socket_bridge_ops = {
    .recv = ngx_zltunnel_socket_recv,
    .send = ngx_zltunnel_socket_send,
    .shutdown = ngx_zltunnel_socket_shutdown,
    .most = NGX_ZLTUNNEL_END_ALL,
    .moves = 1,
    .bridged = 1
};


/* whoever made the pair tells a reset in its own way */

const ngx_zltunnel_end_ops_t  ngx_zltunnel_socket_pair_ops = {
    .recv = ngx_zltunnel_socket_recv,
    .send = ngx_zltunnel_socket_send,
    .shutdown = ngx_zltunnel_socket_shutdown,
    .most = NGX_ZLTUNNEL_END_ALL,
    .raw = 1
};


static ssize_t
ngx_zltunnel_socket_recv(ngx_zltunnel_end_t *end, u_char *buf, size_t size)
{
    return ngx_recv(end->connection, buf, size);
}


static ssize_t
ngx_zltunnel_socket_send(ngx_zltunnel_end_t *end, u_char *buf, size_t size)
{
    ssize_t  n;

    n = ngx_send(end->connection, buf, size);

    if (n == NGX_ERROR) {
        ngx_zltunnel_socket_broken(end, ngx_socket_errno);
    }

    return n;
}


/* The kernel tells of a reset once, and by EPIPE if the peer had ended before. */

void
ngx_zltunnel_socket_broken(ngx_zltunnel_end_t *end, ngx_err_t err)
{
    if (err != NGX_EPIPE) {
        end->broken = 1;
    }
}


static ngx_int_t
ngx_zltunnel_socket_shutdown(ngx_zltunnel_end_t *end)
{
    ngx_connection_t  *c;

    c = end->connection;

    if (ngx_shutdown_socket(c->fd, NGX_WRITE_SHUTDOWN) == -1) {
        return ngx_connection_error(c, ngx_socket_errno,
                                    ngx_shutdown_socket_n " failed");
    }

    return NGX_OK;
}


static void
ngx_zltunnel_socket_abort(ngx_zltunnel_end_t *end)
{
    ngx_zltunnel_socket_linger(end->connection, 1);
}


void
ngx_zltunnel_socket_nodelay(ngx_connection_t *c)
{
    if (ngx_zltunnel_socket_tcp(c)) {
        (void) ngx_tcp_nodelay(c);
    }
}


/* 0: a UNIX socket, without the options of TCP */

static ngx_uint_t
ngx_zltunnel_socket_tcp(ngx_connection_t *c)
{
    int        domain;
    socklen_t  len;

    if (c->sockaddr) {
        return c->sockaddr->sa_family != AF_UNIX;
    }

    /* from another worker, which did not tell */

    len = sizeof(int);

    return getsockopt(c->fd, SOL_SOCKET, SO_DOMAIN, (void *) &domain, &len)
           == -1
           || domain != AF_UNIX;
}


/*
 * Not TCP_USER_TIMEOUT: the kernel counts with it not only the time without
 * an answer but also the time that the peer's window stays closed, although
 * the peer acknowledges each probe of it.  A client that pauses for a minute
 * would lose its connection.  ngx_zltunnel_end_alive() tells them apart.
 */

void
ngx_zltunnel_socket_keepalive(ngx_connection_t *c, ngx_msec_t dead)
{
    int  idle, interval, count;

    /* a UNIX socket knows at once */

    if (!ngx_zltunnel_socket_tcp(c)) {
        return;
    }

    idle = 60;
    interval = 10;
    count = 5;

    if (dead) {
        idle = (int) ngx_max(dead / 3000, 1);
        interval = idle;
        count = 2;
    }

    ngx_zltunnel_socket_option(c, SOL_SOCKET, SO_KEEPALIVE, 1, "SO_KEEPALIVE");
    ngx_zltunnel_socket_option(c, IPPROTO_TCP, TCP_KEEPIDLE, idle,
                            "TCP_KEEPIDLE");
    ngx_zltunnel_socket_option(c, IPPROTO_TCP, TCP_KEEPINTVL, interval,
                            "TCP_KEEPINTVL");
    ngx_zltunnel_socket_option(c, IPPROTO_TCP, TCP_KEEPCNT, count,
                            "TCP_KEEPCNT");
}


void
ngx_zltunnel_socket_prompt(ngx_connection_t *c)
{
    if (ngx_zltunnel_socket_tcp(c)) {
        ngx_zltunnel_socket_option(c, IPPROTO_TCP, TCP_NOTSENT_LOWAT,
                                NGX_ZLTUNNEL_NOTSENT, "TCP_NOTSENT_LOWAT");
    }
}


ngx_msec_t
ngx_zltunnel_socket_rtt(ngx_connection_t *c)
{
    socklen_t        len;
    struct tcp_info  ti;

    len = sizeof(struct tcp_info);

    if (getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &ti, &len) == -1) {
        return 1;
    }

    return ti.tcpi_rtt / 1000 + 1;
}


static void
ngx_zltunnel_socket_option(ngx_connection_t *c, int level, int name, int value,
    const char *text)
{
    if (setsockopt(c->fd, level, name, (const void *) &value, sizeof(int))
        == -1)
    {
        ngx_log_error(NGX_LOG_ERR, c->log, ngx_socket_errno,
                      "setsockopt(%s) failed", text);
    }
}


ngx_int_t
ngx_zltunnel_socket_acked(ngx_connection_t *c, ngx_msec_t dead)
{
    int               n;
    socklen_t         len;
    struct tcp_info   ti;

    if (ioctl(c->fd, TIOCOUTQ, &n) == -1 || n == 0) {
        return NGX_OK;
    }

    ngx_memzero(&ti, sizeof(struct tcp_info));
    len = sizeof(struct tcp_info);

    if (getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &ti, &len) == -1) {
        return NGX_OK;
    }

    if (ti.tcpi_last_ack_recv >= (dead ? dead : NGX_ZLTUNNEL_UNACKED_TIME)
        && ti.tcpi_retransmits + ti.tcpi_probes >= NGX_ZLTUNNEL_UNACKED_TRIES)
    {
        return NGX_ERROR;
    }

    return NGX_AGAIN;
}


size_t
ngx_zltunnel_socket_outq(ngx_connection_t *c)
{
    int  n;

    return (!ngx_zltunnel_socket_tcp(c) || ioctl(c->fd, TIOCOUTQ, &n) == -1)
           ? 0 : (size_t) n;
}


void
ngx_zltunnel_socket_linger(ngx_connection_t *c, ngx_uint_t reset)
{
    struct linger  linger;

    linger.l_onoff = reset ? 1 : 0;
    linger.l_linger = 0;

    if (setsockopt(c->fd, SOL_SOCKET, SO_LINGER, (const void *) &linger,
                   sizeof(struct linger))
        == -1)
    {
        ngx_log_error(NGX_LOG_ERR, c->log, ngx_socket_errno,
                      "setsockopt(SO_LINGER) failed");
    }
}
