
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Local services, one epoll loop for all connections of one port.
 *
 *     nettool serve KIND PORT [BYTES]
 *
 *     echo     sends back what comes; EOF after the last byte of it
 *     greet    the same, but speaks first: "220 ready\r\n"
 *     sum      reads to EOF, then answers "SHA256 COUNT\n"
 *     source   sends BYTES bytes of the stream with seed 1, then EOF
 *     hold     accepts and never reads
 *     reset    resets the connection at its first byte
 *
 * Prints one line an event: "accept N", "eof N BYTES", "reset N BYTES",
 * "close N BYTES", where N counts connections and BYTES what was received.
 */


#define _GNU_SOURCE

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <openssl/evp.h>

#include "nettool.h"


#define NT_BUFFER  16384


typedef enum {
    NT_ECHO,
    NT_GREET,
    NT_SUM,
    NT_SOURCE,
    NT_HOLD,
    NT_RESET
} nt_kind_t;


typedef struct {
    int           fd;
    unsigned      id;
    uint32_t      events;      /* what epoll watches */
    uint64_t      received;
    uint64_t      to_send;     /* source: bytes not yet made */
    nt_stream_t   stream;
    EVP_MD_CTX   *md;
    unsigned      in_eof:1;
    unsigned      out_eof:1;
    size_t        pos;
    size_t        last;
    uint8_t       buf[NT_BUFFER];
} nt_conn_t;


static nt_kind_t  nt_kind;
static uint64_t   nt_bytes;
static int        nt_epoll;


static void
nt_close(nt_conn_t *c, const char *how)
{
    printf("%s %u %llu\n", how, c->id, (unsigned long long) c->received);

    EVP_MD_CTX_free(c->md);
    close(c->fd);
    free(c);
}


static void
nt_watch(nt_conn_t *c, uint32_t events)
{
    struct epoll_event  ee;

    if (c->events == events) {
        return;
    }

    ee.events = events;
    ee.data.ptr = c;

    if (epoll_ctl(nt_epoll, c->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd,
                  &ee)
        == -1)
    {
        nt_die("epoll_ctl()");
    }

    c->events = events;
}


static void
nt_accept(int ls)
{
    int              fd, on = 1;
    nt_conn_t       *c;
    static unsigned  id;

    for ( ;; ) {
        fd = accept4(ls, NULL, NULL, SOCK_NONBLOCK|SOCK_CLOEXEC);
        if (fd == -1) {
            if (errno == EAGAIN || errno == ECONNABORTED) {
                return;
            }
            nt_die("accept4()");
        }

        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));

        c = calloc(1, sizeof(nt_conn_t));
        if (c == NULL) {
            nt_die("calloc()");
        }

        c->fd = fd;
        c->id = ++id;

        printf("accept %u\n", c->id);

        if (nt_kind == NT_GREET) {
            c->last = sprintf((char *) c->buf, "220 ready\r\n");
        }

        if (nt_kind == NT_SOURCE) {
            c->to_send = nt_bytes;
            nt_stream_init(&c->stream, 1);
        }

        if (nt_kind == NT_SUM) {
            c->md = EVP_MD_CTX_new();
            EVP_DigestInit_ex(c->md, EVP_sha256(), NULL);
        }

        nt_watch(c, nt_kind == NT_HOLD ? EPOLLRDHUP
                                       : EPOLLIN|EPOLLRDHUP|EPOLLOUT);
    }
}


/* 0, or -1 if the connection is gone */

static int
nt_input(nt_conn_t *c)
{
    size_t         size;
    ssize_t        n;
    uint8_t        scratch[65536], *buf;
    struct linger  linger = { 1, 0 };

    while (!c->in_eof) {

        if (nt_kind == NT_ECHO || nt_kind == NT_GREET) {
            if (c->pos == c->last) {
                c->pos = c->last = 0;
            }

            buf = c->buf + c->last;
            size = NT_BUFFER - c->last;

            if (size == 0) {
                return 0;
            }

        } else {
            buf = scratch;
            size = sizeof(scratch);
        }

        n = read(c->fd, buf, size);

        if (n == -1) {
            if (errno == EAGAIN) {
                return 0;
            }

            nt_close(c, "reset");
            return -1;
        }

        if (n == 0) {
            c->in_eof = 1;
            printf("eof %u %llu\n", c->id, (unsigned long long) c->received);
            return 0;
        }

        c->received += n;

        if (nt_kind == NT_RESET) {
            setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
            nt_close(c, "close");
            return -1;
        }

        if (nt_kind == NT_SUM) {
            EVP_DigestUpdate(c->md, buf, n);
        }

        if (nt_kind == NT_ECHO || nt_kind == NT_GREET) {
            c->last += n;
        }
    }

    return 0;
}


/* Fills an empty buffer.  0 if there is nothing to send now. */

static int
nt_produce(nt_conn_t *c)
{
    char      hex[65];
    uint8_t   md[32];
    unsigned  len;

    c->pos = c->last = 0;

    if (c->to_send) {
        c->last = c->to_send < NT_BUFFER ? c->to_send : NT_BUFFER;
        nt_stream_read(&c->stream, c->buf, c->last);
        c->to_send -= c->last;
        return 1;
    }

    if (c->md && c->in_eof) {
        EVP_DigestFinal_ex(c->md, md, &len);
        EVP_MD_CTX_free(c->md);
        c->md = NULL;

        nt_hex(hex, md, 32);
        c->last = sprintf((char *) c->buf, "%s %llu\n", hex,
                          (unsigned long long) c->received);
        return 1;
    }

    return 0;
}


static int
nt_output(nt_conn_t *c)
{
    ssize_t  n;

    for ( ;; ) {

        if (c->pos == c->last && !nt_produce(c)) {
            break;
        }

        n = write(c->fd, c->buf + c->pos, c->last - c->pos);

        if (n == -1) {
            if (errno == EAGAIN) {
                return 0;
            }

            nt_close(c, "reset");
            return -1;
        }

        c->pos += n;
    }

    if (!c->out_eof && (c->in_eof || nt_kind == NT_SOURCE)) {
        shutdown(c->fd, SHUT_WR);
        c->out_eof = 1;
    }

    return 0;
}


static void
nt_event(nt_conn_t *c, uint32_t revents)
{
    uint32_t  events;

    if (nt_kind == NT_HOLD) {
        if (revents & (EPOLLERR|EPOLLHUP)) {
            nt_close(c, "reset");

        } else if (!c->in_eof) {
            c->in_eof = 1;
            printf("eof %u %llu\n", c->id, (unsigned long long) c->received);

            /* EPOLLERR and EPOLLHUP are always reported */
            nt_watch(c, EPOLLET);
        }

        return;
    }

    for ( ;; ) {
        if (nt_input(c) == -1 || nt_output(c) == -1) {
            return;
        }

        /* an echo that was blocked by a full buffer goes on reading */

        if (c->in_eof || c->last < NT_BUFFER || c->pos < c->last) {
            break;
        }
    }

    if (c->in_eof && c->out_eof) {
        nt_close(c, "close");
        return;
    }

    events = EPOLLERR;

    if (!c->in_eof && (c->last < NT_BUFFER || c->md || c->out_eof)) {
        events |= EPOLLIN;
    }

    if (c->pos < c->last) {
        events |= EPOLLOUT;
    }

    nt_watch(c, events);
}


int
nt_serve(int argc, char **argv)
{
    int                 i, n, ls;
    size_t              k;
    struct epoll_event  ee, list[256];

    static const char  *kinds[] = { "echo", "greet", "sum", "source", "hold",
                                    "reset" };

    if (argc < 3) {
        fprintf(stderr, "usage: nettool serve KIND PORT [BYTES]\n");
        return 2;
    }

    for (k = 0; k < 6 && strcmp(argv[1], kinds[k]); k++) { /* void */ }

    if (k == 6) {
        fprintf(stderr, "nettool: no such service: %s\n", argv[1]);
        return 2;
    }

    nt_kind = k;
    nt_bytes = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;

    nt_epoll = epoll_create1(EPOLL_CLOEXEC);
    ls = nt_listen(atoi(argv[2]));

    ee.events = EPOLLIN;
    ee.data.ptr = NULL;

    if (epoll_ctl(nt_epoll, EPOLL_CTL_ADD, ls, &ee) == -1) {
        nt_die("epoll_ctl()");
    }

    printf("ready\n");

    for ( ;; ) {
        n = epoll_wait(nt_epoll, list, 256, -1);

        for (i = 0; i < n; i++) {
            if (list[i].data.ptr == NULL) {
                nt_accept(ls);

            } else {
                nt_event(list[i].data.ptr, list[i].events);
            }
        }
    }
}
