
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The local service: what all the compared ways lead to.  Several processes,
 * each with a listening socket of its own on the same port and an epoll loop,
 * so that it is never what the figures are limited by.
 */


#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "load.h"


#define BENCH_ROUNDS   8       /* buffers a wake-up, so that all get a turn */


typedef struct {
    int       fd;
    char      mode;            /* 0 until the first byte */
    char      header[BENCH_HEADER];
    size_t    got;             /* of the header */
    uint64_t  left;            /* bytes to come or to send */
    uint64_t  n;
} bench_conn_t;


static char  bench_buffer[BENCH_BUFFER];


static int
bench_listen(int port)
{
    int                 fd, on;
    struct sockaddr_in  sin;

    on = 1;
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons(port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    if (fd == -1
        || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == -1
        || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == -1
        || bind(fd, (struct sockaddr *) &sin, sizeof(sin)) == -1
        || listen(fd, 4096) == -1)
    {
        bench_fail("service: listen");
    }

    return fd;
}


static void
bench_accept(int ep, int listener)
{
    int                 fd, on;
    bench_conn_t       *c;
    struct epoll_event  ee;

    for ( ;; ) {
        fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);

        if (fd == -1) {
            return;
        }

        on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));

        c = calloc(1, sizeof(bench_conn_t));
        if (c == NULL) {
            bench_fail("service: calloc");
        }

        c->fd = fd;

        ee.events = EPOLLIN;
        ee.data.ptr = c;

        if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ee) == -1) {
            bench_fail("service: epoll_ctl");
        }
    }
}


static void
bench_interest(int ep, bench_conn_t *c, uint32_t events)
{
    struct epoll_event  ee;

    ee.events = events;
    ee.data.ptr = c;

    epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &ee);
}


/* All of these: 1 goes on, 0 waits for the socket, -1 ends the connection. */


static int
bench_result(ssize_t n)
{
    if (n > 0) {
        return 1;
    }

    return (n == -1 && (errno == EAGAIN || errno == EINTR)) ? 0 : -1;
}


static int
bench_header(int ep, bench_conn_t *c)
{
    size_t   want;
    ssize_t  n;

    want = (c->got && c->header[0] != 'e') ? BENCH_HEADER : 1;

    if (c->got < want) {
        n = recv(c->fd, c->header + c->got, want - c->got, 0);

        if (n <= 0) {
            return bench_result(n);
        }

        c->got += n;
        return 1;
    }

    c->mode = c->header[0];
    memcpy(&c->n, c->header + 1, sizeof(c->n));
    c->left = c->n;

    switch (c->mode) {

    case 'd':
        bench_interest(ep, c, EPOLLOUT);
        return 1;

    case 'e':
    case 'u':
        return 1;

    default:
        return -1;
    }
}


/* One message in flight: what does not fit into the socket is an error. */

static int
bench_echo(bench_conn_t *c)
{
    ssize_t  n;

    n = recv(c->fd, bench_buffer, sizeof(bench_buffer), 0);

    if (n <= 0) {
        return bench_result(n);
    }

    return send(c->fd, bench_buffer, n, MSG_NOSIGNAL) == n ? 0 : -1;
}


/* The bytes are counted, not copied: the service must cost little. */

static int
bench_sink(bench_conn_t *c)
{
    size_t   size;
    ssize_t  n;

    size = c->left < (1 << 20) ? c->left : (1 << 20);
    n = recv(c->fd, NULL, size, MSG_TRUNC);

    if (n <= 0) {
        return bench_result(n);
    }

    c->left -= n;

    if (c->left == 0) {
        if (send(c->fd, &c->n, sizeof(c->n), MSG_NOSIGNAL) != sizeof(c->n)) {
            return -1;
        }

        c->mode = 'e';
    }

    return 1;
}


static int
bench_source(int ep, bench_conn_t *c)
{
    size_t   size;
    ssize_t  n;

    size = c->left < BENCH_BUFFER ? c->left : BENCH_BUFFER;
    n = send(c->fd, bench_buffer, size, MSG_NOSIGNAL);

    if (n <= 0) {
        return bench_result(n);
    }

    c->left -= n;

    if (c->left == 0) {
        c->mode = 'e';
        bench_interest(ep, c, EPOLLIN);
    }

    return 1;
}


static void
bench_serve(int ep, bench_conn_t *c)
{
    int  i, rc;

    rc = 1;

    for (i = 0; i < BENCH_ROUNDS && rc == 1; i++) {
        switch (c->mode) {
        case 0:
            rc = bench_header(ep, c);
            break;
        case 'e':
            rc = bench_echo(c);
            break;
        case 'u':
            rc = bench_sink(c);
            break;
        default:
            rc = bench_source(ep, c);
        }
    }

    if (rc == -1) {
        close(c->fd);
        free(c);
    }
}


static void
bench_loop(int port)
{
    int                  ep, i, n, listener;
    struct epoll_event   ee, events[256];

    listener = bench_listen(port);
    ep = epoll_create1(0);

    ee.events = EPOLLIN;
    ee.data.ptr = NULL;

    if (ep == -1 || epoll_ctl(ep, EPOLL_CTL_ADD, listener, &ee) == -1) {
        bench_fail("service: epoll");
    }

    for ( ;; ) {
        n = epoll_wait(ep, events, 256, -1);

        for (i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL) {
                bench_accept(ep, listener);
            } else {
                bench_serve(ep, events[i].data.ptr);
            }
        }
    }
}


void
bench_service(int port, int processes)
{
    int  i;

    for (i = 0; i < processes; i++) {
        switch (fork()) {

        case -1:
            bench_fail("service: fork");
            break;

        case 0:
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            bench_loop(port);
        }
    }

    for ( ;; ) {
        if (wait(NULL) != -1) {
            bench_fail("service: a process ended");
        }
    }
}
