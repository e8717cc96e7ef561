
/*
 * Copyright (C) zltunnel authors
 */

/*
 * UDP: an echo service, and a load of many clients at it, each with datagrams
 * of its own, which must come back exact, in order, once, and to nobody else.
 *
 *     nettool udp-echo PORT
 *
 *     sends back what comes, until it is killed.
 *
 *     nettool udp PORT [clients=N] [count=N] [size=A[-B]] [window=N] [rate=N]
 *                      [quiet=MS] [seconds=N] [verify=0]
 *
 *     "count" datagrams of each client.  A client has at most "window" of them
 *     under way; what has not come back in "quiet" milliseconds (500) is
 *     lost.  With "rate", all clients together send that many a second,
 *     whatever comes back.  With "seconds" that is the end of it, too, if
 *     "count" has not come first.  With "verify=0" only the head of a datagram
 *     is its own, and looked at: for measurements.
 *
 * Prints "sent N received N lost N again N foreign N corrupt N refused N
 * seconds S p50 US p99 US".  "again" are those that are not newer than the
 * last one: twice, or out of order.  "foreign" are another client's.
 */


#define _GNU_SOURCE

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "nettool.h"


#define NT_BATCH    32
#define NT_LARGEST  65536
#define NT_BUFFER   (4 * 1024 * 1024)
#define NT_SAMPLES  (1 << 20)


typedef struct {
    uint32_t     client;
    uint32_t     seq;
    uint64_t     sent;         /* nanoseconds */
} nt_head_t;


typedef struct {
    int          fd;
    uint32_t     id;
    uint32_t     next;         /* to be sent */
    uint32_t     came;         /* the highest that came back, and one */
    uint32_t     settled;      /* came back, or are lost */
    double       moved;
} nt_udp_client_t;


typedef struct {
    unsigned     clients;
    uint32_t     count;
    size_t       least;
    size_t       most;
    uint32_t     window;
    double       rate;
    double       quiet;
    double       seconds;
    int          verify;
} nt_udp_conf_t;


static nt_udp_conf_t     nt_conf = { 1, 1000, 64, 64, 16, 0, 0.5, 0, 1 };

static uint8_t           nt_data[NT_BATCH][NT_LARGEST];
static struct iovec      nt_iov[NT_BATCH];
static struct mmsghdr    nt_msgs[NT_BATCH];
static struct sockaddr_in  nt_names[NT_BATCH];

static uint64_t          nt_sent, nt_received, nt_again, nt_foreign,
                         nt_corrupt, nt_refused;
static uint32_t         *nt_samples;
static unsigned          nt_nsamples;
static uint32_t          nt_run;


static int
nt_udp_socket(int port, int server)
{
    int                 fd, size;
    struct sockaddr_in  sin;

    fd = socket(AF_INET, SOCK_DGRAM|SOCK_CLOEXEC|SOCK_NONBLOCK, 0);
    if (fd == -1) {
        nt_die("socket()");
    }

    size = NT_BUFFER;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons(port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    if (server) {
        if (bind(fd, (struct sockaddr *) &sin, sizeof(sin)) == -1) {
            nt_die("bind()");
        }

    } else if (connect(fd, (struct sockaddr *) &sin, sizeof(sin)) == -1) {
        nt_die("connect()");
    }

    return fd;
}


static void
nt_udp_prepare(int names)
{
    int  i;

    memset(nt_msgs, 0, sizeof(nt_msgs));

    for (i = 0; i < NT_BATCH; i++) {
        nt_iov[i].iov_base = nt_data[i];
        nt_iov[i].iov_len = NT_LARGEST;
        nt_msgs[i].msg_hdr.msg_iov = &nt_iov[i];
        nt_msgs[i].msg_hdr.msg_iovlen = 1;

        if (names) {
            nt_msgs[i].msg_hdr.msg_name = &nt_names[i];
            nt_msgs[i].msg_hdr.msg_namelen = sizeof(nt_names[i]);
        }
    }
}


int
nt_udp_echo(int argc, char **argv)
{
    int            fd, i, n, done;
    struct pollfd  pfd;

    if (argc != 2) {
        fprintf(stderr, "usage: nettool udp-echo PORT\n");
        return 2;
    }

    fd = nt_udp_socket(atoi(argv[1]), 1);
    pfd.fd = fd;
    pfd.events = POLLIN;

    printf("ready\n");

    for ( ;; ) {
        nt_udp_prepare(1);

        n = recvmmsg(fd, nt_msgs, NT_BATCH, MSG_DONTWAIT, NULL);

        if (n == -1) {
            if (errno == EAGAIN) {
                poll(&pfd, 1, -1);
            }

            continue;
        }

        for (i = 0; i < n; i++) {
            nt_iov[i].iov_len = nt_msgs[i].msg_len;
        }

        /* an error is of one that is gone, and takes its datagram along */

        for (i = 0; i < n; i += (done > 0 ? done : 1)) {
            done = sendmmsg(fd, &nt_msgs[i], n - i, 0);
        }
    }
}


static int
nt_udp_options(int argc, char **argv)
{
    int            i;
    char          *value;
    unsigned long  a, b;

    for (i = 2; i < argc; i++) {
        value = strchr(argv[i], '=');

        if (value == NULL) {
            return -1;
        }

        *value++ = '\0';
        a = strtoul(value, &value, 10);
        b = (*value == '-') ? strtoul(value + 1, NULL, 10) : a;

        if (strcmp(argv[i], "clients") == 0) {
            nt_conf.clients = a;

        } else if (strcmp(argv[i], "count") == 0) {
            nt_conf.count = a;

        } else if (strcmp(argv[i], "size") == 0) {
            nt_conf.least = a;
            nt_conf.most = b;

        } else if (strcmp(argv[i], "window") == 0) {
            nt_conf.window = a;

        } else if (strcmp(argv[i], "rate") == 0) {
            nt_conf.rate = a;

        } else if (strcmp(argv[i], "quiet") == 0) {
            nt_conf.quiet = a / 1000.0;

        } else if (strcmp(argv[i], "seconds") == 0) {
            nt_conf.seconds = strtod(strchr(argv[i], 0) + 1, NULL);

        } else if (strcmp(argv[i], "verify") == 0) {
            nt_conf.verify = a;

        } else {
            return -1;
        }
    }

    return nt_conf.clients && nt_conf.count && nt_conf.window
           && nt_conf.least >= sizeof(nt_head_t)
           && nt_conf.most >= nt_conf.least && nt_conf.most <= 65507 ? 0 : -1;
}


/* Size and content depend on who and which it is, and on this run. */

static size_t
nt_udp_make(uint8_t *p, uint32_t client, uint32_t seq)
{
    size_t       len;
    nt_stream_t  s;

    if (!nt_conf.verify) {
        return nt_conf.least;
    }

    nt_stream_init(&s, ((uint64_t) (client ^ nt_run) << 32 | seq) + 1);

    len = nt_conf.least + (seq * 2654435761u >> 8)
                          % (nt_conf.most - nt_conf.least + 1);

    nt_stream_read(&s, p + sizeof(nt_head_t), len - sizeof(nt_head_t));

    return len;
}


/* Sends up to n; how many went. */

static unsigned
nt_udp_send(nt_udp_client_t *c, unsigned n)
{
    int        sent;
    unsigned   i;
    nt_head_t  head;

    if (n > NT_BATCH) {
        n = NT_BATCH;
    }

    for (i = 0; i < n; i++) {
        head.client = c->id ^ nt_run;
        head.seq = c->next + i;
        head.sent = (uint64_t) (nt_now() * 1e9);

        memcpy(nt_data[i], &head, sizeof(head));
        nt_iov[i].iov_len = nt_udp_make(nt_data[i], c->id, c->next + i);
    }

    do {
        sent = sendmmsg(c->fd, nt_msgs, n, 0);

        if (sent == -1 && errno == ECONNREFUSED) {
            nt_refused++;
        }
    } while (sent == -1 && errno == ECONNREFUSED);

    if (sent <= 0) {
        return 0;
    }

    c->next += sent;
    nt_sent += sent;

    return sent;
}


static void
nt_udp_came(nt_udp_client_t *c, const uint8_t *p, size_t len)
{
    uint64_t        now;
    nt_head_t       head;
    static uint8_t  right[NT_LARGEST];

    if (len < sizeof(head)) {
        nt_corrupt++;
        return;
    }

    memcpy(&head, p, sizeof(head));

    if (head.client != (c->id ^ nt_run)) {
        nt_foreign++;
        return;
    }

    if (head.seq >= c->next || nt_udp_make(right, c->id, head.seq) != len
        || (nt_conf.verify && memcmp(p + sizeof(head), right + sizeof(head),
                                     len - sizeof(head))))
    {
        nt_corrupt++;
        return;
    }

    if (head.seq < c->came) {
        nt_again++;
        return;
    }

    c->came = head.seq + 1;
    nt_received++;

    if (c->settled < c->came) {
        c->settled = c->came;
    }

    now = (uint64_t) (nt_now() * 1e9);
    nt_samples[nt_nsamples++ % NT_SAMPLES] = (now - head.sent) / 100;
}


static void
nt_udp_read(nt_udp_client_t *c, double now)
{
    int  i, n;

    do {
        for (i = 0; i < NT_BATCH; i++) {
            nt_iov[i].iov_len = NT_LARGEST;
        }

        n = recvmmsg(c->fd, nt_msgs, NT_BATCH, MSG_DONTWAIT, NULL);

        if (n == -1 && errno == ECONNREFUSED) {
            nt_refused++;
        }

        for (i = 0; i < n; i++) {
            nt_udp_came(c, nt_data[i], nt_msgs[i].msg_len);
        }

        if (n > 0) {
            c->moved = now;
        }
    } while (n == NT_BATCH);
}


/* 1 if nothing of this client's is under way or to come */

static int
nt_udp_over(nt_udp_client_t *c, double now)
{
    unsigned  room;

    if (c->settled < c->next && now - c->moved > nt_conf.quiet) {
        c->settled = c->next;
        c->moved = now;
    }

    while (nt_conf.rate == 0 && c->next < nt_conf.count) {

        room = nt_conf.window - (c->next - c->settled);

        if (room > nt_conf.count - c->next) {
            room = nt_conf.count - c->next;
        }

        /* not one by one, once there is a choice */

        if (room == 0 || (room < nt_conf.window / 4
                          && room < nt_conf.count - c->next))
        {
            break;
        }

        if (c->next == c->settled) {
            c->moved = now;
        }

        if (nt_udp_send(c, room) == 0) {
            break;
        }
    }

    return c->next >= nt_conf.count && c->settled == c->next;
}


/* At a rate, clients take turns. */

static void
nt_udp_pace(nt_udp_client_t *clients, double began, double now)
{
    double            due;
    nt_udp_client_t  *c;
    static unsigned   turn;

    due = (now - began) * nt_conf.rate;

    if (due > (double) nt_conf.clients * nt_conf.count) {
        due = (double) nt_conf.clients * nt_conf.count;
    }

    while (nt_sent < due) {
        c = &clients[turn++ % nt_conf.clients];

        if (c->next < nt_conf.count) {
            if (nt_udp_send(c, 1) == 0) {
                return;
            }

            c->moved = now;
        }
    }
}


static int
nt_udp_compare(const void *a, const void *b)
{
    uint32_t  x = *(const uint32_t *) a, y = *(const uint32_t *) b;

    return x < y ? -1 : x > y;
}


static void
nt_udp_report(double seconds)
{
    unsigned  n;

    n = nt_nsamples < NT_SAMPLES ? nt_nsamples : NT_SAMPLES;

    qsort(nt_samples, n, sizeof(uint32_t), nt_udp_compare);

    printf("sent %llu received %llu lost %llu again %llu foreign %llu "
           "corrupt %llu refused %llu seconds %.3f p50 %.1f p99 %.1f\n",
           (unsigned long long) nt_sent, (unsigned long long) nt_received,
           (unsigned long long) (nt_sent - nt_received),
           (unsigned long long) nt_again, (unsigned long long) nt_foreign,
           (unsigned long long) nt_corrupt, (unsigned long long) nt_refused,
           seconds, n ? nt_samples[n / 2] / 10.0 : 0,
           n ? nt_samples[(uint64_t) n * 99 / 100] / 10.0 : 0);
}


int
nt_udp(int argc, char **argv)
{
    int                  ep, i, n;
    double               began, now, looked;
    unsigned             k, over;
    nt_udp_client_t     *clients, *c;
    struct epoll_event   ee, events[256];

    if (argc < 2 || nt_udp_options(argc, argv) == -1) {
        fprintf(stderr, "usage: nettool udp PORT [clients=N] [count=N] "
                        "[size=A-B] [window=N] [rate=N] [quiet=MS] "
                        "[seconds=N] [verify=0]\n");
        return 2;
    }

    clients = calloc(nt_conf.clients, sizeof(nt_udp_client_t));
    nt_samples = malloc(NT_SAMPLES * sizeof(uint32_t));
    ep = epoll_create1(0);

    if (clients == NULL || nt_samples == NULL || ep == -1) {
        nt_die("calloc()");
    }

    nt_udp_prepare(0);

    began = nt_now();
    nt_run = (uint32_t) getpid() * 2654435761u;

    for (k = 0; k < nt_conf.clients; k++) {
        clients[k].fd = nt_udp_socket(atoi(argv[1]), 0);
        clients[k].id = k;
        clients[k].moved = began;

        ee.events = EPOLLIN;
        ee.data.ptr = &clients[k];
        epoll_ctl(ep, EPOLL_CTL_ADD, clients[k].fd, &ee);
    }

    looked = 0;
    over = 0;
    now = began;

    while (over < nt_conf.clients) {

        if (nt_conf.seconds && now - began > nt_conf.seconds) {

            /* this is the end: what is under way is waited for */

            nt_conf.seconds = 0;
            nt_conf.rate = 0;
            nt_conf.count = 0;
        }

        if (nt_conf.rate > 0) {
            nt_udp_pace(clients, began, now);
        }

        /* all of them now and then, for those that wait in vain */

        if (now - looked > 0.02) {
            looked = now;

            for (k = 0, over = 0; k < nt_conf.clients; k++) {
                over += nt_udp_over(&clients[k], now);
            }
        }

        n = epoll_wait(ep, events, 256, nt_conf.rate > 0 ? 1 : 20);
        now = nt_now();

        for (i = 0; i < n; i++) {
            c = events[i].data.ptr;
            nt_udp_read(c, now);
            (void) nt_udp_over(c, now);
        }
    }

    nt_udp_report(now - began);

    return 0;
}
