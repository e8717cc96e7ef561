
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Makes time pass quickly for one process, by LD_PRELOAD: $LAPSE times as fast
 * as it does.  That holds for its clock, for how long it waits in epoll_wait(),
 * for what it asks the kernel of keepalive, and for what the kernel tells it
 * of acknowledgements.
 */


#define _GNU_SOURCE

#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>


static long
lapse(void)
{
    const char  *value;

    value = getenv("LAPSE");

    return value ? atol(value) : 1;
}


int
clock_gettime(clockid_t id, struct timespec *ts)
{
    int        rc;
    long long  ns;

    static long long  start;

    rc = (int) syscall(SYS_clock_gettime, id, ts);

    if (rc == -1 || (id != CLOCK_MONOTONIC && id != CLOCK_MONOTONIC_COARSE)) {
        return rc;
    }

    ns = ts->tv_sec * 1000000000ll + ts->tv_nsec;

    if (start == 0) {
        start = ns;
    }

    ns = start + (ns - start) * lapse();

    ts->tv_sec = ns / 1000000000;
    ts->tv_nsec = ns % 1000000000;

    return 0;
}


int
epoll_wait(int ep, struct epoll_event *events, int n, int timeout)
{
    if (timeout > 0) {
        timeout = (int) ((timeout + lapse() - 1) / lapse());
    }

    return (int) syscall(SYS_epoll_pwait, ep, events, n, timeout, NULL, 8);
}


int
setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    int  seconds;

    if (level == IPPROTO_TCP && len == sizeof(int)
        && (name == TCP_KEEPIDLE || name == TCP_KEEPINTVL))
    {
        seconds = (int) (*(const int *) value / lapse());
        seconds = seconds < 1 ? 1 : seconds;

        return (int) syscall(SYS_setsockopt, fd, level, name, &seconds, len);
    }

    return (int) syscall(SYS_setsockopt, fd, level, name, value, len);
}


int
getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
    int               rc;
    struct tcp_info  *ti;

    rc = (int) syscall(SYS_getsockopt, fd, level, name, value, len);

    if (rc == 0 && level == IPPROTO_TCP && name == TCP_INFO) {
        ti = value;
        ti->tcpi_last_ack_recv *= (unsigned) lapse();
    }

    return rc;
}
