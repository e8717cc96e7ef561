
/*
 * Copyright (C) zltunnel authors
 */

/* Names to addresses, off the loop. */


#ifndef ZLT_RESOLVE_H_INCLUDED
#define ZLT_RESOLVE_H_INCLUDED


#include <uv.h>

#include "addr.h"


typedef struct zlt_resolve_s  zlt_resolve_t;

/* status is 0, or an error of libuv's; addrs is valid during the call */
typedef void (*zlt_resolve_pt)(void *data, int status,
    const zlt_addrs_t *addrs);


/* Calls back from the loop, unless cancelled.  NULL if it cannot be started. */
zlt_resolve_t *zlt_resolve_start(uv_loop_t *loop, const char *host,
    uint16_t port, zlt_resolve_pt handler, void *data);
void zlt_resolve_cancel(zlt_resolve_t *r);


#endif /* ZLT_RESOLVE_H_INCLUDED */
