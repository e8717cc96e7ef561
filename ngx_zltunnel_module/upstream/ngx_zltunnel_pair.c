
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Connections of nginx's upstream code whose channel cannot be given to it: it
 * has one end of a socketpair, and a relay joins the other end and the channel.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_pair.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_conn.h"
#include "ngx_zltunnel_conn_end.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_transport.h"
#include "ngx_zltunnel_worker.h"


/* ms without a byte, when the upstream code has closed its end: as long as a
   service may pause */
#define NGX_ZLTUNNEL_PAIR_LINGER   3600000


typedef struct {
    ngx_zltunnel_end_t           end;         /* towards the connection */
    ngx_zltunnel_connect_t       connect;
    ngx_zltunnel_conn_t         *conn;        /* NULL: it is closed */
} ngx_zltunnel_pair_t;


static void ngx_zltunnel_pair_done(ngx_zltunnel_connect_t *connect,
    ngx_zltunnel_dial_e rc, ngx_zltunnel_relay_end_e how);


ngx_socket_t
ngx_zltunnel_pair_start(ngx_zltunnel_conn_t *conn)
{
    ngx_socket_t             s[2];
    ngx_connection_t        *c;
    ngx_zltunnel_pair_t     *pair;
    ngx_zltunnel_connect_t  *connect;

    pair = ngx_calloc(sizeof(ngx_zltunnel_pair_t), ngx_cycle->log);
    if (pair == NULL) {
        goto failed;
    }

    if (socketpair(AF_UNIX, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0, s)
        == -1)
    {
        ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, ngx_errno,
                      "socketpair() for an upstream connection failed");
        goto failed;
    }

    c = ngx_zltunnel_connection_create(s[0], ngx_cycle->log);
    if (c == NULL) {
        (void) ngx_close_socket(s[1]);
        goto failed;
    }

    ngx_zltunnel_end_init(&pair->end, c, &ngx_zltunnel_socket_pair_ops);

    pair->conn = conn;
    conn->pair = pair;

    connect = &pair->connect;

    connect->dial = &conn->dial;
    connect->end = &pair->end;
    connect->action = "relaying upstream connection";
    connect->relay.dead = conn->dead;
    connect->handler = ngx_zltunnel_pair_done;
    connect->data = pair;

    return s[1];

failed:

    if (pair) {
        ngx_free(pair);
    }

    ngx_zltunnel_connect_close(&conn->dial);

    return (ngx_socket_t) -1;
}


void
ngx_zltunnel_pair_relay(ngx_zltunnel_conn_t *conn)
{
    ngx_zltunnel_connect_t  *connect;

    connect = &((ngx_zltunnel_pair_t *) conn->pair)->connect;

    if (ngx_zltunnel_connect_relay(connect) != NGX_OK) {
        ngx_zltunnel_pair_done(connect, NGX_ZLTUNNEL_DIAL_OK,
                               NGX_ZLTUNNEL_RELAY_ABORTED);
    }
}


ngx_uint_t
ngx_zltunnel_pair_left(ngx_zltunnel_conn_t *conn)
{
    ngx_zltunnel_pair_t  *pair;

    pair = conn->pair;

    return ngx_zltunnel_relay_left(&pair->connect.relay, 1);
}


/* it delivers what it has, however long that takes, and passes EOF on */

void
ngx_zltunnel_pair_leave(ngx_zltunnel_conn_t *conn)
{
    ngx_zltunnel_pair_t  *pair;

    pair = conn->pair;

    pair->conn = NULL;
    pair->connect.relay.half_timeout = NGX_ZLTUNNEL_PAIR_LINGER;
    conn->pair = NULL;
}


static void
ngx_zltunnel_pair_done(ngx_zltunnel_connect_t *connect,
    ngx_zltunnel_dial_e rc, ngx_zltunnel_relay_end_e how)
{
    ngx_zltunnel_conn_t  *conn;
    ngx_zltunnel_pair_t  *pair;

    pair = connect->data;
    conn = pair->conn;

    if (conn) {
        conn->pair = NULL;

        if (how != NGX_ZLTUNNEL_RELAY_DONE) {
            ngx_zltunnel_conn_end_break(conn);

        } else {
            ngx_zltunnel_conn_state(conn, NGX_ZLTUNNEL_CONN_OVER);
        }
    }

    ngx_zltunnel_end_close(&pair->end);

    ngx_free(pair);
}
