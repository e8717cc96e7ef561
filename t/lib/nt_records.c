
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A load that goes on while something happens to the tunnel: long connections
 * on which numbered records go to an echo service and come back, and short
 * ones of one record each, opened all the time.
 *
 *     nettool records PORT,.. LONG INTERVAL SHORT PAUSE
 *
 *     LONG connections, spread over the ports, send a record each INTERVAL ms;
 *     SHORT others at a time open, exchange a record, end cleanly, and come
 *     again PAUSE ms after.
 *
 * Prints "running N" when all long ones have had their first record back, and
 * at once for each that fails
 *
 *     lost CLASS ID SECONDS HOW
 *
 * where CLASS is long or short, SECONDS the age of the connection, and HOW
 * what happened to it: a record missing, repeated, out of order or wrong, an
 * EOF or a reset that was not asked for, no answer for NT_SILENCE seconds.
 *
 * Commands on stdin:
 *
 *     report      prints "report long N lost L eof E reset R short N lost L
 *                 records N slowest MS slowest-short MS"; N of long is those
 *                 that live, of short those that ended well, and the slowest
 *                 record and short connection since the last report
 *     short N     that many short ones at a time from now on
 *     fill N      opens further long ones, N in all
 *     end         long ones get back what is under way, and end cleanly;
 *                 then "ended OK FAILED"; exit code 1 if any was lost
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


#define NT_RECORD    64         /* bytes */
#define NT_UNDERWAY  64         /* records of a connection, at most */
#define NT_SILENCE   30         /* s without an answer */
#define NT_PORTS     64
#define NT_LONG_MAX  4096
#define NT_OPENING   64         /* long ones at once, at the start */


typedef enum {
    NT_UNUSED = 0,
    NT_CONNECTING,
    NT_OPEN,
    NT_ENDING,                  /* sent FIN, waits for it */
    NT_OVER
} nt_rstate_t;


typedef struct {
    int          fd;
    unsigned     id;
    unsigned     port;
    unsigned     is_long:1;
    unsigned     answered:1;
    nt_rstate_t  state;
    double       opened;
    double       next;          /* record, or next life of a short one */
    double       waits;         /* for an answer, since then */
    uint32_t     sent;          /* records */
    uint32_t     received;
    double       at[NT_UNDERWAY];
    size_t       unsent;        /* bytes of the last record */
    size_t       have;
    uint8_t      in[NT_RECORD];
} nt_rconn_t;


static nt_rconn_t  *nt_long;
static nt_rconn_t  *nt_short_ones;

static int          nt_nlong, nt_nshort, nt_wanted_short;
static unsigned     nt_ports[NT_PORTS], nt_nports, nt_next_port;
static unsigned     nt_ids;
static int          nt_epoll;
static double       nt_interval, nt_pause;
static int          nt_stopping;

static unsigned     nt_long_lost, nt_long_eof, nt_long_reset, nt_long_ok;
static unsigned     nt_short_lost, nt_short_ok;
static unsigned     nt_first;   /* long ones that had an answer */
static uint64_t     nt_records;
static double       nt_slowest, nt_slowest_short;


static void
nt_record_make(nt_rconn_t *c, uint32_t n, uint8_t *buf)
{
    nt_stream_t  s;
    char         head[40];

    nt_stream_init(&s, ((uint64_t) c->id << 32) + n);
    nt_stream_read(&s, buf, NT_RECORD);

    /* readable, should one of them turn up where it does not belong */

    snprintf(head, sizeof(head), "%010u/%010u ", c->id, n);
    memcpy(buf, head, 22);
    buf[NT_RECORD - 1] = '\n';
}


static void
nt_over(nt_rconn_t *c, const char *how)
{
    double  now;

    now = nt_now();

    if (how) {
        printf("lost %s %u %.3f %s (port %u, %u sent, %u received)\n",
               c->is_long ? "long" : "short", c->id, now - c->opened, how,
               c->port, c->sent, c->received);

        if (c->is_long) {
            nt_long_lost++;
        } else {
            nt_short_lost++;
        }

    } else if (c->is_long) {
        nt_long_ok++;

    } else {
        nt_short_ok++;

        if (now - c->opened > nt_slowest_short) {
            nt_slowest_short = now - c->opened;
        }
    }

    close(c->fd);

    c->fd = -1;
    c->state = NT_OVER;
    c->next = now + nt_pause;
}


static void
nt_failed_read(nt_rconn_t *c, int err)
{
    char  text[80];

    if (c->is_long) {
        nt_long_reset++;
    }

    snprintf(text, sizeof(text), "%s: %s",
             c->state == NT_CONNECTING ? "refused" : "reset", strerror(err));
    nt_over(c, text);
}


static void
nt_watch(nt_rconn_t *c, int op, uint32_t events)
{
    struct epoll_event  ee;

    ee.events = events;
    ee.data.ptr = c;

    if (epoll_ctl(nt_epoll, op, c->fd, &ee) == -1) {
        nt_die("epoll_ctl()");
    }
}


static void
nt_open(nt_rconn_t *c, int is_long)
{
    int                 on = 1;
    struct sockaddr_in  sin;

    memset(c, 0, sizeof(nt_rconn_t));

    c->is_long = is_long;
    c->id = ++nt_ids;
    c->port = nt_ports[nt_next_port++ % nt_nports];
    c->opened = nt_now();
    c->next = c->opened;
    c->waits = c->opened;
    c->state = NT_CONNECTING;

    c->fd = socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);
    if (c->fd == -1) {
        nt_die("socket()");
    }

    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_addr.s_addr = htonl(0x7f000101 + c->id % 100);

    if (bind(c->fd, (struct sockaddr *) &sin, sizeof(sin)) == -1) {
        nt_die("bind()");
    }

    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sin.sin_port = htons(c->port);

    if (connect(c->fd, (struct sockaddr *) &sin, sizeof(sin)) == -1
        && errno != EINPROGRESS)
    {
        nt_failed_read(c, errno);
        return;
    }

    nt_watch(c, EPOLL_CTL_ADD, EPOLLIN|EPOLLOUT);
}


static void
nt_send_record(nt_rconn_t *c)      /* c may be over then */
{
    size_t   from;
    ssize_t  n;
    uint8_t  buf[NT_RECORD];

    if (c->unsent == 0) {

        if (c->sent - c->received == NT_UNDERWAY) {
            return;
        }

        c->at[c->sent % NT_UNDERWAY] = nt_now();

        if (c->sent == c->received) {
            c->waits = c->at[c->sent % NT_UNDERWAY];
        }

        c->sent++;
        c->unsent = NT_RECORD;
    }

    nt_record_make(c, c->sent - 1, buf);
    from = NT_RECORD - c->unsent;

    n = send(c->fd, buf + from, c->unsent, MSG_NOSIGNAL);

    if (n == -1) {
        if (errno == EAGAIN) {
            return;
        }

        /* told once: reading would show an end.  EPIPE is a reset after one */

        if (errno == ECONNRESET) {
            nt_failed_read(c, errno);

        } else {
            c->unsent = 0;
        }

        return;
    }

    c->unsent -= n;
}


static void
nt_fin_record(nt_rconn_t *c)
{
    c->state = NT_ENDING;
    c->waits = nt_now();
    shutdown(c->fd, SHUT_WR);
}


static void
nt_record_in(nt_rconn_t *c)
{
    double    took;
    unsigned  id, n;
    uint8_t   expected[NT_RECORD];
    char      text[100];

    nt_record_make(c, c->received, expected);

    if (memcmp(c->in, expected, NT_RECORD) != 0) {

        c->in[NT_RECORD - 1] = '\0';

        if (sscanf((char *) c->in, "%10u/%10u ", &id, &n) == 2 && id == c->id)
        {
            snprintf(text, sizeof(text), "record %u where %u should be", n,
                     c->received);

        } else {
            snprintf(text, sizeof(text), "wrong bytes at record %u",
                     c->received);
        }

        nt_over(c, text);
        return;
    }

    took = nt_now() - c->at[c->received % NT_UNDERWAY];

    if (took > nt_slowest) {
        nt_slowest = took;
    }

    c->received++;
    c->waits = nt_now();
    nt_records++;

    if (c->is_long && !c->answered) {
        c->answered = 1;
        nt_first++;
    }

    if (!c->is_long || (nt_stopping && c->received == c->sent)) {
        nt_fin_record(c);
    }
}


static void
nt_receive_records(nt_rconn_t *c)
{
    ssize_t  n;

    while (c->fd != -1) {
        n = recv(c->fd, c->in + c->have, NT_RECORD - c->have, 0);

        if (n == -1) {
            if (errno != EAGAIN) {
                nt_failed_read(c, errno);
            }
            return;
        }

        if (n == 0) {

            if (c->state == NT_ENDING && c->received == c->sent
                && c->have == 0)
            {
                nt_over(c, NULL);
                return;
            }

            if (c->is_long) {
                nt_long_eof++;
            }

            nt_over(c, "an end that was not asked for");
            return;
        }

        if (c->state == NT_ENDING) {
            nt_over(c, "more than was sent");
            return;
        }

        c->have += n;

        if (c->have == NT_RECORD) {
            c->have = 0;
            nt_record_in(c);
        }
    }
}


static void
nt_record_event(nt_rconn_t *c)
{
    int        error;
    socklen_t  len;

    if (c->state == NT_CONNECTING) {
        len = sizeof(error);
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);

        if (error) {
            nt_failed_read(c, error);
            return;
        }

        c->state = NT_OPEN;
        nt_watch(c, EPOLL_CTL_MOD, EPOLLIN);
        nt_send_record(c);
    }

    nt_receive_records(c);
}


static void
nt_long_turn(double now)
{
    int          i, opening;
    nt_rconn_t  *c;

    opening = 0;

    for (i = 0; i < nt_nlong; i++) {
        c = &nt_long[i];

        if (c->state == NT_UNUSED) {
            if (!nt_stopping && opening < NT_OPENING) {
                opening++;
                nt_open(c, 1);

                /* not all in step */
                c->next = now + nt_interval * (i % 16) / 16;
            }

            continue;
        }

        if (c->state == NT_OVER) {
            continue;
        }

        if (!c->answered) {
            opening++;
        }

        if (c->state == NT_OPEN
            && (c->unsent || (!nt_stopping && c->answered && now >= c->next)))
        {
            if (c->unsent == 0) {
                c->next = now + nt_interval;
            }

            nt_send_record(c);
        }

        if (nt_stopping && c->state == NT_OPEN && c->received == c->sent) {
            nt_fin_record(c);
        }

        if (c->state != NT_OVER
            && (c->received < c->sent || c->state != NT_OPEN)
            && now - c->waits > NT_SILENCE)
        {
            nt_over(c, "no answer");
        }
    }
}


static void
nt_short_turn(double now)
{
    int          i;
    nt_rconn_t  *c;

    for (i = 0; i < nt_nshort; i++) {
        c = &nt_short_ones[i];

        if (c->state == NT_UNUSED || c->state == NT_OVER) {

            if (i < nt_wanted_short && !nt_stopping && now >= c->next
                && nt_first + nt_long_lost >= (unsigned) nt_nlong)
            {
                nt_open(c, 0);
            }

            continue;
        }

        if (c->unsent) {
            nt_send_record(c);
        }

        if (c->state != NT_OVER && now - c->opened > NT_SILENCE) {
            nt_over(c, "no answer");
        }
    }
}


static int
nt_alive(nt_rconn_t *c, int n)
{
    int  i, alive;

    for (i = 0, alive = 0; i < n; i++) {
        if (c[i].state != NT_OVER && c[i].state != NT_UNUSED) {
            alive++;
        }
    }

    return alive;
}


static void
nt_command(void)
{
    int          n;
    char        *p, *line;
    ssize_t      len;

    static char    buf[256];
    static size_t  have;

    len = read(0, buf + have, sizeof(buf) - 1 - have);

    if (len <= 0) {
        exit(2);
    }

    have += len;
    buf[have] = '\0';

    for (line = buf; (p = strchr(line, '\n')) != NULL; line = p + 1) {

        *p = '\0';

        if (strcmp(line, "report") == 0) {
            printf("report long %d lost %u eof %u reset %u short %u lost %u "
                   "records %llu slowest %d slowest-short %d\n",
                   nt_alive(nt_long, nt_nlong), nt_long_lost, nt_long_eof,
                   nt_long_reset, nt_short_ok, nt_short_lost,
                   (unsigned long long) nt_records, (int) (nt_slowest * 1000),
                   (int) (nt_slowest_short * 1000));

            nt_slowest = 0;
            nt_slowest_short = 0;

        } else if (sscanf(line, "short %d", &n) == 1) {
            nt_wanted_short = n < nt_nshort ? n : nt_nshort;

        } else if (sscanf(line, "fill %d", &n) == 1) {
            nt_nlong = n < NT_LONG_MAX ? n : NT_LONG_MAX;

        } else if (strcmp(line, "end") == 0) {
            nt_stopping = 1;
        }
    }

    have -= line - buf;
    memmove(buf, line, have);
}


static void
nt_records_init(char **argv)
{
    char  *p;

    for (p = strtok(argv[1], ","); p; p = strtok(NULL, ",")) {
        if (nt_nports < NT_PORTS) {
            nt_ports[nt_nports++] = atoi(p);
        }
    }

    nt_nlong = atoi(argv[2]);
    nt_interval = atoi(argv[3]) / 1000.0;
    nt_nshort = atoi(argv[4]);
    nt_wanted_short = nt_nshort;
    nt_pause = atoi(argv[5]) / 1000.0;

    if (nt_nports == 0 || nt_nlong > NT_LONG_MAX) {
        fprintf(stderr, "nettool: no ports, or too many connections\n");
        exit(2);
    }

    nt_long = calloc(NT_LONG_MAX, sizeof(nt_rconn_t));
    nt_short_ones = calloc(nt_nshort + 1, sizeof(nt_rconn_t));
    nt_epoll = epoll_create1(EPOLL_CLOEXEC);

    if (nt_long == NULL || nt_short_ones == NULL || nt_epoll == -1) {
        nt_die("calloc()");
    }
}


int
nt_records_run(int argc, char **argv)
{
    int                 i, n, said;
    double              now, last;
    struct pollfd       pfd[2];
    struct epoll_event  list[256];

    if (argc != 6) {
        fprintf(stderr, "usage: nettool records PORT,.. LONG INTERVAL SHORT "
                "PAUSE\n");
        return 2;
    }

    nt_records_init(argv);

    pfd[0].fd = 0;
    pfd[0].events = POLLIN;
    pfd[1].fd = nt_epoll;
    pfd[1].events = POLLIN;

    said = 0;
    last = 0;

    for ( ;; ) {
        (void) poll(pfd, 2, 5);

        if (pfd[1].revents) {
            n = epoll_wait(nt_epoll, list, 256, 0);

            for (i = 0; i < n; i++) {
                nt_record_event(list[i].data.ptr);
            }
        }

        if (pfd[0].revents) {
            nt_command();
        }

        now = nt_now();

        if (now - last >= 0.005) {
            last = now;
            nt_long_turn(now);
            nt_short_turn(now);
        }

        if (!said && nt_first >= (unsigned) nt_nlong) {
            said = 1;
            printf("running %u\n", nt_first);
        }

        if (nt_stopping && nt_alive(nt_long, nt_nlong) == 0
            && nt_alive(nt_short_ones, nt_nshort) == 0)
        {
            break;
        }
    }

    printf("ended %u %u\n", nt_long_ok + nt_short_ok,
           nt_long_lost + nt_short_lost);

    return nt_long_lost + nt_short_lost ? 1 : 0;
}
