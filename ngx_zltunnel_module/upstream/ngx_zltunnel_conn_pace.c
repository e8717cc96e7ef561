
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Upstream connections to services whose token has a rate.
 *
 * nginx's upstream code reads and writes a channel that it was lent by functions
 * of ours.  When its bytes have to wait they say that the connection is not
 * ready, and a timer posts its event when it is.  What that takes is allocated
 * when there is a rate: connections without one stay small.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_conn_pace.h"
#include "ngx_zltunnel_move.h"
#include "ngx_zltunnel_transport.h"
#include "ngx_zltunnel_worker.h"


#define NGX_ZLTUNNEL_CONN_PACE_MOST  65536   /* bytes, if there is no memory */


typedef struct {
    ngx_zltunnel_portion_t       portion[2];  /* of each way */
    ngx_event_t                  turn;        /* when one that waits may go on */
} ngx_zltunnel_conn_pace_t;


static ngx_zltunnel_conn_pace_t *ngx_zltunnel_conn_pace_get(
    ngx_zltunnel_conn_t *conn);
static void ngx_zltunnel_conn_pace_by(ngx_zltunnel_conn_t *conn,
    ngx_zltunnel_pace_t **by);
static void ngx_zltunnel_conn_pace_wait(ngx_zltunnel_conn_pace_t *pace,
    ngx_msec_t due);
static void ngx_zltunnel_conn_pace_handler(ngx_event_t *ev);
static ngx_event_t *ngx_zltunnel_conn_pace_event(ngx_zltunnel_conn_t *conn,
    ngx_uint_t way);
static void ngx_zltunnel_conn_pace_ready(ngx_zltunnel_conn_t *conn,
    ngx_uint_t way);


size_t
ngx_zltunnel_conn_pace_ask(ngx_zltunnel_conn_t *conn, ngx_uint_t way)
{
    size_t                     n;
    ngx_uint_t                 waited;
    ngx_zltunnel_pace_t       *by[NGX_ZLTUNNEL_PACES];
    ngx_zltunnel_portion_t    *portion;
    ngx_zltunnel_conn_pace_t  *pace;

    pace = ngx_zltunnel_conn_pace_get(conn);

    if (pace == NULL) {
        return NGX_ZLTUNNEL_CONN_PACE_MOST;
    }

    portion = &pace->portion[way];
    waited = portion->waits;

    ngx_zltunnel_conn_pace_by(conn, by);

    n = ngx_zltunnel_pace_ask(by, portion);

    if (n == 0) {
        ngx_zltunnel_conn_pace_event(conn, way)->ready = 0;
        ngx_zltunnel_conn_pace_wait(pace, portion->due);

    } else if (waited) {

        /* asked before the timer has told */

        ngx_zltunnel_conn_pace_ready(conn, way);
    }

    return n;
}


static ngx_zltunnel_conn_pace_t *
ngx_zltunnel_conn_pace_get(ngx_zltunnel_conn_t *conn)
{
    ngx_zltunnel_conn_pace_t  *pace;

    pace = conn->pace;

    if (pace == NULL) {
        pace = ngx_pcalloc(conn->dial.pool, sizeof(ngx_zltunnel_conn_pace_t));
        if (pace == NULL) {
            return NULL;
        }

        pace->turn.handler = ngx_zltunnel_conn_pace_handler;
        pace->turn.data = conn;
        pace->turn.log = ngx_cycle->log;

        conn->pace = pace;
    }

    return pace;
}


static ngx_event_t *
ngx_zltunnel_conn_pace_event(ngx_zltunnel_conn_t *conn, ngx_uint_t way)
{
    return (way == NGX_ZLTUNNEL_CONN_SENDS) ? conn->connection->write
                                            : conn->connection->read;
}


/* as it was before the rate said that it is not */

static void
ngx_zltunnel_conn_pace_ready(ngx_zltunnel_conn_t *conn, ngx_uint_t way)
{
    ngx_zltunnel_conn_pace_event(conn, way)->ready = 1;

    if (way == NGX_ZLTUNNEL_CONN_SENDS
        && conn->state == NGX_ZLTUNNEL_CONN_MOVED)
    {
        /* the last message of the lane may have met one that was not ready */

        ngx_zltunnel_move_leave(conn);
    }
}


static void
ngx_zltunnel_conn_pace_by(ngx_zltunnel_conn_t *conn, ngx_zltunnel_pace_t **by)
{
    by[0] = ngx_zltunnel_peer_pace(conn->dial.link.peer, NULL);
    by[1] = NULL;
}


static void
ngx_zltunnel_conn_pace_wait(ngx_zltunnel_conn_pace_t *pace, ngx_msec_t due)
{
    ngx_event_t  *ev;

    ev = &pace->turn;

    if (ev->timer_set) {

        if ((ngx_msec_int_t) (ev->timer.key - due) <= 0) {
            return;
        }

        /* core does not move a timer by less than 300 ms */

        ngx_del_timer(ev);
    }

    ngx_add_timer(ev, ngx_max((ngx_msec_int_t) (due - ngx_current_msec), 1));
}


static void
ngx_zltunnel_conn_pace_handler(ngx_event_t *ev)
{
    ngx_uint_t                 way;
    ngx_zltunnel_conn_t       *conn;
    ngx_zltunnel_portion_t    *portion;
    ngx_zltunnel_conn_pace_t  *pace;

    conn = ev->data;
    pace = conn->pace;

    for (way = 0; way < 2; way++) {
        portion = &pace->portion[way];

        if (!portion->waits) {
            continue;
        }

        if ((ngx_msec_int_t) (portion->due - ngx_current_msec) > 0) {
            ngx_zltunnel_conn_pace_wait(pace, portion->due);
            continue;
        }

        ngx_zltunnel_conn_pace_ready(conn, way);
        ngx_post_event(ngx_zltunnel_conn_pace_event(conn, way),
                       &ngx_posted_events);
    }
}


void
ngx_zltunnel_conn_pace_used(ngx_zltunnel_conn_t *conn, ngx_uint_t way,
    size_t n, ngx_uint_t more)
{
    ngx_zltunnel_pace_t       *by[NGX_ZLTUNNEL_PACES];
    ngx_zltunnel_conn_pace_t  *pace;

    pace = conn->pace;

    if (pace == NULL) {
        return;
    }

    ngx_zltunnel_pace_used(&pace->portion[way], n);

    if (!more) {
        ngx_zltunnel_conn_pace_by(conn, by);
        ngx_zltunnel_pace_back(by, &pace->portion[way]);
    }
}


void
ngx_zltunnel_conn_pace_spend(ngx_zltunnel_conn_t *conn, size_t n)
{
    ngx_zltunnel_pace_t  *by[NGX_ZLTUNNEL_PACES];

    ngx_zltunnel_conn_pace_by(conn, by);
    ngx_zltunnel_pace_spend(by, n);
}


void
ngx_zltunnel_conn_pace_change(ngx_zltunnel_link_t *link, uint64_t old)
{
    ngx_uint_t                 way;
    ngx_zltunnel_conn_t       *conn;
    ngx_zltunnel_portion_t    *portion;
    ngx_zltunnel_conn_pace_t  *pace;

    conn = (ngx_zltunnel_conn_t *) ngx_zltunnel_dial_of(link);
    pace = conn->pace;

    for (way = 0; pace && way < 2; way++) {
        portion = &pace->portion[way];

        if (ngx_zltunnel_pace_rescale(portion, old, link->peer->pace.rate)) {
            ngx_zltunnel_conn_pace_wait(pace, portion->due);
        }
    }
}


void
ngx_zltunnel_conn_pace_end(ngx_zltunnel_conn_t *conn)
{
    ngx_uint_t                 way;
    ngx_zltunnel_pace_t       *by[NGX_ZLTUNNEL_PACES];
    ngx_zltunnel_conn_pace_t  *pace;

    pace = conn->pace;

    if (pace == NULL) {
        return;
    }

    ngx_zltunnel_conn_pace_by(conn, by);

    for (way = 0; way < 2; way++) {

        if (pace->portion[way].waits) {
            ngx_zltunnel_conn_pace_event(conn, way)->ready = 1;
        }

        ngx_zltunnel_pace_back(by, &pace->portion[way]);
    }

    if (pace->turn.timer_set) {
        ngx_del_timer(&pace->turn);
    }
}
