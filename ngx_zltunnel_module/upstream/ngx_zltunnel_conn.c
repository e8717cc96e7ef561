
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Connections of nginx's upstream code that lead through a tunnel.
 *
 * That code wants a connection from peer.get at once, and has no way to wait
 * for one that is yet to be found.  But it knows how to wait for connect().
 * So it gets a placeholder: a descriptor that is not in epoll, and on which
 * nothing happens, while a dial is under way.  The upstream code starts its
 * connect timeout and waits for it to become writable.
 *
 * When the agent has answered, the data channel is lent to the connection
 * (ngx_zltunnel_lend.c), and an event says that it is writable.  From then on
 * nginx reads and writes the channel itself, and no hop is between.  If the
 * dial fails, the descriptor's place is taken by that of a socket with an error
 * pending, as after a connect() that failed; if it times out, so does the
 * connection.
 *
 * Where the upstream code needs a descriptor, since it is to speak TLS to the
 * service itself, or in stream, where that cannot be known, the connection gets
 * one end of a socketpair, and a relay of this worker joins the other end and
 * the channel.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_conn.h"
#include "ngx_zltunnel_balance.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_conn_check.h"
#include "ngx_zltunnel_conn_end.h"
#include "ngx_zltunnel_conn_pace.h"
#include "ngx_zltunnel_conn_pool.h"
#include "ngx_zltunnel_early.h"
#include "ngx_zltunnel_lend.h"
#include "ngx_zltunnel_pair.h"
#include "ngx_zltunnel_placeholder.h"
#include "ngx_zltunnel_search.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_transport.h"
#include "ngx_zltunnel_worker.h"


static void ngx_zltunnel_conn_dialled(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_dial_e rc);
static ngx_int_t ngx_zltunnel_conn_bind(ngx_zltunnel_conn_t *conn);


ngx_int_t
ngx_zltunnel_conn_connect(ngx_zltunnel_upstream_t *up,
    ngx_peer_connection_t *pc, ngx_connection_t *client, ngx_pool_t *pool,
    ngx_zltunnel_conn_t **result)
{
    ngx_uint_t            early;
    ngx_connection_t     *c;
    ngx_zltunnel_conn_t  *conn;
    ngx_zltunnel_dial_t  *dial;

    *result = NULL;

    /* one that waits for its agent has all the time to connect, and not that for
       an answer */

    early = up->early && !up->waits;

    c = ngx_zltunnel_placeholder_create(pc);
    if (c == NULL) {
        return NGX_ERROR;
    }

    if (pool == NULL) {
        pool = ngx_create_pool(1024, pc->log);
        if (pool == NULL) {
            ngx_close_connection(c);
            return NGX_ERROR;
        }

        c->pool = pool;
    }

    conn = ngx_zltunnel_conn_pool_add(pool, ngx_zltunnel_conn_release);
    if (conn == NULL) {
        goto failed;
    }

    conn->connection = c;
    conn->up = up;

    if (up->requests) {
        conn->dead = up->conf->registry->heartbeat_timeout;
    }

    dial = &conn->dial;

    dial->registry = up->conf->registry;
    dial->pool = pool;
    dial->log = pc->log;
    dial->local = up->local;
    dial->requests = up->requests;
    dial->lanes = up->direct
                  && (up->conf->lanes
                      || ngx_zltunnel_stay_last(dial->registry));
    dial->corked = early;

    if (up->early || up->failed) {

        /* before the upstream code's own timeout, which has one answer */

        dial->timeout = up->timeout - (up->timeout > 1);
    }

    dial->handler = ngx_zltunnel_conn_dialled;
    dial->data = conn;

    dial->client_addr.data = conn->addr;
    dial->client_addr.len = ngx_sock_ntop(client->sockaddr, client->socklen,
                                          conn->addr, NGX_SOCKADDR_STRLEN, 1);

    if (up->absent) {
        early = 0;
        ngx_zltunnel_search(conn);

    } else if (ngx_zltunnel_conn_dial(conn) == NGX_OK) {
        early = early && conn->state == NGX_ZLTUNNEL_CONN_DIALS;

    } else if (up->failed) {
        early = 0;
        ngx_zltunnel_search_failed(conn);

    } else {
        goto declined;
    }

    pc->connection = c;
    *result = conn;

    if (early) {
        ngx_zltunnel_early_start(conn);
        return NGX_DONE;
    }

    return NGX_AGAIN;

declined:

    ngx_zltunnel_conn_release(conn);

    if (c->pool) {
        ngx_destroy_pool(c->pool);
    }

    ngx_close_connection(c);

    return NGX_DECLINED;

failed:

    if (c->pool) {
        ngx_destroy_pool(c->pool);
    }

    ngx_close_connection(c);

    return NGX_ERROR;
}


ngx_int_t
ngx_zltunnel_conn_dial(ngx_zltunnel_conn_t *conn)
{
    if (!conn->dial.lanes) {
        conn->held = ngx_zltunnel_room_hold();
    }

    ngx_zltunnel_conn_state(conn, NGX_ZLTUNNEL_CONN_STARTS);

    ngx_zltunnel_dial_start_service(&conn->dial, conn->up->tunnel_id,
                              conn->up->service_id);

    if (conn->state == NGX_ZLTUNNEL_CONN_STARTS) {
        ngx_zltunnel_conn_state(conn, NGX_ZLTUNNEL_CONN_DIALS);
    }

    return conn->state == NGX_ZLTUNNEL_CONN_REFUSED ? NGX_DECLINED : NGX_OK;
}


void
ngx_zltunnel_conn_release(ngx_zltunnel_conn_t *conn)
{
    if (conn->state == NGX_ZLTUNNEL_CONN_CLOSED) {
        return;
    }

    ngx_zltunnel_room_release(&conn->held);
    ngx_zltunnel_search_end(conn);
    ngx_zltunnel_conn_pace_end(conn);

    if (ngx_zltunnel_conn_bound(conn)) {
        ngx_queue_remove(&conn->queue);
    }

    ngx_zltunnel_conn_state(conn, NGX_ZLTUNNEL_CONN_CLOSED);

    conn->connection = NULL;
    conn->up = NULL;

    if (conn->lent) {
        ngx_zltunnel_lend_close(conn);
    }

    if (conn->pair) {
        ngx_zltunnel_pair_leave(conn);
    }

    ngx_zltunnel_dial_done(&conn->dial);
}


void
ngx_zltunnel_conn_count(ngx_zltunnel_conn_t *conn, off_t sent, off_t received)
{
    if (conn->dial.counter) {
        conn->dial.counter->bytes[0] += sent;
        conn->dial.counter->bytes[1] += received;
    }
}


static void
ngx_zltunnel_conn_dialled(ngx_zltunnel_dial_t *dial, ngx_zltunnel_dial_e rc)
{
    ngx_zltunnel_conn_t  *conn;

    conn = dial->data;

    if (rc == NGX_ZLTUNNEL_DIAL_OK) {

        if (ngx_zltunnel_conn_bind(conn) == NGX_OK) {
            return;
        }

        rc = NGX_ZLTUNNEL_DIAL_ERROR;
    }

    ngx_log_error(NGX_LOG_INFO, dial->log, 0, "no connection to \"%V\": %s",
                  &conn->up->name, ngx_zltunnel_dial_error(dial, rc));

    conn->rc = rc;

    if (conn->state == NGX_ZLTUNNEL_CONN_STARTS) {
        ngx_zltunnel_conn_state(conn, NGX_ZLTUNNEL_CONN_REFUSED);

    } else {
        ngx_zltunnel_conn_fail(conn, rc);
    }
}


void
ngx_zltunnel_conn_fail(ngx_zltunnel_conn_t *conn, ngx_zltunnel_dial_e rc)
{
    ngx_uint_t                early;
    ngx_socket_t              fd;
    ngx_connection_t         *c;
    ngx_zltunnel_upstream_t  *up;

    c = conn->connection;
    up = conn->up;
    early = (conn->state == NGX_ZLTUNNEL_CONN_EARLY);

    ngx_zltunnel_conn_state(conn, NGX_ZLTUNNEL_CONN_FAILED);

    if (up->failed && up->failed(up->data, rc, conn->dial.code)) {

        if (c->write->timer_set) {
            ngx_del_timer(c->write);
        }

        return;
    }

    if (early) {
        ngx_zltunnel_early_fail(conn, rc);
        return;
    }

    if (rc != NGX_ZLTUNNEL_DIAL_TIMEOUT) {
        fd = ngx_zltunnel_placeholder_dead(c->log);

        if (fd != (ngx_socket_t) -1) {
            ngx_zltunnel_placeholder_swap(c, fd);
            return;
        }
    }

    ngx_zltunnel_placeholder_time_out(c);
}


static ngx_int_t
ngx_zltunnel_conn_bind(ngx_zltunnel_conn_t *conn)
{
    ngx_uint_t    lend;
    ngx_socket_t  fd;

    fd = (ngx_socket_t) -1;

    ngx_zltunnel_room_release(&conn->held);

    lend = (conn->up->direct && conn->dial.last == conn->dial.sent[0]);

    if (conn->state == NGX_ZLTUNNEL_CONN_EARLY) {
        ngx_zltunnel_early_done(conn);
    }

    if (!lend) {
        fd = ngx_zltunnel_pair_start(conn);

        if (fd == (ngx_socket_t) -1) {
            return NGX_ERROR;
        }
    }

    conn->up = NULL;
    conn->dial.link.cut = ngx_zltunnel_conn_end_cut;
    conn->dial.link.paced = ngx_zltunnel_conn_pace_change;

    /* the connection may outlast the request */

    conn->dial.log = ngx_cycle->log;
    conn->dial.timer.log = ngx_cycle->log;

    conn->since = ngx_current_msec;

    if (lend) {
        ngx_zltunnel_lend(conn);

    } else {
        ngx_zltunnel_placeholder_swap(conn->connection, fd);
        ngx_zltunnel_conn_state(conn, NGX_ZLTUNNEL_CONN_PAIRED);
    }

    if (ngx_zltunnel_conn_bound(conn)) {
        ngx_zltunnel_conn_check_add(conn);
    }

    if (conn->pair) {
        ngx_zltunnel_pair_relay(conn);
    }

    if (conn->dial.buf) {
        ngx_free(conn->dial.buf);
        conn->dial.buf = NULL;
    }

    return NGX_OK;
}
