
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_CARRY_H_INCLUDED_
#define _NGX_ZLTUNNEL_CARRY_H_INCLUDED_


#include "ngx_zltunnel.h"


/* the channel, which is the carrier's from here on; what waits is written, and
   ngx_zltunnel_carrier_lost() is called when it ends */
void ngx_zltunnel_carry_start(ngx_zltunnel_carrier_t *carrier,
    ngx_zltunnel_channel_t *channel);
/* closes it */
void ngx_zltunnel_carry_stop(ngx_zltunnel_carrier_t *carrier);
/* to the agent, on a channel that is ready; dropped where it cannot be */
void ngx_zltunnel_carry_datagram(ngx_zltunnel_carrier_t *carrier,
    ngx_zltunnel_udp_t *udp, u_char *data, size_t len);


#endif /* _NGX_ZLTUNNEL_CARRY_H_INCLUDED_ */
