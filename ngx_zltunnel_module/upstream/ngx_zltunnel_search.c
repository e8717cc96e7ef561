
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A connection to a host that no agent has.
 *
 * After a start and during an upgrade the registry is empty, and the agents are
 * on their way.  A client of a port waits in the queue of its socket then; one
 * that asks for a host has its request read already, and waits here.
 *
 * Whoever likes may ask for any name, so not all of a worker's connections may
 * wait so: what is beyond a part of them fails at once, as if it had waited.
 *
 * Whoever wants the connection is within peer.get, where it must not fail in a
 * way of ours; so it fails in an event of its own.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_search.h"
#include "ngx_zltunnel_balance.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_worker.h"


#define NGX_ZLTUNNEL_SEARCH_TIME  50       /* ms, between two looks */
#define NGX_ZLTUNNEL_SEARCH_PART  8        /* of the connections: each search has
                                              two, or more */


static void ngx_zltunnel_search_handler(ngx_event_t *ev);
static void ngx_zltunnel_search_failed_handler(ngx_event_t *ev);
static void ngx_zltunnel_search_later(ngx_zltunnel_conn_t *conn,
    ngx_event_handler_pt handler);


static ngx_uint_t  ngx_zltunnel_searches;    /* of this worker */


void
ngx_zltunnel_search(ngx_zltunnel_conn_t *conn)
{
    ngx_msec_t  timeout;

    if (conn->up->absent != NGX_ZLTUNNEL_EXPECTED
        || ngx_zltunnel_room_scarce()
        || ngx_zltunnel_searches
           >= ngx_cycle->connection_n / NGX_ZLTUNNEL_SEARCH_PART)
    {
        conn->rc = NGX_ZLTUNNEL_DIAL_NO_SERVICE;
        ngx_zltunnel_conn_state(conn, NGX_ZLTUNNEL_CONN_REFUSED);
        ngx_zltunnel_search_failed(conn);
        return;
    }

    timeout = conn->up->conf->registry->connect_timeout;

    if (conn->dial.timeout) {
        timeout = ngx_min(timeout, conn->dial.timeout);
    }

    conn->until = ngx_current_msec + timeout;
    ngx_zltunnel_searches++;

    /* nobody writes to it before it is found */

    conn->dial.corked = 0;

    ngx_zltunnel_search_later(conn, ngx_zltunnel_search_handler);
    ngx_add_timer(&conn->later, ngx_min(NGX_ZLTUNNEL_SEARCH_TIME, timeout));

    ngx_zltunnel_conn_state(conn, NGX_ZLTUNNEL_CONN_SEARCHES);
}


static void
ngx_zltunnel_search_handler(ngx_event_t *ev)
{
    ngx_int_t                 rc;
    ngx_uint_t                added;
    ngx_msec_int_t            left;
    ngx_zltunnel_conn_t      *conn;
    ngx_zltunnel_upstream_t  *up;

    conn = ev->data;
    up = conn->up;

    added = up->conf->registry->sh->hosts.added;
    left = (ngx_msec_int_t) (conn->until - ngx_current_msec);

    if (added == conn->seen && left > 0
        && ngx_zltunnel_host_expected(up->conf->registry))
    {
        /* nobody has come */

        ngx_add_timer(ev, ngx_min(NGX_ZLTUNNEL_SEARCH_TIME,
                                  (ngx_msec_t) left));
        return;
    }

    conn->seen = added;

    rc = ngx_zltunnel_balance(up);

    if (rc == NGX_BUSY && up->absent == NGX_ZLTUNNEL_EXPECTED && left > 0) {
        ngx_add_timer(ev, ngx_min(NGX_ZLTUNNEL_SEARCH_TIME,
                                  (ngx_msec_t) left));
        return;
    }

    ngx_zltunnel_search_end(conn);

    if (rc == NGX_OK) {

        if (ngx_zltunnel_conn_dial(conn) != NGX_OK) {
            ngx_zltunnel_conn_fail(conn, conn->rc);
        }

        return;
    }

    ngx_zltunnel_conn_fail(conn, rc == NGX_BUSY ? NGX_ZLTUNNEL_DIAL_NO_SERVICE
                                                : NGX_ZLTUNNEL_DIAL_ERROR);
}


void
ngx_zltunnel_search_failed(ngx_zltunnel_conn_t *conn)
{
    ngx_zltunnel_search_later(conn, ngx_zltunnel_search_failed_handler);
    ngx_post_event(&conn->later, &ngx_posted_events);
}


static void
ngx_zltunnel_search_failed_handler(ngx_event_t *ev)
{
    ngx_zltunnel_conn_t  *conn;

    conn = ev->data;

    ngx_zltunnel_conn_fail(conn, conn->rc);
}


static void
ngx_zltunnel_search_later(ngx_zltunnel_conn_t *conn,
    ngx_event_handler_pt handler)
{
    conn->later.handler = handler;
    conn->later.data = conn;
    conn->later.log = conn->dial.log;
}


void
ngx_zltunnel_search_end(ngx_zltunnel_conn_t *conn)
{
    if (conn->later.timer_set) {
        ngx_del_timer(&conn->later);
    }

    if (conn->later.posted) {
        ngx_delete_posted_event(&conn->later);
    }

    if (conn->state == NGX_ZLTUNNEL_CONN_SEARCHES) {
        ngx_zltunnel_searches--;
    }
}
