
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A datagram channel, and what goes to the agent on it.
 *
 * Frames are put one behind the other into a buffer that all channels of the
 * worker share, and written by one call when the batch that brought them has
 * been read.  What the socket does not take of it goes into a buffer of the
 * carrier, and until that is gone datagrams wait in the queues of their
 * sessions, where the old ones can still be dropped.  Nothing that has once
 * been offered to the socket is: under TLS it may be half encrypted.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_carry.h"
#include "ngx_zltunnel_carrier.h"
#include "ngx_zltunnel_carry_read.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_transport.h"
#include "ngx_zltunnel_udp_session.h"

#include "zlt_dgram.h"
#include "zlt_msg.h"


#define NGX_ZLTUNNEL_CARRY_BATCH    65536
#define NGX_ZLTUNNEL_CARRY_FILL     32768   /* of what waits, by one write */
#define NGX_ZLTUNNEL_CARRY_STAGE    (NGX_ZLTUNNEL_CARRY_BATCH                 \
                                     + 2 * ZLT_MAX_MESSAGE_SIZE)
#define NGX_ZLTUNNEL_CARRY_OUT      (512 * 1024)
#define NGX_ZLTUNNEL_CARRY_RECORD   16384   /* of TLS */

#define NGX_ZLTUNNEL_CARRY_FIRST    3000    /* ms for the first sign of life */


static void ngx_zltunnel_carry_write_handler(ngx_event_t *ev);
static u_char *ngx_zltunnel_carry_room(ngx_zltunnel_carrier_t *carrier,
    size_t size);
static void ngx_zltunnel_carry_commit(ngx_zltunnel_carrier_t *carrier,
    u_char *end);
static u_char *ngx_zltunnel_carry_out(ngx_zltunnel_carrier_t *carrier,
    size_t size);
static ssize_t ngx_zltunnel_carry_send(ngx_zltunnel_carrier_t *carrier,
    u_char *data, size_t len);
static void ngx_zltunnel_carry_flush_handler(ngx_event_t *ev);


/* frames of one carrier that have not been offered to its socket */

static struct {
    ngx_zltunnel_carrier_t  *carrier;
    size_t                   len;
    u_char                   data[NGX_ZLTUNNEL_CARRY_STAGE];
} ngx_zltunnel_stage;

static ngx_event_t           ngx_zltunnel_flush_event;
static ngx_connection_t      ngx_zltunnel_flush_dummy;


void
ngx_zltunnel_carry_start(ngx_zltunnel_carrier_t *carrier,
    ngx_zltunnel_channel_t *channel)
{
    size_t             len;
    ngx_connection_t  *c;

    c = channel->end.connection;

    carrier->channel = channel;
    carrier->in_len = 0;
    carrier->more = 0;
    carrier->out_len = 0;
    carrier->out_pos = 0;
    ngx_memzero(&carrier->reader, sizeof(zlt_dgram_reader_t));

    c->data = carrier;
    c->log->action = "carrying datagrams";
    c->read->handler = ngx_zltunnel_carry_read_handler;
    c->write->handler = ngx_zltunnel_carry_write_handler;

    ngx_zltunnel_end_datagrams(&channel->end);

    /* the answer to its request may not have been sent yet */

    if (ngx_zltunnel_channel_answer_flush(channel) != NGX_OK) {
        ngx_zltunnel_channel_answer_drop(channel);
        ngx_zltunnel_carry_failed(carrier);
        return;
    }

    /* the bytes that came behind the last frame of an idle channel */

    len = channel->have - channel->used;

    if (len
        && ngx_zltunnel_carry_read_keep(carrier,
                                        channel->frame + channel->used, len)
           != NGX_OK)
    {
        ngx_zltunnel_carry_failed(carrier);
        return;
    }

    channel->have = 0;
    channel->used = 0;

    /* it may have been dropped on the way long ago: an answer tells */

    ngx_zltunnel_carry_heartbeat(carrier);
    carrier->limit = ngx_current_msec + NGX_ZLTUNNEL_CARRY_FIRST;

    if (carrier->in_len || c->read->ready
        || ngx_zltunnel_end_told(&channel->end))
    {
        ngx_post_event(c->read, &ngx_posted_events);
    }

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        ngx_zltunnel_carry_failed(carrier);
        return;
    }

    ngx_zltunnel_carry_write(carrier);
}


void
ngx_zltunnel_carry_stop(ngx_zltunnel_carrier_t *carrier)
{
    ngx_zltunnel_channel_t  *channel;

    if (ngx_zltunnel_stage.carrier == carrier) {
        ngx_zltunnel_stage.carrier = NULL;
        ngx_zltunnel_stage.len = 0;
    }

    channel = carrier->channel;
    carrier->channel = NULL;

    if (channel) {
        channel->end.connection->data = channel;
        ngx_zltunnel_channel_close(channel);
    }

    if (carrier->out) {
        ngx_free(carrier->out);
        carrier->out = NULL;
        carrier->out_size = 0;
    }

    carrier->out_len = 0;
    carrier->out_pos = 0;

    if (carrier->in) {
        ngx_free(carrier->in);
        carrier->in = NULL;
        carrier->in_size = 0;
    }

    carrier->in_len = 0;
    carrier->more = 0;
}


/* Not at once: the caller, or his, goes on with the carrier's sessions. */

void
ngx_zltunnel_carry_failed(ngx_zltunnel_carrier_t *carrier)
{
    ngx_connection_t  *c;

    c = carrier->channel->end.connection;

    c->error = 1;
    ngx_post_event(c->read, &ngx_posted_events);
}


ngx_uint_t
ngx_zltunnel_carry_ready(ngx_zltunnel_carrier_t *carrier)
{
    return carrier->out_len == 0 && !carrier->channel->end.connection->error;
}


void
ngx_zltunnel_carry_datagram(ngx_zltunnel_carrier_t *carrier,
    ngx_zltunnel_udp_t *udp, u_char *data, size_t len)
{
    u_char  *p, *end;
    size_t   size;

    size = ZLT_DGRAM_HEADER + len;

    if (udp->number == 0) {
        size += ZLT_HEADER_SIZE + 4 + ZLT_ID_SIZE + 2 + udp->client_addr.len;
    }

    p = ngx_zltunnel_carry_room(carrier, size);
    if (p == NULL) {
        ngx_zltunnel_carrier_drop(carrier, udp, NGX_ZLTUNNEL_DROP_CHANNEL);
        return;
    }

    if (udp->number == 0) {
        end = p + size;

        ngx_zltunnel_carrier_number(carrier, udp);

        p = udp->number ? zlt_dgram_open(p, end, udp->number, carrier->id,
                                         (char *) udp->client_addr.data,
                                         udp->client_addr.len)
                        : NULL;
        if (p == NULL) {
            ngx_zltunnel_carrier_drop(carrier, udp, NGX_ZLTUNNEL_DROP_CHANNEL);
            return;
        }
    }

    p = zlt_dgram_header(p, udp->number, len);

    ngx_zltunnel_carry_commit(carrier, ngx_cpymem(p, data, len));
}


void
ngx_zltunnel_carry_close(ngx_zltunnel_carrier_t *carrier, uint32_t number,
    ngx_uint_t cause)
{
    u_char  *p;

    if (carrier->channel == NULL) {
        return;
    }

    p = ngx_zltunnel_carry_room(carrier, ZLT_DGRAM_CLOSE_SIZE);

    if (p) {
        ngx_zltunnel_carry_commit(carrier, zlt_dgram_close(p, number, cause));
    }
}


void
ngx_zltunnel_carry_heartbeat(ngx_zltunnel_carrier_t *carrier)
{
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    carrier->asked = 1;
    carrier->limit = ngx_current_msec
                     + ngx_zltunnel_heartbeat_answer(carrier->registry);
    carrier->beat = ngx_current_msec
                    + ngx_zltunnel_heartbeat_period(carrier->registry);

    ngx_zltunnel_carry_beat(carrier, ZLT_HEARTBEAT,
                            (uint64_t) tp->sec * 1000 + tp->msec);
}


void
ngx_zltunnel_carry_beat(ngx_zltunnel_carrier_t *carrier, ngx_uint_t type,
    uint64_t timestamp)
{
    u_char     *p;
    size_t      len;
    zlt_msg_t   m;

    p = ngx_zltunnel_carry_room(carrier, ZLT_HEADER_SIZE + 8);

    if (p == NULL) {
        return;
    }

    ngx_memzero(&m, sizeof(zlt_msg_t));

    m.type = (uint8_t) type;
    m.timestamp = timestamp;

    len = zlt_msg_encode(&m, p, ZLT_HEADER_SIZE + 8);

    ngx_zltunnel_carry_commit(carrier, p + len);
}


/*
 * Where size bytes of frames may be put, to be followed by a commit.  NULL if
 * there is no memory, or if the agent has long stopped to read.
 */

static u_char *
ngx_zltunnel_carry_room(ngx_zltunnel_carrier_t *carrier, size_t size)
{
    if (ngx_zltunnel_stage.carrier != carrier
        || ngx_zltunnel_stage.len + size > NGX_ZLTUNNEL_CARRY_STAGE)
    {
        ngx_zltunnel_carry_flush();
    }

    if (carrier->out_len) {
        return ngx_zltunnel_carry_out(carrier, size);
    }

    ngx_zltunnel_stage.carrier = carrier;

    return ngx_zltunnel_stage.data + ngx_zltunnel_stage.len;
}


static void
ngx_zltunnel_carry_commit(ngx_zltunnel_carrier_t *carrier, u_char *end)
{
    if (carrier->out_len) {
        carrier->out_len = end - carrier->out;
        return;
    }

    ngx_zltunnel_stage.len = end - ngx_zltunnel_stage.data;

    if (ngx_zltunnel_stage.len >= NGX_ZLTUNNEL_CARRY_BATCH) {
        ngx_zltunnel_carry_flush();
        return;
    }

    if (ngx_zltunnel_flush_event.handler == NULL) {
        ngx_zltunnel_flush_dummy.fd = (ngx_socket_t) -1;
        ngx_zltunnel_flush_event.data = &ngx_zltunnel_flush_dummy;
        ngx_zltunnel_flush_event.log = ngx_cycle->log;
        ngx_zltunnel_flush_event.handler = ngx_zltunnel_carry_flush_handler;
    }

    ngx_post_event(&ngx_zltunnel_flush_event, &ngx_posted_events);
}


/* room behind what the socket has not taken */

static u_char *
ngx_zltunnel_carry_out(ngx_zltunnel_carrier_t *carrier, size_t size)
{
    u_char  *p;
    size_t   need, n;

    need = carrier->out_len + size;

    if (need <= carrier->out_size) {
        return carrier->out + carrier->out_len;
    }

    if (need > NGX_ZLTUNNEL_CARRY_OUT) {
        return NULL;
    }

    n = carrier->out_len - carrier->out_pos;

    p = ngx_alloc(n + size + 4096, ngx_cycle->log);
    if (p == NULL) {
        return NULL;
    }

    if (carrier->out) {
        ngx_memcpy(p, carrier->out + carrier->out_pos, n);
        ngx_free(carrier->out);
    }

    carrier->out = p;
    carrier->out_pos = 0;
    carrier->out_len = n;
    carrier->out_size = n + size + 4096;

    return p + n;
}


void
ngx_zltunnel_carry_flush(void)
{
    u_char                  *p;
    size_t                   len;
    ssize_t                  n;
    ngx_zltunnel_carrier_t  *carrier;

    carrier = ngx_zltunnel_stage.carrier;
    len = ngx_zltunnel_stage.len;

    ngx_zltunnel_stage.carrier = NULL;
    ngx_zltunnel_stage.len = 0;

    if (carrier == NULL || len == 0) {
        return;
    }

    n = ngx_zltunnel_carry_send(carrier, ngx_zltunnel_stage.data, len);

    if (n == NGX_ERROR) {
        ngx_zltunnel_carry_failed(carrier);
        return;
    }

    if ((size_t) n == len) {
        return;
    }

    len -= n;

    p = ngx_zltunnel_carry_out(carrier, len);
    if (p == NULL) {
        ngx_zltunnel_carry_failed(carrier);
        return;
    }

    ngx_memcpy(p, ngx_zltunnel_stage.data + n, len);
    carrier->out_len += len;

    /* it may be dead: the answer tells, or that there is none */

    if (!carrier->asked) {
        ngx_zltunnel_carry_heartbeat(carrier);
    }
}


static void
ngx_zltunnel_carry_flush_handler(ngx_event_t *ev)
{
    ngx_zltunnel_carry_flush();
}


/* the number of bytes that were taken, or NGX_ERROR */

static ssize_t
ngx_zltunnel_carry_send(ngx_zltunnel_carrier_t *carrier, u_char *data,
    size_t len)
{
    size_t               sent, size;
    ssize_t              n;
    ngx_connection_t    *c;
    ngx_zltunnel_end_t  *end;

    end = &carrier->channel->end;
    c = end->connection;
    sent = 0;

    if (c->error) {
        return NGX_ERROR;
    }

    while (sent < len && c->write->ready) {
        size = len - sent;

        /* a retry must offer OpenSSL the same bytes: a record of them */

        if (end->kind == NGX_ZLTUNNEL_TLS) {
            size = ngx_min(size, NGX_ZLTUNNEL_CARRY_RECORD);
        }

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
ngx_zltunnel_carry_write(ngx_zltunnel_carrier_t *carrier)
{
    size_t               size;
    ssize_t              n;
    zlt_queue_item_t    *d;
    ngx_zltunnel_udp_t  *udp;

    for ( ;; ) {

        if (carrier->out_len) {
            n = ngx_zltunnel_carry_send(carrier,
                                        carrier->out + carrier->out_pos,
                                        carrier->out_len - carrier->out_pos);
            if (n == NGX_ERROR) {
                ngx_zltunnel_carry_failed(carrier);
                return;
            }

            carrier->out_pos += n;

            if (carrier->out_pos < carrier->out_len) {
                return;
            }

            carrier->out_pos = 0;
            carrier->out_len = 0;
        }

        for (size = 0; size < NGX_ZLTUNNEL_CARRY_FILL; size += n) {

            d = ngx_zltunnel_udp_session_next(carrier, &udp);

            if (d == NULL) {
                break;
            }

            n = d->len + ZLT_DGRAM_HEADER;
            ngx_zltunnel_carry_datagram(carrier, udp, d->data, d->len);
            ngx_free(d);

            if (carrier->out_len) {
                break;
            }
        }

        ngx_zltunnel_carry_flush();

        if (zlt_queue_empty(&carrier->queue) || carrier->out_len
            || carrier->channel->end.connection->error)
        {
            break;
        }
    }

    if (carrier->out && carrier->out_len == 0) {
        ngx_free(carrier->out);
        carrier->out = NULL;
        carrier->out_size = 0;
    }
}


static void
ngx_zltunnel_carry_write_handler(ngx_event_t *ev)
{
    ngx_connection_t        *c;
    ngx_zltunnel_carrier_t  *carrier;

    c = ev->data;
    carrier = c->data;

    if (ngx_zltunnel_end_flush(&carrier->channel->end) == NGX_ERROR) {
        ngx_zltunnel_carry_failed(carrier);
        return;
    }

    if (carrier->out_len || !zlt_queue_empty(&carrier->queue)) {
        ngx_zltunnel_carry_write(carrier);
    }
}
