
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_HEARTBEAT_H_INCLUDED_
#define _NGX_ZLTUNNEL_HEARTBEAT_H_INCLUDED_


#include "ngx_zltunnel.h"


/* ms until the next heartbeat on a data channel, around 25 s, or less where
   control channels have more */
ngx_msec_t ngx_zltunnel_heartbeat_period(ngx_zltunnel_registry_t *registry);
/* ms without a word on a channel that somebody waits on, after which it is asked
   for a sign of life, and ms for the answer to a heartbeat */
ngx_msec_t ngx_zltunnel_heartbeat_quiet(ngx_zltunnel_registry_t *registry);
ngx_msec_t ngx_zltunnel_heartbeat_answer(ngx_zltunnel_registry_t *registry);
/* of a channel's timer: sends one, or closes the channel that has not
   answered */
void ngx_zltunnel_heartbeat_handler(ngx_event_t *ev);


#endif /* _NGX_ZLTUNNEL_HEARTBEAT_H_INCLUDED_ */
