
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_CARRY_H_INCLUDED_
#define _NGX_ZLTUNNEL_CARRY_H_INCLUDED_


#include "ngx_zltunnel.h"


/* the channel, which is the carrier's from here on; what waits is written */
void ngx_zltunnel_carry_start(ngx_zltunnel_carrier_t *carrier,
    ngx_zltunnel_channel_t *channel);
/* gives it up, soon: ngx_zltunnel_carrier_lost() is called */
void ngx_zltunnel_carry_failed(ngx_zltunnel_carrier_t *carrier);
/* closes it */
void ngx_zltunnel_carry_stop(ngx_zltunnel_carrier_t *carrier);
/* 1 if frames go out as they come */
ngx_uint_t ngx_zltunnel_carry_ready(ngx_zltunnel_carrier_t *carrier);
/* frames, to be written by the flush; lost if the channel has failed */
void ngx_zltunnel_carry_datagram(ngx_zltunnel_carrier_t *carrier,
    ngx_zltunnel_udp_t *udp, u_char *data, size_t len);
void ngx_zltunnel_carry_close(ngx_zltunnel_carrier_t *carrier,
    uint32_t number, ngx_uint_t cause);
void ngx_zltunnel_carry_heartbeat(ngx_zltunnel_carrier_t *carrier);
void ngx_zltunnel_carry_beat(ngx_zltunnel_carrier_t *carrier, ngx_uint_t type,
    uint64_t timestamp);
/* writes what was taken since the last time */
void ngx_zltunnel_carry_flush(void);
/* writes what waits, as far as the channel takes it */
void ngx_zltunnel_carry_write(ngx_zltunnel_carrier_t *carrier);


#endif /* _NGX_ZLTUNNEL_CARRY_H_INCLUDED_ */
