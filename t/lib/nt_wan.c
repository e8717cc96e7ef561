
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A path between two network namespaces: a tun device "wan0" in each, and what
 * a long path does to the packets between them.
 *
 *     nettool wan NEAR_PID FAR_PID
 *
 * It prints "ready" when the devices are there.  What path it is comes as lines
 * on standard input, DELAY LOSS RATE QUEUE: ms each way, per mille, kbit/s and
 * bytes; a rate of 0 is no limit, a queue of 0 drops nothing.  "forget" is
 * what a NAT does that loses its table: packets of connections seen until then
 * go nowhere, but for a SYN, which begins another one.  Each line is answered
 * by "set".  It ends with standard input.
 */


#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>

#include "nettool.h"


#define NT_WAN_PACKET  2048
#define NT_WAN_FLOWS   65536          /* a power of two */


typedef struct nt_packet_s  nt_packet_t;

struct nt_packet_s {
    nt_packet_t  *next;
    int64_t       due;               /* ns */
    size_t        len;
    uint8_t       data[NT_WAN_PACKET];
};


/* one direction */

typedef struct {
    int           in;
    int           out;
    nt_packet_t  *head;
    nt_packet_t  *tail;
    int64_t       free_at;           /* the last one has left the queue */
} nt_way_t;


static int64_t      nt_wan_delay;    /* ns */
static long         nt_wan_loss;     /* of 1000 */
static double       nt_wan_rate;     /* bytes a ns; 0: no limit */
static double       nt_wan_queue;    /* bytes */
static nt_packet_t *nt_wan_unused;
static unsigned     nt_wan_age = 1;  /* of connections that are seen now */

/* the age in which a connection was first seen, by a hash of its ports; two
   with the same hash are one */
static unsigned     nt_wan_flow[NT_WAN_FLOWS];


static int64_t
nt_wan_now(void)
{
    struct timespec  t;

    clock_gettime(CLOCK_MONOTONIC, &t);

    return t.tv_sec * 1000000000ll + t.tv_nsec;
}


/* A device in the namespace of that process, which ours becomes, too. */

static int
nt_wan_device(const char *pid)
{
    int           ns, fd;
    char          path[64];
    struct ifreq  ifr;

    snprintf(path, sizeof(path), "/proc/%s/ns/net", pid);

    ns = open(path, O_RDONLY|O_CLOEXEC);

    if (ns == -1 || setns(ns, CLONE_NEWNET) == -1) {
        nt_die(path);
    }

    (void) close(ns);

    fd = open("/dev/net/tun", O_RDWR|O_NONBLOCK|O_CLOEXEC);
    if (fd == -1) {
        nt_die("/dev/net/tun");
    }

    memset(&ifr, 0, sizeof(ifr));
    strcpy(ifr.ifr_name, "wan0");
    ifr.ifr_flags = IFF_TUN|IFF_NO_PI;

    if (ioctl(fd, TUNSETIFF, &ifr) == -1) {
        nt_die("TUNSETIFF");
    }

    return fd;
}


static nt_packet_t *
nt_wan_packet(void)
{
    nt_packet_t  *p;

    p = nt_wan_unused;

    if (p) {
        nt_wan_unused = p->next;
        return p;
    }

    p = malloc(sizeof(nt_packet_t));
    if (p == NULL) {
        nt_die("malloc");
    }

    return p;
}


static void
nt_wan_free(nt_packet_t *p)
{
    p->next = nt_wan_unused;
    nt_wan_unused = p;
}


/* Whether the connection of an IPv4 packet was forgotten. */

static int
nt_wan_forgotten(const nt_packet_t *p)
{
    int        syn;
    size_t     h;
    uint32_t   a, b;
    unsigned  *flow;

    h = (size_t) (p->data[0] & 15) * 4;

    if (p->data[0] >> 4 != 4 || p->len < h + 4) {
        return 0;
    }

    a = (uint32_t) (p->data[h] << 8 | p->data[h + 1]);
    b = (uint32_t) (p->data[h + 2] << 8 | p->data[h + 3]);

    /* the same in both directions */
    flow = &nt_wan_flow[((a ^ b) * 40503u ^ (a + b) * 2654435761u
                         ^ p->data[9]) & (NT_WAN_FLOWS - 1)];

    /* another connection of these ports, or of their hash, begins with SYN */

    syn = (p->data[9] == IPPROTO_TCP && p->len > h + 13
           && (p->data[h + 13] & (TH_SYN|TH_ACK)) == TH_SYN);

    if (*flow == 0 || syn) {
        *flow = nt_wan_age;
    }

    return *flow != nt_wan_age;
}


/* What has been sent enters the queue, or is lost. */

static void
nt_wan_take(nt_way_t *w)
{
    ssize_t       n;
    int64_t       now;
    nt_packet_t  *p;

    for ( ;; ) {
        p = nt_wan_packet();

        n = read(w->in, p->data, NT_WAN_PACKET);

        if (n <= 0) {
            nt_wan_free(p);
            return;
        }

        now = nt_wan_now();

        if (w->free_at < now) {
            w->free_at = now;
        }

        p->len = (size_t) n;

        if (nt_wan_forgotten(p)
            || random() % 1000 < nt_wan_loss
            || (nt_wan_queue > 0
                && (double) (w->free_at - now) * nt_wan_rate > nt_wan_queue))
        {
            nt_wan_free(p);
            continue;
        }

        if (nt_wan_rate > 0) {
            w->free_at += (int64_t) ((double) n / nt_wan_rate);
        }

        p->next = NULL;
        p->due = w->free_at + nt_wan_delay;

        if (w->tail) {
            w->tail->next = p;

        } else {
            w->head = p;
        }

        w->tail = p;
    }
}


static void
nt_wan_give(nt_way_t *w)
{
    int64_t       now;
    nt_packet_t  *p;

    now = nt_wan_now();

    while (w->head && w->head->due <= now) {
        p = w->head;

        w->head = p->next;

        if (w->head == NULL) {
            w->tail = NULL;
        }

        if (write(w->out, p->data, p->len) == -1 && errno != EAGAIN) {
            /* the device is not up: lost as well */
        }

        nt_wan_free(p);
    }
}


/* 0 at the end of the input. */

static int
nt_wan_set(void)
{
    char     line[256];
    double   delay, rate, queue;
    long     loss;
    ssize_t  n;

    n = read(STDIN_FILENO, line, sizeof(line) - 1);

    if (n <= 0) {
        return 0;
    }

    line[n] = '\0';

    if (strcmp(line, "forget\n") == 0) {
        nt_wan_age++;
        printf("set\n");
        return 1;
    }

    if (sscanf(line, "%lf %ld %lf %lf", &delay, &loss, &rate, &queue) != 4) {
        nt_die(line);
    }

    nt_wan_delay = (int64_t) (delay * 1e6);
    nt_wan_loss = loss;
    nt_wan_rate = rate * 1000 / 8 / 1e9;
    nt_wan_queue = queue;

    printf("set\n");

    return 1;
}


int
nt_wan(int argc, char **argv)
{
    int              i;
    int64_t          due, wait;
    nt_way_t         way[2];
    struct pollfd    pfd[3];
    struct timespec  t;

    if (argc < 3) {
        return 2;
    }

    memset(way, 0, sizeof(way));

    way[0].in = way[1].out = nt_wan_device(argv[1]);
    way[1].in = way[0].out = nt_wan_device(argv[2]);

    printf("ready\n");

    pfd[2].fd = STDIN_FILENO;
    pfd[2].events = POLLIN;

    for ( ;; ) {
        due = 0;

        for (i = 0; i < 2; i++) {
            pfd[i].fd = way[i].in;
            pfd[i].events = POLLIN;

            if (way[i].head && (due == 0 || way[i].head->due < due)) {
                due = way[i].head->due;
            }
        }

        wait = due ? due - nt_wan_now() : 0;
        wait = wait > 0 ? wait : 0;

        t.tv_sec = wait / 1000000000;
        t.tv_nsec = wait % 1000000000;

        pfd[2].revents = 0;

        if (ppoll(pfd, 3, due ? &t : NULL, NULL) == -1 && errno != EINTR) {
            nt_die("ppoll");
        }

        if (pfd[2].revents && !nt_wan_set()) {
            return 0;
        }

        for (i = 0; i < 2; i++) {
            nt_wan_take(&way[i]);
            nt_wan_give(&way[i]);
        }
    }
}
