
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What a dial says on the channels that it has got, two at the most: Connect,
 * and the client's early bytes behind it; and what is answered.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_dial_connect.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_channel_answer.h"
#include "ngx_zltunnel_channel_io.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_dial.h"
#include "ngx_zltunnel_dial_elsewhere.h"
#include "ngx_zltunnel_dial_search.h"
#include "ngx_zltunnel_dial_turn.h"
#include "ngx_zltunnel_lane.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_release.h"
#include "ngx_zltunnel_transport.h"

#include "zlt_frames.h"
#include "zlt_msg.h"


#define NGX_ZLTUNNEL_DIAL_REPEATS  3
#define NGX_ZLTUNNEL_DIAL_UNREAD   64     /* tries of idle channels, gone */
#define NGX_ZLTUNNEL_DIAL_CONNECT  1024   /* bytes of Connect at most */


static void ngx_zltunnel_dial_connect_ask(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_channel_t *channel);
static void ngx_zltunnel_dial_connect_uncork(ngx_event_t *ev);
static void ngx_zltunnel_dial_connect_write(ngx_event_t *ev);
static void ngx_zltunnel_dial_connect_read(ngx_event_t *ev);
static void ngx_zltunnel_dial_connect_closed(ngx_zltunnel_channel_t *channel);
static void ngx_zltunnel_dial_connect_answer(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_channel_t *channel, zlt_msg_t *m);
static void ngx_zltunnel_dial_connect_dead(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_channel_t *channel, ngx_uint_t acted);
static ngx_int_t ngx_zltunnel_dial_connect_send(ngx_zltunnel_dial_t *dial,
    ngx_uint_t i);
static void ngx_zltunnel_dial_connect_failed(ngx_zltunnel_dial_t *dial,
    ngx_uint_t i);


void
ngx_zltunnel_dial_connect(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_channel_t *channel, ngx_uint_t way)
{
    ngx_uint_t  i;

    /* a fresh channel may be on its way, and be the one that counts */

    if (dial->entry == NGX_ZLTUNNEL_DIAL_PENDING) {
        ngx_zltunnel_dial_unpend(dial);
    }

    if (channel->fresh && dial->unanswered) {
        dial->unanswered--;
    }

    ngx_zltunnel_dial_state(dial, NGX_ZLTUNNEL_DIAL_ASKED);
    ngx_zltunnel_dial_turn_over(dial, 1);
    ngx_zltunnel_room_release(&dial->held);

    if (channel->end.lane) {
        way = NGX_ZLTUNNEL_LANED;
    }

    if (dial->registry->slot != NGX_ZLTUNNEL_NO_SLOT) {
        ngx_zltunnel_dial_worker(dial)->acquired[way]++;
    }

    if (dial->datagrams) {
        ngx_zltunnel_channel_state(channel, NGX_ZLTUNNEL_CHANNEL_USED);

        dial->channel = channel;
        ngx_zltunnel_dial_finish(dial, NGX_ZLTUNNEL_DIAL_OK);
        return;
    }

    i = dial->asked[0] ? 1 : 0;

    if (dial->asked[i]) {
        /* both are taken, which a late answer of another worker brings */
        ngx_zltunnel_channel_close(channel);
        return;
    }

    dial->asked[i] = channel;
    dial->sent[i] = 0;

    ngx_zltunnel_dial_connect_ask(dial, channel);

    if (!channel->fresh) {
        dial->due |= 1 << i;
    }

    if (dial->corked && dial->last == 0) {
        dial->uncork.handler = ngx_zltunnel_dial_connect_uncork;
        dial->uncork.data = dial;
        dial->uncork.log = dial->log;

        ngx_post_event(&dial->uncork, &ngx_posted_events);

    } else if (ngx_zltunnel_dial_connect_send(dial, i) != NGX_OK) {
        ngx_zltunnel_dial_connect_dead(dial, channel, channel->fresh);
        return;
    }

    if (!dial->silent) {
        ngx_add_timer(&dial->timer, ngx_min(NGX_ZLTUNNEL_REPEAT_AFTER,
                                            ngx_zltunnel_dial_left(dial)));
    }
}


void
ngx_zltunnel_dial_connect_by(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_channel_t *channel, ngx_uint_t way)
{
    ngx_zltunnel_channel_t  *lane;

    if (!dial->lanes || channel->have) {
        ngx_zltunnel_dial_connect(dial, channel, way);
        return;
    }

    /* as if it had been here from the start */

    lane = ngx_zltunnel_lane_open(dial->link.peer, channel);

    if (lane == NULL && dial->link.peer->shared) {

        /* another dial, as early as this, was first */

        lane = ngx_zltunnel_lane_open(dial->link.peer, NULL);

        if (lane) {
            ngx_zltunnel_release_idle(channel, NULL);
        }
    }

    ngx_zltunnel_dial_connect(dial, lane ? lane : channel, way);
}


/* reads the answer for the dial from now on */

static void
ngx_zltunnel_dial_connect_ask(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_channel_t *channel)
{
    ngx_connection_t  *c;

    c = channel->end.connection;

    ngx_zltunnel_channel_state(channel, NGX_ZLTUNNEL_CHANNEL_ASKED);

    channel->dial = dial;

#if (NGX_DEBUG)
    if (channel->registry->debug_delay && !channel->fresh) {
        channel->delayed = 1;
        ngx_add_timer(c->read, channel->registry->debug_delay);
    }
#endif

    ngx_zltunnel_framed_start(&channel->end, &channel->frames);

    c->read->handler = ngx_zltunnel_dial_connect_read;
    c->write->handler = ngx_zltunnel_dial_connect_write;

    /* what came with it, or while it was between two handlers */

    if (channel->have > channel->used || c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_events);
    }
}


/* no bytes have come in this turn, or they have uncorked it already */

static void
ngx_zltunnel_dial_connect_uncork(ngx_event_t *ev)
{
    ngx_uint_t            i;
    ngx_zltunnel_dial_t  *dial;

    dial = ev->data;
    dial->corked = 0;

    for (i = 0; i < 2; i++) {

        if (ngx_zltunnel_dial_runs(dial) && (dial->due & (1 << i))
            && ngx_zltunnel_dial_connect_send(dial, i) != NGX_OK)
        {
            ngx_zltunnel_dial_connect_dead(dial, dial->asked[i], 0);
            return;
        }
    }
}


/*
 * What waits on the channel, the 101 or an end marker; Connect, if it was not
 * sent otherwise; and the early bytes behind it.
 */

static ngx_int_t
ngx_zltunnel_dial_connect_send(ngx_zltunnel_dial_t *dial, ngx_uint_t i)
{
    size_t                   len, head, size;
    ssize_t                  n;
    zlt_msg_t                m;
    ngx_connection_t        *c;
    ngx_zltunnel_channel_t  *channel;

    static u_char  out[NGX_ZLTUNNEL_ANSWER_SIZE + NGX_ZLTUNNEL_EARLY_SIZE
                       + NGX_ZLTUNNEL_DIAL_CONNECT];

    channel = dial->asked[i];
    c = channel->end.connection;

    len = channel->answer.len;

    if (len) {
        ngx_memcpy(out, channel->answer.data, len);
    }

    if (dial->due & (1 << i)) {
        dial->due &= ~(1 << i);

        ngx_memzero(&m, sizeof(zlt_msg_t));

        m.type = ZLT_CONNECT;
        m.service_id = dial->service_id;
        m.connection_id = dial->id;
        m.client_addr.data = dial->client_addr.data;
        m.client_addr.len = dial->client_addr.len;

        if (dial->target.len) {
            m.ext |= ZLT_X_TARGET;
            m.target.data = dial->target.data;
            m.target.len = dial->target.len;
        }

        len += zlt_msg_encode(&m, out + len, NGX_ZLTUNNEL_DIAL_CONNECT);
    }

    size = dial->last - dial->sent[i];

    if (len + size == 0) {
        return ngx_zltunnel_end_flush(&channel->end) == NGX_ERROR ? NGX_ERROR
                                                                  : NGX_OK;
    }

    head = 0;

    if (size) {
        size = zlt_frames_data(&channel->frames.out, size);
        head = zlt_frames_pending(&channel->frames.out);

        (void) zlt_frames_prefix(&channel->frames.out, out + len + head);

        ngx_memcpy(out + len + head, dial->buf + dial->sent[i], size);
    }

    if (!c->write->ready) {
        /* ngx_zltunnel_dial_connect_writable() */
        return len ? NGX_ERROR : NGX_OK;
    }

    n = ngx_zltunnel_end_push(&channel->end, out, len + head + size);

    if (n == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (n == NGX_AGAIN) {
        n = 0;
    }

    if ((size_t) n < len) {

        /* nothing was under way on it, so it takes a frame or is dead */

        return NGX_ERROR;
    }

    dial->sent[i] += zlt_frames_sent(&channel->frames.out, n - len);

    ngx_zltunnel_channel_answer_drop(channel);

    return ngx_handle_write_event(c->write, 0);
}


size_t
ngx_zltunnel_dial_connect_room(ngx_zltunnel_dial_t *dial, u_char **to)
{
    if (dial->buf == NULL) {
        dial->buf = ngx_alloc(NGX_ZLTUNNEL_EARLY_SIZE, dial->log);

        if (dial->buf == NULL) {
            return 0;
        }
    }

    *to = dial->buf + dial->last;

    return NGX_ZLTUNNEL_EARLY_SIZE - dial->last;
}


void
ngx_zltunnel_dial_connect_put(ngx_zltunnel_dial_t *dial, size_t n)
{
    ngx_uint_t  i, due;

    dial->last += n;

    for (i = 0; i < 2; i++) {

        if (ngx_zltunnel_dial_runs(dial) && dial->asked[i]) {
            due = dial->due & (1 << i);

            /*
             * An error is found by reading: the answer may have been sent
             * before whatever made the write fail.
             */

            if (ngx_zltunnel_dial_connect_send(dial, i) != NGX_OK && due) {

                /* but for Connect, which has not been sent */

                ngx_zltunnel_dial_connect_dead(dial, dial->asked[i], 0);
                return;
            }
        }
    }
}


static void
ngx_zltunnel_dial_connect_write(ngx_event_t *ev)
{
    ngx_uint_t               i;
    ngx_connection_t        *c;
    ngx_zltunnel_dial_t     *dial;
    ngx_zltunnel_channel_t  *channel;

    c = ev->data;
    channel = c->data;
    dial = channel->dial;

    if (ngx_zltunnel_end_flush(&channel->end) != NGX_OK) {
        /* an error is found by reading */
        return;
    }

    i = (dial->asked[0] == channel) ? 0 : 1;

    if (dial->sent[i] < dial->last) {
        (void) ngx_zltunnel_dial_connect_send(dial, i);
    }
}


static void
ngx_zltunnel_dial_connect_read(ngx_event_t *ev)
{
    ngx_int_t                rc;
    zlt_msg_t                m;
    ngx_connection_t        *c;
    ngx_zltunnel_budget_t    budget;
    ngx_zltunnel_channel_t  *channel;

    c = ev->data;
    channel = c->data;

    if (c->close) {
        ngx_zltunnel_dial_connect_closed(channel);
        return;
    }

#if (NGX_DEBUG)

    /* so that a test can have the repeat answered before the first */

    if (channel->delayed) {

        if (!ev->timedout) {
            return;
        }

        ev->timedout = 0;
        channel->delayed = 0;
    }

#endif

    ngx_memzero(&budget, sizeof(ngx_zltunnel_budget_t));

    for ( ;; ) {
        rc = ngx_zltunnel_channel_io_read(channel, &m, &budget);

        if (rc == NGX_AGAIN) {
            return;
        }

        if (rc != NGX_OK) {
            ngx_zltunnel_dial_connect_dead(channel->dial, channel, 1);
            return;
        }

        switch (m.type) {

        case ZLT_HEARTBEAT:
        case ZLT_HEARTBEAT_ACK:
            /* sent before the agent had read Connect */
            break;

        case ZLT_CONNECT_ACK:
        case ZLT_CONNECT_FAIL:
            ngx_zltunnel_dial_connect_answer(channel->dial, channel, &m);
            return;

        case ZLT_RETIRE:
            ngx_zltunnel_dial_connect_dead(channel->dial, channel, 0);
            return;

        default:
            ngx_log_error(NGX_LOG_INFO, c->log, 0,
                          "unexpected %s instead of ConnectAck",
                          zlt_msg_name(m.type));
            ngx_zltunnel_dial_connect_dead(channel->dial, channel, 1);
            return;
        }
    }
}


/* by the worker that exits, or as its 101 could not be sent */

static void
ngx_zltunnel_dial_connect_closed(ngx_zltunnel_channel_t *channel)
{
    ngx_uint_t            i;
    ngx_zltunnel_dial_t  *dial;

    dial = channel->dial;
    i = (dial->asked[0] == channel) ? 0 : 1;

    ngx_zltunnel_dial_connect_dead(dial, channel,
                                   channel->fresh || !(dial->due & (1 << i)));
}


static void
ngx_zltunnel_dial_connect_answer(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_channel_t *channel, zlt_msg_t *m)
{
    size_t      len;
    u_char      reason[NGX_ZLTUNNEL_TEXT_MAX];
    ngx_uint_t  i;

    i = (dial->asked[0] == channel) ? 0 : 1;

    if (ngx_memcmp(m->connection_id, dial->id, ZLT_ID_SIZE) != 0) {
        ngx_log_error(NGX_LOG_INFO, dial->log, 0,
                      "%s with another connection id", zlt_msg_name(m->type));
        ngx_zltunnel_dial_connect_dead(dial, channel, 1);
        return;
    }

    if (m->type == ZLT_CONNECT_ACK) {
        ngx_zltunnel_channel_state(channel, NGX_ZLTUNNEL_CHANNEL_USED);

        dial->asked[i] = NULL;
        dial->channel = channel;
        dial->sent[0] = dial->sent[i];
        channel->dial = NULL;

        ngx_zltunnel_dial_finish(dial, NGX_ZLTUNNEL_DIAL_OK);
        return;
    }

    dial->code = (m->ext & ZLT_X_CODE) ? m->code : 0;

    if (dial->code == ZLT_E_DUPLICATE
        && (dial->asked[!i] || dial->unanswered || !dial->lost))
    {
        /* the agent has acted on the other one, or on the control channel */

        ngx_zltunnel_dial_connect_failed(dial, i);

        if (dial->asked[!i] == NULL
            && dial->state == NGX_ZLTUNNEL_DIAL_ASKED)
        {
            ngx_zltunnel_dial_state(dial, NGX_ZLTUNNEL_DIAL_WAITING);
            ngx_zltunnel_dial_search_insist(dial);
        }

        return;
    }

    /* the message is in the channel's buffer */

    len = ngx_min(m->reason.len, NGX_ZLTUNNEL_TEXT_MAX);
    ngx_memcpy(reason, m->reason.data, len);

    ngx_zltunnel_dial_connect_failed(dial, i);

    if (dial->remote && dial->code == ZLT_E_UNREACHABLE
        && ngx_zltunnel_dial_elsewhere(dial) == NGX_OK)
    {
        /* it is not at that node any more */
        return;
    }

    ngx_zltunnel_dial_connect_refused(dial, reason, len);
}


/* ConnectFail has come, the agent's end of the connection */

static void
ngx_zltunnel_dial_connect_failed(ngx_zltunnel_dial_t *dial, ngx_uint_t i)
{
    ngx_zltunnel_channel_t  *channel;

    channel = dial->asked[i];

    dial->asked[i] = NULL;
    channel->dial = NULL;

    channel->frames.in.end = ZLT_FRAMES_RESET;

    ngx_zltunnel_release(channel, 1, NULL);
}


void
ngx_zltunnel_dial_connect_refused(ngx_zltunnel_dial_t *dial,
    const u_char *reason, size_t len)
{
    ngx_str_t  text;
    u_char     buf[NGX_ZLTUNNEL_TEXT_MAX];

    if (ngx_zltunnel_log_paced(dial->log, "services not connected to")) {

        text.data = buf;
        text.len = ngx_zltunnel_log_printable(buf, sizeof(buf), reason, len);

        ngx_log_error(NGX_LOG_ERR, dial->log, 0,
                      "agent \"%V\" could not connect to service \"%V\": %V",
                      &dial->tunnel, &dial->service, &text);
    }

    ngx_zltunnel_dial_finish(dial, NGX_ZLTUNNEL_DIAL_REFUSED);
}


void
ngx_zltunnel_dial_connect_leave(ngx_zltunnel_dial_t *dial)
{
    ngx_uint_t               i;
    ngx_zltunnel_channel_t  *channel;

    if (dial->state != NGX_ZLTUNNEL_DIAL_ASKED) {
        return;
    }

    for (i = 0; i < 2; i++) {
        channel = dial->asked[i];

        if (channel) {
            dial->asked[i] = NULL;
            channel->dial = NULL;
            ngx_zltunnel_channel_close(channel);
        }
    }

    dial->silent = 0;

    ngx_zltunnel_dial_state(dial, NGX_ZLTUNNEL_DIAL_WAITING);
}


/* acted: the agent may have read Connect on it, and acted on it */

static void
ngx_zltunnel_dial_connect_dead(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_channel_t *channel, ngx_uint_t acted)
{
    ngx_uint_t  i;

    if (acted) {
        dial->lost = 1;
    }

    i = (dial->asked[0] == channel) ? 0 : 1;

    dial->asked[i] = NULL;
    channel->dial = NULL;
    ngx_zltunnel_channel_close(channel);

    if (dial->asked[!i] || ngx_zltunnel_dial_searches(dial)) {
        return;
    }

    if (dial->remote && !acted) {

        /*
         * Its worker exits; or, if that is not the first time, the node waits for
         * its agent, or another binary of it has that: another node may be better,
         * and a channel of before is not.
         */

        if (dial->unread++ && ngx_zltunnel_dial_elsewhere(dial) == NGX_OK) {
            return;
        }

        ngx_zltunnel_dial_search(dial, dial->unread > 1);
        return;
    }

    /* another worker of the node would not know that it has been connected */

    if ((dial->remote && acted && dial->last)
        || (acted ? dial->repeats++ == NGX_ZLTUNNEL_DIAL_REPEATS
              : dial->unread++ == NGX_ZLTUNNEL_DIAL_UNREAD))
    {

        if (ngx_zltunnel_log_paced(dial->log,
                                   "data channels without an answer"))
        {
            ngx_log_error(NGX_LOG_ERR, dial->log, 0,
                          "data channels to service \"%V\" end without an "
                          "answer", &dial->service);
        }

        ngx_zltunnel_dial_finish(dial, NGX_ZLTUNNEL_DIAL_ERROR);
        return;
    }

    if (dial->registry->slot != NGX_ZLTUNNEL_NO_SLOT) {
        ngx_zltunnel_dial_worker(dial)->repeated++;
    }

    ngx_zltunnel_dial_search(dial, dial->repeats > 1);
}
