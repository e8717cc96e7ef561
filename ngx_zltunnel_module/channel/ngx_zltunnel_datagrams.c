
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A datagram channel.
 *
 * What has come is read into a buffer that all channels of the worker share,
 * and the frames in it are given to the user, who has done with them before it
 * is used again.  The beginning of a frame is kept, and what an event has no
 * budget for.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_datagrams.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_datagrams_out.h"
#include "ngx_zltunnel_heartbeat.h"
#include "ngx_zltunnel_transport.h"

#include "zlt_dgram.h"
#include "zlt_msg.h"


#define NGX_ZLTUNNEL_DATAGRAMS_FIRST    3000    /* ms for a sign of life */


static void ngx_zltunnel_datagrams_read_handler(ngx_event_t *ev);
static ngx_int_t ngx_zltunnel_datagrams_read(ngx_zltunnel_datagrams_t *d,
    ngx_event_t *rev);
static ngx_int_t ngx_zltunnel_datagrams_parse(ngx_zltunnel_datagrams_t *d,
    const u_char *data, size_t len, ngx_zltunnel_budget_t *budget);
static ngx_int_t ngx_zltunnel_datagrams_frame(ngx_zltunnel_datagrams_t *d,
    zlt_dgram_t *f);
static void ngx_zltunnel_datagrams_timer_handler(ngx_event_t *ev);


void
ngx_zltunnel_datagrams_start(ngx_zltunnel_datagrams_t *d,
    const ngx_zltunnel_datagrams_use_t *use, void *data,
    ngx_zltunnel_registry_t *registry, ngx_zltunnel_end_t *end)
{
    ngx_connection_t  *c;

    c = end->connection;

    d->use = use;
    d->data = data;
    d->registry = registry;
    d->end = end;

    d->timer.handler = ngx_zltunnel_datagrams_timer_handler;
    d->timer.data = d;
    d->timer.log = c->log;
    d->timer.cancelable = 1;

    ngx_zltunnel_heartbeat_start(&d->beat, registry);
    ngx_add_timer(&d->timer, ngx_zltunnel_heartbeat_left(&d->beat));

    c->data = d;
    c->log->action = "carrying datagrams";
    c->read->handler = ngx_zltunnel_datagrams_read_handler;
    c->write->handler = ngx_zltunnel_datagrams_out_handler;

    ngx_zltunnel_socket_keepalive(end->connection, 0);

    /* what the kernel has taken can no longer be dropped */

    ngx_zltunnel_socket_prompt(end->connection);

    /* what was there before is not told again */

    ngx_post_event(c->read, &ngx_posted_events);

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        ngx_zltunnel_datagrams_out_fail(d);
    }
}


void
ngx_zltunnel_datagrams_take(ngx_zltunnel_datagrams_t *d,
    const ngx_zltunnel_datagrams_use_t *use, void *data,
    ngx_zltunnel_channel_t *channel)
{
    size_t     len;
    ngx_int_t  rc;

    /* the answer to its request may not have been sent yet */

    rc = ngx_zltunnel_channel_answer_flush(channel);

    if (rc != NGX_OK) {
        ngx_zltunnel_channel_answer_drop(channel);
    }

    ngx_zltunnel_datagrams_start(d, use, data, channel->registry,
                                 &channel->end);

    /* the bytes that came behind the last frame of an idle channel */

    len = channel->have - channel->used;

    if (rc != NGX_OK
        || ngx_zltunnel_datagrams_keep(d, channel->frame + channel->used, len)
           != NGX_OK)
    {
        ngx_zltunnel_datagrams_out_fail(d);
        return;
    }

    channel->have = 0;
    channel->used = 0;

    /* it may have been dropped on the way long ago: an answer tells */

    ngx_zltunnel_datagrams_out_ask(d, NGX_ZLTUNNEL_DATAGRAMS_FIRST);
}


void
ngx_zltunnel_datagrams_stop(ngx_zltunnel_datagrams_t *d)
{
    ngx_event_t  *rev;

    ngx_zltunnel_datagrams_out_drop(d);

    if (d->end) {
        rev = d->end->connection->read;

        if (rev->posted) {
            ngx_delete_posted_event(rev);
        }
    }

    if (d->timer.timer_set) {
        ngx_del_timer(&d->timer);
    }

    if (d->in) {
        ngx_free(d->in);
    }

    ngx_memzero(d, sizeof(ngx_zltunnel_datagrams_t));
}


static void
ngx_zltunnel_datagrams_read_handler(ngx_event_t *ev)
{
    ngx_connection_t          *c;
    ngx_zltunnel_datagrams_t  *d;

    c = ev->data;
    d = c->data;

    if (c->close || c->error
        || ngx_zltunnel_datagrams_read(d, ev) != NGX_OK)
    {
        d->use->lost(d, 0);
    }
}


static ngx_int_t
ngx_zltunnel_datagrams_read(ngx_zltunnel_datagrams_t *d, ngx_event_t *rev)
{
    size_t                 have;
    ssize_t                n;
    ngx_int_t              rc;
    ngx_zltunnel_budget_t  budget;

    static u_char  buffer[ZLT_MAX_MESSAGE_SIZE + NGX_ZLTUNNEL_BUDGET_BYTES];

    ngx_memzero(&budget, sizeof(ngx_zltunnel_budget_t));

    while (!ngx_zltunnel_budget_spent(&budget)) {

        if (d->use->wants && !d->use->wants(d)) {
            /* whoever wants again posts the event */
            return NGX_OK;
        }

        have = d->in_len;

        if (have) {
            ngx_memcpy(buffer, d->in, have);
            d->in_len = 0;
        }

        if (d->more) {
            /* first, what came before */
            d->more = 0;
            n = 0;

        } else {
            n = ngx_zltunnel_end_recv(d->end, buffer + have,
                                      sizeof(buffer) - have);

            if (n == NGX_AGAIN && have == 0) {
                break;
            }

            if (n == NGX_ERROR || n == 0) {
                return NGX_ERROR;
            }
        }

        if (n > 0) {
            ngx_zltunnel_heartbeat_heard(&d->beat, d->registry);
            have += n;
            budget.bytes += n;
        }

        rc = ngx_zltunnel_datagrams_parse(d, buffer, have, &budget);

        d->use->end_of_read(d);

        if (rc != NGX_OK) {
            return NGX_ERROR;
        }

        if (n == NGX_AGAIN || !(rev->ready || d->more)) {
            break;
        }
    }

    if (d->more || (rev->ready && ngx_zltunnel_budget_spent(&budget))) {
        ngx_zltunnel_budget_post(rev);
        return NGX_OK;
    }

    return ngx_handle_read_event(rev, 0);
}


/* Datagrams cost by their bytes, the rest by their number. */

static ngx_int_t
ngx_zltunnel_datagrams_parse(ngx_zltunnel_datagrams_t *d, const u_char *data,
    size_t len, ngx_zltunnel_budget_t *budget)
{
    int            rc;
    ngx_int_t      ok;
    zlt_dgram_t    f;
    const u_char  *end;

    end = data + len;

    while (budget->messages < NGX_ZLTUNNEL_BUDGET_MESSAGES) {

        rc = zlt_dgram_read(&d->reader, &f, &data, end);

        if (rc == ZLT_OK && f.type == ZLT_DATAGRAM) {
            ok = d->use->datagram(d, &f);

        } else if (rc == ZLT_OK) {
            budget->messages++;
            ok = ngx_zltunnel_datagrams_frame(d, &f);

        } else if (rc == ZLT_DGRAM_BAD) {
            budget->messages++;
            ok = d->use->malformed(d, &f);

        } else if (rc == ZLT_AGAIN) {
            return ngx_zltunnel_datagrams_keep(d, data, end - data);

        } else {
            ngx_log_error(NGX_LOG_INFO, d->end->connection->log, 0,
                          "bad frame on a datagram channel: %s",
                          zlt_msg_strerror(rc));
            return NGX_ERROR;
        }

        if (ok != NGX_OK) {
            return NGX_ERROR;
        }
    }

    d->more = (data != end);

    return ngx_zltunnel_datagrams_keep(d, data, end - data);
}


/* a frame other than a datagram */

static ngx_int_t
ngx_zltunnel_datagrams_frame(ngx_zltunnel_datagrams_t *d, zlt_dgram_t *f)
{
    switch (f->type) {

    case ZLT_DATAGRAM_CLOSE:
        return d->use->close(d, f);

    case ZLT_DATAGRAM_OPEN:
        if (d->use->open) {
            return d->use->open(d, f);
        }

        break;

    case ZLT_HEARTBEAT:
        return ngx_zltunnel_datagrams_out_beat(d, ZLT_HEARTBEAT_ACK,
                                           f->timestamp);

    case ZLT_HEARTBEAT_ACK:
        return NGX_OK;

    case ZLT_RETIRE:

        /* sent before it had read what we sent: nothing was acted on */

        return NGX_ERROR;
    }

    ngx_log_error(NGX_LOG_INFO, d->end->connection->log, 0,
                  "unexpected %s on a datagram channel",
                  zlt_msg_name(f->type));

    return NGX_ERROR;
}


/* the beginning of a frame, for the next time */

ngx_int_t
ngx_zltunnel_datagrams_keep(ngx_zltunnel_datagrams_t *d, const u_char *data,
    size_t len)
{
    u_char  *p;

    if (len > d->in_size) {
        p = ngx_alloc(len, ngx_cycle->log);
        if (p == NULL) {
            return NGX_ERROR;
        }

        if (d->in) {
            ngx_free(d->in);
        }

        d->in = p;
        d->in_size = len;
    }

    if (len) {
        ngx_memcpy(d->in, data, len);
    }

    d->in_len = len;

    return NGX_OK;
}


static void
ngx_zltunnel_datagrams_timer_handler(ngx_event_t *ev)
{
    ngx_zltunnel_datagrams_t  *d;

    d = ev->data;

    switch (ngx_zltunnel_heartbeat_tick(&d->beat, d->registry)) {

    case NGX_ZLTUNNEL_HEARTBEAT_DEAD:
        d->use->lost(d, 1);
        return;

    case NGX_ZLTUNNEL_HEARTBEAT_ASK:
        (void) ngx_zltunnel_datagrams_out_beat(d, ZLT_HEARTBEAT, 0);
        break;

    default: /* NGX_ZLTUNNEL_HEARTBEAT_WAIT */
        break;
    }

    ngx_add_timer(ev, ngx_zltunnel_heartbeat_left(&d->beat));
}
