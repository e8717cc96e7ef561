
/*
 * Copyright (C) zltunnel authors
 */

/* What a relay does because of the time. */


#ifndef _NGX_ZLTUNNEL_RELAY_TIME_H_INCLUDED_
#define _NGX_ZLTUNNEL_RELAY_TIME_H_INCLUDED_


#include "ngx_zltunnel.h"


/* something may have gone to side[i]: it has to acknowledge that */
void ngx_zltunnel_relay_time_sent(ngx_zltunnel_relay_t *relay, ngx_uint_t i);
/* sees to it that the timer fires when the next thing is due, or earlier */
void ngx_zltunnel_relay_time_arm(ngx_zltunnel_relay_t *relay);
/* the timer has: NGX_ERROR, the relay is over, relay->how says why */
ngx_int_t ngx_zltunnel_relay_time_expire(ngx_zltunnel_relay_t *relay);
/* A side is lost now: when the other one is looked at. */
void ngx_zltunnel_relay_time_lost(ngx_zltunnel_relay_t *relay);
/* 1: that one has taken nothing for so long that the reset passes.  "outq": the
   bytes that it has yet to acknowledge. */
ngx_uint_t ngx_zltunnel_relay_time_stalls(ngx_zltunnel_relay_t *relay,
    size_t outq);


#endif /* _NGX_ZLTUNNEL_RELAY_TIME_H_INCLUDED_ */
