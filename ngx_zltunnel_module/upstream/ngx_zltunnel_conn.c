
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
 *
 * The steps from state to state.  The owner may close it in any of them: CLOSED.
 *
 *       NEW ------------> SEARCHES ------.
 *        | |                  |          |
 *        | |   nobody has it  |          |  the search was in vain
 *        | `------------.     |          |
 *        v              |     |          |
 *      STARTS <---------|-----'          |
 *        | |            v                |
 *        | `--------> REFUSED ---------->|       nginx does not know yet
 *        |                               v
 *        |-> DIALS ------------------> FAILED    nginx finds an error
 *        |     |  `----> EARLY --------->^
 *        v     v          v
 *      what was found, and how nginx has it:     EARLY: it writes already
 *        |
 *        |-> PAIRED ----> OVER                   the relay has ended
 *        |-> LENT <--------------------.
 *        `-> LANE ------> ASKS         |
 *             ^            |   |       |  the agent's Moved
 *             |  no answer |   v       |
 *             `<-----------+- LEAVES   |
 *               cancelled      |       |
 *                              `---> MOVED       we write to the other channel
 *
 * OVER, LENT, LANE and MOVED lead to BROKEN, PAIRED if its relay fails: a token
 * was revoked, or a peer is dead, or a move was cancelled.
 *
 * A move is cancelled where the other channel fails or is silent.  Up to our
 * Moved nothing is lost by that, and the lane goes on.  Behind it the agent may
 * have written to that channel, and what it wrote is gone.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_conn.h"
#include "ngx_zltunnel_balance.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_early.h"
#include "ngx_zltunnel_lend.h"
#include "ngx_zltunnel_move.h"
#include "ngx_zltunnel_pair.h"
#include "ngx_zltunnel_search.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_transport.h"
#include "ngx_zltunnel_worker.h"


/* ms, before keepalive is turned on, at most: most connections are gone by
   then */
#define NGX_ZLTUNNEL_CONN_YOUNG    10000

/* descriptors of placeholders that are kept for later ones */
#define NGX_ZLTUNNEL_SPARE         32


static void ngx_zltunnel_conn_time_out(ngx_connection_t *c);
static void ngx_zltunnel_conn_reset(ngx_zltunnel_conn_t *conn);
static ngx_connection_t *ngx_zltunnel_conn_placeholder(
    ngx_peer_connection_t *pc);
static ngx_socket_t ngx_zltunnel_conn_descriptor(ngx_log_t *log);
static void ngx_zltunnel_conn_cleanup(void *data);
static void ngx_zltunnel_conn_dialled(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_dial_e rc);
static ngx_socket_t ngx_zltunnel_conn_dead_socket(ngx_log_t *log);
static ngx_int_t ngx_zltunnel_conn_bind(ngx_zltunnel_conn_t *conn);
static void ngx_zltunnel_conn_swap(ngx_connection_t *c, ngx_socket_t fd);
static ngx_uint_t ngx_zltunnel_conn_left(ngx_zltunnel_conn_t *conn);
static void ngx_zltunnel_conn_cut(ngx_zltunnel_link_t *link);
static void ngx_zltunnel_conn_watch(ngx_zltunnel_conn_t *conn);
static ssize_t ngx_zltunnel_conn_recv_reset(ngx_connection_t *c, u_char *buf,
    size_t size);


static ngx_queue_t   ngx_zltunnel_conns;
static ngx_uint_t    ngx_zltunnel_conns_ready;

static ngx_socket_t  ngx_zltunnel_spare[NGX_ZLTUNNEL_SPARE];
static ngx_uint_t    ngx_zltunnel_nspare;
static ngx_uint_t    ngx_zltunnel_spared;     /* some were, of late */


#define ngx_zltunnel_step(state)  (1 << NGX_ZLTUNNEL_CONN_ ## state)

#define NGX_ZLTUNNEL_STEPS_BOUND                                              \
    (ngx_zltunnel_step(PAIRED) | ngx_zltunnel_step(OVER)                      \
     | ngx_zltunnel_step(LENT) | ngx_zltunnel_step(LANE))


static const uint32_t  ngx_zltunnel_conn_steps[] = {

    /* NEW */
    ngx_zltunnel_step(SEARCHES) | ngx_zltunnel_step(STARTS)
    | ngx_zltunnel_step(REFUSED),

    /* SEARCHES */
    ngx_zltunnel_step(STARTS) | ngx_zltunnel_step(FAILED),

    /* STARTS */
    NGX_ZLTUNNEL_STEPS_BOUND | ngx_zltunnel_step(DIALS)
    | ngx_zltunnel_step(REFUSED),

    /* DIALS */
    NGX_ZLTUNNEL_STEPS_BOUND | ngx_zltunnel_step(EARLY)
    | ngx_zltunnel_step(FAILED),

    /* EARLY */
    NGX_ZLTUNNEL_STEPS_BOUND | ngx_zltunnel_step(FAILED),

    /* REFUSED */
    ngx_zltunnel_step(FAILED),

    /* FAILED */
    0,

    /* PAIRED */
    ngx_zltunnel_step(OVER) | ngx_zltunnel_step(BROKEN),

    /* OVER */
    ngx_zltunnel_step(BROKEN),

    /* LENT */
    ngx_zltunnel_step(BROKEN),

    /* LANE */
    ngx_zltunnel_step(ASKS) | ngx_zltunnel_step(BROKEN),

    /* ASKS */
    ngx_zltunnel_step(LANE) | ngx_zltunnel_step(LEAVES),

    /* LEAVES */
    ngx_zltunnel_step(LANE) | ngx_zltunnel_step(MOVED),

    /* MOVED */
    ngx_zltunnel_step(LENT) | ngx_zltunnel_step(BROKEN),

    /* BROKEN */
    0,

    /* CLOSED */
    0
};


void
ngx_zltunnel_conn_enter(ngx_zltunnel_conn_t *conn,
    ngx_zltunnel_conn_state_e state)
{
    ngx_zltunnel_conn_state_e  from;

    from = conn->state;

    if ((ngx_zltunnel_conn_steps[from] & (1 << state))
        || (state == NGX_ZLTUNNEL_CONN_CLOSED && from != state))
    {
        conn->state = state;
        return;
    }

    ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                  "impossible step of an upstream connection, %ui to %ui",
                  (ngx_uint_t) from, (ngx_uint_t) state);

    if (ngx_zltunnel_conn_bound(conn)) {
        conn->state = NGX_ZLTUNNEL_CONN_BROKEN;
        ngx_zltunnel_conn_reset(conn);

    } else if (from < NGX_ZLTUNNEL_CONN_FAILED) {
        conn->state = NGX_ZLTUNNEL_CONN_FAILED;
        ngx_zltunnel_dial_done(&conn->dial);
        ngx_zltunnel_conn_time_out(conn->connection);
    }
}


ngx_int_t
ngx_zltunnel_conn_connect(ngx_zltunnel_upstream_t *up,
    ngx_peer_connection_t *pc, ngx_connection_t *client, ngx_pool_t *pool,
    ngx_zltunnel_conn_t **result)
{
    ngx_uint_t            early;
    ngx_connection_t     *c;
    ngx_pool_cleanup_t   *cln;
    ngx_zltunnel_conn_t  *conn;
    ngx_zltunnel_dial_t  *dial;

    *result = NULL;

    /* one that waits for its agent has all the time to connect, and not that for
       an answer */

    early = up->early && !up->waits;

    c = ngx_zltunnel_conn_placeholder(pc);
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

    cln = ngx_pool_cleanup_add(pool, sizeof(ngx_zltunnel_conn_t));
    if (cln == NULL) {
        goto failed;
    }

    conn = cln->data;
    ngx_memzero(conn, sizeof(ngx_zltunnel_conn_t));

    cln->handler = ngx_zltunnel_conn_cleanup;

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
    dial->lanes = up->direct && up->conf->lanes;
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

    ngx_zltunnel_conn_enter(conn, NGX_ZLTUNNEL_CONN_STARTS);

    ngx_zltunnel_dial_service(&conn->dial, conn->up->tunnel_id,
                              conn->up->service_id);

    if (conn->state == NGX_ZLTUNNEL_CONN_STARTS) {
        ngx_zltunnel_conn_enter(conn, NGX_ZLTUNNEL_CONN_DIALS);
    }

    return conn->state == NGX_ZLTUNNEL_CONN_REFUSED ? NGX_DECLINED : NGX_OK;
}


/* as ngx_event_connect_peer() would make one, but for connect() */

static ngx_connection_t *
ngx_zltunnel_conn_placeholder(ngx_peer_connection_t *pc)
{
    ngx_socket_t       s;
    ngx_connection_t  *c;

    s = ngx_zltunnel_conn_descriptor(pc->log);

    if (s == (ngx_socket_t) -1) {
        return NULL;
    }

    c = ngx_get_connection(s, pc->log);

    if (c == NULL) {
        if (ngx_close_socket(s) == -1) {
            ngx_log_error(NGX_LOG_ALERT, pc->log, ngx_socket_errno,
                          ngx_close_socket_n " failed");
        }

        return NULL;
    }

    c->type = SOCK_STREAM;

    c->recv = ngx_recv;
    c->send = ngx_send;
    c->recv_chain = ngx_recv_chain;
    c->send_chain = ngx_send_chain;

    /*
     * The channel has its TCP_NODELAY already, a socketpair needs none.  The
     * channel may be under TLS, which has no sendfile(), and core wants to
     * know that now.
     */

    c->sendfile = 0;
    c->tcp_nopush = NGX_TCP_NOPUSH_DISABLED;
    c->tcp_nodelay = NGX_TCP_NODELAY_DISABLED;

    c->log_error = pc->log_error;
    c->log = pc->log;
    c->read->log = pc->log;
    c->write->log = pc->log;

    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);
    c->start_time = ngx_current_msec;

    return c;
}


/* nobody reads or writes it, but core asks it for SO_ERROR */

static ngx_socket_t
ngx_zltunnel_conn_descriptor(ngx_log_t *log)
{
    ngx_socket_t  s;

    if (ngx_zltunnel_nspare) {
        return ngx_zltunnel_spare[--ngx_zltunnel_nspare];
    }

    s = socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0);

    if (s == (ngx_socket_t) -1) {
        ngx_log_error(NGX_LOG_CRIT, log, ngx_socket_errno,
                      ngx_socket_n " failed");
    }

    return s;
}


ngx_zltunnel_conn_t *
ngx_zltunnel_conn_of(ngx_connection_t *c)
{
    ngx_pool_cleanup_t  *cln;

    for (cln = c->pool ? c->pool->cleanup : NULL; cln; cln = cln->next) {

        if (cln->handler == ngx_zltunnel_conn_cleanup) {
            return cln->data;
        }
    }

    return NULL;
}


static void
ngx_zltunnel_conn_cleanup(void *data)
{
    ngx_zltunnel_conn_release(data);
}


void
ngx_zltunnel_conn_release(ngx_zltunnel_conn_t *conn)
{
    if (conn->state == NGX_ZLTUNNEL_CONN_CLOSED) {
        return;
    }

    ngx_zltunnel_room_release(&conn->held);
    ngx_zltunnel_search_end(conn);

    if (ngx_zltunnel_conn_bound(conn)) {
        ngx_queue_remove(&conn->queue);
    }

    ngx_zltunnel_conn_enter(conn, NGX_ZLTUNNEL_CONN_CLOSED);

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
        ngx_zltunnel_conn_enter(conn, NGX_ZLTUNNEL_CONN_REFUSED);

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

    ngx_zltunnel_conn_enter(conn, NGX_ZLTUNNEL_CONN_FAILED);

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
        fd = ngx_zltunnel_conn_dead_socket(c->log);

        if (fd != (ngx_socket_t) -1) {
            ngx_zltunnel_conn_swap(c, fd);
            return;
        }
    }

    ngx_zltunnel_conn_time_out(c);
}


/* the upstream code finds that connecting has taken too long */

static void
ngx_zltunnel_conn_time_out(ngx_connection_t *c)
{
    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    c->write->timedout = 1;
    ngx_post_event(c->write, &ngx_posted_events);
}


/* a socket that getsockopt(SO_ERROR) says is reset; -1: there is none */

static ngx_socket_t
ngx_zltunnel_conn_dead_socket(ngx_log_t *log)
{
    ngx_socket_t  s[2];

    if (socketpair(AF_UNIX, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0, s)
        == -1)
    {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_socket_errno,
                      "socketpair() failed");
        return (ngx_socket_t) -1;
    }

    /* one end is closed with a byte unread, which resets the other */

    (void) send(s[0], "", 1, MSG_NOSIGNAL);
    (void) ngx_close_socket(s[1]);

    return s[0];
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
    conn->dial.link.cut = ngx_zltunnel_conn_cut;

    /* the connection may outlast the request */

    conn->dial.log = ngx_cycle->log;
    conn->dial.timer.log = ngx_cycle->log;

    conn->since = ngx_current_msec;

    if (lend) {
        ngx_zltunnel_lend(conn);

    } else {
        ngx_zltunnel_conn_swap(conn->connection, fd);
        ngx_zltunnel_conn_enter(conn, NGX_ZLTUNNEL_CONN_PAIRED);
    }

    if (ngx_zltunnel_conn_bound(conn)) {

        if (!ngx_zltunnel_conns_ready) {
            ngx_queue_init(&ngx_zltunnel_conns);
            ngx_zltunnel_conns_ready = 1;
        }

        ngx_queue_insert_tail(&ngx_zltunnel_conns, &conn->queue);
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


/* as ngx_ssl_recv_chain() */

ssize_t
ngx_zltunnel_conn_recv_chain(ngx_connection_t *c, ngx_chain_t *cl,
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


/*
 * Puts fd in place of the connection's, and has it reported as writable.
 * Not dup2(), which would cost a call more: nothing but the connection itself
 * knows the number.
 */

static void
ngx_zltunnel_conn_swap(ngx_connection_t *c, ngx_socket_t fd)
{
    ngx_zltunnel_conn_spare(c);

    c->fd = fd;

    if (ngx_add_conn(c) == NGX_ERROR) {
        c->write->timedout = 1;
    }

    c->write->ready = 1;
    ngx_post_event(c->write, &ngx_posted_events);
}


void
ngx_zltunnel_conn_spare(ngx_connection_t *c)
{
    ngx_zltunnel_spared = 1;

    if (ngx_zltunnel_nspare < NGX_ZLTUNNEL_SPARE) {
        ngx_zltunnel_spare[ngx_zltunnel_nspare++] = c->fd;

    } else if (ngx_close_socket(c->fd) == -1) {
        ngx_log_error(NGX_LOG_ALERT, c->log, ngx_socket_errno,
                      ngx_close_socket_n " failed");
    }
}


/*
 * A keepalive cache looks at the socket alone, and only if an event has come.
 * So all that nginx has read from there already is looked at before: bytes, or
 * an end, behind the answer may be in a record of TLS, in a lane, behind a
 * message, or with the relay.  Reading tells; and what tells of more to come
 * does, too.
 */

void
ngx_zltunnel_conn_settle(ngx_zltunnel_conn_t *conn, ngx_uint_t keep)
{
    ngx_connection_t  *c;

    c = conn->connection;

    if (!keep && !ngx_zltunnel_conn_on_lane(conn)) {
        return;
    }

    if ((conn->lent == NULL || conn->lent->end.kind == NGX_ZLTUNNEL_BRIDGE)
        && conn->dial.lanes && conn->dial.link.peer
        && ngx_zltunnel_shared_get(conn->dial.link.peer, NULL))
    {
        /* by way of another worker, and the next one need not be */

        c->read->eof = 1;
        return;
    }

    if (!c->read->eof && !c->read->error && ngx_zltunnel_conn_left(conn)) {
        c->read->eof = 1;
    }
}


static ngx_uint_t
ngx_zltunnel_conn_left(ngx_zltunnel_conn_t *conn)
{
    u_char             buf[1];
    ngx_connection_t  *c;

    c = conn->connection;

    /* may put another channel into the place of a lane */

    if (c->recv(c, buf, sizeof(buf)) != NGX_AGAIN || c->read->ready) {
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

static void
ngx_zltunnel_conn_cut(ngx_zltunnel_link_t *link)
{
    ngx_zltunnel_conn_t  *conn;

    conn = (ngx_zltunnel_conn_t *) ngx_zltunnel_dial_of(link);

    ngx_zltunnel_peer_unlink(link);

    if (conn->state == NGX_ZLTUNNEL_CONN_PAIRED) {
        /* and so finds the relay */
        return;
    }

    ngx_zltunnel_move_cancel(conn);
    ngx_zltunnel_conn_break(conn);
}


void
ngx_zltunnel_conn_break(ngx_zltunnel_conn_t *conn)
{
    if (conn->state != NGX_ZLTUNNEL_CONN_BROKEN) {
        ngx_zltunnel_conn_reset(conn);
        ngx_zltunnel_conn_enter(conn, NGX_ZLTUNNEL_CONN_BROKEN);
    }
}


static void
ngx_zltunnel_conn_reset(ngx_zltunnel_conn_t *conn)
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
        c->recv = ngx_zltunnel_conn_recv_reset;
        c->recv_chain = ngx_zltunnel_conn_recv_chain;
    }

    (void) ngx_shutdown_socket(c->fd, SHUT_RDWR);
}


static ssize_t
ngx_zltunnel_conn_recv_reset(ngx_connection_t *c, u_char *buf, size_t size)
{
    ngx_log_error(NGX_LOG_ERR, c->log, NGX_ECONNRESET,
                  "tunnelled connection was reset");

    c->read->ready = 0;
    c->read->error = 1;

    return NGX_ERROR;
}


/*
 * A channel on which somebody waits for an answer is dead where a control
 * channel would be, after as long a time: whoever waits goes on with another
 * agent, or with this one when it is back.  What was sent may be unacknowledged,
 * which is looked at each second; else keepalive tells.  A lane is seen to by
 * its channel, and a channel behind a relay, of this worker or another, by that.
 */

static void
ngx_zltunnel_conn_watch(ngx_zltunnel_conn_t *conn)
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
        ngx_zltunnel_end_keepalive(c, dead);
        conn->kept = 1;
    }

    if (c->idle || ngx_zltunnel_end_acked(c, dead) == NGX_OK) {
        conn->unacked = 0;
        return;
    }

    if (conn->unacked == 0) {
        conn->unacked = ngx_current_msec;
    }

    if (ngx_current_msec - conn->unacked >= dead
        && ngx_zltunnel_end_acked(c, dead) == NGX_ERROR)
    {
        (void) ngx_connection_error(c, NGX_ETIMEDOUT,
                                    "agent does not acknowledge");
        ngx_zltunnel_conn_break(conn);
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

    /* nor is a descriptor kept that nobody has needed for a second */

    while (ngx_zltunnel_nspare && !ngx_zltunnel_spared) {
        (void) ngx_close_socket(ngx_zltunnel_spare[--ngx_zltunnel_nspare]);
    }

    ngx_zltunnel_spared = 0;

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

        ngx_zltunnel_conn_watch(conn);

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
