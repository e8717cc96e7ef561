
/*
 * Copyright (C) zltunnel authors
 */


#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "addr.h"


static int zlt_addr_is_here(const zlt_addr_t *addr);
static const char *zlt_addr_all(char *buf, const zlt_addrs_t *addrs,
    const char *(*text)(char *buf, const zlt_addr_t *addr));


int
zlt_addr_numeric(zlt_addrs_t *a, const char *host, uint16_t port)
{
    zlt_addr_t  *addr;

    memset(a, 0, sizeof(zlt_addrs_t));

    addr = &a->addrs[0];

    if (inet_pton(AF_INET, host, &addr->addr.in.sin_addr) == 1) {
        addr->addr.in.sin_family = AF_INET;
        addr->addr.in.sin_port = htons(port);
        addr->len = sizeof(struct sockaddr_in);

    } else if (inet_pton(AF_INET6, host, &addr->addr.in6.sin6_addr) == 1) {
        addr->addr.in6.sin6_family = AF_INET6;
        addr->addr.in6.sin6_port = htons(port);
        addr->len = sizeof(struct sockaddr_in6);

    } else {
        return -1;
    }

    a->n = 1;

    return 0;
}


void
zlt_addr_loopback(zlt_addrs_t *a, uint16_t port, int six_first)
{
    zlt_addrs_t  six;

    (void) zlt_addr_numeric(a, "127.0.0.1", port);
    (void) zlt_addr_numeric(&six, "::1", port);

    if (zlt_addr_is_here(&six.addrs[0])) {
        a->addrs[1] = six_first ? a->addrs[0] : six.addrs[0];
        a->addrs[0] = six_first ? six.addrs[0] : a->addrs[0];
        a->n = 2;
    }
}


static int
zlt_addr_is_here(const zlt_addr_t *addr)
{
    int         fd, rc;
    zlt_addr_t  any;

    fd = socket(addr->addr.sa.sa_family, SOCK_STREAM|SOCK_CLOEXEC, 0);

    if (fd == -1) {
        return 0;
    }

    any = *addr;
    any.addr.in6.sin6_port = 0;

    rc = bind(fd, &any.addr.sa, any.len);

    (void) close(fd);

    return rc == 0;
}


void
zlt_addr_unix(zlt_addrs_t *a, const char *path)
{
    struct sockaddr_un  *un;

    memset(a, 0, sizeof(zlt_addrs_t));

    un = (struct sockaddr_un *) (void *) &a->addrs[0].addr;
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, strnlen(path, sizeof(un->sun_path) - 1));

    a->addrs[0].len = sizeof(struct sockaddr_un);
    a->n = 1;
}


int
zlt_addr_same_host(const zlt_addr_t *a, const zlt_addr_t *b)
{
    if (a->addr.sa.sa_family != b->addr.sa.sa_family || a->len != b->len) {
        return 0;
    }

    switch (a->addr.sa.sa_family) {

    case AF_INET:
        return a->addr.in.sin_addr.s_addr == b->addr.in.sin_addr.s_addr;

    case AF_INET6:
        return a->addr.in6.sin6_scope_id == b->addr.in6.sin6_scope_id
               && memcmp(&a->addr.in6.sin6_addr, &b->addr.in6.sin6_addr,
                         sizeof(struct in6_addr)) == 0;
    }

    return 0;
}


int
zlt_addr_same(const zlt_addr_t *a, const zlt_addr_t *b)
{
    /* the port is at the same place in both families */

    return zlt_addr_same_host(a, b)
           && a->addr.in.sin_port == b->addr.in.sin_port;
}


int
zlt_addr_has_route(const zlt_addr_t *addr)
{
    int  fd, rc;

    fd = socket(addr->addr.sa.sa_family, SOCK_DGRAM|SOCK_CLOEXEC, 0);

    if (fd == -1) {
        return 0;
    }

    rc = connect(fd, &addr->addr.sa, addr->len);

    (void) close(fd);

    return rc == 0;
}


int
zlt_addr_self(int fd, const struct sockaddr *to)
{
    socklen_t                   len;
    zlt_sockaddr_t              own;
    const struct sockaddr_in   *in;
    const struct sockaddr_in6  *in6;

    len = sizeof(zlt_sockaddr_t);

    if (to->sa_family == AF_UNIX || getsockname(fd, &own.sa, &len) == -1
        || own.sa.sa_family != to->sa_family)
    {
        return 0;
    }

    /* the unspecified address leads to this machine, too */

    if (to->sa_family == AF_INET) {
        in = (const struct sockaddr_in *) (const void *) to;

        return own.in.sin_port == in->sin_port
               && (in->sin_addr.s_addr == own.in.sin_addr.s_addr
                   || in->sin_addr.s_addr == htonl(INADDR_ANY));
    }

    in6 = (const struct sockaddr_in6 *) (const void *) to;

    return own.in6.sin6_port == in6->sin6_port
           && (IN6_ARE_ADDR_EQUAL(&own.in6.sin6_addr, &in6->sin6_addr)
               || IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr));
}


void
zlt_addr_prefer(zlt_addrs_t *a, const zlt_addr_t *first)
{
    unsigned    i;
    zlt_addr_t  addr;

    for (i = 0; i < a->n; i++) {

        if (zlt_addr_same_host(&a->addrs[i], first)) {
            addr = a->addrs[i];
            memmove(&a->addrs[1], &a->addrs[0], i * sizeof(zlt_addr_t));
            a->addrs[0] = addr;
            return;
        }
    }
}


uint16_t
zlt_addr_port(const zlt_addr_t *addr)
{
    /* it is at the same place in both families */

    return ntohs(addr->addr.in.sin_port);
}


const char *
zlt_addr_host(char *buf, const zlt_addr_t *addr)
{
    switch (addr->addr.sa.sa_family) {

    case AF_INET:
        (void) inet_ntop(AF_INET, &addr->addr.in.sin_addr, buf,
                         INET6_ADDRSTRLEN);
        break;

    case AF_INET6:
        (void) inet_ntop(AF_INET6, &addr->addr.in6.sin6_addr, buf,
                         INET6_ADDRSTRLEN);
        break;

    default:
        (void) strcpy(buf, "a UNIX socket");
        break;
    }

    return buf;
}


const char *
zlt_addr_text(char *buf, const zlt_addr_t *addr)
{
    char                       host[ZLT_ADDR_TEXT];
    const struct sockaddr_un  *un;

    (void) zlt_addr_host(host, addr);

    switch (addr->addr.sa.sa_family) {

    case AF_INET:
        (void) snprintf(buf, ZLT_ADDR_TEXT, "%.45s:%u", host,
                        (unsigned) ntohs(addr->addr.in.sin_port));
        break;

    case AF_INET6:
        (void) snprintf(buf, ZLT_ADDR_TEXT, "[%.45s]:%u", host,
                        (unsigned) ntohs(addr->addr.in6.sin6_port));
        break;

    default:
        un = (const struct sockaddr_un *) (const void *) &addr->addr;
        (void) snprintf(buf, ZLT_ADDR_TEXT, "unix:%.107s", un->sun_path);
        break;
    }

    return buf;
}


const char *
zlt_addr_list(char *buf, const zlt_addrs_t *addrs)
{
    return zlt_addr_all(buf, addrs, zlt_addr_host);
}


const char *
zlt_addr_places(char *buf, const zlt_addrs_t *addrs)
{
    return zlt_addr_all(buf, addrs, zlt_addr_text);
}


static const char *
zlt_addr_all(char *buf, const zlt_addrs_t *addrs,
    const char *(*text)(char *buf, const zlt_addr_t *addr))
{
    char      one[ZLT_ADDR_TEXT];
    size_t    len;
    unsigned  i;

    len = 0;
    *buf = '\0';

    for (i = 0; i < addrs->n && len < ZLT_ADDRS_TEXT; i++) {
        len += (size_t) snprintf(buf + len, ZLT_ADDRS_TEXT - len, "%s%s",
                                 i ? ", " : "",
                                 text(one, &addrs->addrs[i]));
    }

    return buf;
}
