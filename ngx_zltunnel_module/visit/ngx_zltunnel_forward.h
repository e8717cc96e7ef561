
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Data channels of other nodes, on which this one plays the agent: what comes
 * by them is for services of agents that are here.
 */


#ifndef _NGX_ZLTUNNEL_FORWARD_H_INCLUDED_
#define _NGX_ZLTUNNEL_FORWARD_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_transport.h"


/* As ngx_zltunnel_visit_check(), _cancel() and _start(): NGX_OK, or 503.  data may
   be changed, and answer is freed. */
ngx_int_t ngx_zltunnel_forward_check(ngx_zltunnel_registry_t *registry,
    ngx_connection_t **held, ngx_log_t *log);
void ngx_zltunnel_forward_cancel(ngx_zltunnel_registry_t *registry);
void ngx_zltunnel_forward_start(ngx_zltunnel_registry_t *registry,
    ngx_connection_t *c, u_char *node, u_char *data, size_t len,
    ngx_str_t *answer);
/* the worker begins to exit: those that are idle go, and those with datagrams;
   or it does: all */
void ngx_zltunnel_forward_exit(ngx_uint_t all);


#endif /* _NGX_ZLTUNNEL_FORWARD_H_INCLUDED_ */
