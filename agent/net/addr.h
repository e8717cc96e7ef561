
/*
 * Copyright (C) zltunnel authors
 */

/* Addresses. */


#ifndef ZLT_ADDR_H_INCLUDED
#define ZLT_ADDR_H_INCLUDED


#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>

#include "types.h"


#define ZLT_ADDRS_MAX   16
#define ZLT_ADDR_TEXT   128
#define ZLT_ADDRS_TEXT  400


typedef union {
    struct sockaddr          sa;
    struct sockaddr_in       in;
    struct sockaddr_in6      in6;
    struct sockaddr_storage  storage;
} zlt_sockaddr_t;


struct zlt_addr_s {
    zlt_sockaddr_t   addr;
    socklen_t        len;
    uint16_t         priority;         /* as in SRV: the least comes first */
};


typedef struct {
    unsigned         n;
    zlt_addr_t       addrs[ZLT_ADDRS_MAX];
} zlt_addrs_t;


/* 0 if host is an address and need not be resolved, -1 if it is a name */
int zlt_addr_numeric(zlt_addrs_t *a, const char *host, uint16_t port);

/* Both of the loopback interface, ::1 first or last, and only where this
   machine has it. */
void zlt_addr_loopback(zlt_addrs_t *a, uint16_t port, int six_first);

/* the same for a UNIX socket, whose path must fit */
void zlt_addr_unix(zlt_addrs_t *a, const char *path);

/* 1 if both are the same host's, whatever their ports are; or the same, ports
   and all */
int zlt_addr_same_host(const zlt_addr_t *a, const zlt_addr_t *b);
int zlt_addr_same(const zlt_addr_t *a, const zlt_addr_t *b);

/* 1 if this machine knows a route there; nothing is sent */
int zlt_addr_has_route(const zlt_addr_t *addr);

/*
 * 1 if the socket has been connected to itself.  The kernel chooses its port,
 * and where nobody listens at a port that it may choose, and connects to that
 * one, a SYN meets its own sender (RFC 9293, simultaneous open).
 */
int zlt_addr_self(int fd, const struct sockaddr *to);

/* Puts that address first, if it is one of them. */
void zlt_addr_prefer(zlt_addrs_t *a, const zlt_addr_t *first);

uint16_t zlt_addr_port(const zlt_addr_t *addr);

/* "127.0.0.1", "::1"; buf as below */
const char *zlt_addr_host(char *buf, const zlt_addr_t *addr);

/* "127.0.0.1:80", "[::1]:80", "unix:/path"; buf has ZLT_ADDR_TEXT bytes;
   returns it */
const char *zlt_addr_text(char *buf, const zlt_addr_t *addr);

/* "127.0.0.1, ::1", or with their ports, as above; buf has ZLT_ADDRS_TEXT bytes;
   returns it */
const char *zlt_addr_list(char *buf, const zlt_addrs_t *addrs);
const char *zlt_addr_places(char *buf, const zlt_addrs_t *addrs);


#endif /* ZLT_ADDR_H_INCLUDED */
