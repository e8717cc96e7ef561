
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Heartbeats on idle channels: where one that is dead is found.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_heartbeat.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_channel_io.h"
#include "ngx_zltunnel_transport.h"

#include "zlt_msg.h"
#include "zlt_wire.h"

#include <openssl/crypto.h>


#define NGX_ZLTUNNEL_CHANNEL_BEAT       25000   /* ms, at most */
#define NGX_ZLTUNNEL_CHANNEL_QUIET      5000    /* the same */
#define NGX_ZLTUNNEL_CHANNEL_ANSWER     10000   /* the same, and at least: */
#define NGX_ZLTUNNEL_CHANNEL_LEAST      1000


ngx_msec_t
ngx_zltunnel_heartbeat_period(ngx_zltunnel_registry_t *registry)
{
    ngx_msec_t  mean;

    /* what lies in the path, and is the reason for a shorter interval, does
       not tell one kind of channel from the other */

    mean = ngx_min(NGX_ZLTUNNEL_CHANNEL_BEAT,
                   registry->heartbeat_interval * 5 / 6);

    /* +-20 %, so that channels opened together do not stay together */

    return mean - mean / 5 + ngx_random() % (mean * 2 / 5 + 1);
}


/* both together are no more than heartbeat_timeout */

ngx_msec_t
ngx_zltunnel_heartbeat_quiet(ngx_zltunnel_registry_t *registry)
{
    return ngx_min(NGX_ZLTUNNEL_CHANNEL_QUIET,
                   registry->heartbeat_timeout / 3);
}


ngx_msec_t
ngx_zltunnel_heartbeat_answer(ngx_zltunnel_registry_t *registry)
{
    ngx_msec_t  time;

    time = ngx_min(NGX_ZLTUNNEL_CHANNEL_ANSWER,
                   registry->heartbeat_timeout * 2 / 3);

    return ngx_max(time, NGX_ZLTUNNEL_CHANNEL_LEAST);
}


void
ngx_zltunnel_heartbeat_start(ngx_zltunnel_heartbeat_t *beat,
    ngx_zltunnel_registry_t *registry)
{
    beat->asked = 0;
    beat->next = ngx_current_msec + ngx_zltunnel_heartbeat_period(registry);
}


void
ngx_zltunnel_heartbeat_heard(ngx_zltunnel_heartbeat_t *beat,
    ngx_zltunnel_registry_t *registry)
{
    if (beat->asked) {
        ngx_zltunnel_heartbeat_start(beat, registry);
    }
}


void
ngx_zltunnel_heartbeat_ask(ngx_zltunnel_heartbeat_t *beat,
    ngx_zltunnel_registry_t *registry)
{
    beat->asked = 1;
    beat->next = ngx_current_msec + ngx_zltunnel_heartbeat_answer(registry);
}


ngx_zltunnel_heartbeat_e
ngx_zltunnel_heartbeat_tick(ngx_zltunnel_heartbeat_t *beat,
    ngx_zltunnel_registry_t *registry)
{
    if ((ngx_msec_int_t) (ngx_current_msec - beat->next) < 0) {
        return NGX_ZLTUNNEL_HEARTBEAT_WAIT;
    }

    if (beat->asked) {
        return NGX_ZLTUNNEL_HEARTBEAT_DEAD;
    }

    ngx_zltunnel_heartbeat_ask(beat, registry);

    return NGX_ZLTUNNEL_HEARTBEAT_ASK;
}


ngx_msec_t
ngx_zltunnel_heartbeat_left(ngx_zltunnel_heartbeat_t *beat)
{
    ngx_msec_int_t  left;

    left = (ngx_msec_int_t) (beat->next - ngx_current_msec);

    return ngx_max(left, 1);
}


u_char *
ngx_zltunnel_heartbeat_write(u_char *p, ngx_uint_t type, uint64_t timestamp)
{
    ngx_time_t  *tp;

    if (type == ZLT_HEARTBEAT) {
        tp = ngx_timeofday();
        timestamp = (uint64_t) tp->sec * 1000 + tp->msec;
    }

    *p++ = (u_char) type;
    p = zlt_put32(p, 8);

    return zlt_put64(p, timestamp);
}


void
ngx_zltunnel_heartbeat_handler(ngx_event_t *ev)
{
    zlt_msg_t                m;
    ngx_time_t              *tp;
    ngx_zltunnel_channel_t  *channel;

    channel = ev->data;

    if (channel->state == NGX_ZLTUNNEL_CHANNEL_DRAINING) {
        ngx_log_error(NGX_LOG_INFO, channel->end.connection->log, 0,
                      "agent did not end a connection");
        ngx_zltunnel_end_abort(&channel->end);
        ngx_zltunnel_channel_close(channel);
        return;
    }

    if (channel->state == NGX_ZLTUNNEL_CHANNEL_BEATING) {
        ngx_log_error(NGX_LOG_INFO, channel->end.connection->log, 0,
                      "idle data channel did not answer a heartbeat");
        ngx_zltunnel_channel_close(channel);
        return;
    }

    tp = ngx_timeofday();

    ngx_memzero(&m, sizeof(zlt_msg_t));
    m.type = ZLT_HEARTBEAT;
    m.timestamp = (uint64_t) tp->sec * 1000 + tp->msec;

    ngx_zltunnel_channel_state(channel, NGX_ZLTUNNEL_CHANNEL_BEATING);

    if (ngx_zltunnel_channel_io_write(channel, &m) != NGX_OK) {
        ngx_zltunnel_channel_close(channel);
        return;
    }

    ngx_add_timer(ev, ngx_zltunnel_heartbeat_answer(channel->registry));
}


