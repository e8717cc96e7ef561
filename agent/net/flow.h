
/*
 * Copyright (C) zltunnel authors
 */

/* One direction of a relay: flow[i] goes from side[i] to side[!i]. */


#ifndef ZLT_FLOW_H_INCLUDED
#define ZLT_FLOW_H_INCLUDED


#include "relay.h"


/* results of one step */
#define ZLT_FLOW_MORE   1          /* bytes went, go on */
#define ZLT_FLOW_WAIT   0          /* an event will come */
#define ZLT_FLOW_IN     -1         /* the source failed */
#define ZLT_FLOW_OUT    -2         /* the destination failed */
#define ZLT_FLOW_MEM    -3


/* Appends bytes that go first into flow[from]; copied.  0, or -1 if there is no
   memory. */
int zlt_flow_put(zlt_relay_t *r, unsigned from, const void *data, size_t len);

/* As far as it goes, its end with it; ZLT_FLOW_WAIT or an error. */
int zlt_flow_move(zlt_relay_t *r, unsigned i);

/* Frees what it holds. */
void zlt_flow_drop(zlt_relay_t *r, unsigned i);


#endif /* ZLT_FLOW_H_INCLUDED */
