
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Access at stdin and stdout, as ssh's ProxyCommand wants it.
 *
 * The visit has one end of a socketpair, as if a client had come.  At the
 * other one are two threads, one for each direction, which block: stdin and
 * stdout may be pipes, sockets, terminals or files, are shared with whoever
 * has started us, and must not be made to refuse him.
 *
 * The end: the visit is over, the thread that writes has written all, and then
 * the access ends, and the process with it.
 */


#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "access_stdio.h"
#include "conf.h"
#include "out.h"
#include "visit.h"


#define ZLT_STDIO_BUFFER  65536


static int zlt_access_stdio_thread(void *(*run)(void *data));
static void *zlt_access_stdio_in(void *data);
static void *zlt_access_stdio_out(void *data);
static int zlt_access_stdio_copy(int from, int to);
static void zlt_access_stdio_close(void);
static void zlt_access_stdio_written(zlt_io_t *io);
static void zlt_access_stdio_end(zlt_task_t *task);


/* There is one in a process. */

static struct {
    zlt_access_t    *access;
    int              sock;             /* the threads' end */
    int              event;            /* .. what closes it is the last word */
    int              failed;           /* .. set before that */
    zlt_io_t         written;          /* the loop's end of "event" */
    zlt_task_t       task;             /* the end */
    unsigned         over:1;           /* the visit */
    unsigned         whole:1;
} zlt_stdio = { .sock = -1, .event = -1, .written = { .fd = -1 } };


int
zlt_access_stdio_start(zlt_access_t *x)
{
    int  err, pair[2], event[2];

    if (socketpair(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0, pair) == -1) {
        return -1;
    }

    if (pipe(event) == -1) {
        (void) close(pair[0]);
        (void) close(pair[1]);
        return -1;
    }

    (void) fcntl(pair[0], F_SETFL, O_NONBLOCK);
    (void) fcntl(event[0], F_SETFL, O_NONBLOCK);
    (void) fcntl(event[0], F_SETFD, FD_CLOEXEC);
    (void) fcntl(event[1], F_SETFD, FD_CLOEXEC);

    zlt_list_init(&zlt_stdio.task.link);
    zlt_stdio.task.handler = zlt_access_stdio_end;

    zlt_stdio.access = x;
    zlt_stdio.sock = pair[1];
    zlt_stdio.event = event[1];

    zlt_out_leave();

    if (zlt_io_add(&zlt_stdio.written, event[0], zlt_access_stdio_written)
        == -1)
    {
        err = errno;
        (void) close(event[0]);

    } else if (zlt_access_stdio_thread(zlt_access_stdio_out) == -1) {
        err = errno;
        zlt_io_close(&zlt_stdio.written);

    } else if (zlt_access_stdio_thread(zlt_access_stdio_in) == -1) {
        err = errno;

        /* the other one ends with that, and "event" with it */

        (void) shutdown(pair[1], SHUT_RDWR);
        (void) close(pair[0]);
        errno = err;
        return -1;

    } else {
        zlt_visit_start(x, pair[0], "stdin");
        return 0;
    }

    (void) close(event[1]);
    (void) close(pair[0]);
    (void) close(pair[1]);
    errno = err;

    return -1;
}


/* The one that reads stdin comes last: what it has taken is lost to others. */

static int
zlt_access_stdio_thread(void *(*run)(void *data))
{
    int             rc;
    sigset_t        all, former;
    pthread_t       thread;

    /* signals are the loop's */

    (void) sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &former);

    rc = pthread_create(&thread, NULL, run, NULL);

    (void) pthread_sigmask(SIG_SETMASK, &former, NULL);

    if (rc != 0) {
        errno = rc;
        return -1;
    }

    (void) pthread_detach(thread);

    return 0;
}


static void *
zlt_access_stdio_in(void *data)
{
    (void) data;

    (void) zlt_access_stdio_copy(STDIN_FILENO, zlt_stdio.sock);
    (void) shutdown(zlt_stdio.sock, SHUT_WR);

    return NULL;
}


static void *
zlt_access_stdio_out(void *data)
{
    (void) data;

    if (zlt_access_stdio_copy(zlt_stdio.sock, STDOUT_FILENO) == -1) {

        /* nobody takes it any more, so that nobody need send it */

        zlt_stdio.failed = 1;
        (void) shutdown(zlt_stdio.sock, SHUT_RDWR);

    } else {
        zlt_access_stdio_close();
    }

    (void) close(zlt_stdio.event);

    return NULL;
}


/* To the end: 0 or -1. */

static int
zlt_access_stdio_copy(int from, int to)
{
    char           buf[ZLT_STDIO_BUFFER];
    ssize_t        n, sent, done;
    struct pollfd  p;

    for ( ;; ) {
        n = read(from, buf, sizeof(buf));

        if (n == 0) {
            return 0;
        }

        if (n == -1 && errno == EAGAIN) {
            p.fd = from;
            p.events = POLLIN;
            (void) poll(&p, 1, -1);
            continue;
        }

        if (n == -1 && errno == EINTR) {
            continue;
        }

        if (n == -1) {
            return -1;
        }

        for (done = 0; done < n; done += sent) {
            sent = write(to, buf + done, (size_t) (n - done));

            if (sent == -1 && errno == EAGAIN) {
                p.fd = to;
                p.events = POLLOUT;
                (void) poll(&p, 1, -1);
                sent = 0;

            } else if (sent == -1 && errno == EINTR) {
                sent = 0;

            } else if (sent == -1) {
                return -1;
            }
        }
    }
}


/*
 * The end of stdout, which whoever reads it waits for before he ends stdin.  The
 * descriptor is not given up: a socket that got its number would be taken for
 * stdout.
 */

static void
zlt_access_stdio_close(void)
{
    int  null;

    null = open("/dev/null", O_WRONLY|O_CLOEXEC);

    if (null == -1) {
        return;
    }

    (void) dup2(null, STDOUT_FILENO);
    (void) close(null);
}


void
zlt_access_stdio_over(zlt_access_t *x, int whole)
{
    (void) x;

    if (zlt_stdio.over) {
        return;
    }

    zlt_stdio.over = 1;
    zlt_stdio.whole = whole ? 1 : 0;

    zlt_io_post(&zlt_stdio.task);
}


/* All that has come has been written to stdout. */

static void
zlt_access_stdio_written(zlt_io_t *io)
{
    zlt_io_close(io);
    zlt_io_post(&zlt_stdio.task);
}


static void
zlt_access_stdio_end(zlt_task_t *task)
{
    zlt_access_t  *x;

    (void) task;

    x = zlt_stdio.access;

    if (!zlt_stdio.over || zlt_stdio.written.fd != -1) {
        return;
    }

    if (!zlt_stdio.whole || zlt_stdio.failed) {
        x->failed = 1;
    }

    (void) zlt_access_stop(x, x->failed ? "the connection was cut"
                                        : "the connection has ended");
}
