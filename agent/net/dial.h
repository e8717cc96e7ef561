
/*
 * Copyright (C) zltunnel authors
 */

/* A connection to a host, or to a UNIX socket: resolves, then tries its
   addresses. */


#ifndef ZLT_DIAL_H_INCLUDED
#define ZLT_DIAL_H_INCLUDED


#include <uv.h>

#include "addr.h"
#include "types.h"


#define ZLT_DIAL_ERROR_SIZE  512

typedef struct zlt_dial_s  zlt_dial_t;

/*
 * c is connected, or NULL with a text in error; c is to be taken over with
 * zlt_io_move() before the return.  addr is where it leads to.
 */
typedef void (*zlt_dial_pt)(void *data, zlt_conn_t *c,
    const zlt_addr_t *addr, const char *error);

typedef void (*zlt_dial_found_pt)(void *data, const char *host,
    const zlt_addrs_t *addrs);


/* host may be the path of a UNIX socket; timeout, in milliseconds, is for all
   of it.  NULL: no memory. */
zlt_dial_t *zlt_dial_start(uv_loop_t *loop, const char *host, uint16_t port,
    unsigned timeout, zlt_dial_pt handler, void *data);
void zlt_dial_cancel(zlt_dial_t *d);

/* Its time is over: it ends as if that were its own timeout. */
void zlt_dial_expire(zlt_dial_t *d);

/* Is told where the name leads to, when that is known. */
void zlt_dial_watch(zlt_dial_t *d, zlt_dial_found_pt found);


#endif /* ZLT_DIAL_H_INCLUDED */
