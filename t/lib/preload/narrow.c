
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Gives a process the smallest buffers for sending there are to its streams,
 * by LD_PRELOAD, so that hardly anything is written at once.
 */


#define _GNU_SOURCE

#include <errno.h>
#include <unistd.h>
#include <sys/socket.h>
#include <sys/syscall.h>


static int
narrow(int fd)
{
    int        type, size, saved;
    socklen_t  len;

    saved = errno;
    len = sizeof(int);

    if (fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0
        && type == SOCK_STREAM)
    {
        size = 1;
        (void) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(int));
    }

    errno = saved;

    return fd;
}


int
socket(int domain, int type, int protocol)
{
    return narrow((int) syscall(SYS_socket, domain, type, protocol));
}


int
socketpair(int domain, int type, int protocol, int fds[2])
{
    int  rc;

    rc = (int) syscall(SYS_socketpair, domain, type, protocol, fds);

    if (rc == 0) {
        (void) narrow(fds[0]);
        (void) narrow(fds[1]);
    }

    return rc;
}


int
accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
    return narrow((int) syscall(SYS_accept4, fd, addr, len, flags));
}


int
accept(int fd, struct sockaddr *addr, socklen_t *len)
{
    return accept4(fd, addr, len, 0);
}
