
/*
 * Copyright (C) zltunnel authors
 */

/*
 * One end of a relay: a plain socket, a socket under TLS, or a bridge to
 * another worker.  What differs between them is here: how an end of the bytes
 * is told from a reset, and how each is passed on.
 *
 *            an end                           a reset
 *   plain    FIN                              RST, any error
 *   TLS      close_notify                     RST, or FIN without it
 *   pair     FIN, or closed                   closed with bytes unread
 *   framed   Eof                              Reset, or any end without one
 *   bridge   (framed)                         (framed)
 *   lane     (framed)                         LaneEnd, or one of the channel
 *
 * Plain or under TLS (ngx_zltunnel_tls.c), there may be a WebSocket within
 * (ngx_zltunnel_ws.c), for the bytes of framed ends alone.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_end.h"
#include "ngx_zltunnel_connection.h"
#include "ngx_zltunnel_framed.h"
#include "ngx_zltunnel_tls.h"
#include "ngx_zltunnel_ws.h"

#include "zlt_frames.h"

#include <poll.h>                /* after ngx_config.h: it needs _GNU_SOURCE */


#define NGX_ZLTUNNEL_NOTSENT       65536   /* bytes */

#define NGX_ZLTUNNEL_UNACKED_TIME  60000   /* ms without an ACK */
#define NGX_ZLTUNNEL_UNACKED_TRIES 3


static ngx_uint_t ngx_zltunnel_end_tcp(ngx_connection_t *c);
static void ngx_zltunnel_end_option(ngx_connection_t *c, int level, int name,
    int value, const char *text);


void
ngx_zltunnel_end_init(ngx_zltunnel_end_t *end, ngx_connection_t *c,
    ngx_zltunnel_kind_e kind)
{
    end->connection = c;
    end->kind = kind;

    if (kind == NGX_ZLTUNNEL_PLAIN || kind == NGX_ZLTUNNEL_TLS) {

        if (ngx_zltunnel_end_tcp(c)) {
            (void) ngx_tcp_nodelay(c);
        }
    }

#if (NGX_SSL)

    if (kind == NGX_ZLTUNNEL_TLS) {

#ifdef SSL_OP_IGNORE_UNEXPECTED_EOF
        SSL_clear_options(c->ssl->connection, SSL_OP_IGNORE_UNEXPECTED_EOF);
#endif

        SSL_set_mode(c->ssl->connection, SSL_MODE_ENABLE_PARTIAL_WRITE
                                         |SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    }

#endif
}


/* 0: a UNIX socket, without the options of TCP */

static ngx_uint_t
ngx_zltunnel_end_tcp(ngx_connection_t *c)
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
ngx_zltunnel_end_keepalive(ngx_connection_t *c, ngx_msec_t dead)
{
    int  idle, interval, count;

    /* a UNIX socket knows at once */

    if (!ngx_zltunnel_end_tcp(c)) {
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

    ngx_zltunnel_end_option(c, SOL_SOCKET, SO_KEEPALIVE, 1, "SO_KEEPALIVE");
    ngx_zltunnel_end_option(c, IPPROTO_TCP, TCP_KEEPIDLE, idle,
                            "TCP_KEEPIDLE");
    ngx_zltunnel_end_option(c, IPPROTO_TCP, TCP_KEEPINTVL, interval,
                            "TCP_KEEPINTVL");
    ngx_zltunnel_end_option(c, IPPROTO_TCP, TCP_KEEPCNT, count,
                            "TCP_KEEPCNT");
}


void
ngx_zltunnel_end_datagrams(ngx_zltunnel_end_t *end)
{
    if (end->kind == NGX_ZLTUNNEL_BRIDGE
        || !ngx_zltunnel_end_tcp(end->connection))
    {
        return;
    }

    ngx_zltunnel_end_keepalive(end->connection, 0);

    /* what the kernel has taken can no longer be dropped */

    ngx_zltunnel_end_prompt(end->connection);
}


void
ngx_zltunnel_end_prompt(ngx_connection_t *c)
{
    if (ngx_zltunnel_end_tcp(c)) {
        ngx_zltunnel_end_option(c, IPPROTO_TCP, TCP_NOTSENT_LOWAT,
                                NGX_ZLTUNNEL_NOTSENT, "TCP_NOTSENT_LOWAT");
    }
}


ngx_msec_t
ngx_zltunnel_end_rtt(ngx_zltunnel_end_t *end)
{
    socklen_t        len;
    struct tcp_info  ti;

    len = sizeof(struct tcp_info);

    if (getsockopt(end->connection->fd, IPPROTO_TCP, TCP_INFO, &ti, &len)
        == -1)
    {
        return 1;
    }

    return ti.tcpi_rtt / 1000 + 1;
}


static void
ngx_zltunnel_end_option(ngx_connection_t *c, int level, int name, int value,
    const char *text)
{
    if (setsockopt(c->fd, level, name, (const void *) &value, sizeof(int))
        == -1)
    {
        ngx_log_error(NGX_LOG_ERR, c->log, ngx_socket_errno,
                      "setsockopt(%s) failed", text);
    }
}


ssize_t
ngx_zltunnel_end_recv(ngx_zltunnel_end_t *end, u_char *buf, size_t size)
{
    if (!ngx_zltunnel_end_raw_in(end)) {
        return ngx_zltunnel_framed_recv(end, buf, size);
    }

    return ngx_zltunnel_end_pull(end, buf, size);
}


ssize_t
ngx_zltunnel_end_send(ngx_zltunnel_end_t *end, u_char *buf, size_t size)
{
    if (!ngx_zltunnel_end_raw_out(end)) {
        return ngx_zltunnel_framed_send(end, buf, size);
    }

    return ngx_zltunnel_end_push(end, buf, size);
}


ssize_t
ngx_zltunnel_end_pull(ngx_zltunnel_end_t *end, u_char *buf, size_t size)
{
    return end->ws ? ngx_zltunnel_ws_recv(end, buf, size)
                   : ngx_zltunnel_end_read(end, buf, size);
}


ssize_t
ngx_zltunnel_end_push(ngx_zltunnel_end_t *end, u_char *buf, size_t size)
{
    return end->ws ? ngx_zltunnel_ws_send(end, buf, size)
                   : ngx_zltunnel_end_write(end, buf, size);
}


ngx_int_t
ngx_zltunnel_end_flush(ngx_zltunnel_end_t *end)
{
    ngx_int_t  rc;

    rc = NGX_OK;

#if (NGX_SSL)
    rc = ngx_zltunnel_tls_flush(end);
#endif

    if (rc == NGX_OK && end->ws) {
        rc = ngx_zltunnel_ws_flush(end);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    return end->frames ? ngx_zltunnel_framed_flush(end) : NGX_OK;
}


ssize_t
ngx_zltunnel_end_read(ngx_zltunnel_end_t *end, u_char *buf, size_t size)
{
    ngx_connection_t  *c;

    c = end->connection;

    if (end->kind == NGX_ZLTUNNEL_LANE) {
        return end->ops->recv(end, buf, size);
    }

#if (NGX_SSL)
    if (end->kind == NGX_ZLTUNNEL_TLS) {

        if (end->records && c->write->ready) {

            /* an answer that TLS gives while it reads would find no room, for
               which no event comes; an error is found by whoever writes */

            (void) ngx_zltunnel_tls_flush(end);
        }

        return ngx_zltunnel_tls_recv(c, buf, size);
    }
#endif

    return end->lent ? ngx_recv(c, buf, size) : c->recv(c, buf, size);
}


ssize_t
ngx_zltunnel_end_write(ngx_zltunnel_end_t *end, u_char *buf, size_t size)
{
    ngx_connection_t  *c;

    c = end->connection;

    if (end->kind == NGX_ZLTUNNEL_LANE) {
        return end->ops->send(end, buf, size);
    }

#if (NGX_SSL)
    if (end->kind == NGX_ZLTUNNEL_TLS) {
        return ngx_zltunnel_tls_send(end, buf, size);
    }
#endif

    return end->lent ? ngx_send(c, buf, size) : c->send(c, buf, size);
}


size_t
ngx_zltunnel_end_state(ngx_zltunnel_end_t *end, u_char *buf)
{
    return end->ws ? ngx_zltunnel_ws_state(end, buf) : 0;
}


ngx_int_t
ngx_zltunnel_end_restore(ngx_zltunnel_end_t *end, u_char *state, size_t len)
{
    return len ? ngx_zltunnel_ws_restore(end, state) : NGX_OK;
}


ngx_uint_t
ngx_zltunnel_end_amid(ngx_zltunnel_end_t *end)
{
    zlt_frames_in_t  *in;

    if (end->frames && end->frames->in.end == ZLT_FRAMES_OPEN) {
        in = &end->frames->in;

        if (in->left || in->have) {
            return 1;
        }
    }

    if (end->ws && ngx_zltunnel_ws_amid(end)) {
        return 1;
    }

#if (NGX_SSL)
    if (end->kind == NGX_ZLTUNNEL_TLS) {
        return SSL_has_pending(end->connection->ssl->connection);
    }
#endif

    return 0;
}


ngx_int_t
ngx_zltunnel_end_shutdown(ngx_zltunnel_end_t *end)
{
    ngx_connection_t  *c;

    if (!ngx_zltunnel_end_raw_out(end)) {
        return ngx_zltunnel_framed_end(end, ZLT_FRAMES_EOF);
    }

    if (end->ws) {
        return ngx_zltunnel_ws_close(end);
    }

    c = end->connection;

#if (NGX_SSL)
    if (end->kind == NGX_ZLTUNNEL_TLS) {
        return ngx_zltunnel_tls_shutdown(end);
    }
#endif

    if (ngx_shutdown_socket(c->fd, NGX_WRITE_SHUTDOWN) == -1) {
        return ngx_connection_error(c, ngx_socket_errno,
                                    ngx_shutdown_socket_n " failed");
    }

    return NGX_OK;
}


/*
 * A reset raises an event even while nothing is read, or after EOF; only
 * poll() then tells it from what else raises one.  A hang-up is both
 * directions being shut: a reset too, unless it was us who shut the other.
 */

ngx_int_t
ngx_zltunnel_end_test(ngx_zltunnel_end_t *end)
{
    int                err;
    socklen_t          len;
    struct pollfd      p;
    ngx_connection_t  *c;

    c = end->connection;

    if (end->kind == NGX_ZLTUNNEL_LANE || end->kind == NGX_ZLTUNNEL_BRIDGE) {

        /* a lane tells by an event; the other worker may have closed, and what
           it has sent before be whole */

        return NGX_OK;
    }

    p.fd = c->fd;
    p.events = 0;
    p.revents = 0;

    if (poll(&p, 1, 0) != 1) {
        return NGX_OK;
    }

    if (!(p.revents & POLLERR)
        && (!(p.revents & POLLHUP) || end->shut
            || end->kind == NGX_ZLTUNNEL_PAIR))
    {
        return NGX_OK;
    }

    err = 0;
    len = sizeof(int);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len) == -1) {
        err = ngx_socket_errno;
    }

    return ngx_connection_error(c, err ? err : NGX_ECONNRESET,
                                "connection was reset");
}


ngx_int_t
ngx_zltunnel_end_alive(ngx_zltunnel_end_t *end, ngx_msec_t dead)
{
    if (end->kind == NGX_ZLTUNNEL_BRIDGE || end->kind == NGX_ZLTUNNEL_PAIR
        || end->kind == NGX_ZLTUNNEL_LANE)
    {
        return NGX_OK;
    }

    return ngx_zltunnel_end_acked(end->connection, dead);
}


ngx_int_t
ngx_zltunnel_end_acked(ngx_connection_t *c, ngx_msec_t dead)
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


void
ngx_zltunnel_end_abort(ngx_zltunnel_end_t *end)
{
    ngx_connection_t  *c;

    c = end->connection;

    if (end->ws) {
        ngx_zltunnel_ws_abort(end);
    }

#if (NGX_SSL)

    /* ngx_ssl_shutdown() is silent then, whoever calls it */

    if (end->kind == NGX_ZLTUNNEL_TLS && c->ssl) {
        c->ssl->no_wait_shutdown = 1;
        c->ssl->no_send_shutdown = 1;
    }

#endif

    if (end->kind == NGX_ZLTUNNEL_PAIR) {

        /* whoever made the pair tells the other end in its own way */

        return;
    }

    if (end->kind == NGX_ZLTUNNEL_LANE || end->kind == NGX_ZLTUNNEL_BRIDGE) {
        /* so does the close */
        return;
    }

    ngx_zltunnel_end_linger(c, 1);
}


void
ngx_zltunnel_end_linger(ngx_connection_t *c, ngx_uint_t reset)
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


void
ngx_zltunnel_end_close(ngx_zltunnel_end_t *end)
{
    ngx_connection_t  *c;

    if (end->kind == NGX_ZLTUNNEL_LANE) {
        end->ops->close(end);
        return;
    }

    c = end->connection;

    if (end->ws && c) {
        (void) ngx_zltunnel_ws_close(end);
    }

    ngx_zltunnel_ws_free(end);

#if (NGX_SSL)
    ngx_zltunnel_tls_drop(end);
#endif

    if (c) {
        end->connection = NULL;
        ngx_zltunnel_connection_close(c);
    }
}
