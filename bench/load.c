
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The load generator of the benchmark.
 *
 *     load service PORT PROCESSES       the service itself
 *     load up PORT STREAMS BYTES        bytes a stream, to the service
 *     load down PORT STREAMS BYTES      and from it
 *     load rr PORT SECONDS              requests of 64 bytes, one at a time
 *     load connect PORT AT_ONCE SECONDS connections of one byte each way
 *     load burst PORT CLIENTS           that many connections in the same
 *                                       moment, a byte each way, open until
 *                                       all have had theirs
 *     load hold PORT CONNECTIONS        opens them, prints "held", waits for
 *                                       a line on stdin
 *     load udp-service PORT 1           the UDP service
 *     load udp PORT CLIENTS SECONDS WINDOW SIZE
 *                                       datagrams there and back
 *     load udp-rr PORT SECONDS SIZE     one at a time
 *
 * Each prints one line of figures; anything that did not arrive as it should
 * is an error: a message on stderr, exit 1.
 */


#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "load.h"


#define BENCH_TIMEOUT      30            /* seconds without any progress */
#define BENCH_MAX_STREAMS  64
#define BENCH_SAMPLES      4000000


typedef struct {
    int                 fd;
    char                mode;
    uint64_t            n;
    pthread_barrier_t  *start;
} bench_stream_t;


typedef struct {
    int                 fd;
    int                 sent;
} bench_short_t;


static int  bench_port;


void
bench_fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}


static double
bench_time(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec + ts.tv_nsec * 1e-9;
}


static int
bench_connect(int flags)
{
    int                 fd, on;
    struct timeval      tv;
    struct sockaddr_in  sin;

    fd = socket(AF_INET, SOCK_STREAM | flags, 0);
    if (fd == -1) {
        bench_fail("socket");
    }

    on = 1;
    tv.tv_sec = BENCH_TIMEOUT;
    tv.tv_usec = 0;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons(bench_port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    if (connect(fd, (struct sockaddr *) &sin, sizeof(sin)) == -1
        && errno != EINPROGRESS)
    {
        bench_fail("connect");
    }

    return fd;
}


static void
bench_send(int fd, const void *data, size_t len)
{
    ssize_t      n;
    const char  *p;

    for (p = data; len; p += n, len -= n) {
        n = send(fd, p, len, MSG_NOSIGNAL);
        if (n <= 0) {
            bench_fail("send");
        }
    }
}


static void
bench_recv(int fd, void *data, size_t len)
{
    char     *p;
    ssize_t   n;

    for (p = data; len; p += n, len -= n) {
        n = recv(fd, p, len, 0);

        if (n == 0) {
            errno = ECONNABORTED;
        }

        if (n <= 0) {
            bench_fail("recv");
        }
    }
}


/* One stream, a thread each: nothing else is to be waited for. */

static void *
bench_stream(void *data)
{
    char             header[BENCH_HEADER];
    size_t           size;
    ssize_t          n;
    uint64_t         left, count;
    bench_stream_t  *s;
    static char      buffer[BENCH_BUFFER];

    s = data;
    left = s->n;

    header[0] = s->mode;
    memcpy(header + 1, &left, sizeof(left));

    pthread_barrier_wait(s->start);

    bench_send(s->fd, header, sizeof(header));

    if (s->mode == 'u') {
        while (left) {
            size = left < BENCH_BUFFER ? left : BENCH_BUFFER;
            bench_send(s->fd, buffer, size);
            left -= size;
        }

        bench_recv(s->fd, &count, sizeof(count));

        if (count != s->n) {
            errno = EBADMSG;
            bench_fail("up: wrong number of bytes");
        }

        return NULL;
    }

    while (left) {
        size = left < (1 << 20) ? left : (1 << 20);
        n = recv(s->fd, NULL, size, MSG_TRUNC);

        if (n == 0) {
            errno = EBADMSG;
        }

        if (n <= 0) {
            bench_fail("down");
        }

        left -= n;
    }

    return NULL;
}


static void
bench_bulk(char mode, int streams, uint64_t n)
{
    int                i;
    double             start;
    pthread_t          threads[BENCH_MAX_STREAMS];
    bench_stream_t     s[BENCH_MAX_STREAMS];
    pthread_barrier_t  barrier;

    if (streams > BENCH_MAX_STREAMS) {
        errno = EINVAL;
        bench_fail("streams");
    }

    pthread_barrier_init(&barrier, NULL, streams + 1);

    for (i = 0; i < streams; i++) {
        s[i].fd = bench_connect(0);
        s[i].mode = mode;
        s[i].n = n;
        s[i].start = &barrier;

        errno = pthread_create(&threads[i], NULL, bench_stream, &s[i]);
        if (errno) {
            bench_fail("pthread_create");
        }
    }

    pthread_barrier_wait(&barrier);
    start = bench_time();

    for (i = 0; i < streams; i++) {
        pthread_join(threads[i], NULL);
    }

    printf("bytes %llu seconds %.6f\n", (unsigned long long) n * streams,
           bench_time() - start);
}


static int
bench_compare(const void *one, const void *two)
{
    float  a, b;

    a = *(const float *) one;
    b = *(const float *) two;

    return (a > b) - (a < b);
}


static void
bench_rr(double seconds)
{
    int        fd;
    char       out[BENCH_MESSAGE], in[BENCH_MESSAGE];
    float     *samples;
    double     now, then, end;
    size_t     n;

    samples = malloc(BENCH_SAMPLES * sizeof(float));
    if (samples == NULL) {
        bench_fail("malloc");
    }

    fd = bench_connect(0);
    bench_send(fd, "e", 1);

    memset(out, 'x', sizeof(out));
    n = 0;

    now = bench_time();
    end = now + seconds;

    while (now < end && n < BENCH_SAMPLES) {
        memcpy(out, &n, sizeof(n));
        then = now;

        bench_send(fd, out, sizeof(out));
        bench_recv(fd, in, sizeof(in));

        now = bench_time();
        samples[n++] = (now - then) * 1e6;

        if (memcmp(in, out, sizeof(in)) != 0) {
            errno = EBADMSG;
            bench_fail("rr: wrong answer");
        }
    }

    qsort(samples, n, sizeof(float), bench_compare);

    printf("requests %zu p50 %.2f p99 %.2f\n", n, samples[n / 2],
           samples[n * 99 / 100]);
}


/* A connection of one byte each way; 1 when it is done. */

static int
bench_short(bench_short_t *s)
{
    char     byte[2];
    ssize_t  n;

    if (!s->sent) {
        n = send(s->fd, "ec", 2, MSG_NOSIGNAL);

        if (n != 2) {
            bench_fail("connect: send");
        }

        s->sent = 1;
        return 0;
    }

    n = recv(s->fd, byte, 2, 0);

    if (n == -1 && errno == EAGAIN) {
        return 0;
    }

    if (n != 1 || byte[0] != 'c') {
        errno = n == -1 ? errno : EBADMSG;
        bench_fail("connect: recv");
    }

    close(s->fd);

    return 1;
}


static void
bench_start(int ep, bench_short_t *s)
{
    struct epoll_event  ee;

    s->fd = bench_connect(SOCK_NONBLOCK);
    s->sent = 0;

    ee.events = EPOLLIN | EPOLLOUT | EPOLLET;
    ee.data.ptr = s;

    if (epoll_ctl(ep, EPOLL_CTL_ADD, s->fd, &ee) == -1) {
        bench_fail("epoll_ctl");
    }
}


static void
bench_connections(int at_once, double seconds)
{
    int                  ep, i, n, active;
    double               start, end, now;
    uint64_t             done;
    bench_short_t       *conns;
    struct epoll_event   events[256];

    conns = calloc(at_once, sizeof(bench_short_t));
    ep = epoll_create1(0);

    if (conns == NULL || ep == -1) {
        bench_fail("connect");
    }

    start = bench_time();
    end = start + seconds;
    done = 0;

    for (active = 0; active < at_once; active++) {
        bench_start(ep, &conns[active]);
    }

    while (active) {
        n = epoll_wait(ep, events, 256, BENCH_TIMEOUT * 1000);

        if (n == 0) {
            errno = ETIMEDOUT;
            bench_fail("connect");
        }

        now = bench_time();

        for (i = 0; i < n; i++) {
            if (!bench_short(events[i].data.ptr)) {
                continue;
            }

            done++;

            if (now < end) {
                bench_start(ep, events[i].data.ptr);
            } else {
                active--;
            }
        }
    }

    printf("connections %llu seconds %.6f\n", (unsigned long long) done,
           bench_time() - start);
}


/*
 * One of a burst: 1 when it has had its byte, or was reset, which is counted
 * and is no error of the benchmark's.
 */

static int
bench_burst_step(bench_short_t *s, uint32_t events)
{
    int        err;
    char       byte[2];
    ssize_t    n;
    socklen_t  len;

    if (s->fd == -1) {
        return 0;
    }

    err = 0;
    len = sizeof(err);

    if (!s->sent && (events & (EPOLLERR | EPOLLHUP))) {
        getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &err, &len);
    }

    if (err == 0 && !s->sent && (events & EPOLLOUT)) {
        s->sent = 1;

        if (send(s->fd, "ec", 2, MSG_NOSIGNAL) != 2) {
            err = errno;
        }
    }

    if (err == 0) {
        n = recv(s->fd, byte, 2, 0);

        if (n == 1 && byte[0] == 'c') {
            return 1;
        }

        if (n == -1 && errno == EAGAIN) {
            return 0;
        }

        if (n > 0) {
            errno = EBADMSG;
            bench_fail("burst: recv");
        }
    }

    close(s->fd);
    s->fd = -1;

    return 1;
}


static void
bench_burst(int clients)
{
    int                  ep, i, n, done, resets;
    double               start, seconds;
    bench_short_t       *conns;
    struct epoll_event   events[256];

    conns = calloc(clients, sizeof(bench_short_t));
    ep = epoll_create1(0);

    if (conns == NULL || ep == -1) {
        bench_fail("burst");
    }

    start = bench_time();

    for (i = 0; i < clients; i++) {
        bench_start(ep, &conns[i]);
    }

    for (done = 0; done < clients; /* void */) {
        n = epoll_wait(ep, events, 256, BENCH_TIMEOUT * 1000);

        if (n == 0) {
            errno = ETIMEDOUT;
            bench_fail("burst");
        }

        for (i = 0; i < n; i++) {
            done += bench_burst_step(events[i].data.ptr, events[i].events);
        }
    }

    seconds = bench_time() - start;
    resets = 0;

    for (i = 0; i < clients; i++) {
        if (conns[i].fd == -1) {
            resets++;
        } else {
            close(conns[i].fd);
        }
    }

    printf("clients %d resets %d seconds %.6f\n", clients, resets, seconds);
}


static void
bench_hold(int n)
{
    int   i, *fds;
    char  line[16], byte;

    fds = calloc(n, sizeof(int));
    if (fds == NULL) {
        bench_fail("calloc");
    }

    for (i = 0; i < n; i++) {
        fds[i] = bench_connect(0);
        bench_send(fds[i], "eh", 2);
        bench_recv(fds[i], &byte, 1);
    }

    printf("held %d\n", n);
    fflush(stdout);

    if (fgets(line, sizeof(line), stdin) == NULL) {
        return;
    }

    /* still open, all of them? */

    for (i = 0; i < n; i++) {
        bench_send(fds[i], "h", 1);
        bench_recv(fds[i], &byte, 1);
        close(fds[i]);
    }

    printf("closed %d\n", n);
}


int
main(int argc, char **argv)
{
    double         arg;
    const char    *mode;
    struct rlimit  rl;

    if (argc < 4) {
        fprintf(stderr, "usage: load MODE PORT ARGUMENT [ARGUMENT]\n");
        return 2;
    }

    if (getrlimit(RLIMIT_NOFILE, &rl) == 0) {
        rl.rlim_cur = rl.rlim_max;
        setrlimit(RLIMIT_NOFILE, &rl);
    }

    mode = argv[1];
    bench_port = atoi(argv[2]);
    arg = argc > 4 ? atof(argv[4]) : 0;

    if (strcmp(mode, "service") == 0) {
        bench_service(bench_port, atoi(argv[3]));

    } else if (strcmp(mode, "up") == 0 || strcmp(mode, "down") == 0) {
        bench_bulk(mode[0], atoi(argv[3]), arg);

    } else if (strcmp(mode, "rr") == 0) {
        bench_rr(atof(argv[3]));

    } else if (strcmp(mode, "connect") == 0) {
        bench_connections(atoi(argv[3]), arg);

    } else if (strcmp(mode, "udp-service") == 0) {
        bench_udp_service(bench_port);

    } else if (strcmp(mode, "udp") == 0 && argc > 6) {
        bench_udp(bench_port, atoi(argv[3]), atoi(argv[5]), atoi(argv[6]),
                  arg);

    } else if (strcmp(mode, "udp-rr") == 0) {
        bench_udp_rr(bench_port, arg, atof(argv[3]));

    } else if (strcmp(mode, "burst") == 0) {
        bench_burst(atoi(argv[3]));

    } else if (strcmp(mode, "hold") == 0) {
        bench_hold(atoi(argv[3]));

    } else {
        fprintf(stderr, "unknown mode: %s\n", mode);
        return 2;
    }

    return 0;
}
