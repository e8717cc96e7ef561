
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What goes out on datagram channels.
 *
 * Frames are put one behind the other into a buffer that all channels of the
 * worker share, and written by one call when the batch that brought them has
 * been read.  What the socket does not take of it goes into a buffer of the
 * channel.  Nothing that has once been offered to the socket is dropped: under
 * TLS it may be half encrypted.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_datagrams_out.h"
#include "ngx_zltunnel_datagrams.h"
#include "ngx_zltunnel_heartbeat.h"
#include "ngx_zltunnel_transport.h"

#include "zlt_dgram.h"
#include "zlt_msg.h"


#define NGX_ZLTUNNEL_DATAGRAMS_BATCH    65536
#define NGX_ZLTUNNEL_DATAGRAMS_STAGE    (NGX_ZLTUNNEL_DATAGRAMS_BATCH         \
                                         + 2 * ZLT_MAX_MESSAGE_SIZE)
#define NGX_ZLTUNNEL_DATAGRAMS_MOST     (512 * 1024)


static u_char *ngx_zltunnel_datagrams_out_more(ngx_zltunnel_datagrams_t *d,
    size_t size);
static ssize_t ngx_zltunnel_datagrams_out_send(ngx_zltunnel_datagrams_t *d,
    u_char *data, size_t len);
static void ngx_zltunnel_datagrams_out_flush_handler(ngx_event_t *ev);


/* frames of one channel that have not been offered to its socket */

static struct {
    ngx_zltunnel_datagrams_t  *d;
    size_t                     len;
    u_char                     data[NGX_ZLTUNNEL_DATAGRAMS_STAGE];
} ngx_zltunnel_stage;

static ngx_event_t             ngx_zltunnel_flush_event;
static ngx_connection_t        ngx_zltunnel_flush_dummy;


/* Not at once: the caller, or his, goes on with the user's sessions. */

void
ngx_zltunnel_datagrams_out_fail(ngx_zltunnel_datagrams_t *d)
{
    ngx_connection_t  *c;

    c = d->end->connection;

    c->error = 1;
    ngx_post_event(c->read, &ngx_posted_events);
}


ngx_uint_t
ngx_zltunnel_datagrams_out_ready(ngx_zltunnel_datagrams_t *d)
{
    return d->out_len == 0 && !d->end->connection->error;
}


u_char *
ngx_zltunnel_datagrams_out_room(ngx_zltunnel_datagrams_t *d, size_t size)
{
    if (ngx_zltunnel_stage.d != d
        || ngx_zltunnel_stage.len + size > NGX_ZLTUNNEL_DATAGRAMS_STAGE)
    {
        ngx_zltunnel_datagrams_out_flush();
    }

    if (d->out_len) {
        return ngx_zltunnel_datagrams_out_more(d, size);
    }

    ngx_zltunnel_stage.d = d;

    return ngx_zltunnel_stage.data + ngx_zltunnel_stage.len;
}


void
ngx_zltunnel_datagrams_out_commit(ngx_zltunnel_datagrams_t *d, u_char *end)
{
    if (d->out_len) {
        d->out_len = end - d->out;
        return;
    }

    ngx_zltunnel_stage.len = end - ngx_zltunnel_stage.data;

    if (ngx_zltunnel_stage.len >= NGX_ZLTUNNEL_DATAGRAMS_BATCH) {
        ngx_zltunnel_datagrams_out_flush();
        return;
    }

    if (ngx_zltunnel_flush_event.handler == NULL) {
        ngx_zltunnel_flush_dummy.fd = (ngx_socket_t) -1;
        ngx_zltunnel_flush_event.data = &ngx_zltunnel_flush_dummy;
        ngx_zltunnel_flush_event.log = ngx_cycle->log;
        ngx_zltunnel_flush_event.handler =
                                         ngx_zltunnel_datagrams_out_flush_handler;
    }

    ngx_post_event(&ngx_zltunnel_flush_event, &ngx_posted_events);
}


ngx_int_t
ngx_zltunnel_datagrams_out_close(ngx_zltunnel_datagrams_t *d, uint32_t number,
    ngx_uint_t cause)
{
    u_char  *p;

    p = ngx_zltunnel_datagrams_out_room(d, ZLT_DGRAM_CLOSE_SIZE);

    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_zltunnel_datagrams_out_commit(d, zlt_dgram_close(p, number, cause));

    return NGX_OK;
}


ngx_int_t
ngx_zltunnel_datagrams_out_beat(ngx_zltunnel_datagrams_t *d, ngx_uint_t type,
    uint64_t timestamp)
{
    u_char  *p;

    p = ngx_zltunnel_datagrams_out_room(d, NGX_ZLTUNNEL_HEARTBEAT_SIZE);

    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_zltunnel_datagrams_out_commit(d, ngx_zltunnel_heartbeat_write(p, type,
                                                                  timestamp));
    return NGX_OK;
}


void
ngx_zltunnel_datagrams_out_ask(ngx_zltunnel_datagrams_t *d, ngx_msec_t time)
{
    ngx_zltunnel_heartbeat_ask(&d->beat, d->registry);

    if (time) {
        d->beat.next = ngx_current_msec + time;
    }

    ngx_add_timer(&d->timer, ngx_zltunnel_heartbeat_left(&d->beat));

    (void) ngx_zltunnel_datagrams_out_beat(d, ZLT_HEARTBEAT, 0);
}


/* room behind what the socket has not taken */

static u_char *
ngx_zltunnel_datagrams_out_more(ngx_zltunnel_datagrams_t *d, size_t size)
{
    u_char  *p;
    size_t   n, most;

    if (d->out_len + size <= d->out_size) {
        return d->out + d->out_len;
    }

    n = ngx_zltunnel_datagrams_waiting(d);

    if (n + size > NGX_ZLTUNNEL_DATAGRAMS_MOST) {
        return NULL;
    }

    most = n + n / 2 + size + 4096;

    p = ngx_alloc(most, ngx_cycle->log);
    if (p == NULL) {
        return NULL;
    }

    if (d->out) {
        ngx_memcpy(p, d->out + d->out_pos, n);
        ngx_free(d->out);
    }

    d->out = p;
    d->out_pos = 0;
    d->out_len = n;
    d->out_size = most;

    return p + n;
}


void
ngx_zltunnel_datagrams_out_flush(void)
{
    u_char                    *p;
    size_t                     len;
    ssize_t                    n;
    ngx_zltunnel_datagrams_t  *d;

    d = ngx_zltunnel_stage.d;
    len = ngx_zltunnel_stage.len;

    ngx_zltunnel_stage.d = NULL;
    ngx_zltunnel_stage.len = 0;

    if (d == NULL || len == 0) {
        return;
    }

    n = ngx_zltunnel_datagrams_out_send(d, ngx_zltunnel_stage.data, len);

    if (n == NGX_ERROR) {
        ngx_zltunnel_datagrams_out_fail(d);
        return;
    }

    if ((size_t) n == len) {
        return;
    }

    len -= n;

    p = ngx_zltunnel_datagrams_out_more(d, len);
    if (p == NULL) {
        ngx_zltunnel_datagrams_out_fail(d);
        return;
    }

    ngx_memcpy(p, ngx_zltunnel_stage.data + n, len);
    d->out_len += len;

    /* it may be dead: the answer tells, or that there is none */

    if (!d->beat.asked) {
        ngx_zltunnel_datagrams_out_ask(d, 0);
    }
}


static void
ngx_zltunnel_datagrams_out_flush_handler(ngx_event_t *ev)
{
    ngx_zltunnel_datagrams_out_flush();
}


/* the number of bytes that were taken, or NGX_ERROR */

static ssize_t
ngx_zltunnel_datagrams_out_send(ngx_zltunnel_datagrams_t *d, u_char *data,
    size_t len)
{
    size_t               sent, size;
    ssize_t              n;
    ngx_connection_t    *c;
    ngx_zltunnel_end_t  *end;

    end = d->end;
    c = end->connection;
    sent = 0;

    if (c->error) {
        return NGX_ERROR;
    }

    while (sent < len && c->write->ready) {
        size = ngx_min(len - sent, end->ops->most);

        n = ngx_zltunnel_end_send(end, data + sent, size);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n <= 0) {
            return NGX_ERROR;
        }

        sent += n;
    }

    if ((sent < len || ngx_zltunnel_end_pending(end))
        && ngx_handle_write_event(c->write, 0) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return sent;
}


void
ngx_zltunnel_datagrams_out_write(ngx_zltunnel_datagrams_t *d)
{
    ssize_t     n;
    ngx_uint_t  more;

    for ( ;; ) {

        if (d->out_len) {
            n = ngx_zltunnel_datagrams_out_send(d, d->out + d->out_pos,
                                            ngx_zltunnel_datagrams_waiting(d));
            if (n == NGX_ERROR) {
                ngx_zltunnel_datagrams_out_fail(d);
                return;
            }

            d->out_pos += n;

            if (d->out_pos < d->out_len) {
                return;
            }

            d->out_pos = 0;
            d->out_len = 0;
        }

        more = d->use->writable(d);

        ngx_zltunnel_datagrams_out_flush();

        if (!more || !ngx_zltunnel_datagrams_out_ready(d)) {
            break;
        }
    }

    /* an idle channel holds no buffer */

    if (d->out && d->out_len == 0) {
        ngx_free(d->out);
        d->out = NULL;
        d->out_size = 0;
    }
}


void
ngx_zltunnel_datagrams_out_handler(ngx_event_t *ev)
{
    ngx_connection_t          *c;
    ngx_zltunnel_datagrams_t  *d;

    c = ev->data;
    d = c->data;

    if (ngx_zltunnel_end_flush(d->end) == NGX_ERROR) {
        ngx_zltunnel_datagrams_out_fail(d);
        return;
    }

    ngx_zltunnel_datagrams_out_write(d);
}


void
ngx_zltunnel_datagrams_out_drop(ngx_zltunnel_datagrams_t *d)
{
    if (ngx_zltunnel_stage.d == d) {
        ngx_zltunnel_stage.d = NULL;
        ngx_zltunnel_stage.len = 0;
    }

    if (d->out) {
        ngx_free(d->out);
    }
}
