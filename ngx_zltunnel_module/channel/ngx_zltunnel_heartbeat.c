
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Heartbeats on data channels, idle, shared or with datagrams: where one that is
 * dead is found.  The timer is the channel's.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_heartbeat.h"

#include "zlt_msg.h"
#include "zlt_wire.h"


#define NGX_ZLTUNNEL_CHANNEL_BEAT       25000   /* ms, at most */
#define NGX_ZLTUNNEL_CHANNEL_QUIET      5000    /* the same */
#define NGX_ZLTUNNEL_CHANNEL_ANSWER     10000   /* the same, and at least: */
#define NGX_ZLTUNNEL_CHANNEL_LEAST      1000


static ngx_msec_t ngx_zltunnel_heartbeat_period(
    ngx_zltunnel_registry_t *registry);
static ngx_msec_t ngx_zltunnel_heartbeat_answer(
    ngx_zltunnel_registry_t *registry);


/* ms until the next heartbeat, around 25 s, or less where control channels have
   more */

static ngx_msec_t
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


/* together with the time for the answer no more than heartbeat_timeout */

ngx_msec_t
ngx_zltunnel_heartbeat_quiet(ngx_zltunnel_registry_t *registry)
{
    return ngx_min(NGX_ZLTUNNEL_CHANNEL_QUIET,
                   registry->heartbeat_timeout / 3);
}


/* ms for the answer to one */

static ngx_msec_t
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


ngx_uint_t
ngx_zltunnel_heartbeat_heard(ngx_zltunnel_heartbeat_t *beat,
    ngx_zltunnel_registry_t *registry)
{
    beat->unheard = 0;

    if (!beat->asked) {
        return 0;
    }

    ngx_zltunnel_heartbeat_start(beat, registry);

    return 1;
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
    if ((ngx_msec_int_t) (ngx_current_msec - beat->next) < 0
        && (beat->asked || !beat->unheard))
    {
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

    if ((beat->quiet || beat->unheard) && !beat->asked) {
        left = ngx_min(left, (ngx_msec_int_t) beat->quiet);
    }

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
