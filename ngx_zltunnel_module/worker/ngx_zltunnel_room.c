
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The connections that this worker has left.
 *
 * nginx accepts clients as long as it has connections, and closes those that
 * come then.  A client of ours needs two, its own and a channel, and would be
 * reset with the first and without the second.  So each that waits for a channel
 * has a connection reserved for it, and when the others have gone clients stay
 * in the queues of their sockets, or go to another worker.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_room.h"


/* a part of all that is left to others: to http, and to channels that agents
   open in advance */

#define NGX_ZLTUNNEL_ROOM_OTHERS  8


static ngx_int_t  ngx_zltunnel_room_reserved;


void
ngx_zltunnel_room_reserve(ngx_int_t n)
{
    ngx_zltunnel_room_reserved += n;
}


ngx_uint_t
ngx_zltunnel_room_scarce(void)
{
    ngx_uint_t  wanted;

    wanted = ngx_zltunnel_room_reserved
             + ngx_cycle->connection_n / NGX_ZLTUNNEL_ROOM_OTHERS;

    return ngx_cycle->free_connection_n <= wanted;
}
