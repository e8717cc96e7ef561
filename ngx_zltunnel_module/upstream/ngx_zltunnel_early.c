
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Connections of nginx's upstream code on which a request may go before the
 * agent has answered: its bytes are the early bytes of the dial, behind
 * Connect.  A request reaches the service half a round trip after it was made,
 * as from a port, and not one and a half.
 *
 * The upstream code is told that it is connected, and gets functions that
 * write into the dial's buffer, and read nothing.  They are replaced when the
 * dial is over.  If it fails, the upstream code finds an error where it is, or
 * a timeout, and may try another agent, or not: it believes that the request
 * was sent.  So this is for requests only which it would send again then, as
 * they are idempotent and still there.
 *
 * The descriptor beneath is one that nothing happens on, and is not in epoll,
 * but said to be, so that the upstream code does not put it there.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_early.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_conn.h"
#include "ngx_zltunnel_conn_end.h"
#include "ngx_zltunnel_conn_pool.h"


static ssize_t ngx_zltunnel_early_recv(ngx_connection_t *c, u_char *buf,
    size_t size);
static ssize_t ngx_zltunnel_early_send(ngx_connection_t *c, u_char *buf,
    size_t size);
static ngx_chain_t *ngx_zltunnel_early_send_chain(ngx_connection_t *c,
    ngx_chain_t *in, off_t limit);
static ssize_t ngx_zltunnel_early_failed_recv(ngx_connection_t *c,
    u_char *buf, size_t size);
static ngx_chain_t *ngx_zltunnel_early_failed_send_chain(ngx_connection_t *c,
    ngx_chain_t *in, off_t limit);


void
ngx_zltunnel_early_start(ngx_zltunnel_conn_t *conn)
{
    ngx_connection_t  *c;

    c = conn->connection;

    c->recv = ngx_zltunnel_early_recv;
    c->recv_chain = ngx_zltunnel_conn_end_recv_chain;
    c->send = ngx_zltunnel_early_send;
    c->send_chain = ngx_zltunnel_early_send_chain;

    c->read->active = 1;
    c->write->active = 1;
    c->write->ready = 1;

    ngx_zltunnel_conn_state(conn, NGX_ZLTUNNEL_CONN_EARLY);
}


void
ngx_zltunnel_early_done(ngx_zltunnel_conn_t *conn)
{
    ngx_connection_t  *c;

    c = conn->connection;

    c->recv = ngx_recv;
    c->recv_chain = ngx_recv_chain;
    c->send = ngx_send;
    c->send_chain = ngx_send_chain;

    c->read->active = 0;
    c->write->active = 0;
}


void
ngx_zltunnel_early_fail(ngx_zltunnel_conn_t *conn, ngx_zltunnel_dial_e rc)
{
    ngx_connection_t  *c;

    c = conn->connection;

    c->recv = ngx_zltunnel_early_failed_recv;
    c->send_chain = ngx_zltunnel_early_failed_send_chain;

    c->write->ready = 1;
    c->read->ready = 1;

    if (rc == NGX_ZLTUNNEL_DIAL_TIMEOUT) {
        c->read->timedout = 1;
    }

    ngx_post_event(c->read, &ngx_posted_events);
}


static ssize_t
ngx_zltunnel_early_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    c->read->ready = 0;

    return NGX_AGAIN;
}


static ssize_t
ngx_zltunnel_early_send(ngx_connection_t *c, u_char *buf, size_t size)
{
    size_t                room;
    u_char               *p;
    ngx_zltunnel_conn_t  *conn;

    conn = ngx_zltunnel_conn_pool_find(c);

    room = ngx_zltunnel_dial_connect_room(&conn->dial, &p);

    if (room == 0) {
        c->write->ready = 0;
        return NGX_AGAIN;
    }

    size = ngx_min(size, room);

    ngx_memcpy(p, buf, size);
    ngx_zltunnel_dial_connect_put(&conn->dial, size);

    c->sent += size;

    return size;
}


static ngx_chain_t *
ngx_zltunnel_early_send_chain(ngx_connection_t *c, ngx_chain_t *in,
    off_t limit)
{
    size_t                room, size, put;
    u_char               *p;
    ngx_chain_t          *cl;
    ngx_zltunnel_conn_t  *conn;

    conn = ngx_zltunnel_conn_pool_find(c);

    room = ngx_zltunnel_dial_connect_room(&conn->dial, &p);
    put = 0;

    for (cl = in; cl && put < room; cl = cl->next) {

        if (ngx_buf_special(cl->buf)) {
            continue;
        }

        size = ngx_min((size_t) (cl->buf->last - cl->buf->pos), room - put);

        p = ngx_cpymem(p, cl->buf->pos, size);
        put += size;
    }

    /* all that there is of it in one message */

    if (put) {
        c->sent += put;
        ngx_zltunnel_dial_connect_put(&conn->dial, put);
    }

    in = ngx_chain_update_sent(in, put);

    if (in) {
        c->write->ready = 0;
    }

    return in;
}


static ssize_t
ngx_zltunnel_early_failed_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    c->read->ready = 0;
    c->read->error = 1;

    return ngx_connection_error(c, NGX_ECONNREFUSED,
                                "connection through the tunnel failed");
}


static ngx_chain_t *
ngx_zltunnel_early_failed_send_chain(ngx_connection_t *c, ngx_chain_t *in,
    off_t limit)
{
    c->write->error = 1;

    return NGX_CHAIN_ERROR;
}
