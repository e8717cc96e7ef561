
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The connections that this worker has left.
 *
 * nginx accepts clients as long as it has connections, and closes those that
 * come then.  A client of ours needs two, its own and a channel, and would be
 * reset with the first and without the second.  So for each that waits for a
 * channel one of nginx's connections is held, taken from its free ones, and
 * when few are left clients stay in the queues of their sockets, or go to
 * another worker.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_room.h"


/* a part of all that is left to others: to http, and to channels that agents
   open in advance */

#define NGX_ZLTUNNEL_ROOM_OTHERS  8


static ngx_int_t  (*ngx_zltunnel_room_evict)(
    ngx_zltunnel_registry_t *registry);


void
ngx_zltunnel_room_init(ngx_int_t (*evict)(ngx_zltunnel_registry_t *registry))
{
    ngx_zltunnel_room_evict = evict;
}


ngx_connection_t *
ngx_zltunnel_room_hold(void)
{
    ngx_connection_t  *c;

    if (ngx_cycle->free_connection_n == 0) {

        /* nginx would say so at "alert" */

        return NULL;
    }

    c = ngx_get_connection(0, ngx_cycle->log);

    if (c) {

        /* it has no descriptor, and nobody closes it */

        c->fd = (ngx_socket_t) -1;
    }

    return c;
}


void
ngx_zltunnel_room_release(ngx_connection_t **held)
{
    if (*held) {
        ngx_free_connection(*held);
        *held = NULL;
    }
}


ngx_uint_t
ngx_zltunnel_room_scarce(void)
{
    return ngx_zltunnel_room_left() == 0;
}


/*
 * Idle channels were let in while there was room.  They are as many as agents
 * like, and would keep clients out for as long as they are idle.
 */

ngx_uint_t
ngx_zltunnel_room_none(void)
{
    while (ngx_zltunnel_room_scarce()) {

        if (ngx_zltunnel_room_evict(NULL) != NGX_OK) {
            return 1;
        }
    }

    return 0;
}


ngx_uint_t
ngx_zltunnel_room_left(void)
{
    ngx_uint_t  others;

    others = ngx_zltunnel_room_others();

    return ngx_cycle->free_connection_n > others
           ? ngx_cycle->free_connection_n - others : 0;
}


ngx_uint_t
ngx_zltunnel_room_others(void)
{
    return ngx_cycle->connection_n / NGX_ZLTUNNEL_ROOM_OTHERS;
}


/*
 * Two thirds of all for the only one who wants much, two fifths for each of two:
 * so whoever takes what he can get leaves room for the others, and most of it is
 * used nevertheless.
 */

ngx_uint_t
ngx_zltunnel_room_crowds(ngx_uint_t has, ngx_uint_t left)
{
    return has >= 2 * left;
}
