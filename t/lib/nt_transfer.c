
/*
 * Copyright (C) zltunnel authors
 */

/*
 * One transfer as a client, both directions at once.
 *
 *     nettool transfer PORT SEND [RATE]
 *
 * sends SEND bytes of the stream with seed 2, shuts down writing, and reads
 * to the end; with RATE it reads that many bytes a second at most.  Prints
 *
 *     sent BYTES SHA256
 *     received BYTES SHA256
 *     end eof|reset|timeout
 *     tail TEXT         the last bytes received, where they are printable
 *
 * With SEND "-" it sends nothing and leaves its writing side open.
 */


#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <openssl/evp.h>

#include "nettool.h"


#define NT_TIMEOUT  120


typedef struct {
    uint64_t     bytes;
    EVP_MD_CTX  *md;
} nt_total_t;


static void
nt_total(nt_total_t *t, const uint8_t *buf, size_t len)
{
    if (t->md == NULL) {
        t->md = EVP_MD_CTX_new();
        EVP_DigestInit_ex(t->md, EVP_sha256(), NULL);
    }

    EVP_DigestUpdate(t->md, buf, len);
    t->bytes += len;
}


static void
nt_print(const char *what, nt_total_t *t)
{
    char      hex[65];
    uint8_t   md[32];
    unsigned  len;

    nt_total(t, (uint8_t *) "", 0);
    EVP_DigestFinal_ex(t->md, md, &len);
    nt_hex(hex, md, 32);

    printf("%s %llu %s\n", what, (unsigned long long) t->bytes, hex);
}


static int
nt_dial(int port)
{
    int                 fd;
    struct sockaddr_in  sin;

    fd = socket(AF_INET, SOCK_STREAM, 0);

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons(port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    if (fd == -1 || connect(fd, (struct sockaddr *) &sin, sizeof(sin)) == -1) {
        nt_die("connect()");
    }

    nt_nonblocking(fd);

    return fd;
}


/* Keeps the mean rate, in naps of 20 ms at least. */

static void
nt_pace(double started, uint64_t bytes, double rate)
{
    double           ahead;
    struct timespec  ts;

    ahead = bytes / rate - (nt_now() - started);

    if (ahead > 0.02) {
        ts.tv_sec = (time_t) ahead;
        ts.tv_nsec = (ahead - ts.tv_sec) * 1e9;
        nanosleep(&ts, NULL);
    }
}


int
nt_transfer(int argc, char **argv)
{
    int            fd, open;
    double         rate, started;
    size_t         pos, last, size, i, tail_len;
    ssize_t        n;
    uint64_t       left;
    const char    *end;
    nt_total_t     sent, received;
    nt_stream_t    stream;
    struct pollfd  pfd;
    static uint8_t out[65536], in[65536], tail[128];

    if (argc < 3) {
        fprintf(stderr, "usage: nettool transfer PORT SEND [RATE]\n");
        return 2;
    }

    memset(&sent, 0, sizeof(sent));
    memset(&received, 0, sizeof(received));

    open = strcmp(argv[2], "-") != 0;
    left = strtoull(argv[2], NULL, 10);
    rate = argc > 3 ? atof(argv[3]) : 0;
    size = rate ? 4096 : sizeof(in);

    fd = nt_dial(atoi(argv[1]));
    nt_stream_init(&stream, 2);

    started = nt_now();
    end = NULL;
    pos = last = tail_len = 0;

    while (end == NULL) {

        if (open && pos == last) {
            pos = 0;
            last = left < sizeof(out) ? left : sizeof(out);
            nt_stream_read(&stream, out, last);
            left -= last;

            if (last == 0) {
                shutdown(fd, SHUT_WR);
                open = 0;
            }
        }

        pfd.fd = fd;
        pfd.events = POLLIN | (open ? POLLOUT : 0);

        if (poll(&pfd, 1, NT_TIMEOUT * 1000) <= 0) {
            end = "timeout";
            break;
        }

        if (pfd.revents & (POLLIN|POLLERR|POLLHUP)) {
            n = read(fd, in, size);

            if (n == 0) {
                end = "eof";

            } else if (n > 0) {
                nt_total(&received, in, n);

                tail_len = (size_t) n < sizeof(tail) ? (size_t) n
                                                     : sizeof(tail);
                memcpy(tail, in + n - tail_len, tail_len);

                if (rate) {
                    nt_pace(started, received.bytes, rate);
                }

            } else if (errno != EAGAIN) {
                end = "reset";
            }
        }

        if (end == NULL && open && (pfd.revents & POLLOUT)) {
            n = write(fd, out + pos, last - pos);

            if (n > 0) {
                nt_total(&sent, out + pos, n);
                pos += n;

            } else if (errno != EAGAIN) {
                end = "reset";
            }
        }
    }

    nt_print("sent", &sent);
    nt_print("received", &received);
    printf("end %s\n", end);

    for (i = 0; i < tail_len && (isprint(tail[i]) || tail[i] == '\n'); i++) {
        if (tail[i] == '\n') {
            tail[i] = ' ';
        }
    }

    if (i && i == tail_len) {
        printf("tail %.*s\n", (int) tail_len, tail);
    }

    return strcmp(end, "eof") == 0 ? 0 : 1;
}
