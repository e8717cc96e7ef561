
/*
 * Copyright (C) zltunnel authors
 */

/*
 * UDP sockets.
 *
 * UDP_SEGMENT has the kernel cut one message into datagrams after it has gone
 * down the stack once.  It does so only up to the MTU of the route, and not
 * on every device, and tells by an error: then the same datagrams are sent
 * one by one, and those of that size from then on.
 */


#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <unistd.h>

#include "addr.h"
#include "udp_socket.h"


#ifndef SOL_UDP
#define SOL_UDP      17
#endif

#ifndef UDP_SEGMENT
#define UDP_SEGMENT  103
#endif

#ifndef UDP_GRO
#define UDP_GRO      104
#endif


/* the largest datagram; and something odd between one slot and the next, lest
   all of them share the same lines of the processor's cache */

#define ZLT_UDP_SLOT         65536
#define ZLT_UDP_SLOT_STRIDE  (ZLT_UDP_SLOT + 4096 + 1216)

#define ZLT_UDP_SEGMENTS     64        /* of a message, at most */
#define ZLT_UDP_MESSAGE      65000     /* bytes of one */
#define ZLT_UDP_MESSAGES     64        /* of one sendmmsg() */

#define ZLT_UDP_BUFFER       (1024 * 1024)
#define ZLT_UDP_READS        4         /* receives a turn */


typedef union {
    struct cmsghdr   header;
    uint8_t          space[CMSG_SPACE(sizeof(int))
                           + CMSG_SPACE(sizeof(uint32_t))];
} zlt_udp_control_t;


/* prepared once, since most calls get but one or two */

typedef struct {
    struct iovec       iov[ZLT_UDP_SLOTS];
    struct mmsghdr     received[ZLT_UDP_SLOTS];
    zlt_udp_control_t  control[ZLT_UDP_SLOTS];
    zlt_sockaddr_t     from[ZLT_UDP_SLOTS];
} zlt_udp_receiver_t;


static int zlt_udp_socket_receive(zlt_udp_socket_t *u,
    zlt_udp_message_t *messages);
static void zlt_udp_socket_receiver_init(zlt_udp_receiver_t *r);
static unsigned zlt_udp_socket_message(zlt_udp_socket_t *u, struct msghdr *m,
    zlt_udp_control_t *control, struct iovec *iov, unsigned n);
static int zlt_udp_socket_no_segments(zlt_udp_socket_t *u,
    const struct msghdr *m);
static void zlt_udp_socket_received(zlt_udp_socket_t *u,
    zlt_udp_message_t *message, struct mmsghdr *received);
static int zlt_udp_socket_add(zlt_udp_socket_t *u, int fd, zlt_io_pt handler);


static uint8_t  zlt_udp_slots[ZLT_UDP_SLOTS][ZLT_UDP_SLOT_STRIDE];


int
zlt_udp_socket_connect(zlt_udp_socket_t *u, const struct sockaddr *sa,
    socklen_t socklen, zlt_io_pt handler)
{
    int  fd, err;

    fd = socket(sa->sa_family, SOCK_DGRAM, 0);
    if (fd == -1) {
        return -1;
    }

    (void) fcntl(fd, F_SETFD, FD_CLOEXEC);
    (void) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);

    if (connect(fd, sa, socklen) == -1) {
        goto failed;
    }

    if (zlt_addr_self(fd, sa)) {
        errno = ECONNREFUSED;
        goto failed;
    }

    if (zlt_udp_socket_add(u, fd, handler) == -1) {
        goto failed;
    }

    return 0;

failed:

    err = errno;
    (void) close(fd);
    errno = err;

    return -1;
}


int
zlt_udp_socket_bind(zlt_udp_socket_t *u, int fd, zlt_io_pt handler)
{
    return zlt_udp_socket_add(u, fd, handler);
}


static int
zlt_udp_socket_add(zlt_udp_socket_t *u, int fd, zlt_io_pt handler)
{
    int  size;

    u->waiting = 0;
    u->told = 0;

    if (zlt_io_add_datagram(&u->io, fd, handler) == -1) {
        return -1;
    }

    /* what the kernel allows of it; bursts come from the other end of a TCP
       connection, and a socket's default is a hundred datagrams */

    size = ZLT_UDP_BUFFER;
    (void) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(int));
    (void) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(int));

    size = 1;
    (void) setsockopt(fd, SOL_UDP, UDP_GRO, &size, sizeof(int));
    (void) setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &size, sizeof(int));

    u->segment = ZLT_UDP_MESSAGE / 2;

    return 0;
}


void
zlt_udp_socket_read(zlt_udp_socket_t *u, zlt_udp_socket_pt handler,
    zlt_task_t *more)
{
    int                k, n;
    zlt_udp_message_t  messages[ZLT_UDP_SLOTS];

    for (k = 0; k < ZLT_UDP_READS; k++) {

        n = zlt_udp_socket_receive(u, messages);

        if (n == 0 || handler(u, messages, n) == -1) {
            return;
        }
    }

    if (u->io.ready & ZLT_IO_READ) {
        zlt_io_post(more);
    }
}


void
zlt_udp_socket_wait(zlt_udp_socket_t *u, int wait)
{
    if (u->waiting != (unsigned) wait) {
        u->waiting = (unsigned) wait;
        zlt_io_await_write(&u->io, wait);
    }
}


/* Up to ZLT_UDP_SLOTS messages, into memory that all sockets share: their
   number, 0 if there is nothing, or -1 with errno set. */

static int
zlt_udp_socket_receive(zlt_udp_socket_t *u, zlt_udp_message_t *messages)
{
    int              i, n;
    struct mmsghdr  *received;

    static zlt_udp_receiver_t  r;

    if (!(u->io.ready & ZLT_IO_READ)) {
        return 0;
    }

    received = r.received;

    if (received[0].msg_hdr.msg_iov == NULL) {
        zlt_udp_socket_receiver_init(&r);
    }

    do {
        n = recvmmsg(u->io.fd, received, ZLT_UDP_SLOTS, MSG_DONTWAIT, NULL);
    } while (n == -1 && errno == EINTR);

    if (n == -1 && errno != EAGAIN) {
        return -1;
    }

    if (n < ZLT_UDP_SLOTS) {
        /* it stopped because nothing was left */
        zlt_io_clear(&u->io, ZLT_IO_READ);
    }

    for (i = 0; i < n; i++) {
        messages[i].data = zlt_udp_slots[i];
        zlt_udp_socket_received(u, &messages[i], &received[i]);

        received[i].msg_hdr.msg_controllen = sizeof(zlt_udp_control_t);
        received[i].msg_hdr.msg_namelen = sizeof(zlt_sockaddr_t);
    }

    return n == -1 ? 0 : n;
}


static void
zlt_udp_socket_receiver_init(zlt_udp_receiver_t *r)
{
    unsigned        i;
    struct msghdr  *m;

    for (i = 0; i < ZLT_UDP_SLOTS; i++) {
        r->iov[i].iov_base = zlt_udp_slots[i];
        r->iov[i].iov_len = ZLT_UDP_SLOT;

        m = &r->received[i].msg_hdr;
        m->msg_iov = &r->iov[i];
        m->msg_iovlen = 1;
        m->msg_control = &r->control[i];
        m->msg_controllen = sizeof(zlt_udp_control_t);
        m->msg_name = &r->from[i];
        m->msg_namelen = sizeof(zlt_sockaddr_t);
    }
}


/* The kernel tells of those that it dropped with the next that it takes. */

static void
zlt_udp_socket_received(zlt_udp_socket_t *u, zlt_udp_message_t *message,
    struct mmsghdr *received)
{
    int              size;
    uint32_t         drops;
    struct msghdr   *m;
    struct cmsghdr  *c;

    m = &received->msg_hdr;

    message->len = received->msg_len;
    message->segment = 0;
    message->from = m->msg_name;
    message->fromlen = m->msg_namelen;

    for (c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {

        if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
            memcpy(&size, CMSG_DATA(c), sizeof(int));

            if (size > 0) {
                message->segment = (size_t) size;
            }
        }

        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
            memcpy(&drops, CMSG_DATA(c), sizeof(uint32_t));

            *u->dropped += (uint32_t) (drops - u->told);
            u->told = drops;
        }
    }
}


unsigned
zlt_udp_socket_send_to(zlt_udp_socket_t *u, const struct sockaddr *to,
    socklen_t tolen, struct iovec *iov, unsigned n)
{
    int                i, sent;
    ssize_t            rc;
    unsigned           done, built, count;
    struct mmsghdr     out[ZLT_UDP_MESSAGES];
    zlt_udp_control_t  control[ZLT_UDP_MESSAGES];

    if (!(u->io.ready & ZLT_IO_WRITE)) {
        errno = EAGAIN;
        return 0;
    }

    if (n == 1) {
        /* the most frequent case, without the ceremony */

        do {
            rc = sendto(u->io.fd, iov->iov_base, iov->iov_len, 0, to, tolen);
        } while (rc == -1 && errno == EINTR);

        return rc == -1 ? 0 : 1;
    }

    done = 0;

    while (done < n) {

        built = done;

        for (count = 0; count < ZLT_UDP_MESSAGES && built < n; count++) {
            built += zlt_udp_socket_message(u, &out[count].msg_hdr,
                                            &control[count], &iov[built],
                                            n - built);

            out[count].msg_hdr.msg_name = (void *) (uintptr_t) to;
            out[count].msg_hdr.msg_namelen = tolen;
        }

        sent = sendmmsg(u->io.fd, out, count, 0);

        if (sent <= 0) {
            if (errno == EINTR
                || zlt_udp_socket_no_segments(u, &out[0].msg_hdr))
            {
                continue;
            }

            return done;
        }

        for (i = 0; i < sent; i++) {
            done += (unsigned) out[i].msg_hdr.msg_iovlen;
        }
    }

    return done;
}


/* One message of as many of the datagrams as can be; their number. */

static unsigned
zlt_udp_socket_message(zlt_udp_socket_t *u, struct msghdr *m,
    zlt_udp_control_t *control, struct iovec *iov, unsigned n)
{
    size_t           size, total;
    uint16_t         segment;
    unsigned         k;
    struct cmsghdr  *c;

    memset(m, 0, sizeof(struct msghdr));

    m->msg_iov = iov;
    m->msg_iovlen = 1;

    size = iov[0].iov_len;

    if (size == 0 || size > u->segment) {
        return 1;
    }

    if (n > ZLT_UDP_SEGMENTS) {
        n = ZLT_UDP_SEGMENTS;
    }

    total = size;

    for (k = 1; k < n; k++) {

        if (iov[k].iov_len > size || iov[k].iov_len == 0
            || total + iov[k].iov_len > ZLT_UDP_MESSAGE)
        {
            break;
        }

        total += iov[k].iov_len;

        if (iov[k].iov_len < size) {
            /* a shorter one can only be the last */
            k++;
            break;
        }
    }

    if (k == 1) {
        return 1;
    }

    m->msg_iovlen = k;
    m->msg_control = control;
    m->msg_controllen = CMSG_SPACE(sizeof(uint16_t));

    memset(control, 0, sizeof(zlt_udp_control_t));

    c = CMSG_FIRSTHDR(m);
    c->cmsg_level = SOL_UDP;
    c->cmsg_type = UDP_SEGMENT;
    c->cmsg_len = CMSG_LEN(sizeof(uint16_t));

    segment = (uint16_t) size;
    memcpy(CMSG_DATA(c), &segment, sizeof(uint16_t));

    return k;
}


/* 1 if what failed was to be cut, and may do if it is not. */

static int
zlt_udp_socket_no_segments(zlt_udp_socket_t *u, const struct msghdr *m)
{
    size_t  size;

    if (m->msg_iovlen == 1) {
        return 0;
    }

    switch (errno) {

    case EINVAL:
    case EMSGSIZE:
        size = m->msg_iov[0].iov_len;
        u->segment = (uint16_t) (size - 1);
        return 1;

    case EIO:                  /* the device cannot sum them */
    case EOPNOTSUPP:
    case ENOPROTOOPT:
        u->segment = 0;
        return 1;
    }

    return 0;
}
