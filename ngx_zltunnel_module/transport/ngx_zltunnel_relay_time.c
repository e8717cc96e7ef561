
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What a relay does because of the time: its timeouts, keepalive, and the watch
 * of what a peer has not acknowledged.
 *
 * The timer is not moved as bytes move, but looks at its expiry what is due.
 * It is always set and not cancelable: a worker that exits gracefully waits
 * for such timers only.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_relay_time.h"
#include "ngx_zltunnel_end.h"
#include "ngx_zltunnel_flow.h"
#include "ngx_zltunnel_relay.h"
#include "ngx_zltunnel_socket.h"


#define NGX_ZLTUNNEL_RELAY_DEAD    60000          /* ms, see unacked */
#define NGX_ZLTUNNEL_RELAY_LONG    3600000        /* ms, without a timeout */

#define NGX_ZLTUNNEL_RELAY_STALLED 5000           /* ms, then a reset passes */
#define NGX_ZLTUNNEL_RELAY_FIRST   5              /* ms, until it is looked .. */
#define NGX_ZLTUNNEL_RELAY_LAST    200            /* .. whether it may */


/* ms, between two looks */
#define ngx_zltunnel_relay_time_look(r)                                       \
    (((r)->dead ? (r)->dead : NGX_ZLTUNNEL_RELAY_DEAD) / 2)

#define ngx_zltunnel_relay_time_waits(r)                                      \
    ((r)->paced                                                               \
     && ((r)->flow[0].portion.waits | (r)->flow[1].portion.waits))


static ngx_msec_t ngx_zltunnel_relay_time_limit(ngx_zltunnel_relay_t *relay);
static void ngx_zltunnel_relay_time_keep(ngx_zltunnel_relay_t *relay,
    ngx_uint_t i);
static ngx_int_t ngx_zltunnel_relay_time_watch(ngx_zltunnel_relay_t *relay,
    ngx_uint_t i);


/*
 * To side[i], or perhaps: not only bytes go there, but ends, what was sent
 * before the relay began, and answers that TLS and WebSocket give by themselves.
 */

void
ngx_zltunnel_relay_time_sent(ngx_zltunnel_relay_t *relay, ngx_uint_t i)
{
    if (relay->unacked[i] == 0) {
        relay->unacked[i] = 1;
        relay->unacked_since[i] = ngx_current_msec;
    }
}


void
ngx_zltunnel_relay_time_arm(ngx_zltunnel_relay_t *relay)
{
    ngx_uint_t      i, exact;
    ngx_msec_t      due, limit;
    ngx_msec_int_t  diff;

    exact = 0;
    limit = ngx_zltunnel_relay_time_limit(relay);

    due = limit ? relay->active + limit
                : ngx_current_msec + NGX_ZLTUNNEL_RELAY_LONG;

    for (i = 0; i < 2; i++) {

        if (relay->unacked[i]) {
            limit = relay->unacked_since[i]
                    + ngx_zltunnel_relay_time_look(relay);

            if ((ngx_msec_int_t) (limit - due) < 0) {
                due = limit;
            }
        }
    }

    if (!relay->kept) {
        limit = relay->started + ngx_zltunnel_relay_time_look(relay);

        if ((ngx_msec_int_t) (limit - due) < 0) {
            due = limit;
        }
    }

    if (ngx_zltunnel_flow_spare(&relay->flow[0])
        || ngx_zltunnel_flow_spare(&relay->flow[1]))
    {
        limit = relay->active + NGX_ZLTUNNEL_FLOW_IDLE;

        if ((ngx_msec_int_t) (limit - due) < 0) {
            due = limit;
        }
    }

    for (i = 0; ngx_zltunnel_relay_time_waits(relay) && i < 2; i++) {

        if (relay->flow[i].portion.waits) {
            limit = relay->flow[i].portion.due;

            if ((ngx_msec_int_t) (limit - due) < 0) {
                due = limit;
                exact = 1;
            }
        }
    }

    if (relay->lost) {
        limit = ngx_current_msec + relay->again;

        if ((ngx_msec_int_t) (limit - due) < 0) {
            due = limit;
            exact = 1;
        }
    }

    if (relay->event.timer_set
        && (ngx_msec_int_t) (relay->event.timer.key - due) <= 0)
    {
        return;
    }

    if (exact && relay->event.timer_set) {

        /* core does not move a timer by less than 300 ms */

        ngx_del_timer(&relay->event);
    }

    diff = (ngx_msec_int_t) (due - ngx_current_msec);

    ngx_add_timer(&relay->event, (ngx_msec_t) ngx_max(diff, 1));
}


void
ngx_zltunnel_relay_time_lost(ngx_zltunnel_relay_t *relay)
{
    ngx_zltunnel_end_t  *to;

    to = relay->side[1 - relay->gone];

    relay->again = NGX_ZLTUNNEL_RELAY_FIRST;
    relay->outq = ngx_zltunnel_end_outq(to);
    relay->stalled = to->connection->write->ready ? ngx_current_msec
                                                  : relay->active;
}


ngx_uint_t
ngx_zltunnel_relay_time_stalls(ngx_zltunnel_relay_t *relay, size_t outq)
{
    if (relay->outq != outq) {
        relay->outq = outq;
        relay->stalled = ngx_current_msec;
    }

    relay->again = ngx_min(relay->again * 2, NGX_ZLTUNNEL_RELAY_LAST);

    return ngx_current_msec - relay->stalled >= NGX_ZLTUNNEL_RELAY_STALLED
           && ngx_current_msec - relay->active >= NGX_ZLTUNNEL_RELAY_STALLED;
}


/* an end counts, too, that waits behind bytes which the far side leaves; 0: we
   are who lets it wait, or there is none */

static ngx_msec_t
ngx_zltunnel_relay_time_limit(ngx_zltunnel_relay_t *relay)
{
    if (ngx_zltunnel_relay_time_waits(relay)) {
        return 0;
    }

    if (relay->half_timeout
        && (relay->side[0]->shut || relay->side[1]->shut
            || relay->side[0]->connection->read->pending_eof
            || relay->side[1]->connection->read->pending_eof)
        && (relay->timeout == 0 || relay->half_timeout < relay->timeout))
    {
        return relay->half_timeout;
    }

    return relay->timeout;
}


ngx_int_t
ngx_zltunnel_relay_time_expire(ngx_zltunnel_relay_t *relay)
{
    ngx_uint_t  i;
    ngx_msec_t  limit;

    limit = ngx_zltunnel_relay_time_limit(relay);

    if (limit && ngx_current_msec - relay->active >= limit) {
        ngx_log_error(NGX_LOG_INFO, relay->log, NGX_ETIMEDOUT,
                      "relay timed out");
        relay->how = NGX_ZLTUNNEL_RELAY_TIMEOUT;
        return NGX_ERROR;
    }

    if (!relay->kept
        && ngx_current_msec - relay->started
           >= ngx_zltunnel_relay_time_look(relay))
    {
        /* only now: most connections are gone before keepalive would act */

        relay->kept = 1;

        ngx_zltunnel_relay_time_keep(relay, 0);
        ngx_zltunnel_relay_time_keep(relay, 1);
    }

    for (i = 0; i < 2; i++) {

        if (ngx_zltunnel_relay_time_watch(relay, i) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* a client's may be as "so_keepalive" of its listen directive says */

static void
ngx_zltunnel_relay_time_keep(ngx_zltunnel_relay_t *relay, ngx_uint_t i)
{
    ngx_connection_t  *c;

    c = relay->side[i]->connection;

    if (!relay->side[i]->ops->network) {
        return;
    }

    if (i == 0 && c->listening && c->listening->keepalive) {
        return;
    }

    ngx_zltunnel_socket_keepalive(c, i == 1 ? relay->dead : 0);
}


/*
 * Keepalive finds a dead peer of an idle connection only.  While there are
 * bytes that it has not acknowledged, it is asked for here: it is dead if at
 * two looks in succession there were such bytes, and no sign of life between.
 */

static ngx_int_t
ngx_zltunnel_relay_time_watch(ngx_zltunnel_relay_t *relay, ngx_uint_t i)
{
    ngx_int_t  rc;

    if (relay->unacked[i] == 0
        || ngx_current_msec - relay->unacked_since[i]
           < ngx_zltunnel_relay_time_look(relay))
    {
        return NGX_OK;
    }

    rc = ngx_zltunnel_end_alive(relay->side[i], relay->dead);

    if (rc == NGX_OK) {
        relay->unacked[i] = 0;
        return NGX_OK;
    }

    if (rc == NGX_ERROR && relay->unacked[i] == 2) {
        (void) ngx_connection_error(relay->side[i]->connection, NGX_ETIMEDOUT,
                                    "peer does not acknowledge");
        return ngx_zltunnel_relay_failed(relay, i);
    }

    relay->unacked[i] = 2;
    relay->unacked_since[i] = ngx_current_msec;

    return NGX_OK;
}
