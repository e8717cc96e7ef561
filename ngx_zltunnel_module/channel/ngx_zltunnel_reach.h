
/*
 * Copyright (C) zltunnel authors
 */

/* The fresh data channel of a tunnel whose agents are at another node. */


#ifndef _NGX_ZLTUNNEL_REACH_H_INCLUDED_
#define _NGX_ZLTUNNEL_REACH_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_dial.h"


/* Opens one for the dial, which gets it, or goes on elsewhere, or is told that
   it cannot: not before the next turn of the event loop. */
void ngx_zltunnel_reach(ngx_zltunnel_dial_t *dial);
void ngx_zltunnel_reach_exit(void);


#endif /* _NGX_ZLTUNNEL_REACH_H_INCLUDED_ */
