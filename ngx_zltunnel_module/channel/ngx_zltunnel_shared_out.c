
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What is to be sent on a shared channel.  It stays in one buffer until it is,
 * and lanes that find no room there are called in their turn.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_shared_out.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_heartbeat.h"
#include "ngx_zltunnel_transport.h"

#include "zlt_lanes.h"
#include "zlt_msg.h"
#include "zlt_wire.h"


#define NGX_ZLTUNNEL_SHARED_OUT_RESERVE  4096  /* of the buffer, for what is
                                                  not Lane */
#define NGX_ZLTUNNEL_SHARED_OUT_SMALL    24576 /* .. for small messages */


static void ngx_zltunnel_shared_out_no_more(u_char *p);


size_t
ngx_zltunnel_shared_out_left(ngx_zltunnel_shared_t *shared, ngx_uint_t large)
{
    size_t  used;

    used = shared->last - shared->pos + NGX_ZLTUNNEL_SHARED_OUT_RESERVE;

    if (large) {

        if (ngx_zltunnel_shared_waited(shared)) {
            return 0;
        }

        used += NGX_ZLTUNNEL_SHARED_OUT_SMALL;
    }

    return used < NGX_ZLTUNNEL_BUFFER_SIZE ? NGX_ZLTUNNEL_BUFFER_SIZE - used
                                           : 0;
}


u_char *
ngx_zltunnel_shared_out_room(ngx_zltunnel_shared_t *shared, size_t size)
{
    u_char  *p;

    if (shared->channel == NULL) {
        return NULL;
    }

    if (shared->out == NULL) {
        shared->out = ngx_zltunnel_buffer_get(ngx_cycle->log);

        if (shared->out == NULL) {
            return NULL;
        }

        shared->pos = 0;
        shared->last = 0;
    }

    if (size > NGX_ZLTUNNEL_BUFFER_SIZE - shared->last) {

        shared->last -= shared->pos;

        ngx_memmove(shared->out, shared->out + shared->pos, shared->last);

        shared->pos = 0;

        if (size > NGX_ZLTUNNEL_BUFFER_SIZE - shared->last) {
            return NULL;
        }
    }

    p = shared->out + shared->last;
    shared->last += size;

    ngx_post_event(&shared->flush, &ngx_posted_events);

    return p;
}


ngx_int_t
ngx_zltunnel_shared_out_flush(ngx_zltunnel_shared_t *shared)
{
    ssize_t            n;
    ngx_connection_t  *c;

    c = shared->channel->end.connection;

    if (ngx_zltunnel_end_flush(&shared->channel->end) == NGX_ERROR) {
        return NGX_ERROR;
    }

    while (shared->pos < shared->last && c->write->ready) {

        n = ngx_zltunnel_end_push(&shared->channel->end,
                                  shared->out + shared->pos,
                                  shared->last - shared->pos);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR) {
            return NGX_ERROR;
        }

        shared->pos += n;
        shared->beat.unheard = 1;
    }

    if (shared->out && shared->pos == shared->last) {
        ngx_zltunnel_buffer_put(shared->out);
        shared->out = NULL;
        shared->pos = 0;
        shared->last = 0;
    }

    return ngx_handle_write_event(c->write, 0);
}


ngx_int_t
ngx_zltunnel_shared_out_heartbeat(ngx_zltunnel_shared_t *shared, uint8_t type,
    uint64_t timestamp)
{
    u_char  *p;

    p = ngx_zltunnel_shared_out_room(shared, NGX_ZLTUNNEL_HEARTBEAT_SIZE);

    if (p == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_zltunnel_heartbeat_write(p, type, timestamp);

    return NGX_OK;
}


ngx_int_t
ngx_zltunnel_shared_out_retire(ngx_zltunnel_shared_t *shared)
{
    u_char  *p;

    p = ngx_zltunnel_shared_out_room(shared, ZLT_HEADER_SIZE);

    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_zltunnel_shared_out_no_more(p);

    return NGX_OK;
}


/* Retire on the lane, as it would be on a channel of its own, and its end */

ngx_int_t
ngx_zltunnel_shared_out_decline(ngx_zltunnel_shared_t *shared,
    uint32_t number)
{
    u_char  *p;

    p = ngx_zltunnel_shared_out_room(shared, ZLT_LANE_HEADER + ZLT_HEADER_SIZE
                                             + ZLT_LANE_HEADER);

    if (p == NULL) {
        return NGX_ERROR;
    }

    zlt_lanes_header(p, number, ZLT_HEADER_SIZE);
    p += ZLT_LANE_HEADER;

    ngx_zltunnel_shared_out_no_more(p);
    p += ZLT_HEADER_SIZE;

    zlt_lanes_end(p, number);

    return NGX_OK;
}


static void
ngx_zltunnel_shared_out_no_more(u_char *p)
{
    *p++ = ZLT_RETIRE;
    zlt_put32(p, 0);
}
