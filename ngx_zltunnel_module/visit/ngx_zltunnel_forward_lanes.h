
/*
 * Copyright (C) zltunnel authors
 */

/* A channel of another node that many connections share. */


#ifndef _NGX_ZLTUNNEL_FORWARD_LANES_H_INCLUDED_
#define _NGX_ZLTUNNEL_FORWARD_LANES_H_INCLUDED_


#include "ngx_zltunnel.h"


/* That has come on c, Lane first.  c is no longer the caller's, nor is its place
   among the channels and visits. */
void ngx_zltunnel_forward_lanes(ngx_zltunnel_registry_t *registry,
    ngx_connection_t *c, const u_char *data, size_t len);
/* the worker exits: resets what the lanes carry */
void ngx_zltunnel_forward_lanes_exit(void);


#endif /* _NGX_ZLTUNNEL_FORWARD_LANES_H_INCLUDED_ */
