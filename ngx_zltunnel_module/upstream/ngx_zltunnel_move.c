
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Connections that leave their lane: docs/protocol.md, "Lanes".
 *
 * A lane is for small messages.  Where one carries bulk its window would bound
 * the throughput, and others would wait behind it.  So the connection goes on
 * on an idle channel of this worker, as one that was lent there from the
 * start.  The agent is asked first, on that channel; should there be no
 * answer, the connection stays where it is, and nothing is lost.  Behind our
 * Moved on the lane we write to the other channel, and read the lane up to the
 * agent's own.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_move.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_conn.h"
#include "ngx_zltunnel_conn_end.h"
#include "ngx_zltunnel_lend.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_transport.h"

#include "zlt_frames.h"
#include "zlt_msg.h"


#define NGX_ZLTUNNEL_MOVE_TIME  1000           /* ms for the answer, and .. */
#define NGX_ZLTUNNEL_MOVE_TRIPS 4              /* round trips */


static ngx_int_t ngx_zltunnel_move_ask(ngx_zltunnel_conn_t *conn);
static void ngx_zltunnel_move_handler(ngx_event_t *ev);
static void ngx_zltunnel_move_write_handler(ngx_event_t *ev);


void
ngx_zltunnel_move_start(ngx_zltunnel_conn_t *conn)
{
    ngx_connection_t        *c;
    zlt_frames_t            *frames;
    ngx_zltunnel_peer_t     *peer;
    ngx_zltunnel_channel_t  *channel;

    frames = conn->lent->end.frames;
    peer = conn->dial.link.peer;

    /* the agent has gone on with another shared channel, or is another one
       meanwhile, or about to end: it would not know of this connection; nor
       would another worker of a node */

    if (conn->state != NGX_ZLTUNNEL_CONN_LANE || peer == NULL || ngx_exiting
        || conn->dial.remote
        || peer->shared != conn->lent->end.lane->shared
        || frames->in.end != ZLT_FRAMES_OPEN
        || frames->out.end != ZLT_FRAMES_OPEN)
    {
        return;
    }

    channel = ngx_zltunnel_channel_pop(peer, NGX_ZLTUNNEL_FOR_LANES);

    if (channel == NULL) {
        /* there may be one when as much has passed again */
        return;
    }

    ngx_zltunnel_channel_state(channel, NGX_ZLTUNNEL_CHANNEL_USED);

    conn->moving = channel;

    c = channel->end.connection;
    c->data = conn;
    c->log->action = "waiting for a connection to move";
    c->read->handler = ngx_zltunnel_move_handler;
    c->write->handler = ngx_zltunnel_move_write_handler;

    ngx_zltunnel_conn_state(conn, NGX_ZLTUNNEL_CONN_ASKS);

    if (ngx_zltunnel_move_ask(conn) != NGX_OK) {
        ngx_zltunnel_move_cancel(conn);
        return;
    }

    ngx_add_timer(c->read, NGX_ZLTUNNEL_MOVE_TIME
                           + NGX_ZLTUNNEL_MOVE_TRIPS
                             * ngx_zltunnel_socket_rtt(channel->end.connection));

    if (c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_events);
    }
}


static ngx_int_t
ngx_zltunnel_move_ask(ngx_zltunnel_conn_t *conn)
{
    size_t                   len;
    u_char                   buf[ZLT_HEADER_SIZE + ZLT_ID_SIZE];
    zlt_msg_t                m;
    ngx_zltunnel_channel_t  *channel;

    channel = conn->moving;

    if (ngx_zltunnel_channel_answer_flush(channel) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_memzero(&m, sizeof(zlt_msg_t));
    m.type = ZLT_MOVE;
    m.connection_id = conn->dial.id;

    len = zlt_msg_encode(&m, buf, sizeof(buf));

    return ngx_zltunnel_end_push(&channel->end, buf, len) == (ssize_t) len
           ? NGX_OK : NGX_ERROR;
}


static void
ngx_zltunnel_move_handler(ngx_event_t *ev)
{
    ngx_int_t                rc;
    zlt_msg_t                m;
    ngx_connection_t        *c;
    ngx_zltunnel_conn_t     *conn;
    ngx_zltunnel_budget_t    budget;
    ngx_zltunnel_channel_t  *channel;

    c = ev->data;
    conn = c->data;
    channel = conn->moving;

    if (c->close || ev->timedout) {
        ngx_zltunnel_move_cancel(conn);
        return;
    }

    if (conn->state != NGX_ZLTUNNEL_CONN_ASKS) {

        /*
         * The agent may have read our Moved already, and gone on here: what it
         * sends may be seen before its own Moved, and is read behind that.
         */

        if (ev->pending_eof && conn->state == NGX_ZLTUNNEL_CONN_LEAVES) {
            ngx_zltunnel_move_cancel(conn);
        }

        return;
    }

    ngx_memzero(&budget, sizeof(ngx_zltunnel_budget_t));

    for ( ;; ) {
        rc = ngx_zltunnel_channel_io_read(channel, &m, &budget);

        if (rc == NGX_AGAIN) {
            return;
        }

        if (rc == NGX_OK) {

            if (m.type == ZLT_HEARTBEAT || m.type == ZLT_HEARTBEAT_ACK) {
                /* sent before the agent had read Move */
                continue;
            }

            if (m.type == ZLT_CONNECT_ACK
                && ngx_memcmp(m.connection_id, conn->dial.id, ZLT_ID_SIZE)
                   == 0)
            {
                break;
            }
        }

        ngx_zltunnel_move_cancel(conn);
        return;
    }

    ngx_del_timer(ev);

    ngx_zltunnel_conn_state(conn, NGX_ZLTUNNEL_CONN_LEAVES);
    ngx_zltunnel_move_leave(conn);
}


/* Move itself is small, so it fits, or the channel is dead. */

static void
ngx_zltunnel_move_write_handler(ngx_event_t *ev)
{
    ngx_connection_t     *c;
    ngx_zltunnel_conn_t  *conn;

    c = ev->data;
    conn = c->data;

    if (conn->state == NGX_ZLTUNNEL_CONN_MOVED && !c->close) {
        c = conn->connection;

        c->write->ready = 1;
        c->write->handler(c->write);
    }
}


ngx_zltunnel_end_t *
ngx_zltunnel_move_target(ngx_zltunnel_conn_t *conn)
{
    ngx_zltunnel_end_t  *lane;

    lane = &conn->lent->end;

    if (conn->state != NGX_ZLTUNNEL_CONN_MOVED
        || zlt_frames_pending(&lane->frames->out))
    {
        return NULL;
    }

    return &conn->moving->end;
}


void
ngx_zltunnel_move_leave(ngx_zltunnel_conn_t *conn)
{
    off_t                sent;
    ngx_connection_t    *c;
    ngx_zltunnel_end_t  *end;

    end = &conn->lent->end;
    sent = end->connection->sent;

    if (conn->state == NGX_ZLTUNNEL_CONN_LEAVES) {

        if (end->frames->in.end != ZLT_FRAMES_OPEN
            || end->frames->out.end != ZLT_FRAMES_OPEN)
        {
            ngx_zltunnel_move_cancel(conn);
            return;
        }

        if (!zlt_frames_whole(&end->frames->out)) {
            return;
        }

        ngx_zltunnel_framed_start(&conn->moving->end, &conn->moving->frames);

        ngx_zltunnel_conn_state(conn, NGX_ZLTUNNEL_CONN_MOVED);
    }

    if (ngx_zltunnel_framed_end(end, ZLT_FRAMES_MOVED) == NGX_ERROR) {
        ngx_zltunnel_move_cancel(conn);
    }

    /* it is none of the connection's bytes */

    c = conn->connection;
    c->sent = sent;

    if (ngx_zltunnel_move_target(conn)) {

        /* the lane's window is not what to wait for any more */

        c->write->ready = 1;
        ngx_post_event(c->write, &ngx_posted_events);
    }
}


ngx_int_t
ngx_zltunnel_move_finish(ngx_zltunnel_conn_t *conn)
{
    ngx_zltunnel_channel_t   *channel;
    ngx_zltunnel_registry_t  *registry;

    channel = conn->moving;

    if (conn->state != NGX_ZLTUNNEL_CONN_MOVED
        || zlt_frames_pending(&conn->lent->frames.out))
    {
        ngx_log_error(NGX_LOG_INFO, conn->connection->log, 0,
                      "unexpected Moved on a lane");
        return NGX_ERROR;
    }

    ngx_zltunnel_lane_over(&conn->lent->end);
    ngx_zltunnel_channel_close(conn->lent);

    conn->moving = NULL;

    registry = channel->registry;

    if (registry->slot != NGX_ZLTUNNEL_NO_SLOT) {
        ngx_zltunnel_slot(registry->sh, registry->slot)->left++;
    }

    ngx_zltunnel_lend_attach(conn, channel);

    return NGX_OK;
}


/*
 * Where the agent has ended its direction before it read our Moved it goes on,
 * with an end there already, on the other channel, which is idle after that.
 */

void
ngx_zltunnel_move_end(ngx_zltunnel_conn_t *conn)
{
    if (conn->state == NGX_ZLTUNNEL_CONN_MOVED
        && conn->lent->frames.in.end == ZLT_FRAMES_EOF
        && ngx_zltunnel_move_finish(conn) == NGX_OK)
    {
        conn->lent->frames.in.end = ZLT_FRAMES_EOF;
        return;
    }

    ngx_zltunnel_move_cancel(conn);
}


/* If the agent was told to leave the lane, the connection is lost with it. */

void
ngx_zltunnel_move_cancel(ngx_zltunnel_conn_t *conn)
{
    ngx_zltunnel_channel_t  *channel;

    channel = conn->moving;

    if (channel == NULL) {
        return;
    }

    conn->moving = NULL;

    if (conn->state != NGX_ZLTUNNEL_CONN_ASKS) {
        ngx_zltunnel_end_abort(&channel->end);
    }

    ngx_zltunnel_channel_close(channel);

    switch (conn->state) {

    case NGX_ZLTUNNEL_CONN_ASKS:
    case NGX_ZLTUNNEL_CONN_LEAVES:
        ngx_zltunnel_conn_state(conn, NGX_ZLTUNNEL_CONN_LANE);
        break;

    case NGX_ZLTUNNEL_CONN_MOVED:
        ngx_zltunnel_conn_end_break(conn);
        break;

    default:    /* its owner has closed it */
        break;
    }
}
