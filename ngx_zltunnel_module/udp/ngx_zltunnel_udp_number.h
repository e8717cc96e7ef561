
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_UDP_NUMBER_H_INCLUDED_
#define _NGX_ZLTUNNEL_UDP_NUMBER_H_INCLUDED_


#include "ngx_zltunnel.h"


/* gives the session its number on the channel; 0: there is none for it */
void ngx_zltunnel_udp_number_give(ngx_zltunnel_carrier_t *carrier,
    ngx_zltunnel_udp_t *udp);
/* no longer */
void ngx_zltunnel_udp_number_take(ngx_zltunnel_carrier_t *carrier,
    ngx_zltunnel_udp_t *udp);
/* NULL: none has it */
ngx_zltunnel_udp_t *ngx_zltunnel_udp_number_find(
    ngx_zltunnel_carrier_t *carrier, uint32_t number);


#endif /* _NGX_ZLTUNNEL_UDP_NUMBER_H_INCLUDED_ */
