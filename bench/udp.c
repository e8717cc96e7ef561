
/*
 * Copyright (C) zltunnel authors
 */

/*
 * UDP: a service that sends back what comes, and its clients.
 *
 * Each client has so many datagrams under way and sends one for each that
 * comes back.  What is lost is found when nothing has come for a while, and
 * sent anew: a path that loses does not stop, but the loss is counted.
 */


#define _GNU_SOURCE

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "load.h"


#define BENCH_DATAGRAM   65536
#define BENCH_BATCH      64
#define BENCH_CLIENTS    1024
#define BENCH_QUIET      0.2             /* seconds: then it is lost */
#define BENCH_UDP_MEMORY (4 * 1024 * 1024)


typedef struct {
    int                 fd;
    int                 under_way;
    double              heard;
} bench_client_t;


static struct mmsghdr      bench_msgs[BENCH_BATCH];
static struct iovec        bench_iovs[BENCH_BATCH];
static struct sockaddr_in  bench_addrs[BENCH_BATCH];
static char                bench_data[BENCH_BATCH][BENCH_DATAGRAM];


static double
bench_udp_time(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec + ts.tv_nsec * 1e-9;
}


static int
bench_udp_socket(int port, int server)
{
    int                 fd, size;
    struct sockaddr_in  sin;

    fd = socket(AF_INET, SOCK_DGRAM, 0);
    size = BENCH_UDP_MEMORY;

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons(port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    if (fd == -1
        || (server ? bind(fd, (struct sockaddr *) &sin, sizeof(sin))
                   : connect(fd, (struct sockaddr *) &sin, sizeof(sin)))
           == -1)
    {
        bench_fail("UDP socket");
    }

    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));

    return fd;
}


static int
bench_receive(int fd, int flags)
{
    int  i;

    for (i = 0; i < BENCH_BATCH; i++) {
        bench_iovs[i].iov_base = bench_data[i];
        bench_iovs[i].iov_len = BENCH_DATAGRAM;
        bench_msgs[i].msg_hdr.msg_iov = &bench_iovs[i];
        bench_msgs[i].msg_hdr.msg_iovlen = 1;
        bench_msgs[i].msg_hdr.msg_name = &bench_addrs[i];
        bench_msgs[i].msg_hdr.msg_namelen = sizeof(bench_addrs[i]);
    }

    return recvmmsg(fd, bench_msgs, BENCH_BATCH, flags, NULL);
}


void
bench_udp_service(int port)
{
    int  fd, i, n;

    fd = bench_udp_socket(port, 1);

    for ( ;; ) {
        n = bench_receive(fd, MSG_WAITFORONE);

        for (i = 0; i < n; i++) {
            bench_iovs[i].iov_len = bench_msgs[i].msg_len;
        }

        if (n > 0) {
            (void) sendmmsg(fd, bench_msgs, n, 0);
        }
    }
}


static void
bench_udp_send(bench_client_t *c, int n, size_t size)
{
    int  i, sent;

    while (n > 0) {

        for (i = 0; i < n && i < BENCH_BATCH; i++) {
            memset(bench_data[i], 'u', size > 8 ? 8 : size);
            bench_iovs[i].iov_base = bench_data[i];
            bench_iovs[i].iov_len = size;
            bench_msgs[i].msg_hdr.msg_iov = &bench_iovs[i];
            bench_msgs[i].msg_hdr.msg_iovlen = 1;
            bench_msgs[i].msg_hdr.msg_name = NULL;
            bench_msgs[i].msg_hdr.msg_namelen = 0;
        }

        sent = sendmmsg(c->fd, bench_msgs, i, 0);

        if (sent <= 0) {
            bench_fail("UDP send");
        }

        c->under_way += sent;
        n -= sent;
    }
}


static uint64_t
bench_udp_answers(bench_client_t *c, size_t size)
{
    int  i, n;

    n = bench_receive(c->fd, MSG_DONTWAIT);

    if (n <= 0) {
        return 0;
    }

    for (i = 0; i < n; i++) {
        if (bench_msgs[i].msg_len != size) {
            errno = EBADMSG;
            bench_fail("UDP: a datagram of another size");
        }
    }

    /* one that was given up may come yet */

    c->under_way = c->under_way > n ? c->under_way - n : 0;

    return n;
}


void
bench_udp(int port, int clients, int window, size_t size, double seconds)
{
    int                   ep, i, k, n;
    double                start, end, now;
    uint64_t              came, sent, lost;
    bench_client_t       *c;
    struct epoll_event    ee, events[256];
    static bench_client_t  all[BENCH_CLIENTS];

    ep = epoll_create1(0);
    came = sent = lost = 0;

    if (ep == -1 || clients > BENCH_CLIENTS || size > BENCH_DATAGRAM) {
        bench_fail("UDP");
    }

    start = bench_udp_time();
    end = start + seconds;

    for (i = 0; i < clients; i++) {
        c = &all[i];
        c->fd = bench_udp_socket(port, 0);
        c->heard = start;

        ee.events = EPOLLIN;
        ee.data.ptr = c;

        if (epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &ee) == -1) {
            bench_fail("epoll_ctl");
        }

        bench_udp_send(c, window, size);
        sent += window;
    }

    for (now = start; now < end; now = bench_udp_time()) {
        n = epoll_wait(ep, events, 256, 50);

        for (i = 0; i < n; i++) {
            c = events[i].data.ptr;
            k = bench_udp_answers(c, size);

            if (k) {
                came += k;
                sent += k;
                c->heard = now;
                bench_udp_send(c, k, size);
            }
        }

        for (i = 0; i < clients; i++) {
            c = &all[i];

            if (now - c->heard > BENCH_QUIET) {
                lost += c->under_way;
                c->under_way = 0;
                c->heard = now;
                bench_udp_send(c, window, size);
                sent += window;
            }
        }
    }

    now = bench_udp_time();

    /* what is under way yet */

    for (n = 1; n > 0; /* void */ ) {
        n = epoll_wait(ep, events, 256, (int) (BENCH_QUIET * 1000));

        for (i = 0; i < n; i++) {
            (void) bench_udp_answers(events[i].data.ptr, size);
        }
    }

    for (i = 0; i < clients; i++) {
        lost += all[i].under_way;
    }

    printf("datagrams %llu sent %llu lost %llu seconds %.6f\n",
           (unsigned long long) came, (unsigned long long) sent,
           (unsigned long long) lost, now - start);
}


static int
bench_udp_compare(const void *a, const void *b)
{
    double  x, y;

    x = *(const double *) a;
    y = *(const double *) b;

    return (x > y) - (x < y);
}


/* one at a time */

void
bench_udp_rr(int port, size_t size, double seconds)
{
    int            fd;
    double         start, before, now, *samples;
    size_t         n, room;
    uint64_t       lost;
    struct pollfd  pfd;

    room = 1000000;
    samples = malloc(room * sizeof(double));

    if (samples == NULL) {
        bench_fail("malloc");
    }

    fd = bench_udp_socket(port, 0);
    pfd.fd = fd;
    pfd.events = POLLIN;
    n = 0;
    lost = 0;

    start = bench_udp_time();

    do {
        before = bench_udp_time();

        if (send(fd, bench_data[0], size, 0) == -1) {
            bench_fail("UDP send");
        }

        if (poll(&pfd, 1, 1000) != 1) {
            lost++;
            now = bench_udp_time();
            continue;
        }

        if (recv(fd, bench_data[0], BENCH_DATAGRAM, 0) != (ssize_t) size) {
            errno = EBADMSG;
            bench_fail("UDP recv");
        }

        now = bench_udp_time();

        if (n < room) {
            samples[n++] = now - before;
        }

    } while (now - start < seconds);

    if (n == 0) {
        errno = ETIMEDOUT;
        bench_fail("UDP: no answer");
    }

    qsort(samples, n, sizeof(double), bench_udp_compare);

    printf("requests %zu lost %llu p50 %.2f p99 %.2f\n", n,
           (unsigned long long) lost, samples[n / 2] * 1e6,
           samples[n * 99 / 100] * 1e6);
}
