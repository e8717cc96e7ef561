
/*
 * Copyright (C) zltunnel authors
 */

/* What is looked at each second: upstream connections of this worker. */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_conn_check.h"
#include "ngx_zltunnel_conn.h"
#include "ngx_zltunnel_conn_end.h"
#include "ngx_zltunnel_placeholder.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_transport.h"


/* ms, before keepalive is turned on, at most: most connections are gone by
   then */
#define NGX_ZLTUNNEL_CONN_YOUNG    10000


static void ngx_zltunnel_conn_check_watch(ngx_zltunnel_conn_t *conn);


static ngx_queue_t   ngx_zltunnel_conns;
static ngx_uint_t    ngx_zltunnel_conns_ready;


void
ngx_zltunnel_conn_check_add(ngx_zltunnel_conn_t *conn)
{
    if (!ngx_zltunnel_conns_ready) {
        ngx_queue_init(&ngx_zltunnel_conns);
        ngx_zltunnel_conns_ready = 1;
    }

    ngx_queue_insert_tail(&ngx_zltunnel_conns, &conn->queue);
}


/*
 * A channel on which somebody waits for an answer is dead where a control
 * channel would be, after as long a time: whoever waits goes on with another
 * agent, or with this one when it is back.  What was sent may be unacknowledged,
 * which is looked at each second; else keepalive tells.  A lane is seen to by
 * its channel, and a channel behind a relay, of this worker or another, by that.
 */

static void
ngx_zltunnel_conn_check_watch(ngx_zltunnel_conn_t *conn)
{
    ngx_msec_t         dead, young;
    ngx_connection_t  *c;

    if (conn->state != NGX_ZLTUNNEL_CONN_LENT) {
        return;
    }

    c = conn->connection;
    dead = conn->dead;

    young = ngx_min(NGX_ZLTUNNEL_CONN_YOUNG, dead / 3);

    if (!conn->kept && ngx_current_msec - conn->since >= young) {
        ngx_zltunnel_socket_keepalive(c, dead);
        conn->kept = 1;
    }

    if (c->idle || ngx_zltunnel_socket_acked(c, dead) == NGX_OK) {
        conn->unacked = 0;
        return;
    }

    if (conn->unacked == 0) {
        conn->unacked = ngx_current_msec;
    }

    if (ngx_current_msec - conn->unacked >= dead
        && ngx_zltunnel_socket_acked(c, dead) == NGX_ERROR)
    {
        (void) ngx_connection_error(c, NGX_ETIMEDOUT,
                                    "agent does not acknowledge");
        ngx_zltunnel_conn_end_break(conn);
    }
}


/*
 * Keepalive is for connections that last: a dead agent is found by it.
 *
 * Connections that wait in a keepalive cache, to a service that has been
 * withdrawn or whose agent is away, are of no use, and keep an agent that is
 * about to end from it.
 */

void
ngx_zltunnel_conn_check(void)
{
    ngx_uint_t                 there;
    ngx_queue_t               *q, *next;
    ngx_connection_t          *c;
    ngx_zltunnel_conn_t       *conn;
    ngx_zltunnel_dial_t       *dial;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    ngx_zltunnel_placeholder_check();

    if (!ngx_zltunnel_conns_ready) {
        return;
    }

    for (q = ngx_queue_head(&ngx_zltunnel_conns);
         q != ngx_queue_sentinel(&ngx_zltunnel_conns);
         q = next)
    {
        next = ngx_queue_next(q);

        conn = ngx_queue_data(q, ngx_zltunnel_conn_t, queue);
        c = conn->connection;

        dial = &conn->dial;

        ngx_zltunnel_conn_check_watch(conn);

        if (!c->idle) {
            continue;
        }

        ngx_zltunnel_zone_lock(dial->registry);

        tunnel = ngx_zltunnel_tunnel_find(dial->registry->sh,
                                          dial->tunnel_id);

        there = (tunnel && tunnel->state == NGX_ZLTUNNEL_LIVE
                 && ngx_zltunnel_service_by_id(tunnel, dial->service_id));

        ngx_zltunnel_zone_unlock(dial->registry);

        if (!there) {

            /* as a worker does that begins to exit; frees this one only */

            c->close = 1;
            c->read->handler(c->read);
        }
    }
}
