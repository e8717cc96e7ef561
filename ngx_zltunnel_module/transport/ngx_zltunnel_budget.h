
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What is read from a peer at one event: an agent, a visitor, or whoever poses
 * as one.  Every loop that reads from one has a budget and stops when it is
 * spent, since a peer may well send faster than it is understood, and the other
 * connections of the worker wait as long as the loop goes on.
 */


#ifndef _NGX_ZLTUNNEL_BUDGET_H_INCLUDED_
#define _NGX_ZLTUNNEL_BUDGET_H_INCLUDED_


#include "ngx_zltunnel.h"


#define NGX_ZLTUNNEL_BUDGET_BYTES     65536
#define NGX_ZLTUNNEL_BUDGET_MESSAGES  64


/* all zero at the start of an event */

typedef struct {
    size_t                       bytes;
    ngx_uint_t                   messages;
} ngx_zltunnel_budget_t;


/* 1 if that is enough for this event */
ngx_uint_t ngx_zltunnel_budget_spent(ngx_zltunnel_budget_t *budget);
/* the event's handler is called again when others have had their turn */
void ngx_zltunnel_budget_post(ngx_event_t *ev);


#endif /* _NGX_ZLTUNNEL_BUDGET_H_INCLUDED_ */
