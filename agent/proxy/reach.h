
/*
 * Copyright (C) zltunnel authors
 */

/* A connection to the server, directly or through a proxy. */


#ifndef ZLT_REACH_H_INCLUDED
#define ZLT_REACH_H_INCLUDED


#include <uv.h>

#include "addr.h"
#include "dial.h"
#include "types.h"


#define ZLT_REACH_ERROR_SIZE  1024


/* where a connection has led, so that others need not look for it again */

typedef struct {
    zlt_addr_t       addr;             /* of the server, or of the proxy */
    zlt_addr_t       target;           /* what the proxy was asked for; len 0:
                                          the server by its name */
} zlt_way_t;


/*
 * c leads to the server, or is NULL with a text in error; it is to be taken
 * over with zlt_io_move() before the return.
 */
typedef void (*zlt_reach_pt)(void *data, zlt_conn_t *c, const zlt_way_t *way,
    const char *error);


/* timeout, in milliseconds, is for all of it; url and via must live as long.
   found, or NULL, is told where the name of the server, or of the proxy, leads
   to.  NULL: no memory. */
zlt_reach_t *zlt_reach_start(uv_loop_t *loop, const zlt_url_t *url,
    const zlt_proxy_t *via, unsigned timeout, zlt_reach_pt handler,
    zlt_dial_found_pt found, void *data);
void zlt_reach_cancel(zlt_reach_t *r);

/* What is said to the proxy on another connection of that way. */
zlt_talk_t *zlt_reach_talk(const zlt_url_t *url, const zlt_proxy_t *via,
    const zlt_addr_t *target);


#endif /* ZLT_REACH_H_INCLUDED */
