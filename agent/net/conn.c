
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Connections.
 *
 * A system call whose answer is known is not made: a bit in io.ready that is
 * down means EAGAIN, and on a stream socket a short read or write takes the
 * bit down, since the next event is sure to come (epoll(7), edge-triggered).
 * Only after the peer's FIN no further event comes, so that then we read on
 * to the end.
 *
 * Whoever reads in a loop reads until EAGAIN.  That comes, too, when the share
 * of this turn is used up, and the bit stays: one peer does not keep the loop
 * for itself, whatever is above and however small it makes its messages.
 *
 * TCP_USER_TIMEOUT is not used to find dead peers: Linux applies it to a
 * peer that answers every window probe with "no room yet" too, and would
 * cut a download that someone has paused for a minute.  zlt_conn_dead()
 * looks at what the kernel knows instead.
 */


#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "addr.h"
#include "conn.h"


#define ZLT_CONN_NOTSENT  65536        /* bytes, zlt_conn_prompt() */


static void zlt_conn_quickack(int fd, int on);
static ssize_t zlt_conn_socket_read(zlt_conn_t *c, void *buf, size_t size);
static int zlt_conn_socket_end(zlt_conn_t *c, int closes);
static void zlt_conn_socket_close(zlt_conn_t *c);
static int zlt_conn_socket_bare(const zlt_conn_t *c, unsigned direction);


const zlt_conn_ops_t  zlt_conn_socket = {
    .read = zlt_conn_socket_read,
    .write = zlt_conn_send,
    .flush = zlt_conn_none,
    .pending = zlt_conn_none,
    .end = zlt_conn_socket_end,
    .failed = zlt_conn_socket_failed,
    .close = zlt_conn_socket_close,
    .bare = zlt_conn_socket_bare
};

const zlt_memory_t  zlt_conn_memory = { malloc, free };


void
zlt_conn_init(zlt_conn_t *c)
{
    c->io.fd = -1;
    c->io.ready = 0;
    c->io.handler = NULL;
    c->ops = &zlt_conn_socket;
    c->ssl = NULL;
    c->out = NULL;
    c->framed = NULL;
    c->ws = NULL;
    c->lane = NULL;
    c->read_wants = ZLT_IO_READ;
    c->write_wants = ZLT_IO_WRITE;
    c->more = 0;
    c->shut = 0;
    c->speaks = 0;
}


int
zlt_conn_connect(zlt_conn_t *c, const struct sockaddr *sa, socklen_t socklen,
    int speaks, zlt_io_pt handler)
{
    int  fd, err, on;

    fd = socket(sa->sa_family, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);

    if (fd == -1) {
        return -1;
    }

    if (sa->sa_family != AF_UNIX) {
        on = 1;
        (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(int));

        if (speaks) {
            zlt_conn_quickack(fd, 0);
        }
    }

    if (connect(fd, sa, socklen) == -1 && errno != EINPROGRESS) {
        goto failed;
    }

    if (zlt_addr_self(fd, sa)) {
        errno = ECONNREFUSED;
        goto failed;
    }

    zlt_conn_init(c);

    c->speaks = (speaks && sa->sa_family != AF_UNIX);

    if (zlt_io_add(&c->io, fd, handler) == -1) {
        goto failed;
    }

    return 0;

failed:

    err = errno;
    (void) close(fd);
    errno = err;

    return -1;
}


/*
 * tcp(7).  Off, the kernel leaves the ACK of the handshake to the first bytes
 * ("save one ACK" in its tcp_rcv_synsent_state_process()).  It must not stay
 * so: a peer with Nagle's algorithm would wait for each delayed ACK.
 */

static void
zlt_conn_quickack(int fd, int on)
{
    (void) setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(int));
}


int
zlt_conn_connected(zlt_conn_t *c)
{
    int        err;
    socklen_t  len;

    if (!(c->io.ready & ZLT_IO_WRITE)) {
        return ZLT_CONN_AGAIN;
    }

    /* an error is always reported as one */

    if (!(c->io.ready & ZLT_IO_HUP)) {
        return 0;
    }

    err = 0;
    len = sizeof(int);

    if (getsockopt(c->io.fd, SOL_SOCKET, SO_ERROR, &err, &len) == -1) {
        return ZLT_CONN_ERROR;
    }

    if (err) {
        errno = err;
        return ZLT_CONN_ERROR;
    }

    return 0;
}


ssize_t
zlt_conn_read(zlt_conn_t *c, void *buf, size_t size)
{
    return zlt_conn_readable(c) ? c->ops->read(c, buf, size) : ZLT_CONN_AGAIN;
}


ssize_t
zlt_conn_write(zlt_conn_t *c, const void *buf, size_t size)
{
    return zlt_conn_writable(c) ? c->ops->write(c, buf, size) : ZLT_CONN_AGAIN;
}


static ssize_t
zlt_conn_socket_read(zlt_conn_t *c, void *buf, size_t size)
{
    /* an event tells of all that there is */

    c->more = 0;

    return zlt_conn_recv(c, buf, size);
}


ssize_t
zlt_conn_recv(zlt_conn_t *c, void *buf, size_t size)
{
    ssize_t  n;

    if (!(c->io.ready & ZLT_IO_READ) || !zlt_io_may_read(&c->io)) {
        return ZLT_CONN_AGAIN;
    }

    do {
        n = recv(c->io.fd, buf, size, 0);
    } while (n == -1 && errno == EINTR);

    if (n > 0) {
        zlt_io_have_read(&c->io, (size_t) n);

        if ((size_t) n < size && !(c->io.ready & ZLT_IO_HUP)) {
            zlt_io_clear(&c->io, ZLT_IO_READ);
        }

        return n;
    }

    if (n == 0) {
        return 0;
    }

    if (errno == EAGAIN || errno == EWOULDBLOCK) {
        zlt_io_clear(&c->io, ZLT_IO_READ);
        return ZLT_CONN_AGAIN;
    }

    return ZLT_CONN_ERROR;
}


ssize_t
zlt_conn_send(zlt_conn_t *c, const void *buf, size_t size)
{
    ssize_t  n;

    if (!(c->io.ready & ZLT_IO_WRITE)) {
        return ZLT_CONN_AGAIN;
    }

    do {
        n = send(c->io.fd, buf, size, MSG_NOSIGNAL);
    } while (n == -1 && errno == EINTR);

    if (n >= 0) {
        if ((size_t) n < size) {
            zlt_io_clear(&c->io, ZLT_IO_WRITE);
        }

        if (c->speaks) {
            c->speaks = 0;
            zlt_conn_quickack(c->io.fd, 1);
        }

        return n;
    }

    if (errno == EAGAIN || errno == EWOULDBLOCK) {
        zlt_io_clear(&c->io, ZLT_IO_WRITE);
        return ZLT_CONN_AGAIN;
    }

    return ZLT_CONN_ERROR;
}


int
zlt_conn_none(zlt_conn_t *c)
{
    (void) c;

    return 0;
}


int
zlt_conn_socket_failed(const zlt_conn_t *c)
{
    int        err;
    socklen_t  len;

    if (c->io.fd == -1 || !(c->io.ready & ZLT_IO_HUP)) {
        return 0;
    }

    err = 0;
    len = sizeof(int);

    if (getsockopt(c->io.fd, SOL_SOCKET, SO_ERROR, &err, &len) == -1) {
        return 0;
    }

    errno = err;

    return err != 0;
}


static int
zlt_conn_socket_end(zlt_conn_t *c, int closes)
{
    /* close(2) sends the FIN, too */

    if (!c->shut && !closes && shutdown(c->io.fd, SHUT_WR) == -1) {
        return ZLT_CONN_ERROR;
    }

    c->shut = 1;

    return 0;
}


static void
zlt_conn_socket_close(zlt_conn_t *c)
{
    (void) c;
}


static int
zlt_conn_socket_bare(const zlt_conn_t *c, unsigned direction)
{
    (void) c;
    (void) direction;

    return 1;
}


void
zlt_conn_close(zlt_conn_t *c)
{
    c->ops->close(c);
    c->ops = &zlt_conn_socket;

    zlt_io_close(&c->io);
}


void
zlt_conn_reset(zlt_conn_t *c)
{
    struct linger  linger;

    c->shut = 1;

    if (c->io.fd != -1) {
        linger.l_onoff = 1;
        linger.l_linger = 0;

        (void) setsockopt(c->io.fd, SOL_SOCKET, SO_LINGER, &linger,
                          sizeof(struct linger));
    }

    zlt_conn_close(c);
}


int
zlt_conn_move(zlt_conn_t *c, zlt_conn_t *from, zlt_io_pt handler)
{
    if (zlt_io_move(&c->io, &from->io, handler) == -1) {
        return -1;
    }

    c->ops = from->ops;
    c->ssl = from->ssl;
    c->ws = from->ws;
    c->out = from->out;
    c->read_wants = from->read_wants;
    c->write_wants = from->write_wants;
    c->shut = 0;

    from->ops = &zlt_conn_socket;
    from->ssl = NULL;
    from->ws = NULL;
    from->out = NULL;

    if (c->ops->moved) {
        c->ops->moved(c);
    }

    /* what has come already raises no event */

    c->more = 1;

    return 0;
}


void
zlt_conn_keepalive(zlt_conn_t *c)
{
    int  on, idle, interval, count;

    if (c->io.fd == -1) {
        return;
    }

    on = 1;
    idle = 60;
    interval = 10;
    count = 5;

    (void) setsockopt(c->io.fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(int));
    (void) setsockopt(c->io.fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(int));
    (void) setsockopt(c->io.fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval,
                      sizeof(int));
    (void) setsockopt(c->io.fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(int));
}


void
zlt_conn_prompt(zlt_conn_t *c)
{
    int  lowat;

    lowat = ZLT_CONN_NOTSENT;

    (void) setsockopt(c->io.fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowat,
                      sizeof(int));
}


uint32_t
zlt_conn_rtt(const zlt_conn_t *c)
{
    socklen_t        len;
    struct tcp_info  ti;

    len = sizeof(struct tcp_info);

    if (c->io.fd == -1
        || getsockopt(c->io.fd, IPPROTO_TCP, TCP_INFO, &ti, &len) == -1)
    {
        return 1;
    }

    return ti.tcpi_rtt / 1000 + 1;
}


int
zlt_conn_unacked(const zlt_conn_t *c)
{
    int  n;

    return c->io.fd != -1 && ioctl(c->io.fd, TIOCOUTQ, &n) == 0 && n > 0;
}


size_t
zlt_conn_outq(const zlt_conn_t *c)
{
    int        n, domain;
    socklen_t  len;

    len = sizeof(int);

    if (c->io.fd == -1
        || getsockopt(c->io.fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == -1
        || domain == AF_UNIX
        || ioctl(c->io.fd, TIOCOUTQ, &n) == -1)
    {
        return 0;
    }

    return (size_t) n;
}


int
zlt_conn_dead(zlt_conn_t *c, unsigned ms)
{
    socklen_t        len;
    struct tcp_info  ti;

    len = sizeof(struct tcp_info);

    if (c->io.fd == -1
        || getsockopt(c->io.fd, IPPROTO_TCP, TCP_INFO, &ti, &len) == -1)
    {
        return 0;
    }

    /* probes of a closed window are up to two minutes apart, so one of them
       may well be under way after a long silence */

    return ti.tcpi_last_ack_recv >= ms
           && (ti.tcpi_retransmits >= 2 || ti.tcpi_probes >= 2);
}
