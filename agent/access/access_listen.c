
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Where local clients of access sessions connect.
 *
 * The address is taken at the start, so that the error comes before anything
 * is asked of the server, but nobody can connect until the session is
 * granted: a socket that does not listen refuses.  That also gives the time
 * to set the mode of a UNIX socket before it can be used.
 */


#define _GNU_SOURCE           /* accept4() */

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "access_listen.h"
#include "access_stdio.h"
#include "conf.h"
#include "log.h"
#include "often.h"
#include "visit.h"
#include "visit_udp.h"


#define ZLT_ACCESS_BACKLOG  4096       /* what the kernel allows of it */
#define ZLT_ACCESS_ACCEPTS  64         /* a turn */


static int zlt_access_listen_ours(const zlt_access_t *x);
static const char *zlt_access_listen_wanted(const zlt_access_t *x, char *buf);
static int zlt_access_listen_address(zlt_access_t *x, zlt_addr_t *addr);
static int zlt_access_listen_socket(const zlt_addr_t *addr, int type);
static int zlt_access_listen_stale(const zlt_addr_t *addr);
static int zlt_access_listen_local(zlt_access_t *x, int fd);
static void zlt_access_listen_warn(zlt_access_t *x, const zlt_addr_t *addr);
static void zlt_access_listen_event(zlt_io_t *io);
static void zlt_access_listen_turn(zlt_task_t *task);
static void zlt_access_listen_accept(zlt_access_t *x);
static int zlt_access_listen_accept_one(int fd, zlt_addr_t *addr);
static void zlt_access_listen_pause(zlt_access_t *x, const char *why);


int
zlt_access_listen_bind(zlt_access_t *x, char *error)
{
    int          fd, err;
    char         text[ZLT_ACCESS_LOCAL];
    const char  *hint;
    zlt_addr_t   addr;

    zlt_list_init(&x->task.link);
    x->task.handler = zlt_access_listen_turn;

    if (x->owner->conf->visitor == ZLT_CONF_STDIO) {
        (void) strcpy(x->local, "stdin and stdout");
        x->door = ZLT_ACCESS_BOUND;
        return 0;
    }

    fd = -1;

    if (zlt_access_listen_address(x, &addr) == -1) {
        goto failed;
    }

    fd = zlt_access_listen_socket(&addr, x->conf.protocol == ZLT_PROTO_UDP
                                         ? SOCK_DGRAM : SOCK_STREAM);

    if (fd == -1) {
        goto failed;
    }

    if (x->conf.is_unix && zlt_access_listen_stale(&addr) == -1) {
        goto failed;
    }

    /* one that does not listen yet would not be in the way of bind() */

    if (zlt_access_listen_ours(x)) {
        errno = EADDRINUSE;
        goto failed;
    }

    if (bind(fd, &addr.addr.sa, addr.len) == -1) {
        goto failed;
    }

    if (x->conf.is_unix && chmod(x->conf.host, 0600) == -1) {
        (void) unlink(x->conf.host);
        goto failed;
    }

    if (zlt_access_listen_local(x, fd) == -1) {
        goto failed;
    }

    x->fd = fd;
    x->door = ZLT_ACCESS_BOUND;

    zlt_access_listen_warn(x, &addr);

    return 0;

failed:

    switch (errno) {

    case EADDRINUSE:
        hint = x->conf.is_unix ? "; end the program that has it, or choose "
                                 "another path"
                               : "; end the program that has it, or choose "
                                 "another local port (0: any that is free)";
        break;

    case EACCES:
        hint = x->conf.is_unix ? "" : "; ports below 1024 may need privilege";
        break;

    case EEXIST:
        hint = ", and is not a socket; remove it, or choose another path";
        break;

    default:
        hint = "";
    }

    err = errno;

    (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "access to \"%.255s\" cannot "
                    "be at %s: %s%s", x->conf.name,
                    zlt_access_listen_wanted(x, text), strerror(err), hint);

    if (fd != -1) {
        (void) close(fd);
    }

    return -1;
}


/* 1 if another access of the same tunnel is to be at that port, and is not
   open yet. */

static int
zlt_access_listen_ours(const zlt_access_t *x)
{
    const zlt_list_t    *link;
    const zlt_access_t  *y;

    for (link = x->owner->accesses.next; link != &x->owner->accesses;
         link = link->next)
    {
        y = zlt_list_data(link, zlt_access_t, link);

        if (y != x && y->door != ZLT_ACCESS_SHUT
            && x->conf.port && y->conf.port == x->conf.port
            && y->conf.protocol == x->conf.protocol
            && y->conf.is_unix == x->conf.is_unix
            && strcmp(y->conf.host, x->conf.host) == 0)
        {
            return 1;
        }
    }

    return 0;
}


static const char *
zlt_access_listen_wanted(const zlt_access_t *x, char *buf)
{
    const char  *format;

    if (x->conf.is_unix) {
        (void) snprintf(buf, ZLT_ACCESS_LOCAL, "unix:%.107s", x->conf.host);

    } else {
        format = strchr(x->conf.host, ':') ? "[%.100s]:%u" : "%.100s:%u";
        (void) snprintf(buf, ZLT_ACCESS_LOCAL, format, x->conf.host,
                        (unsigned) x->conf.port);
    }

    return buf;
}


static int
zlt_access_listen_address(zlt_access_t *x, zlt_addr_t *addr)
{
    zlt_addrs_t          addrs;
    struct sockaddr_un  *un;

    memset(addr, 0, sizeof(zlt_addr_t));

    if (!x->conf.is_unix) {
        if (zlt_addr_numeric(&addrs, x->conf.host, x->conf.port) == -1) {
            errno = EINVAL;
            return -1;
        }

        *addr = addrs.addrs[0];

        return 0;
    }

    un = (struct sockaddr_un *) (void *) &addr->addr;
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, x->conf.host, sizeof(un->sun_path) - 1);
    addr->len = sizeof(struct sockaddr_un);

    return 0;
}


static int
zlt_access_listen_socket(const zlt_addr_t *addr, int type)
{
    int  fd, on;

    fd = socket(addr->addr.sa.sa_family, type, 0);

    if (fd == -1) {
        return -1;
    }

    (void) fcntl(fd, F_SETFD, FD_CLOEXEC);
    (void) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);

    on = 1;

    if (type == SOCK_STREAM && addr->addr.sa.sa_family != AF_UNIX) {

        /* what was here before may have left connections in TIME_WAIT */

        (void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(int));
    }

    if (addr->addr.sa.sa_family == AF_INET6) {
        (void) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(int));
    }

    return fd;
}


/* Removes a socket that nobody listens at: 0, or -1 with errno set. */

static int
zlt_access_listen_stale(const zlt_addr_t *addr)
{
    int                        fd, rc;
    struct stat                st;
    const struct sockaddr_un  *un;

    un = (const struct sockaddr_un *) (const void *) &addr->addr;

    if (lstat(un->sun_path, &st) == -1) {
        return errno == ENOENT ? 0 : -1;
    }

    if (!S_ISSOCK(st.st_mode)) {
        errno = EEXIST;
        return -1;
    }

    fd = zlt_access_listen_socket(addr, SOCK_STREAM);

    if (fd == -1) {
        return -1;
    }

    rc = connect(fd, &addr->addr.sa, addr->len);

    if (rc == -1 && errno == ECONNREFUSED) {
        rc = unlink(un->sun_path);

    } else {
        rc = -1;
        errno = EADDRINUSE;
    }

    (void) close(fd);

    return rc;
}


/* The text that tells where it is, with the port that was assigned. */

static int
zlt_access_listen_local(zlt_access_t *x, int fd)
{
    zlt_addr_t  addr;

    if (x->conf.is_unix) {
        (void) zlt_access_listen_wanted(x, x->local);
        return 0;
    }

    addr.len = sizeof(addr.addr);

    if (getsockname(fd, &addr.addr.sa, &addr.len) == -1) {
        return -1;
    }

    (void) zlt_addr_text(x->local, &addr);

    return 0;
}


static void
zlt_access_listen_warn(zlt_access_t *x, const zlt_addr_t *addr)
{
    int  loopback;

    switch (addr->addr.sa.sa_family) {

    case AF_INET:
        loopback = (*(const uint8_t *) &addr->addr.in.sin_addr == 127);
        break;

    case AF_INET6:
        loopback = IN6_IS_ADDR_LOOPBACK(&addr->addr.in6.sin6_addr);
        break;

    default:
        loopback = 1;
    }

    if (!loopback) {
        zlt_log_link(x->owner->label, ZLT_LOG_WARN, "access to \"%s\" is at "
                     "%s, which is not loopback: whoever reaches this machine "
                     "there can use it", x->conf.name, x->local);
    }
}


int
zlt_access_listen(zlt_access_t *x, char *error)
{
    int  fd;

    if (x->door >= ZLT_ACCESS_LISTENS) {
        return 0;
    }

    fd = x->fd;
    x->fd = -1;
    x->door = ZLT_ACCESS_LISTENS;

    if (x->owner->conf->visitor == ZLT_CONF_STDIO) {

        if (zlt_access_stdio_start(x) == 0) {
            return 0;
        }

    } else if (x->conf.protocol == ZLT_PROTO_UDP) {
        x->udp = zlt_visit_udp_create(x, fd);

        if (x->udp) {
            return 0;
        }

    } else if (listen(fd, ZLT_ACCESS_BACKLOG) == 0
               && zlt_io_add(&x->listener, fd, zlt_access_listen_event) == 0)
    {
        x->listener.data = x;
        return 0;
    }

    (void) snprintf(error, ZLT_CONF_ERROR_SIZE, "%.100s: %s", x->local,
                    strerror(errno));

    if (fd != -1) {
        (void) close(fd);
    }

    return -1;
}


void
zlt_access_listen_stop(zlt_access_t *x)
{
    if (x->door == ZLT_ACCESS_SHUT) {
        return;
    }

    if (x->fd != -1) {
        (void) close(x->fd);
        x->fd = -1;
    }

    zlt_io_close(&x->listener);
    zlt_list_remove(&x->task.link);

    if (x->udp) {
        zlt_visit_udp_deaf(x->udp);
    }

    if (x->conf.is_unix) {
        (void) unlink(x->conf.host);
    }

    x->door = ZLT_ACCESS_SHUT;
}


static void
zlt_access_listen_event(zlt_io_t *io)
{
    zlt_access_listen_accept(io->data);
}


static void
zlt_access_listen_turn(zlt_task_t *task)
{
    zlt_access_listen_accept(zlt_list_data(task, zlt_access_t, task));
}


static void
zlt_access_listen_accept(zlt_access_t *x)
{
    int          fd, n;
    char         text[ZLT_ADDR_TEXT];
    zlt_addr_t   addr;

    for (n = 0; x->door != ZLT_ACCESS_PAUSED && x->listener.fd != -1; n++) {

        if (n == ZLT_ACCESS_ACCEPTS) {
            zlt_io_post(&x->task);
            return;
        }

        /* one for the client, one for its channel */

        if (!zlt_io_room(2)) {
            zlt_access_listen_pause(x, "all descriptors are in use");
            return;
        }

        fd = zlt_access_listen_accept_one(x->listener.fd, &addr);

        if (fd != -1) {
            zlt_visit_start(x, fd, x->conf.is_unix
                                   ? "unix:" : zlt_addr_text(text, &addr));
            continue;
        }

        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            zlt_io_clear(&x->listener, ZLT_IO_READ);
            return;
        }

        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS
            || errno == ENOMEM)
        {
            zlt_access_listen_pause(x, strerror(errno));
            return;
        }

        /* that client has gone */
    }
}


static int
zlt_access_listen_accept_one(int fd, zlt_addr_t *addr)
{
    int  s, on;

    addr->len = sizeof(addr->addr);

    s = accept4(fd, &addr->addr.sa, &addr->len, SOCK_NONBLOCK|SOCK_CLOEXEC);

    if (s != -1 && addr->addr.sa.sa_family != AF_UNIX) {
        on = 1;
        (void) setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(int));
    }

    return s;
}


static void
zlt_access_listen_pause(zlt_access_t *x, const char *why)
{
    x->door = ZLT_ACCESS_PAUSED;

    zlt_often_warn(x->owner->label, x->conf.name, "access to \"%s\" accepts no "
                   "connections for now: %s", x->conf.name, why);
}


void
zlt_access_listen_resume(zlt_access_t *x)
{
    if (x->door == ZLT_ACCESS_PAUSED && zlt_io_room(2)) {
        x->door = ZLT_ACCESS_LISTENS;
        zlt_io_post(&x->task);
    }
}
