
/*
 * Copyright (C) zltunnel authors
 */

/* A bulky flow, through a pipe: for flow.c. */


#ifndef ZLT_FLOW_SPLICE_H_INCLUDED
#define ZLT_FLOW_SPLICE_H_INCLUDED


#include "relay.h"


/* From side[i] into a pipe: *moved bytes, and ZLT_FLOW_*.  It may turn out
   that the flow is to be copied again. */
int zlt_flow_splice_in(zlt_relay_t *r, unsigned i, size_t *moved);

/* ZLT_FLOW_MORE once the pipe is empty, and given back. */
int zlt_flow_splice_out(zlt_relay_t *r, unsigned i);


#endif /* ZLT_FLOW_SPLICE_H_INCLUDED */
