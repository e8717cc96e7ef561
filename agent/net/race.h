
/*
 * Copyright (C) zltunnel authors
 */

/* Several addresses, of which the first that is connected wins. */


#ifndef ZLT_RACE_H_INCLUDED
#define ZLT_RACE_H_INCLUDED


#include <uv.h>

#include "addr.h"
#include "io.h"
#include "types.h"


#define ZLT_RACE_TEXT  400

/*
 * c is connected, and is to be taken over with zlt_race_take() before the
 * return; addr is where it leads to.  Or c is NULL, and err is what the
 * address that failed last has met with.
 */
typedef void (*zlt_race_pt)(void *data, zlt_conn_t *c, const zlt_addr_t *addr,
    int err);


/*
 * Tries the addresses, of which there is one at least.  "first" is on its way
 * to the first of them already, and is closed afterwards; NULL: none is.
 * speaks: as in zlt_conn_connect().  Calls back from the loop; NULL without
 * memory, and first is as it was.
 */
zlt_race_t *zlt_race_start(uv_loop_t *loop, const zlt_addrs_t *addrs,
    zlt_conn_t *first, int speaks, zlt_race_pt handler, void *data);
void zlt_race_cancel(zlt_race_t *r);

/*
 * What has become of those that were begun, from within the handler too:
 * "127.0.0.1:80: Connection refused", or, where they differ, one after the
 * other.  under_way: only those without an answer, "127.0.0.1:80 and
 * [::1]:80".  buf has ZLT_RACE_TEXT bytes; returns it.
 */
const char *zlt_race_why(const zlt_race_t *r, char *buf);
const char *zlt_race_under_way(const zlt_race_t *r, char *buf);

/* The winner becomes "to": 0 or -1. */
int zlt_race_take(zlt_conn_t *to, zlt_conn_t *winner, zlt_io_pt handler);


#endif /* ZLT_RACE_H_INCLUDED */
