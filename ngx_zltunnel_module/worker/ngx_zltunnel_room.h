
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_ROOM_H_INCLUDED_
#define _NGX_ZLTUNNEL_ROOM_H_INCLUDED_


#include "ngx_zltunnel.h"


/* so many clients more wait for a channel here, each of which will take one of
   the worker's connections; or so many less */
void ngx_zltunnel_room_reserve(ngx_int_t n);
/* 1: there is no connection for one more client and its channel */
ngx_uint_t ngx_zltunnel_room_scarce(void);


#endif /* _NGX_ZLTUNNEL_ROOM_H_INCLUDED_ */
