
/*
 * Copyright (C) zltunnel authors
 */

/* Names to addresses, off the loop. */


#ifndef ZLT_RESOLVE_H_INCLUDED
#define ZLT_RESOLVE_H_INCLUDED


#include <uv.h>

#include "conn.h"


#define ZLT_ADDRS_MAX   8
#define ZLT_ADDR_TEXT   64


typedef struct {
    zlt_sockaddr_t   addr;
    socklen_t        len;
} zlt_addr_t;


typedef struct {
    unsigned         n;
    zlt_addr_t       addrs[ZLT_ADDRS_MAX];
} zlt_addrs_t;


typedef struct zlt_resolve_s  zlt_resolve_t;

/* status is 0, or an error of libuv's; addrs is valid during the call */
typedef void (*zlt_resolve_pt)(void *data, int status,
    const zlt_addrs_t *addrs);


/* 0 if host is an address and need not be resolved, -1 if it is a name */
int zlt_addrs_numeric(zlt_addrs_t *a, const char *host, uint16_t port);

/* the same for a UNIX socket, whose path must fit */
void zlt_addrs_unix(zlt_addrs_t *a, const char *path);

/* Calls back from the loop, unless cancelled.  NULL if it cannot be started. */
zlt_resolve_t *zlt_resolve_start(uv_loop_t *loop, const char *host,
    uint16_t port, zlt_resolve_pt handler, void *data);
void zlt_resolve_cancel(zlt_resolve_t *r);

/* "127.0.0.1", "::1"; buf as below */
const char *zlt_addr_host(char *buf, const zlt_addr_t *addr);

/* "127.0.0.1:80", "[::1]:80"; buf has ZLT_ADDR_TEXT bytes; returns it */
const char *zlt_addr_text(char *buf, const zlt_addr_t *addr);


#endif /* ZLT_RESOLVE_H_INCLUDED */
