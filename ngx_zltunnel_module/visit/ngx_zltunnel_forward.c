
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Data channels of other nodes.
 *
 * A node that has a service at this one opens a channel to it, and has in it
 * what the channel of an agent is: Connect comes on it while it is idle, and a
 * dial finds the service among those of agents that are here, never at a third
 * node.  ConnectAck goes back, the bytes pass as messages to the end markers, and
 * the channel is idle again.
 *
 * One with datagrams is joined with one of the agent as it is: all that comes is
 * meant for it, with the numbers of sessions and the heartbeats.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_forward.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_transport.h"
#include "ngx_zltunnel_worker.h"

#include "zlt_frames.h"
#include "zlt_msg.h"


#define NGX_ZLTUNNEL_FORWARD_BUFFER  4096       /* bytes, while it is idle */
#define NGX_ZLTUNNEL_FORWARD_QUIET   90000      /* ms, idle without a word */
#define NGX_ZLTUNNEL_FORWARD_DRAIN   5000       /* ms, behind ConnectFail */
#define NGX_ZLTUNNEL_FORWARD_WASTE   (1024 * 1024)    /* bytes, the same */
#define NGX_ZLTUNNEL_FORWARD_HALF    3600000    /* ms, half-closed */


typedef enum {
    NGX_ZLTUNNEL_FORWARD_IDLE = 0,
    NGX_ZLTUNNEL_FORWARD_RETIRED,               /* until the node has closed */
    NGX_ZLTUNNEL_FORWARD_CONNECTS,              /* .. and relays */
    NGX_ZLTUNNEL_FORWARD_DRAINS,                /* it was refused */
    NGX_ZLTUNNEL_FORWARD_DATAGRAMS
} ngx_zltunnel_forward_state_e;


typedef struct {
    ngx_queue_t                  queue;         /* of this worker */
    ngx_zltunnel_registry_t     *registry;
    ngx_zltunnel_end_t           end;
    zlt_frames_t                 frames;
    u_char                       node[ZLT_ID_SIZE];
    ngx_zltunnel_forward_state_e state;
    ngx_event_t                  timer;
    size_t                       drained;

    /* of one connection */
    ngx_pool_t                  *pool;
    u_char                       connection_id[ZLT_ID_SIZE];
    ngx_zltunnel_dial_t          dial;
    ngx_zltunnel_connect_t       connect;

    /* of datagrams */
    ngx_zltunnel_channel_t      *channel;
    ngx_zltunnel_relay_t         relay;
    ngx_zltunnel_link_t          link;

    size_t                       have;
    u_char                       buffer[NGX_ZLTUNNEL_FORWARD_BUFFER];
} ngx_zltunnel_forward_t;


static ngx_int_t ngx_zltunnel_forward_answer(ngx_zltunnel_forward_t *forward,
    ngx_str_t *answer);
static void ngx_zltunnel_forward_idle(ngx_zltunnel_forward_t *forward);
static void ngx_zltunnel_forward_retire(ngx_zltunnel_forward_t *forward);
static void ngx_zltunnel_forward_idle_handler(ngx_event_t *ev);
static void ngx_zltunnel_forward_empty_handler(ngx_event_t *ev);
static void ngx_zltunnel_forward_write_handler(ngx_event_t *ev);
static ngx_int_t ngx_zltunnel_forward_messages(
    ngx_zltunnel_forward_t *forward, ngx_zltunnel_budget_t *budget);
static ngx_int_t ngx_zltunnel_forward_write(ngx_zltunnel_forward_t *forward,
    zlt_msg_t *m);
static ngx_int_t ngx_zltunnel_forward_begin(ngx_zltunnel_forward_t *forward,
    zlt_msg_t *m);
static void ngx_zltunnel_forward_dial(ngx_zltunnel_forward_t *forward,
    u_char *id, ngx_uint_t udp);
static ngx_int_t ngx_zltunnel_forward_connect(ngx_zltunnel_forward_t *forward,
    zlt_msg_t *m, size_t used);
static void ngx_zltunnel_forward_read_handler(ngx_event_t *ev);
static ngx_int_t ngx_zltunnel_forward_answered(
    ngx_zltunnel_connect_t *connect);
static void ngx_zltunnel_forward_connected(ngx_zltunnel_connect_t *connect,
    ngx_zltunnel_dial_e rc, ngx_zltunnel_relay_end_e how);
static void ngx_zltunnel_forward_over(ngx_zltunnel_forward_t *forward);
static void ngx_zltunnel_forward_refuse(ngx_zltunnel_forward_t *forward,
    ngx_zltunnel_dial_e rc);
static ngx_uint_t ngx_zltunnel_forward_code(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_dial_e rc);
static void ngx_zltunnel_forward_drain_handler(ngx_event_t *ev);
static ngx_int_t ngx_zltunnel_forward_datagrams(
    ngx_zltunnel_forward_t *forward, zlt_msg_t *m);
static void ngx_zltunnel_forward_carried(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_dial_e rc);
static ngx_int_t ngx_zltunnel_forward_join(ngx_zltunnel_forward_t *forward,
    ngx_zltunnel_channel_t *channel);
static void ngx_zltunnel_forward_cut(ngx_zltunnel_link_t *link);
static void ngx_zltunnel_forward_ended(ngx_zltunnel_relay_t *relay,
    ngx_zltunnel_relay_end_e how);
static void ngx_zltunnel_forward_timer(ngx_event_t *ev);
static void ngx_zltunnel_forward_abort(ngx_zltunnel_forward_t *forward);
static void ngx_zltunnel_forward_close(ngx_zltunnel_forward_t *forward);


static ngx_queue_t  ngx_zltunnel_forwards;


ngx_int_t
ngx_zltunnel_forward_check(ngx_zltunnel_registry_t *registry,
    ngx_connection_t **held, ngx_log_t *log)
{
    const char  *limit;

    for ( ;; ) {
        limit = NULL;

        if (!ngx_zltunnel_channel_place_visits(registry)) {
            limit = "max_channel_share";

        } else if (ngx_zltunnel_room_scarce()
                   || (*held = ngx_zltunnel_room_hold()) == NULL)
        {
            /* for the channel to the service */

            limit = "worker_connections";
        }

        if (limit == NULL) {
            registry->nchannels++;
            registry->nvisits++;
            return NGX_OK;
        }

        if (!ngx_zltunnel_room_scarce()
            || ngx_zltunnel_channel_evict(registry) != NGX_OK)
        {
            break;
        }
    }

    ngx_zltunnel_log_complain(log, "channel of another node refused: limit of "
                              "%s", limit);

    return 503;
}


void
ngx_zltunnel_forward_cancel(ngx_zltunnel_registry_t *registry)
{
    registry->nchannels--;
    registry->nvisits--;
}


/* in the connection's pool, with which it goes */

void
ngx_zltunnel_forward_start(ngx_zltunnel_registry_t *registry,
    ngx_connection_t *c, u_char *node, u_char *data, size_t len,
    ngx_str_t *answer)
{
    ngx_zltunnel_forward_t  *forward;

    forward = ngx_pcalloc(c->pool, sizeof(ngx_zltunnel_forward_t));

    if (forward == NULL) {

        if (answer->data) {
            ngx_free(answer->data);
        }

        ngx_zltunnel_forward_cancel(registry);
        ngx_zltunnel_connection_close(c);
        return;
    }

    if (ngx_zltunnel_forwards.next == NULL) {
        ngx_queue_init(&ngx_zltunnel_forwards);
    }

    ngx_queue_insert_tail(&ngx_zltunnel_forwards, &forward->queue);

    forward->registry = registry;
    ngx_memcpy(forward->node, node, ZLT_ID_SIZE);

    ngx_zltunnel_end_init(&forward->end, c, NULL);
    forward->end.exact = 1;

    forward->timer.handler = ngx_zltunnel_forward_timer;
    forward->timer.data = forward;
    forward->timer.log = c->log;
    forward->timer.cancelable = 1;

    /* not to be closed when the worker begins to exit */
    c->idle = 0;

    c->data = forward;
    c->log->data = NULL;
    c->log->handler = NULL;

    if (ngx_zltunnel_forward_answer(forward, answer) != NGX_OK
        || len > NGX_ZLTUNNEL_FORWARD_BUFFER)
    {
        ngx_zltunnel_forward_abort(forward);
        return;
    }

    ngx_memcpy(forward->buffer, data, len);
    forward->have = len;

    ngx_log_error(NGX_LOG_INFO, c->log, 0, "node %s opens a channel",
                  ngx_zltunnel_access_hex(node));

    ngx_zltunnel_forward_idle(forward);
}


static ngx_int_t
ngx_zltunnel_forward_answer(ngx_zltunnel_forward_t *forward,
    ngx_str_t *answer)
{
    ssize_t  n;

    if (answer->data == NULL) {
        return NGX_OK;
    }

    /* the first bytes on the connection, so they fit, or it is dead */

    n = ngx_zltunnel_end_push(&forward->end, answer->data, answer->len);

    ngx_free(answer->data);

    return (n == (ssize_t) answer->len) ? NGX_OK : NGX_ERROR;
}


static void
ngx_zltunnel_forward_idle(ngx_zltunnel_forward_t *forward)
{
    ngx_connection_t  *c;

    c = forward->end.connection;

    forward->state = NGX_ZLTUNNEL_FORWARD_IDLE;

    c->data = forward;
    c->log->action = "waiting for another node";
    c->read->handler = ngx_zltunnel_forward_idle_handler;
    c->write->handler = ngx_zltunnel_forward_write_handler;

    ngx_add_timer(&forward->timer, NGX_ZLTUNNEL_FORWARD_QUIET);

    /* in a turn of its own: the caller may be within a handler of it */

    if (forward->have || c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_events);
    }

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        ngx_zltunnel_forward_abort(forward);
        return;
    }

    if (ngx_exiting) {
        ngx_zltunnel_forward_retire(forward);
    }
}


/* The node has it for idle, and may have sent Connect by now: it learns that
   nobody has acted on that. */

static void
ngx_zltunnel_forward_retire(ngx_zltunnel_forward_t *forward)
{
    zlt_msg_t  m;

    ngx_memzero(&m, sizeof(zlt_msg_t));

    m.type = ZLT_RETIRE;

    if (ngx_zltunnel_forward_write(forward, &m) != NGX_OK) {
        ngx_zltunnel_forward_abort(forward);
        return;
    }

    forward->state = NGX_ZLTUNNEL_FORWARD_RETIRED;
    forward->timer.cancelable = 0;

    ngx_add_timer(&forward->timer, NGX_ZLTUNNEL_FORWARD_DRAIN);
}


static void
ngx_zltunnel_forward_idle_handler(ngx_event_t *ev)
{
    ssize_t                  n;
    ngx_int_t                rc;
    ngx_connection_t        *c;
    ngx_zltunnel_budget_t    budget;
    ngx_zltunnel_forward_t  *forward;

    c = ev->data;
    forward = c->data;

    if (c->close) {
        ngx_zltunnel_forward_close(forward);
        return;
    }

    ngx_memzero(&budget, sizeof(ngx_zltunnel_budget_t));

    for ( ;; ) {

        if (forward->state == NGX_ZLTUNNEL_FORWARD_RETIRED) {
            forward->have = 0;
        }

        rc = ngx_zltunnel_forward_messages(forward, &budget);

        if (rc == NGX_DONE) {
            return;
        }

        if (rc == NGX_ERROR) {
            ngx_zltunnel_forward_abort(forward);
            return;
        }

        if (ngx_zltunnel_budget_spent(&budget)) {
            ngx_zltunnel_budget_post(ev);
            return;
        }

        n = ngx_zltunnel_end_pull(&forward->end,
                                  forward->buffer + forward->have,
                                  NGX_ZLTUNNEL_FORWARD_BUFFER - forward->have);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n <= 0) {
            ngx_zltunnel_forward_close(forward);
            return;
        }

        forward->have += n;
        budget.bytes += n;

        if (forward->state == NGX_ZLTUNNEL_FORWARD_IDLE) {
            ngx_add_timer(&forward->timer, NGX_ZLTUNNEL_FORWARD_QUIET);
        }
    }

    if (ngx_handle_read_event(ev, 0) != NGX_OK) {
        ngx_zltunnel_forward_abort(forward);
    }
}


static void
ngx_zltunnel_forward_empty_handler(ngx_event_t *ev)
{
    ngx_log_debug0(NGX_LOG_DEBUG_EVENT, ev->log, 0,
                   "zltunnel forward empty handler");
}


static void
ngx_zltunnel_forward_write_handler(ngx_event_t *ev)
{
    ngx_connection_t        *c;
    ngx_zltunnel_forward_t  *forward;

    c = ev->data;
    forward = c->data;

    /* an error is found by reading */

    (void) ngx_zltunnel_end_flush(&forward->end);
}


/* NGX_AGAIN: there are no more; NGX_DONE: it is idle no more, or was closed */

static ngx_int_t
ngx_zltunnel_forward_messages(ngx_zltunnel_forward_t *forward,
    ngx_zltunnel_budget_t *budget)
{
    int        rc;
    size_t     used;
    zlt_msg_t  m;

    for ( ;; ) {
        rc = zlt_msg_decode(&m, forward->buffer, forward->have,
                            NGX_ZLTUNNEL_FORWARD_BUFFER - ZLT_HEADER_SIZE,
                            &used);

        if (rc == ZLT_AGAIN) {
            return NGX_AGAIN;
        }

        if (rc != ZLT_OK) {
            ngx_log_error(NGX_LOG_INFO, forward->end.connection->log, 0,
                          "bad message of another node: %s",
                          zlt_msg_strerror(rc));
            return NGX_ERROR;
        }

        budget->messages++;

        switch (m.type) {

        case ZLT_HEARTBEAT:
            m.type = ZLT_HEARTBEAT_ACK;

            if (ngx_zltunnel_forward_write(forward, &m) != NGX_OK) {
                return NGX_ERROR;
            }

            break;

        case ZLT_HEARTBEAT_ACK:
            break;

        case ZLT_CONNECT:
            return ngx_zltunnel_forward_connect(forward, &m, used);

        case ZLT_DATAGRAM_OPEN:
            return ngx_zltunnel_forward_datagrams(forward, &m);

        default:
            ngx_log_error(NGX_LOG_INFO, forward->end.connection->log, 0,
                          "unexpected %s of another node on an idle channel",
                          zlt_msg_name(m.type));
            return NGX_ERROR;
        }

        forward->have -= used;
        ngx_memmove(forward->buffer, forward->buffer + used, forward->have);
    }
}


static ngx_int_t
ngx_zltunnel_forward_write(ngx_zltunnel_forward_t *forward, zlt_msg_t *m)
{
    u_char   buf[512];
    size_t   len;

    len = zlt_msg_encode(m, buf, sizeof(buf));

    /* nothing else is under way, so it fits, or the channel is dead */

    return ngx_zltunnel_end_push(&forward->end, buf, len) == (ssize_t) len
           ? NGX_OK : NGX_ERROR;
}


/* what a connection needs, or the datagrams of a channel */

static ngx_int_t
ngx_zltunnel_forward_begin(ngx_zltunnel_forward_t *forward, zlt_msg_t *m)
{
    ngx_connection_t     *c;
    ngx_zltunnel_dial_t  *dial;

    c = forward->end.connection;

    ngx_del_timer(&forward->timer);

    forward->pool = ngx_create_pool(512, c->log);
    if (forward->pool == NULL) {
        return NGX_ERROR;
    }

    dial = &forward->dial;

    ngx_memzero(dial, sizeof(ngx_zltunnel_dial_t));

    dial->registry = forward->registry;
    dial->pool = forward->pool;
    dial->log = c->log;

    dial->client_addr.data = ngx_pnalloc(forward->pool,
                                         m->client_addr.len + 1);
    if (dial->client_addr.data == NULL) {
        return NGX_ERROR;
    }

    dial->client_addr.len = m->client_addr.len;
    ngx_memcpy(dial->client_addr.data, m->client_addr.data,
               m->client_addr.len);

    return NGX_OK;
}


/* of agents that are here: one hop, never two */

static void
ngx_zltunnel_forward_dial(ngx_zltunnel_forward_t *forward, u_char *id,
    ngx_uint_t udp)
{
    ngx_zltunnel_registry_t    *registry;
    ngx_zltunnel_admission_t    admission;
    ngx_zltunnel_sh_service_t  *service;

    registry = forward->registry;

    ngx_zltunnel_zone_lock(registry);

    service = ngx_zltunnel_service_own(registry->sh, id);

    if (service && (service->udp != udp
                    || (service->flags & (ZLT_R_OPEN|ZLT_R_INTERNAL))))
    {
        service = NULL;
    }

    ngx_zltunnel_dial_start_admit(&forward->dial, service, &admission);

    ngx_zltunnel_zone_unlock(registry);

    ngx_zltunnel_dial_start(&forward->dial, &admission);
}


static ngx_int_t
ngx_zltunnel_forward_connect(ngx_zltunnel_forward_t *forward, zlt_msg_t *m,
    size_t used)
{
    u_char                   id[ZLT_ID_SIZE];
    ssize_t                  n;
    ngx_connection_t        *c;
    ngx_zltunnel_connect_t  *connect;

    c = forward->end.connection;

    if (ngx_zltunnel_forward_begin(forward, m) != NGX_OK) {
        return NGX_ERROR;
    }

    forward->state = NGX_ZLTUNNEL_FORWARD_CONNECTS;

    ngx_memcpy(id, m->service_id, ZLT_ID_SIZE);
    ngx_memcpy(forward->connection_id, m->connection_id, ZLT_ID_SIZE);

    connect = &forward->connect;

    ngx_memzero(connect, sizeof(ngx_zltunnel_connect_t));

    connect->dial = &forward->dial;
    connect->end = &forward->end;
    connect->action = "relaying a connection of another node";
    connect->relay.half_timeout = NGX_ZLTUNNEL_FORWARD_HALF;
    connect->answered = ngx_zltunnel_forward_answered;
    connect->handler = ngx_zltunnel_forward_connected;
    connect->data = forward;

    ngx_zltunnel_connect_start(connect);
    ngx_zltunnel_framed_start(&forward->end, &forward->frames);

    /* the first bytes of the client are behind it */

    forward->have -= used;
    ngx_memmove(forward->buffer, forward->buffer + used, forward->have);

    n = ngx_zltunnel_framed_take(&forward->end, forward->buffer,
                                 forward->have);
    forward->have = 0;

    c->read->handler = ngx_zltunnel_forward_read_handler;

    if (n < 0
        || ngx_zltunnel_connect_put(connect, forward->buffer, n) != NGX_OK
        || ngx_zltunnel_connect_read(connect) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_zltunnel_forward_dial(forward, id, 0);

    return NGX_DONE;
}


static void
ngx_zltunnel_forward_read_handler(ngx_event_t *ev)
{
    ngx_connection_t        *c;
    ngx_zltunnel_forward_t  *forward;

    c = ev->data;
    forward = c->data;

    if (c->close || ngx_zltunnel_connect_read(&forward->connect) != NGX_OK) {
        ngx_zltunnel_forward_abort(forward);
    }
}


/* the agent has: ConnectAck to the node */

static ngx_int_t
ngx_zltunnel_forward_answered(ngx_zltunnel_connect_t *connect)
{
    zlt_msg_t                m;
    ngx_zltunnel_forward_t  *forward;

    forward = connect->data;

    ngx_memzero(&m, sizeof(zlt_msg_t));

    m.type = ZLT_CONNECT_ACK;
    m.connection_id = forward->connection_id;

    return ngx_zltunnel_forward_write(forward, &m);
}


static void
ngx_zltunnel_forward_connected(ngx_zltunnel_connect_t *connect,
    ngx_zltunnel_dial_e rc, ngx_zltunnel_relay_end_e how)
{
    ngx_zltunnel_forward_t  *forward;

    forward = connect->data;

    if (rc != NGX_ZLTUNNEL_DIAL_OK) {
        ngx_zltunnel_forward_refuse(forward, rc);
        return;
    }

    if (how == NGX_ZLTUNNEL_RELAY_DONE && zlt_frames_over(&forward->frames)) {
        ngx_zltunnel_forward_over(forward);
        return;
    }

    ngx_zltunnel_forward_close(forward);
}


/* it is idle again, with what has come behind the end of the connection */

static void
ngx_zltunnel_forward_over(ngx_zltunnel_forward_t *forward)
{
    ngx_zltunnel_end_t  *end;

    end = &forward->end;

    ngx_zltunnel_dial_done(&forward->dial);
    forward->dial.registry = NULL;

    ngx_destroy_pool(forward->pool);
    forward->pool = NULL;

    end->frames = NULL;
    end->eof = 0;
    end->shut = 0;

    ngx_memcpy(forward->buffer, end->rest, end->nrest);
    forward->have = end->nrest;
    end->nrest = 0;

    ngx_zltunnel_forward_idle(forward);
}


/* ConnectFail is our end of the connection; the node's is yet to come */

static void
ngx_zltunnel_forward_refuse(ngx_zltunnel_forward_t *forward,
    ngx_zltunnel_dial_e rc)
{
    zlt_msg_t          m;
    const char        *reason;
    ngx_connection_t  *c;

    c = forward->end.connection;
    reason = ngx_zltunnel_dial_error(&forward->dial, rc);

    ngx_memzero(&m, sizeof(zlt_msg_t));

    m.type = ZLT_CONNECT_FAIL;
    m.connection_id = forward->connection_id;
    m.reason.data = (u_char *) reason;
    m.reason.len = ngx_strlen(reason);
    m.ext = ZLT_X_CODE;
    m.code = ngx_zltunnel_forward_code(&forward->dial, rc);

    forward->frames.out.end = ZLT_FRAMES_RESET;

    forward->state = NGX_ZLTUNNEL_FORWARD_DRAINS;
    forward->drained = 0;

    c->read->handler = ngx_zltunnel_forward_drain_handler;

    ngx_add_timer(&forward->timer, NGX_ZLTUNNEL_FORWARD_DRAIN);

    if (ngx_zltunnel_forward_write(forward, &m) != NGX_OK) {
        c->close = 1;
    }

    /* the caller may be within a handler of it */

    ngx_post_event(c->read, &ngx_posted_events);
}


static ngx_uint_t
ngx_zltunnel_forward_code(ngx_zltunnel_dial_t *dial, ngx_zltunnel_dial_e rc)
{
    switch (rc) {

    case NGX_ZLTUNNEL_DIAL_LIMIT:
        return ZLT_E_LIMIT;

    case NGX_ZLTUNNEL_DIAL_REFUSED:
        return dial->code && dial->code != ZLT_E_DUPLICATE ? dial->code
                                                           : ZLT_E_REFUSED;

    case NGX_ZLTUNNEL_DIAL_ERROR:
    case NGX_ZLTUNNEL_DIAL_SHUTDOWN:
        return ZLT_E_BUSY;

    default:
        return ZLT_E_UNREACHABLE;
    }
}


static void
ngx_zltunnel_forward_drain_handler(ngx_event_t *ev)
{
    ssize_t                  n;
    ngx_connection_t        *c;
    zlt_frames_t            *frames;
    ngx_zltunnel_budget_t    budget;
    ngx_zltunnel_forward_t  *forward;

    static u_char  buf[NGX_ZLTUNNEL_EARLY_SIZE];

    c = ev->data;
    forward = c->data;
    frames = &forward->frames;

    if (c->close) {
        ngx_zltunnel_forward_abort(forward);
        return;
    }

    ngx_memzero(&budget, sizeof(ngx_zltunnel_budget_t));

    while (frames->in.end == ZLT_FRAMES_OPEN) {

        if (ngx_zltunnel_budget_spent(&budget)) {
            ngx_zltunnel_budget_post(ev);
            return;
        }

        n = ngx_zltunnel_end_recv(&forward->end, buf, sizeof(buf));

        if (n == NGX_AGAIN) {

            if (ngx_handle_read_event(ev, 0) != NGX_OK) {
                ngx_zltunnel_forward_abort(forward);
            }

            return;
        }

        if (n > 0) {
            forward->drained += n;
            budget.bytes += n;
        }

        if ((n == NGX_ERROR && frames->in.end == ZLT_FRAMES_OPEN)
            || forward->drained > NGX_ZLTUNNEL_FORWARD_WASTE)
        {
            ngx_zltunnel_forward_abort(forward);
            return;
        }
    }

    if (!zlt_frames_over(frames)) {
        ngx_zltunnel_forward_abort(forward);
        return;
    }

    ngx_zltunnel_forward_over(forward);
}


static ngx_int_t
ngx_zltunnel_forward_datagrams(ngx_zltunnel_forward_t *forward, zlt_msg_t *m)
{
    u_char                id[ZLT_ID_SIZE];
    ngx_connection_t     *c;
    ngx_zltunnel_dial_t  *dial;

    if (ngx_zltunnel_forward_begin(forward, m) != NGX_OK) {
        return NGX_ERROR;
    }

    forward->state = NGX_ZLTUNNEL_FORWARD_DATAGRAMS;

    ngx_memcpy(id, m->service_id, ZLT_ID_SIZE);

    c = forward->end.connection;
    dial = &forward->dial;

    c->read->handler = ngx_zltunnel_forward_empty_handler;
    c->log->action = "joining datagrams of another node";

    dial->datagrams = 1;
    dial->handler = ngx_zltunnel_forward_carried;
    dial->data = forward;

    ngx_zltunnel_forward_dial(forward, id, 1);

    return NGX_DONE;
}


static void
ngx_zltunnel_forward_carried(ngx_zltunnel_dial_t *dial, ngx_zltunnel_dial_e rc)
{
    ngx_zltunnel_channel_t  *channel;
    ngx_zltunnel_forward_t  *forward;

    forward = dial->data;

    if (rc == NGX_ZLTUNNEL_DIAL_OK) {
        channel = dial->channel;
        dial->channel = NULL;

        if (ngx_zltunnel_forward_join(forward, channel) == NGX_OK) {
            return;
        }

        ngx_zltunnel_end_abort(&channel->end);
        ngx_zltunnel_channel_close(channel);
    }

    ngx_zltunnel_forward_abort(forward);
}


static ngx_int_t
ngx_zltunnel_forward_join(ngx_zltunnel_forward_t *forward,
    ngx_zltunnel_channel_t *channel)
{
    ngx_zltunnel_relay_t  *relay;

    relay = &forward->relay;

    relay->side[0] = &forward->end;
    relay->side[1] = &channel->end;
    relay->handler = ngx_zltunnel_forward_ended;
    relay->data = forward;

    if (ngx_zltunnel_channel_answer_flush(channel) != NGX_OK
        || ngx_zltunnel_relay_put(relay, 0, forward->buffer, forward->have)
           != NGX_OK
        || ngx_zltunnel_relay_put(relay, 1, channel->frame + channel->used,
                                  channel->have - channel->used)
           != NGX_OK)
    {
        /* it has not begun, and so nobody ends it */

        ngx_zltunnel_flow_release(&relay->flow[0]);
        ngx_zltunnel_flow_release(&relay->flow[1]);

        return NGX_ERROR;
    }

    forward->have = 0;
    channel->have = 0;
    channel->used = 0;

    channel->end.frames = NULL;

    forward->channel = channel;
    forward->link.cut = ngx_zltunnel_forward_cut;

    if (forward->dial.link.peer) {
        ngx_zltunnel_peer_link(forward->dial.link.peer, &forward->link);

        relay->flow[0].pace[0] = ngx_zltunnel_peer_pace(forward->link.peer,
                                                        NULL);
        relay->flow[1].pace[0] = relay->flow[0].pace[0];
    }

    ngx_zltunnel_relay_start(relay);

    return NGX_OK;
}


static void
ngx_zltunnel_forward_cut(ngx_zltunnel_link_t *link)
{
    ngx_zltunnel_forward_t  *forward;

    forward = (ngx_zltunnel_forward_t *)
                  ((u_char *) link - offsetof(ngx_zltunnel_forward_t, link));

    ngx_zltunnel_relay_abort(&forward->relay);
}


static void
ngx_zltunnel_forward_ended(ngx_zltunnel_relay_t *relay,
    ngx_zltunnel_relay_end_e how)
{
    ngx_zltunnel_forward_t  *forward;

    forward = relay->data;

    ngx_zltunnel_peer_unlink(&forward->link);

    ngx_zltunnel_channel_close(forward->channel);
    forward->channel = NULL;

    ngx_zltunnel_forward_close(forward);
}


static void
ngx_zltunnel_forward_timer(ngx_event_t *ev)
{
    ngx_zltunnel_forward_t  *forward;

    forward = ev->data;

    ngx_log_error(NGX_LOG_INFO, forward->end.connection->log, 0,
                  "channel of node %s: nothing came in time",
                  ngx_zltunnel_access_hex(forward->node));

    ngx_zltunnel_forward_abort(forward);
}


static void
ngx_zltunnel_forward_abort(ngx_zltunnel_forward_t *forward)
{
    if (ngx_zltunnel_connect_abort(&forward->connect) == NGX_OK) {
        /* its handler has closed it */
        return;
    }

    if (forward->channel) {
        ngx_zltunnel_relay_abort(&forward->relay);
        return;
    }

    ngx_zltunnel_end_abort(&forward->end);
    ngx_zltunnel_forward_close(forward);
}


static void
ngx_zltunnel_forward_close(ngx_zltunnel_forward_t *forward)
{
    if (forward->timer.timer_set) {
        ngx_del_timer(&forward->timer);
    }

    if (forward->dial.registry) {
        ngx_zltunnel_dial_done(&forward->dial);
    }

    if (forward->pool) {
        ngx_destroy_pool(forward->pool);
    }

    forward->registry->nchannels--;
    forward->registry->nvisits--;

    ngx_queue_remove(&forward->queue);

    /* with the pool, in which it is */

    ngx_zltunnel_end_close(&forward->end);
}


void
ngx_zltunnel_forward_exit(ngx_uint_t all)
{
    ngx_queue_t             *q, *next;
    ngx_zltunnel_forward_t  *forward;

    if (ngx_zltunnel_forwards.next == NULL) {
        return;
    }

    for (q = ngx_queue_head(&ngx_zltunnel_forwards);
         q != ngx_queue_sentinel(&ngx_zltunnel_forwards);
         q = next)
    {
        next = ngx_queue_next(q);
        forward = ngx_queue_data(q, ngx_zltunnel_forward_t, queue);

        if (all || forward->state == NGX_ZLTUNNEL_FORWARD_DATAGRAMS) {
            ngx_zltunnel_forward_abort(forward);
            continue;
        }

        if (forward->state == NGX_ZLTUNNEL_FORWARD_IDLE) {
            ngx_zltunnel_forward_retire(forward);
        }
    }
}
