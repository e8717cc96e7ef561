
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The datagram channel of a carrier: its sessions' datagrams to the agent, and
 * those of the agent to the clients, many by one call.
 *
 * While the channel does not take what was put, datagrams wait in the carrier's
 * queue, where the old ones can still be dropped.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_carry.h"
#include "ngx_zltunnel_carrier.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_reply.h"
#include "ngx_zltunnel_udp_number.h"
#include "ngx_zltunnel_udp_session.h"

#include "zlt_dgram.h"
#include "zlt_msg.h"


#define NGX_ZLTUNNEL_CARRY_FILL  32768   /* of what waits, by one write */


static ngx_int_t ngx_zltunnel_carry_reply(ngx_zltunnel_datagrams_t *d,
    zlt_dgram_t *f);
static ngx_int_t ngx_zltunnel_carry_closed(ngx_zltunnel_datagrams_t *d,
    zlt_dgram_t *f);
static ngx_int_t ngx_zltunnel_carry_opened(ngx_zltunnel_datagrams_t *d,
    zlt_dgram_t *f);
static ngx_int_t ngx_zltunnel_carry_malformed(ngx_zltunnel_datagrams_t *d,
    zlt_dgram_t *f);
static void ngx_zltunnel_carry_end_of_read(ngx_zltunnel_datagrams_t *d);
static ngx_uint_t ngx_zltunnel_carry_writable(ngx_zltunnel_datagrams_t *d);
static void ngx_zltunnel_carry_lost(ngx_zltunnel_datagrams_t *d,
    ngx_uint_t silent);


static const ngx_zltunnel_datagrams_use_t  ngx_zltunnel_carry_use = {
    ngx_zltunnel_carry_reply,
    ngx_zltunnel_carry_closed,
    ngx_zltunnel_carry_opened,
    ngx_zltunnel_carry_malformed,
    ngx_zltunnel_carry_end_of_read,
    NULL,
    ngx_zltunnel_carry_writable,
    ngx_zltunnel_carry_lost
};


void
ngx_zltunnel_carry_start(ngx_zltunnel_carrier_t *carrier,
    ngx_zltunnel_channel_t *channel)
{
    carrier->channel = channel;

    ngx_zltunnel_datagrams_take(&carrier->frames, &ngx_zltunnel_carry_use,
                                carrier, channel);

    if (ngx_zltunnel_datagrams_out_ready(&carrier->frames)) {
        ngx_zltunnel_datagrams_out_write(&carrier->frames);
    }
}


void
ngx_zltunnel_carry_stop(ngx_zltunnel_carrier_t *carrier)
{
    ngx_zltunnel_channel_t  *channel;

    ngx_zltunnel_datagrams_stop(&carrier->frames);

    channel = carrier->channel;
    carrier->channel = NULL;

    if (channel) {
        channel->end.connection->data = channel;
        ngx_zltunnel_channel_close(channel);
    }
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

    p = ngx_zltunnel_datagrams_out_room(&carrier->frames, size);
    if (p == NULL) {
        ngx_zltunnel_carrier_drop(carrier, udp, NGX_ZLTUNNEL_DROP_CHANNEL);
        return;
    }

    if (udp->number == 0) {
        end = p + size;

        ngx_zltunnel_udp_number_give(carrier, udp);

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

    ngx_zltunnel_datagrams_out_commit(&carrier->frames,
                                      ngx_cpymem(p, data, len));
}


/* the next of what waits */

static ngx_uint_t
ngx_zltunnel_carry_writable(ngx_zltunnel_datagrams_t *d)
{
    size_t                   size;
    zlt_queue_item_t        *item;
    ngx_zltunnel_udp_t      *udp;
    ngx_zltunnel_carrier_t  *carrier;

    carrier = d->data;

    size = 0;

    while (size < NGX_ZLTUNNEL_CARRY_FILL && d->out_len == 0) {

        item = ngx_zltunnel_udp_session_next(carrier, &udp);

        if (item == NULL) {
            return 0;
        }

        size += ZLT_DGRAM_HEADER + item->len;

        ngx_zltunnel_carry_datagram(carrier, udp, item->data, item->len);
        ngx_free(item);
    }

    return 1;
}


static ngx_int_t
ngx_zltunnel_carry_reply(ngx_zltunnel_datagrams_t *d, zlt_dgram_t *f)
{
    ngx_zltunnel_udp_t  *udp;

    udp = ngx_zltunnel_udp_number_find(d->data, f->session);

    if (udp == NULL || udp->ending) {
        ngx_zltunnel_carrier_drop(d->data, NULL, NGX_ZLTUNNEL_DROP_SESSION);

    } else if (ngx_zltunnel_carrier_paced(d->data, udp, 1, f->data.len)) {
        ngx_zltunnel_reply(udp, f->data.data, f->data.len);
    }

    return NGX_OK;
}


static void
ngx_zltunnel_carry_end_of_read(ngx_zltunnel_datagrams_t *d)
{
    ngx_zltunnel_reply_flush();
}


static ngx_int_t
ngx_zltunnel_carry_closed(ngx_zltunnel_datagrams_t *d, zlt_dgram_t *f)
{
    ngx_zltunnel_udp_t  *udp;

    udp = ngx_zltunnel_udp_number_find(d->data, f->session);

    if (udp) {
        udp->cause = f->cause;
        ngx_zltunnel_udp_session_end(udp, NGX_ZLTUNNEL_UDP_AGENT);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_carry_opened(ngx_zltunnel_datagrams_t *d, zlt_dgram_t *f)
{
    ngx_zltunnel_log_complain(d->end->connection->log,
                              "unexpected %s on a datagram channel",
                              zlt_msg_name(f->type));

    return ngx_zltunnel_carry_malformed(d, f);
}


static ngx_int_t
ngx_zltunnel_carry_malformed(ngx_zltunnel_datagrams_t *d, zlt_dgram_t *f)
{
    ngx_zltunnel_udp_t  *udp;

    udp = f->has_session ? ngx_zltunnel_udp_number_find(d->data, f->session)
                         : NULL;

    ngx_zltunnel_carrier_drop(d->data, udp, NGX_ZLTUNNEL_DROP_MALFORMED);

    ngx_zltunnel_log_complain(d->end->connection->log,
                              "malformed %s on a datagram channel",
                              zlt_msg_name(f->type));

    if (udp && !udp->ending) {

        /* the agent is told here, and not once more at the close */

        (void) ngx_zltunnel_datagrams_out_close(d, udp->number,
                                                ZLT_E_FORBIDDEN);

        udp->cause = ZLT_E_FORBIDDEN;
        ngx_zltunnel_udp_session_end(udp, NGX_ZLTUNNEL_UDP_AGENT);
    }

    return NGX_OK;
}


static void
ngx_zltunnel_carry_lost(ngx_zltunnel_datagrams_t *d, ngx_uint_t silent)
{
    ngx_zltunnel_carrier_t  *carrier;

    carrier = d->data;

    if (silent) {
        ngx_log_error(NGX_LOG_INFO, ngx_cycle->log, NGX_ETIMEDOUT,
                      "datagram channel of service \"%V\" does not answer",
                      &carrier->service);
    }

    ngx_zltunnel_carrier_lost(carrier);
}
