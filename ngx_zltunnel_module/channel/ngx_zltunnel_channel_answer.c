
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The answer to a channel's request, the 101, waits for a millisecond: where
 * many connections come, the newest idle channel is taken within that time, and
 * its 101 goes in one packet with Connect.  So does the end marker of the last
 * connection, if the agent's has come before ours.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_channel_answer.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_transport.h"


#define NGX_ZLTUNNEL_CHANNEL_HOLD       1       /* ms, for the 101 */


static void ngx_zltunnel_channel_answer_handler(ngx_event_t *ev);


static ngx_queue_t       ngx_zltunnel_channel_answers;
static ngx_event_t       ngx_zltunnel_channel_answer_event;
static ngx_connection_t  ngx_zltunnel_channel_answer_dummy;


/*
 * What is to go on an idle channel with the next Connect: the 101 of a new
 * one, or our end marker if the agent's has come before, since nobody waits
 * for it.
 */

void
ngx_zltunnel_channel_answer_hold(ngx_zltunnel_channel_t *channel,
    ngx_str_t *answer)
{
    ngx_event_t  *ev;

    if (ngx_zltunnel_channel_answers.prev == NULL) {
        ngx_queue_init(&ngx_zltunnel_channel_answers);
    }

    channel->answer = *answer;
    ngx_queue_insert_tail(&ngx_zltunnel_channel_answers, &channel->held);

    ev = &ngx_zltunnel_channel_answer_event;

    if (!ev->timer_set) {
        ngx_zltunnel_channel_answer_dummy.fd = (ngx_socket_t) -1;

        ev->handler = ngx_zltunnel_channel_answer_handler;
        ev->data = &ngx_zltunnel_channel_answer_dummy;
        ev->log = ngx_cycle->log;
        ev->cancelable = 1;

        ngx_add_timer(ev, NGX_ZLTUNNEL_CHANNEL_HOLD);
    }
}


static void
ngx_zltunnel_channel_answer_handler(ngx_event_t *ev)
{
    ngx_queue_t             *q;
    ngx_connection_t        *c;
    ngx_zltunnel_channel_t  *channel;

    while (!ngx_queue_empty(&ngx_zltunnel_channel_answers)) {
        q = ngx_queue_head(&ngx_zltunnel_channel_answers);
        channel = ngx_queue_data(q, ngx_zltunnel_channel_t, held);

        if (ngx_zltunnel_channel_answer_flush(channel) == NGX_OK) {
            continue;
        }

        ngx_zltunnel_channel_answer_drop(channel);

        /* whoever has it closes it, as when the worker exits */

        c = channel->end.connection;

        c->close = 1;
        c->read->handler(c->read);
    }
}


ngx_int_t
ngx_zltunnel_channel_answer_flush(ngx_zltunnel_channel_t *channel)
{
    ssize_t  n;

    if (channel->answer.data == NULL) {
        return NGX_OK;
    }

    n = ngx_zltunnel_end_push(&channel->end, channel->answer.data,
                              channel->answer.len);

    /* the first bytes on the connection, so they fit, or it is dead */

    if (n != (ssize_t) channel->answer.len) {
        return NGX_ERROR;
    }

    ngx_zltunnel_channel_answer_drop(channel);

    return NGX_OK;
}


void
ngx_zltunnel_channel_answer_drop(ngx_zltunnel_channel_t *channel)
{
    if (channel->answer.data) {
        ngx_queue_remove(&channel->held);
        ngx_free(channel->answer.data);
        ngx_str_null(&channel->answer);
    }
}


