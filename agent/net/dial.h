
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


#define ZLT_DIAL_ERROR_SIZE  256

typedef struct zlt_dial_s  zlt_dial_t;

/*
 * c is connected, or NULL with a text in error; c is to be taken over with
 * zlt_io_move() before the return.  addr is where it leads to.
 */
typedef void (*zlt_dial_pt)(void *data, zlt_conn_t *c,
    const zlt_addr_t *addr, const char *error);


/* host may be the path of a UNIX socket; timeout, in milliseconds, is for all
   of it.  NULL: no memory. */
zlt_dial_t *zlt_dial_start(uv_loop_t *loop, const char *host, uint16_t port,
    unsigned timeout, zlt_dial_pt handler, void *data);
void zlt_dial_cancel(zlt_dial_t *d);


#endif /* ZLT_DIAL_H_INCLUDED */
