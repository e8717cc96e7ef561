
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Channels lent to nginx's upstream code.
 *
 * A framed channel in this worker, plain or under TLS, can serve a connection
 * of the upstream code with no hop between: that connection gets the
 * channel's descriptor and its TLS session, and functions of ours to read and
 * write messages with.  The channel's own connection waits without a
 * descriptor meanwhile.  When the upstream code is done, it comes back, and
 * the channel is idle again; if the upstream code closes the connection
 * instead, the channel has ended with it.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_lend.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_conn.h"
#include "ngx_zltunnel_conn_end.h"
#include "ngx_zltunnel_conn_pace.h"
#include "ngx_zltunnel_placeholder.h"
#include "ngx_zltunnel_lent.h"
#include "ngx_zltunnel_move.h"
#include "ngx_zltunnel_transport.h"

#include "zlt_frames.h"


static void ngx_zltunnel_lend_pass(ngx_connection_t *from,
    ngx_connection_t *to);
static void ngx_zltunnel_lend_handler(ngx_event_t *ev);
static void ngx_zltunnel_lend_idle(ngx_zltunnel_conn_t *conn);


/* the connection is writable once this is done */

void
ngx_zltunnel_lend(ngx_zltunnel_conn_t *conn)
{
    ngx_zltunnel_channel_t  *channel;

    channel = conn->dial.channel;
    conn->dial.channel = NULL;

    if (ngx_zltunnel_conn_paced(conn)) {
        ngx_zltunnel_conn_pace_spend(conn, conn->dial.sent[0]);
    }

    ngx_zltunnel_lend_attach(conn, channel);
}


void
ngx_zltunnel_lend_attach(ngx_zltunnel_conn_t *conn,
    ngx_zltunnel_channel_t *channel)
{
    ngx_connection_t  *c, *own;

    c = conn->connection;
    own = channel->end.connection;

    conn->lent = channel;
    conn->own = own;

    if (!channel->end.ops->shared) {
        ngx_zltunnel_placeholder_spare(c);
        c->fd = own->fd;
    }

    ngx_zltunnel_lend_pass(own, c);

    ngx_zltunnel_lent_functions(c, &channel->end);

    c->read->active = own->read->active;
    c->write->active = own->write->active;
    c->read->available = own->read->available;
    c->read->pending_eof = own->read->pending_eof;

    own->data = conn;
    own->read->handler = ngx_zltunnel_lend_handler;
    own->write->handler = ngx_zltunnel_lend_handler;

    channel->end.connection = c;
    channel->end.lent = 1;

    c->write->ready = 1;
    ngx_post_event(c->write, &ngx_posted_events);

    /* what came with ConnectAck, or already */

    if (own->read->ready || channel->have > channel->used
        || ngx_zltunnel_end_readable(&channel->end))
    {
        c->read->ready = 1;
        ngx_post_event(c->read, &ngx_posted_events);
    }

    ngx_zltunnel_conn_state(conn, channel->end.ops->shared
                                  ? NGX_ZLTUNNEL_CONN_LANE
                                  : NGX_ZLTUNNEL_CONN_LENT);
}


/* the TLS session, and an end of what waits for "from" */

static void
ngx_zltunnel_lend_pass(ngx_connection_t *from, ngx_connection_t *to)
{
    if (from->read->timer_set) {
        ngx_del_timer(from->read);
    }

    if (from->write->timer_set) {
        ngx_del_timer(from->write);
    }

    if (from->read->posted) {
        ngx_delete_posted_event(from->read);
    }

    if (from->write->posted) {
        ngx_delete_posted_event(from->write);
    }

#if (NGX_SSL)

    if (from->ssl) {
        to->ssl = from->ssl;
        from->ssl = NULL;

        to->ssl->handler = NULL;
        to->ssl->saved_read_handler = NULL;
        to->ssl->saved_write_handler = NULL;

        (void) SSL_set_ex_data(to->ssl->connection, ngx_ssl_connection_index,
                               to);
    }

#endif
}


/* an event of the descriptor, which epoll knows as the channel's own */

static void
ngx_zltunnel_lend_handler(ngx_event_t *ev)
{
    ngx_event_t          *to;
    ngx_connection_t     *c, *own;
    ngx_zltunnel_conn_t  *conn;

    own = ev->data;
    conn = own->data;

    if (own->close) {
        /* and so the other is, which has a handler that knows what to do */
        return;
    }

    c = conn->connection;
    to = ev->write ? c->write : c->read;

    to->ready = 1;

    if (conn->state == NGX_ZLTUNNEL_CONN_MOVED) {

        if (ev->write) {

            /* on the lane nothing is to be written but the last message */

            ngx_zltunnel_move_leave(conn);
            return;
        }

        if (c->idle) {
            ngx_zltunnel_lend_idle(conn);
            return;
        }
    }

    to->available = ev->available;
    to->pending_eof = ev->pending_eof;

    to->handler(to);
}


/* Moved comes while it waits in a keepalive cache, whose handler would close it
   for anything that comes, and does so for anything else. */

static void
ngx_zltunnel_lend_idle(ngx_zltunnel_conn_t *conn)
{
    u_char             buf[ZLT_HEADER_SIZE];
    ngx_connection_t  *c;

    c = conn->connection;

    if (c->recv(c, buf, sizeof(buf)) == NGX_AGAIN) {
        return;
    }

    c->close = 1;
    c->read->handler(c->read);
}


ngx_int_t
ngx_zltunnel_lend_return(ngx_zltunnel_conn_t *conn, ngx_uint_t reset)
{
    ngx_pool_t              *pool;
    ngx_connection_t        *c, *own;
    ngx_zltunnel_channel_t  *channel;

    c = conn->connection;

    ngx_zltunnel_move_end(conn);

    own = conn->own;
    channel = conn->lent;

    if ((conn->state != NGX_ZLTUNNEL_CONN_LENT
         && conn->state != NGX_ZLTUNNEL_CONN_LANE)
        || c->buffered || c->close || c->read->error || c->write->error)
    {
        return NGX_DECLINED;
    }

    if (ngx_zltunnel_framed_take(&channel->end, channel->frame + channel->used,
                                 channel->have - channel->used)
        == NGX_ERROR)
    {
        return NGX_DECLINED;
    }

    ngx_zltunnel_lend_pass(c, own);

    own->read->ready = c->read->ready;
    own->read->available = c->read->available;
    own->write->ready = c->write->ready;
    own->data = channel;

    channel->end.connection = own;
    channel->end.lent = 0;

    conn->lent = NULL;

    if (c->read->active != own->read->active
        || c->write->active != own->write->active)
    {
        /* core has had to wait for an event, and epoll knows its one now */

        own->write->active = 1;

        if (ngx_add_event(own->read, NGX_READ_EVENT, NGX_CLEAR_EVENT)
            != NGX_OK)
        {
            own->read->error = 1;
        }
    }

    if (channel->end.ops->shared) {
        ngx_zltunnel_placeholder_spare(c);
    }

    /* while the dial still holds the tunnel's peer */

    ngx_zltunnel_release(channel, reset, &conn->dial.counter);

    pool = c->pool;

    c->read->closed = 1;
    c->write->closed = 1;

    ngx_reusable_connection(c, 0);
    ngx_free_connection(c);
    c->fd = (ngx_socket_t) -1;

    /* with what there is in it of ours */

    ngx_destroy_pool(pool);

    return NGX_OK;
}


/* the connection is closed, by its owner: the channel goes */

void
ngx_zltunnel_lend_close(ngx_zltunnel_conn_t *conn)
{
    ngx_pool_t              *pool;
    ngx_connection_t        *own;
    ngx_zltunnel_channel_t  *channel;

    channel = conn->lent;
    own = conn->own;

    conn->lent = NULL;

    ngx_zltunnel_move_cancel(conn);

    if (channel->end.ops->shared) {
        ngx_zltunnel_channel_close(channel);
        return;
    }

    channel->end.connection = NULL;
    ngx_zltunnel_channel_close(channel);

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_active, -1);
#endif

    if (own->read->posted) {
        ngx_delete_posted_event(own->read);
    }

    if (own->write->posted) {
        ngx_delete_posted_event(own->write);
    }

    own->destroyed = 1;
    own->read->closed = 1;
    own->write->closed = 1;

    pool = own->pool;

    ngx_free_connection(own);
    own->fd = (ngx_socket_t) -1;

    ngx_destroy_pool(pool);
}
