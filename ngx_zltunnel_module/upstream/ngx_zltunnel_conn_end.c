
/*
 * Copyright (C) zltunnel authors
 */

/* How an upstream connection ends, and whether it may be kept instead. */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_conn_end.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_conn.h"
#include "ngx_zltunnel_conn_pace.h"
#include "ngx_zltunnel_conn_pool.h"
#include "ngx_zltunnel_move.h"
#include "ngx_zltunnel_pair.h"
#include "ngx_zltunnel_transport.h"
#include "ngx_zltunnel_worker.h"


static ngx_uint_t ngx_zltunnel_conn_end_left(ngx_zltunnel_conn_t *conn);
static ssize_t ngx_zltunnel_conn_end_recv(ngx_connection_t *c, u_char *buf,
    size_t size);


/*
 * A keepalive cache looks at the socket alone, and only if an event has come.
 * So all that nginx has read from there already is looked at before: bytes, or
 * an end, behind the answer may be in a record of TLS, in a lane, behind a
 * message, or with the relay.  Reading tells; and what tells of more to come
 * does, too.
 */

void
ngx_zltunnel_conn_end_settle(ngx_zltunnel_conn_t *conn, ngx_uint_t keep)
{
    ngx_connection_t  *c;

    c = conn->connection;

    ngx_zltunnel_conn_pace_end(conn);

    if (!keep && !ngx_zltunnel_conn_on_lane(conn)) {
        return;
    }

    if ((conn->lent == NULL || conn->lent->end.ops->bridged)
        && conn->dial.lanes && conn->dial.link.peer
        && ngx_zltunnel_shared_get(conn->dial.link.peer, NULL))
    {
        /* by way of another worker, and the next one need not be */

        c->read->eof = 1;
        return;
    }

    if (!c->read->eof && !c->read->error && ngx_zltunnel_conn_end_left(conn)) {
        c->read->eof = 1;
    }
}


static ngx_uint_t
ngx_zltunnel_conn_end_left(ngx_zltunnel_conn_t *conn)
{
    u_char             buf[1];
    ssize_t            n;
    ngx_connection_t  *c;

    c = conn->connection;

    /* may put another channel into the place of a lane */

    conn->settles = 1;
    n = c->recv(c, buf, sizeof(buf));
    conn->settles = 0;

    if (n != NGX_AGAIN || c->read->ready) {
        return 1;
    }

    if (conn->lent) {
        return ngx_zltunnel_end_amid(&conn->lent->end);
    }

#if (NGX_SSL)
    if (c->ssl && SSL_has_pending(c->ssl->connection)) {
        return 1;
    }
#endif

    return conn->pair && ngx_zltunnel_pair_left(conn);
}


/* the tunnel's token is gone: whoever holds the connection finds it reset */

void
ngx_zltunnel_conn_end_cut(ngx_zltunnel_link_t *link)
{
    ngx_zltunnel_conn_t  *conn;

    conn = (ngx_zltunnel_conn_t *) ngx_zltunnel_dial_of(link);

    ngx_zltunnel_peer_unlink(link);

    if (conn->state == NGX_ZLTUNNEL_CONN_PAIRED) {
        /* and so finds the relay */
        return;
    }

    ngx_zltunnel_move_cancel(conn);
    ngx_zltunnel_conn_end_break(conn);
}


void
ngx_zltunnel_conn_end_break(ngx_zltunnel_conn_t *conn)
{
    if (conn->state != NGX_ZLTUNNEL_CONN_BROKEN) {
        ngx_zltunnel_conn_end_reset(conn);
        ngx_zltunnel_conn_state(conn, NGX_ZLTUNNEL_CONN_BROKEN);
    }
}


void
ngx_zltunnel_conn_end_reset(ngx_zltunnel_conn_t *conn)
{
    struct linger      linger;
    ngx_connection_t  *c;

    c = conn->connection;

    if (conn->lent && conn->lent->end.lane) {
        ngx_zltunnel_lane_break(conn->lent->end.lane);
    }

    linger.l_onoff = 1;
    linger.l_linger = 0;

    if (setsockopt(c->fd, SOL_SOCKET, SO_LINGER, (const void *) &linger,
                   sizeof(struct linger))
        == -1)
    {
        ngx_log_error(NGX_LOG_ERR, c->log, ngx_socket_errno,
                      "setsockopt(SO_LINGER) failed");
    }

    /* under TLS of its own it tells an end from a reset by itself */

    if (c->recv == ngx_recv || conn->lent) {
        c->recv = ngx_zltunnel_conn_end_recv;
        c->recv_chain = ngx_zltunnel_conn_end_recv_chain;
    }

    (void) ngx_shutdown_socket(c->fd, SHUT_RDWR);
}


static ssize_t
ngx_zltunnel_conn_end_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    ssize_t               n;
    ngx_zltunnel_conn_t  *conn;

    conn = ngx_zltunnel_conn_pool_find(c);

    /* of a pair: what had passed the relay before */

    if (conn == NULL || conn->lent == NULL) {
        n = ngx_recv(c, buf, size);

        if (n > 0) {
            return n;
        }
    }

    ngx_log_error(NGX_LOG_ERR, c->log, NGX_ECONNRESET,
                  "tunnelled connection was reset");

    c->read->ready = 0;
    c->read->error = 1;

    return NGX_ERROR;
}


/* as ngx_ssl_recv_chain() */

ssize_t
ngx_zltunnel_conn_end_recv_chain(ngx_connection_t *c, ngx_chain_t *cl,
    off_t limit)
{
    u_char   *last;
    ssize_t   n, bytes, size;

    bytes = 0;
    last = cl->buf->last;

    for ( ;; ) {
        size = cl->buf->end - last;

        if (limit) {

            if (bytes >= limit) {
                return bytes;
            }

            if (bytes + size > limit) {
                size = (ssize_t) (limit - bytes);
            }
        }

        n = c->recv(c, last, size);

        if (n <= 0) {

            if (bytes == 0) {
                return n;
            }

            if (n == 0 || n == NGX_ERROR) {
                c->read->ready = 1;
            }

            return bytes;
        }

        bytes += n;
        last += n;

        if (!c->read->ready) {
            return bytes;
        }

        if (last == cl->buf->end) {
            cl = cl->next;

            if (cl == NULL) {
                return bytes;
            }

            last = cl->buf->last;
        }
    }
}
