
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_DIAL_TURN_H_INCLUDED_
#define _NGX_ZLTUNNEL_DIAL_TURN_H_INCLUDED_


#include "ngx_zltunnel.h"


/* NGX_OK: the agent may be asked for a channel, and the dial counts until
   ngx_zltunnel_dial_turn_over(); NGX_AGAIN: too many do, it has to wait for its
   turn.  May be called under the lock. */
ngx_int_t ngx_zltunnel_dial_turn_take(ngx_zltunnel_dial_t *dial);
/* the dial has a channel, or does not want one any more */
void ngx_zltunnel_dial_turn_over(ngx_zltunnel_dial_t *dial,
    ngx_uint_t served);
/* ms, that a dial whose timeout is over may wait on for its turn: not 0 as long
   as others get channels */
ngx_msec_t ngx_zltunnel_dial_turn_left(ngx_zltunnel_dial_t *dial);
/* those that wait have their turn, or the idle channels that have come, soon */
void ngx_zltunnel_dial_turn_next(ngx_zltunnel_peer_t *peer);


#endif /* _NGX_ZLTUNNEL_DIAL_TURN_H_INCLUDED_ */
