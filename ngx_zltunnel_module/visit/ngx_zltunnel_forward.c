
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Data channels of other nodes.
 *
 * A node that has a service at this one opens a channel to it, and has in it
 * what the channel of an agent is: Connect comes on it while it is idle, and with
 * both end markers of that connection it is idle again.  DatagramOpen makes one
 * with datagrams of it, and Lane one that many connections share; these stay so.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_forward.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_forward_connect.h"
#include "ngx_zltunnel_forward_lanes.h"
#include "ngx_zltunnel_forward_udp.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_transport.h"
#include "ngx_zltunnel_worker.h"

#include "zlt_msg.h"


#define NGX_ZLTUNNEL_FORWARD_BUFFER  4096       /* bytes, while it is idle */
#define NGX_ZLTUNNEL_FORWARD_QUIET   90000      /* ms, idle without a word */
#define NGX_ZLTUNNEL_FORWARD_LAST    5000       /* ms, once it is retired */


typedef enum {
    NGX_ZLTUNNEL_FORWARD_IDLE = 0,
    NGX_ZLTUNNEL_FORWARD_RETIRED,               /* until the node has closed */
    NGX_ZLTUNNEL_FORWARD_CONNECTED,
    NGX_ZLTUNNEL_FORWARD_DATAGRAMS
} ngx_zltunnel_forward_state_e;


typedef struct {
    ngx_queue_t                  queue;         /* of this worker */
    ngx_zltunnel_registry_t     *registry;
    ngx_zltunnel_end_t           end;
    u_char                       node[ZLT_ID_SIZE];
    ngx_zltunnel_forward_state_e state;
    ngx_event_t                  timer;         /* idle, or retired */
    unsigned                     elsewhere:1;   /* its last Connect is said there */

    ngx_zltunnel_forward_connect_t  connect;
    ngx_zltunnel_forward_udp_t   udp;

    size_t                       have;
    u_char                       buffer[NGX_ZLTUNNEL_FORWARD_BUFFER];
} ngx_zltunnel_forward_t;


static ngx_int_t ngx_zltunnel_forward_answer(ngx_zltunnel_forward_t *forward,
    ngx_str_t *answer);
static void ngx_zltunnel_forward_idle(ngx_zltunnel_forward_t *forward);
static void ngx_zltunnel_forward_retire(ngx_zltunnel_forward_t *forward);
static void ngx_zltunnel_forward_idle_handler(ngx_event_t *ev);
static void ngx_zltunnel_forward_write_handler(ngx_event_t *ev);
static ngx_int_t ngx_zltunnel_forward_messages(
    ngx_zltunnel_forward_t *forward, ngx_zltunnel_budget_t *budget);
static ngx_int_t ngx_zltunnel_forward_write(ngx_zltunnel_forward_t *forward,
    zlt_msg_t *m);
static ngx_int_t ngx_zltunnel_forward_connects(
    ngx_zltunnel_forward_t *forward, zlt_msg_t *m, size_t used);
static void ngx_zltunnel_forward_connected(void *data,
    ngx_zltunnel_forward_e how);
static ngx_int_t ngx_zltunnel_forward_datagrams(
    ngx_zltunnel_forward_t *forward, zlt_msg_t *m);
static ngx_int_t ngx_zltunnel_forward_share(
    ngx_zltunnel_forward_t *forward);
static void ngx_zltunnel_forward_timer(ngx_event_t *ev);
static void ngx_zltunnel_forward_abort(ngx_zltunnel_forward_t *forward);
static void ngx_zltunnel_forward_close(void *data);


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


void
ngx_zltunnel_forward_start(ngx_zltunnel_registry_t *registry,
    ngx_connection_t *c, u_char *node, u_char *data, size_t len,
    ngx_str_t *answer)
{
    ngx_zltunnel_forward_t  *forward;

    forward = ngx_calloc(sizeof(ngx_zltunnel_forward_t), c->log);

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

    forward->connect.registry = registry;
    forward->connect.end = &forward->end;
    forward->connect.handler = ngx_zltunnel_forward_connected;
    forward->connect.data = forward;

    forward->udp.registry = registry;
    forward->udp.end = &forward->end;
    forward->udp.handler = ngx_zltunnel_forward_close;
    forward->udp.data = forward;

    forward->timer.handler = ngx_zltunnel_forward_timer;
    forward->timer.data = forward;
    forward->timer.log = c->log;
    forward->timer.cancelable = 1;

    /* not to be closed when the worker begins to exit */
    c->idle = 0;

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

    if (ngx_exiting || forward->elsewhere) {
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

    ngx_add_timer(&forward->timer, NGX_ZLTUNNEL_FORWARD_LAST);
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

        if (forward->have && forward->buffer[0] == ZLT_LANE) {
            return ngx_zltunnel_forward_share(forward);
        }

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
            return ngx_zltunnel_forward_connects(forward, &m, used);

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


static ngx_int_t
ngx_zltunnel_forward_connects(ngx_zltunnel_forward_t *forward, zlt_msg_t *m,
    size_t used)
{
    size_t  len;

    ngx_del_timer(&forward->timer);

    forward->state = NGX_ZLTUNNEL_FORWARD_CONNECTED;

    len = forward->have - used;
    forward->have = 0;

    return ngx_zltunnel_forward_connect(&forward->connect, m,
                                        forward->buffer + used, len)
           == NGX_OK ? NGX_DONE : NGX_ERROR;
}


/* it is idle again, with what has come behind the end of the connection */

static void
ngx_zltunnel_forward_connected(void *data, ngx_zltunnel_forward_e how)
{
    ngx_zltunnel_end_t      *end;
    ngx_zltunnel_forward_t  *forward;

    forward = data;
    end = &forward->end;

    if (how == NGX_ZLTUNNEL_FORWARD_FAILED) {
        ngx_zltunnel_forward_close(forward);
        return;
    }

    ngx_memcpy(forward->buffer, end->rest, end->nrest);
    forward->have = end->nrest;
    end->nrest = 0;

    forward->elsewhere = (how == NGX_ZLTUNNEL_FORWARD_ELSEWHERE);

    ngx_zltunnel_forward_idle(forward);
}


static ngx_int_t
ngx_zltunnel_forward_datagrams(ngx_zltunnel_forward_t *forward, zlt_msg_t *m)
{
    ngx_del_timer(&forward->timer);

    forward->state = NGX_ZLTUNNEL_FORWARD_DATAGRAMS;

    return ngx_zltunnel_forward_udp(&forward->udp, m, forward->buffer,
                                    forward->have)
           == NGX_OK ? NGX_DONE : NGX_ERROR;
}


/* the connection is that of the lanes then, and so is its place */

static ngx_int_t
ngx_zltunnel_forward_share(ngx_zltunnel_forward_t *forward)
{
    ngx_connection_t  *c;

    if (ngx_zltunnel_end_pending(&forward->end)) {
        /* the node has not read our 101, and so may not have asked for that */
        return NGX_ERROR;
    }

    ngx_del_timer(&forward->timer);
    ngx_queue_remove(&forward->queue);

    c = forward->end.connection;

    forward->end.connection = NULL;
    ngx_zltunnel_end_close(&forward->end);

    ngx_zltunnel_forward_lanes(forward->registry, c, forward->buffer,
                               forward->have);
    ngx_free(forward);

    return NGX_DONE;
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
    switch (forward->state) {

    case NGX_ZLTUNNEL_FORWARD_CONNECTED:

        if (forward->connect.runs) {
            ngx_zltunnel_forward_connect_abort(&forward->connect);
            return;
        }

        break;

    case NGX_ZLTUNNEL_FORWARD_DATAGRAMS:

        if (forward->udp.dial.pool) {
            ngx_zltunnel_forward_udp_abort(&forward->udp);
            return;
        }

        break;

    default:
        break;
    }

    ngx_zltunnel_end_abort(&forward->end);
    ngx_zltunnel_forward_close(forward);
}


static void
ngx_zltunnel_forward_close(void *data)
{
    ngx_zltunnel_forward_t  *forward;

    forward = data;

    if (forward->timer.timer_set) {
        ngx_del_timer(&forward->timer);
    }

    forward->registry->nchannels--;
    forward->registry->nvisits--;

    ngx_queue_remove(&forward->queue);
    ngx_zltunnel_end_close(&forward->end);
    ngx_free(forward);
}


void
ngx_zltunnel_forward_exit(ngx_uint_t all)
{
    ngx_queue_t             *q, *next;
    ngx_zltunnel_forward_t  *forward;

    if (all) {
        ngx_zltunnel_forward_lanes_exit();
    }

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
