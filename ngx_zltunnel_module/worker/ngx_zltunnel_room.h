
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_ROOM_H_INCLUDED_
#define _NGX_ZLTUNNEL_ROOM_H_INCLUDED_


#include "ngx_zltunnel.h"


/* holds one of the worker's connections, for one that is to be made soon; NULL:
   there is none.  The caller's, until it is released: *held is NULL then. */
ngx_connection_t *ngx_zltunnel_room_hold(void);
void ngx_zltunnel_room_release(ngx_connection_t **held);
/* what gives way to a client when connections are few: it closes one of them;
   NGX_DECLINED: there is none */
void ngx_zltunnel_room_init(
    ngx_int_t (*evict)(ngx_zltunnel_registry_t *registry));
/* 1: there is no connection for one more client and its channel */
ngx_uint_t ngx_zltunnel_room_scarce(void);
/* the same for a client that is here, for whom one is made if there is none */
ngx_uint_t ngx_zltunnel_room_none(void);
/* how many are left to others */
ngx_uint_t ngx_zltunnel_room_others(void);
/* how many there are for clients and their channels */
ngx_uint_t ngx_zltunnel_room_left(void);
/* the one rule for whatever several share here: 1 if one that has so many of
   it, and leaves so many, is to have no more */
ngx_uint_t ngx_zltunnel_room_crowds(ngx_uint_t has, ngx_uint_t left);


#endif /* _NGX_ZLTUNNEL_ROOM_H_INCLUDED_ */
