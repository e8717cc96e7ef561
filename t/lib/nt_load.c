
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Loads: many connections through the tunnel to an echo service, each with
 * bytes of its own, which must come back exact and end with a clean EOF.
 *
 *     nettool held PORT CONNECTIONS ROUNDS [AT_ONCE]
 *
 *     opens all, 100 at a time or AT_ONCE, exchanges one message on each,
 *     prints "held N" and waits for a line on stdin while all stay open; then
 *     ROUNDS - 1 further exchanges on each, and a clean end.
 *
 *     nettool short PORT CONNECTIONS AT_ONCE
 *
 *     that many connections of one exchange each, AT_ONCE of them at a time.
 *
 * Prints "answered N p50 MS p99 MS", of the time from connect() to the end of the
 * first exchange, and "ok N failed N seconds S" at the end, and why the first few
 * failed.
 * Clients come from 127.0.1.1 to 127.0.1.50, so that closed connections that
 * linger in TIME_WAIT do not use up the local ports.
 */


#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "nettool.h"


#define NT_TIMEOUT     90      /* seconds without any progress */
#define NT_CONNECTING  100


typedef enum {
    NT_IDLE = 0,
    NT_CONNECT,
    NT_EXCHANGE,
    NT_WAIT,                   /* this round is over */
    NT_FIN,                    /* sent EOF, waits for it */
    NT_DONE
} nt_state_t;


typedef struct {
    int          fd;
    unsigned     id;
    nt_state_t   state;
    nt_stream_t  out;
    nt_stream_t  in;
    size_t       to_send;
    size_t       to_receive;
    double       started;
} nt_client_t;


static int      nt_epoll;
static int      nt_port;
static int      nt_round;
static int      nt_is_held;
static int      nt_connecting;
static int      nt_finished;   /* in this round, failed ones too */
static int      nt_ok;
static int      nt_failed;
static double   nt_progress;
static double  *nt_took;       /* ms, to the first answer of each */
static int      nt_answers;


static void
nt_end(nt_client_t *c, const char *error)
{
    if (error) {
        nt_failed++;

        if (nt_failed <= 10) {
            printf("connection %u: %s, state %d, %zu not sent, "
                   "%zu not received, after %.1f s\n", c->id, error, c->state,
                   c->to_send, c->to_receive, nt_now() - c->started);
        }

    } else {
        nt_ok++;
    }

    if (c->state == NT_CONNECT) {
        nt_connecting--;
    }

    nt_finished++;

    close(c->fd);
    c->fd = -1;
    c->state = NT_DONE;
}


static void
nt_start_round(nt_client_t *c)
{
    uint64_t  seed;

    seed = ((uint64_t) c->id << 16) + nt_round;

    nt_stream_init(&c->out, seed);
    nt_stream_init(&c->in, seed);

    c->to_send = nt_is_held ? 32 + (c->id * 37 + nt_round * 101) % 2000 : 48;
    c->to_receive = c->to_send;
}


static void
nt_watch(nt_client_t *c, int op, uint32_t events)
{
    struct epoll_event  ee;

    ee.events = events;
    ee.data.ptr = c;

    if (epoll_ctl(nt_epoll, op, c->fd, &ee) == -1) {
        nt_die("epoll_ctl()");
    }
}


static void
nt_connect(nt_client_t *c, unsigned id)
{
    int                 on = 1;
    struct sockaddr_in  sin;

    c->id = id;
    c->started = nt_now();
    c->fd = socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);
    if (c->fd == -1) {
        nt_die("socket()");
    }

    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_addr.s_addr = htonl(0x7f000101 + id % 50);

    if (bind(c->fd, (struct sockaddr *) &sin, sizeof(sin)) == -1) {
        nt_die("bind()");
    }

    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sin.sin_port = htons(nt_port);

    c->state = NT_CONNECT;
    nt_connecting++;
    nt_start_round(c);

    if (connect(c->fd, (struct sockaddr *) &sin, sizeof(sin)) == -1
        && errno != EINPROGRESS)
    {
        nt_end(c, strerror(errno));
        return;
    }

    nt_watch(c, EPOLL_CTL_ADD, EPOLLIN|EPOLLOUT);
}


static void
nt_send(nt_client_t *c)
{
    size_t       size;
    ssize_t      n;
    uint8_t      buf[2048];
    nt_stream_t  saved;

    while (c->to_send) {
        saved = c->out;
        size = c->to_send < sizeof(buf) ? c->to_send : sizeof(buf);
        nt_stream_read(&c->out, buf, size);

        n = write(c->fd, buf, size);

        if (n < (ssize_t) size) {
            c->out = saved;

            if (n == -1 && errno == EAGAIN) {
                return;
            }

            if (n == -1) {
                nt_end(c, strerror(errno));
                return;
            }

            nt_stream_read(&c->out, buf, n);
        }

        c->to_send -= n;
    }

    if (c->state == NT_EXCHANGE || c->state == NT_FIN) {
        nt_watch(c, EPOLL_CTL_MOD, EPOLLIN);
    }
}


static void
nt_fin(nt_client_t *c)
{
    c->state = NT_FIN;
    shutdown(c->fd, SHUT_WR);
}


static void
nt_receive(nt_client_t *c)
{
    ssize_t  n;
    uint8_t  buf[4096], expected[4096];

    for ( ;; ) {
        n = read(c->fd, buf, sizeof(buf));

        if (n == -1) {
            if (errno != EAGAIN) {
                nt_end(c, strerror(errno));
            }
            return;
        }

        if (n == 0) {
            nt_end(c, c->state == NT_FIN ? NULL : "unexpected EOF");
            return;
        }

        if ((size_t) n > c->to_receive) {
            nt_end(c, "more bytes than sent");
            return;
        }

        nt_stream_read(&c->in, expected, n);

        if (memcmp(buf, expected, n) != 0) {
            nt_end(c, "wrong bytes");
            return;
        }

        c->to_receive -= n;

        if (c->to_receive == 0) {

            if (nt_round == 0) {
                nt_took[nt_answers++] = (nt_now() - c->started) * 1000;
            }

            if (nt_is_held) {
                c->state = NT_WAIT;
                nt_finished++;
                return;
            }

            nt_fin(c);
        }
    }
}


static void
nt_event(nt_client_t *c)
{
    int        error;
    socklen_t  len;

    nt_progress = nt_now();

    if (c->state == NT_CONNECT) {
        len = sizeof(error);
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);

        if (error) {
            nt_end(c, strerror(error));
            return;
        }

        c->state = NT_EXCHANGE;
        nt_connecting--;
    }

    if (c->state == NT_EXCHANGE) {
        nt_send(c);
    }

    if (c->state == NT_WAIT) {
        nt_end(c, "ended while it was held");
        nt_finished--;
        return;
    }

    if (c->state != NT_DONE) {
        nt_receive(c);
    }
}


/* One turn of the loop; what waits too long has failed. */

static void
nt_turn(nt_client_t *clients, int n)
{
    int                 i, events;
    struct epoll_event  list[256];

    events = epoll_wait(nt_epoll, list, 256, 1000);

    for (i = 0; i < events; i++) {
        nt_event(list[i].data.ptr);
    }

    if (nt_now() - nt_progress < NT_TIMEOUT) {
        return;
    }

    for (i = 0; i < n; i++) {
        if (clients[i].state == NT_CONNECT || clients[i].state == NT_EXCHANGE
            || clients[i].state == NT_FIN)
        {
            nt_end(&clients[i], "timed out");
        }
    }
}


static nt_client_t *
nt_load_init(char **argv, int n)
{
    nt_client_t  *clients;

    nt_port = atoi(argv[1]);
    nt_epoll = epoll_create1(EPOLL_CLOEXEC);
    nt_progress = nt_now();

    clients = calloc(n, sizeof(nt_client_t));
    nt_took = calloc(atoi(argv[2]) + 1, sizeof(double));

    if (clients == NULL || nt_took == NULL) {
        nt_die("calloc()");
    }

    return clients;
}


static int
nt_longer(const void *a, const void *b)
{
    double  d;

    d = *(const double *) a - *(const double *) b;

    return (d > 0) - (d < 0);
}


static void
nt_answered(void)
{
    qsort(nt_took, nt_answers, sizeof(double), nt_longer);

    printf("answered %d p50 %.1f p99 %.1f\n", nt_answers,
           nt_took[nt_answers / 2], nt_took[nt_answers * 99 / 100]);
}


static int
nt_report(double started)
{
    printf("ok %d failed %d seconds %.2f\n", nt_ok, nt_failed,
           nt_now() - started);

    return nt_failed ? 1 : 0;
}


/*
 * While all are held, an event on one of them means that it has ended; it is
 * looked for until a line comes on stdin.
 */

static void
nt_hold(nt_client_t *clients, int n)
{
    char           line[64];
    struct pollfd  pfd[2];

    printf("held %d\n", n - nt_failed);

    pfd[0].fd = 0;
    pfd[0].events = POLLIN;
    pfd[1].fd = nt_epoll;
    pfd[1].events = POLLIN;

    for ( ;; ) {
        poll(pfd, 2, -1);

        if (pfd[1].revents) {
            nt_turn(clients, n);
        }

        if (pfd[0].revents) {
            if (read(0, line, sizeof(line)) <= 0) {
                exit(2);
            }
            return;
        }
    }
}


int
nt_held(int argc, char **argv)
{
    int           i, n, rounds, at_once, opened, lost;
    double        started;
    nt_client_t  *clients;

    if (argc != 4 && argc != 5) {
        fprintf(stderr, "usage: nettool held PORT CONNECTIONS ROUNDS "
                        "[AT_ONCE]\n");
        return 2;
    }

    nt_is_held = 1;
    n = atoi(argv[2]);
    rounds = atoi(argv[3]);
    at_once = argc == 5 ? atoi(argv[4]) : NT_CONNECTING;
    clients = nt_load_init(argv, n);
    started = nt_now();

    for (opened = 0; nt_finished < n; nt_turn(clients, n)) {
        while (opened < n && nt_connecting < at_once) {
            nt_connect(&clients[opened], opened + 1);
            opened++;
        }
    }

    printf("opened in %.2f s\n", nt_now() - started);
    nt_answered();

    nt_hold(clients, n);

    for (nt_round = 1; nt_round <= rounds; nt_round++) {
        lost = nt_failed;
        nt_finished = lost;
        nt_progress = nt_now();

        for (i = 0; i < n; i++) {
            if (clients[i].state != NT_WAIT) {
                continue;
            }

            if (nt_round == rounds) {
                nt_fin(&clients[i]);
                continue;
            }

            clients[i].state = NT_EXCHANGE;
            nt_start_round(&clients[i]);
            nt_send(&clients[i]);
        }

        while (nt_finished < n) {
            nt_turn(clients, n);
        }
    }

    return nt_report(started);
}


int
nt_short(int argc, char **argv)
{
    int           i, n, at_once, opened;
    double        started;
    nt_client_t  *clients;

    if (argc != 4) {
        fprintf(stderr, "usage: nettool short PORT CONNECTIONS AT_ONCE\n");
        return 2;
    }

    n = atoi(argv[2]);
    at_once = atoi(argv[3]);
    clients = nt_load_init(argv, at_once);
    started = nt_now();

    for (opened = 0; nt_finished < n; nt_turn(clients, at_once)) {
        for (i = 0; i < at_once && opened < n; i++) {
            if (clients[i].state == NT_IDLE || clients[i].state == NT_DONE) {
                nt_connect(&clients[i], ++opened);
            }
        }
    }

    nt_answered();

    return nt_report(started);
}
