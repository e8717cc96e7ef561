
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_DIAL_SEARCH_H_INCLUDED_
#define _NGX_ZLTUNNEL_DIAL_SEARCH_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_dial.h"


/* what a channel is wanted for */
#define ngx_zltunnel_dial_for(dial)                                           \
    ((dial)->requests ? NGX_ZLTUNNEL_FOR_REQUESTS : NGX_ZLTUNNEL_FOR_BYTES)


/* an idle channel of this worker, or a lane, taken for it; or NULL */
ngx_zltunnel_channel_t *ngx_zltunnel_dial_search_local(
    ngx_zltunnel_dial_t *dial);
/* looks for a channel; fresh: that the agent is to open */
void ngx_zltunnel_dial_search(ngx_zltunnel_dial_t *dial,
    ngx_uint_t fresh);
/* the dial is one of that tunnel now: what was asked of the former one will not
   be answered.  NGX_ERROR: no memory */
ngx_int_t ngx_zltunnel_dial_search_move(ngx_zltunnel_dial_t *dial, u_char *id,
    u_char *token);
/* waits for one that the agent opens, and asks for it again after a while */
void ngx_zltunnel_dial_search_insist(ngx_zltunnel_dial_t *dial);
/* of dial->timer */
void ngx_zltunnel_dial_search_timer(ngx_event_t *ev);


#endif /* _NGX_ZLTUNNEL_DIAL_SEARCH_H_INCLUDED_ */
