
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The network tool of the tests: local services and loads that Perl would be
 * too slow for.
 *
 *     nettool serve KIND PORT [BYTES]           see nt_serve.c
 *     nettool held PORT CONNECTIONS ROUNDS      see nt_load.c
 *     nettool short PORT CONNECTIONS AT_ONCE
 *     nettool transfer PORT SEND [RATE]         see nt_transfer.c
 *     nettool udp-echo PORT                     see nt_udp.c
 *     nettool udp PORT [OPTION=VALUE]...
 *     nettool records PORT,.. LONG INTERVAL SHORT PAUSE    see nt_records.c
 *     nettool wan NEAR_PID FAR_PID DELAY ...    see nt_wan.c
 */


#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "nettool.h"


void
nt_stream_init(nt_stream_t *s, uint64_t seed)
{
    s->x = seed * 0x9e3779b97f4a7c15ull + 0x1234567;
    s->left = 0;
}


static uint64_t
nt_stream_next(nt_stream_t *s)
{
    s->x ^= s->x << 13;
    s->x ^= s->x >> 7;
    s->x ^= s->x << 17;

    return s->x;
}


void
nt_stream_read(nt_stream_t *s, uint8_t *buf, size_t len)
{
    while (len) {

        if (s->left == 0 && len >= 8) {
            s->word = nt_stream_next(s);
            memcpy(buf, &s->word, 8);
            buf += 8;
            len -= 8;
            continue;
        }

        if (s->left == 0) {
            s->word = nt_stream_next(s);
            s->left = 8;
        }

        *buf++ = ((uint8_t *) &s->word)[8 - s->left];
        s->left--;
        len--;
    }
}


int
nt_listen(int port)
{
    int                 fd, on = 1;
    struct sockaddr_in  sin;

    fd = socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, 0);
    if (fd == -1) {
        nt_die("socket()");
    }

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons(port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    if (bind(fd, (struct sockaddr *) &sin, sizeof(sin)) == -1) {
        nt_die("bind()");
    }

    if (listen(fd, 4096) == -1) {
        nt_die("listen()");
    }

    nt_nonblocking(fd);

    return fd;
}


void
nt_nonblocking(int fd)
{
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == -1) {
        nt_die("fcntl()");
    }
}


void
nt_hex(char *dst, const uint8_t *src, size_t len)
{
    static const char  digits[] = "0123456789abcdef";

    while (len--) {
        *dst++ = digits[*src >> 4];
        *dst++ = digits[*src++ & 0xf];
    }

    *dst = '\0';
}


double
nt_now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec + ts.tv_nsec / 1e9;
}


void
nt_die(const char *what)
{
    fprintf(stderr, "nettool: %s failed: %s\n", what, strerror(errno));
    exit(2);
}


int
main(int argc, char **argv)
{
    size_t  i;

    static const struct {
        const char  *name;
        int        (*run)(int argc, char **argv);
    } commands[] = {
        { "serve", nt_serve },
        { "held", nt_held },
        { "short", nt_short },
        { "transfer", nt_transfer },
        { "udp-echo", nt_udp_echo },
        { "udp", nt_udp },
        { "records", nt_records_run },
        { "wan", nt_wan },
    };

    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);

    for (i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            return commands[i].run(argc - 1, argv + 1);
        }
    }

    fprintf(stderr, "usage: nettool serve|held|short|transfer|udp-echo|udp|"
                    "records|wan ...\n");

    return 2;
}
