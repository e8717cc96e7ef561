
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Lines to stdout and stderr.
 *
 * These are shared with whoever started us: O_NONBLOCK set on one would be
 * set for the others, too, a shell among them.  So a pipe or a terminal is
 * opened once more, by way of /proc, and the new description is ours alone.
 * Where that is not allowed poll(2) is asked first: a pipe that it calls
 * writable takes PIPE_BUF bytes, which are more than a line.
 */


#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "out.h"


typedef enum {
    ZLT_OUT_WRITE = 0,         /* never waits, or is asked not to */
    ZLT_OUT_SEND,
    ZLT_OUT_POLL
} zlt_out_how_e;


typedef struct {
    int              fd;
    zlt_out_how_e    how;
    size_t           len;          /* of what is left of a line */
    char             rest[ZLT_OUT_LINE];
} zlt_out_t;


static void zlt_out_prepare(zlt_out_t *o, int fd);
static int zlt_out_flush(zlt_out_t *o);
static ssize_t zlt_out_some(const zlt_out_t *o, const char *data, size_t len);


static zlt_out_t  zlt_outs[2] = {
    { .fd = STDOUT_FILENO },
    { .fd = STDERR_FILENO }
};


int
zlt_out_open(void)
{
    int  fd;

    do {
        fd = open("/dev/null", O_RDWR);

        if (fd == -1) {
            return -1;
        }
    } while (fd <= STDERR_FILENO);

    return close(fd);
}


void
zlt_out_init(void)
{
    zlt_out_prepare(&zlt_outs[ZLT_OUT_STDOUT], STDOUT_FILENO);
    zlt_out_prepare(&zlt_outs[ZLT_OUT_STDERR], STDERR_FILENO);
}


static void
zlt_out_prepare(zlt_out_t *o, int fd)
{
    int          own;
    char         path[32];
    struct stat  st;

    if (fstat(fd, &st) == -1) {
        return;
    }

    if (S_ISSOCK(st.st_mode)) {
        o->how = ZLT_OUT_SEND;
        return;
    }

    if (!S_ISFIFO(st.st_mode) && !isatty(fd)) {
        return;
    }

    (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);

    own = open(path, O_WRONLY|O_NONBLOCK|O_NOCTTY|O_CLOEXEC);

    if (own == -1) {
        o->how = ZLT_OUT_POLL;
        return;
    }

    o->fd = own;
}


void
zlt_out_leave(void)
{
    zlt_out_t  *o;

    o = &zlt_outs[ZLT_OUT_STDOUT];

    if (o->fd != STDOUT_FILENO) {
        (void) close(o->fd);
        o->fd = STDOUT_FILENO;
    }
}


int
zlt_out_write(zlt_out_e out, const char *line, size_t len)
{
    ssize_t     n;
    zlt_out_t  *o;

    o = &zlt_outs[out];

    n = zlt_out_flush(o) == 0 ? zlt_out_some(o, line, len) : -1;

    if (n == -1) {
        return -1;
    }

    /* a socket or a terminal may have taken a part of it */

    o->len = len - (size_t) n;
    memcpy(o->rest, line + n, o->len);

    return 0;
}


/* Writes what is left of the last line: 0, or -1 if there is no room. */

static int
zlt_out_flush(zlt_out_t *o)
{
    ssize_t  n;

    if (o->len == 0) {
        return 0;
    }

    n = zlt_out_some(o, o->rest, o->len);

    if (n == -1) {
        return -1;
    }

    o->len -= (size_t) n;
    memmove(o->rest, o->rest + n, o->len);

    return o->len ? -1 : 0;
}


/* Bytes written, or -1. */

static ssize_t
zlt_out_some(const zlt_out_t *o, const char *data, size_t len)
{
    ssize_t        n;
    struct pollfd  p;

    if (o->how == ZLT_OUT_POLL) {
        p.fd = o->fd;
        p.events = POLLOUT;

        if (poll(&p, 1, 0) != 1 || !(p.revents & POLLOUT)) {
            return -1;
        }
    }

    do {
        n = o->how == ZLT_OUT_SEND
            ? send(o->fd, data, len, MSG_DONTWAIT|MSG_NOSIGNAL)
            : write(o->fd, data, len);
    } while (n == -1 && errno == EINTR);

    return n;
}
