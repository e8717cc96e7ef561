
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_SHARED_OUT_H_INCLUDED_
#define _NGX_ZLTUNNEL_SHARED_OUT_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_shared.h"


/* Room for a message behind what is to be sent, so many bytes: where it goes,
   or NULL if there is none now.  It is sent at the end of this turn. */
u_char *ngx_zltunnel_shared_out_room(ngx_zltunnel_shared_t *shared, size_t size);
/* How many there is room for now.  Large messages leave some to small ones,
   which wait behind what is there, and have their turn. */
size_t ngx_zltunnel_shared_out_left(ngx_zltunnel_shared_t *shared,
    ngx_uint_t large);
/* sends what there is room for; NGX_ERROR: the channel has failed */
ngx_int_t ngx_zltunnel_shared_out_flush(ngx_zltunnel_shared_t *shared);
/* asks for a sign of life, or answers; NGX_ERROR: there is no room */
ngx_int_t ngx_zltunnel_shared_out_heartbeat(ngx_zltunnel_shared_t *shared,
    uint8_t type, uint64_t timestamp);
/* no more lanes are to be opened; NGX_ERROR: there is no room */
ngx_int_t ngx_zltunnel_shared_out_retire(ngx_zltunnel_shared_t *shared);
/* nobody acts on that lane, which the other side has opened; likewise */
ngx_int_t ngx_zltunnel_shared_out_decline(ngx_zltunnel_shared_t *shared,
    uint32_t number);


#endif /* _NGX_ZLTUNNEL_SHARED_OUT_H_INCLUDED_ */
