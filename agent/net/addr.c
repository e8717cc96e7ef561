
/*
 * Copyright (C) zltunnel authors
 */


#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "addr.h"


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
    char  host[ZLT_ADDR_TEXT];

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
        (void) strcpy(buf, host);
        break;
    }

    return buf;
}
