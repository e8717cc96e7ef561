
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_CARRY_READ_H_INCLUDED_
#define _NGX_ZLTUNNEL_CARRY_READ_H_INCLUDED_


#include "ngx_zltunnel.h"


void ngx_zltunnel_carry_read_handler(ngx_event_t *ev);
/* the beginning of a frame, for the next time: copied */
ngx_int_t ngx_zltunnel_carry_read_keep(ngx_zltunnel_carrier_t *carrier,
    const u_char *data, size_t len);


#endif /* _NGX_ZLTUNNEL_CARRY_READ_H_INCLUDED_ */
