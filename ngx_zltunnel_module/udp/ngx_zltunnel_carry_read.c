
/*
 * Copyright (C) zltunnel authors
 */

/*
 * From the agent: what has come on a datagram channel is read into a buffer
 * that all channels of the worker share, and the datagrams in it go out to the
 * clients, many by one call, before it is used again.  The beginning of a frame
 * is kept, and what an event has no budget for.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_carry_read.h"
#include "ngx_zltunnel_carrier.h"
#include "ngx_zltunnel_carry.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_reply.h"
#include "ngx_zltunnel_transport.h"
#include "ngx_zltunnel_udp_session.h"

#include "zlt_dgram.h"
#include "zlt_msg.h"


#define NGX_ZLTUNNEL_CARRY_READ     NGX_ZLTUNNEL_BUDGET_BYTES


static ngx_int_t ngx_zltunnel_carry_parse(ngx_zltunnel_carrier_t *carrier,
    const u_char *data, size_t len, ngx_zltunnel_budget_t *budget);
static ngx_int_t ngx_zltunnel_carry_frame(ngx_zltunnel_carrier_t *carrier,
    zlt_dgram_t *f);
static void ngx_zltunnel_carry_malformed(ngx_zltunnel_carrier_t *carrier,
    zlt_dgram_t *f);


void
ngx_zltunnel_carry_read_handler(ngx_event_t *ev)
{
    size_t                   have;
    ssize_t                  n;
    ngx_int_t                rc;
    ngx_connection_t        *c;
    ngx_zltunnel_budget_t    budget;
    ngx_zltunnel_carrier_t  *carrier;

    static u_char  buffer[ZLT_MAX_MESSAGE_SIZE + NGX_ZLTUNNEL_CARRY_READ];

    c = ev->data;
    carrier = c->data;

    if (c->close || c->error) {
        ngx_zltunnel_carrier_lost(carrier);
        return;
    }

    ngx_memzero(&budget, sizeof(ngx_zltunnel_budget_t));

    while (!ngx_zltunnel_budget_spent(&budget)) {

        have = carrier->in_len;

        if (have) {
            ngx_memcpy(buffer, carrier->in, have);
            carrier->in_len = 0;
        }

        if (carrier->more) {
            /* first, what came before */
            carrier->more = 0;
            n = 0;

        } else {
            n = ngx_zltunnel_end_recv(&carrier->channel->end, buffer + have,
                                      sizeof(buffer) - have);

            if (n == NGX_AGAIN && have == 0) {
                break;
            }

            if (n == NGX_ERROR || n == 0) {
                ngx_zltunnel_carrier_lost(carrier);
                return;
            }
        }

        if (n > 0) {
            carrier->heard = ngx_current_msec;
            carrier->asked = 0;
            have += n;
        }

        rc = ngx_zltunnel_carry_parse(carrier, buffer, have, &budget);

        budget.bytes += have;

        ngx_zltunnel_reply_flush();

        if (rc != NGX_OK) {
            ngx_zltunnel_carrier_lost(carrier);
            return;
        }

        if (n == NGX_AGAIN || !(ev->ready || carrier->more)) {
            break;
        }
    }

    if (carrier->more || (ev->ready && ngx_zltunnel_budget_spent(&budget))) {
        ngx_zltunnel_budget_post(ev);
        return;
    }

    if (ngx_handle_read_event(ev, 0) != NGX_OK) {
        ngx_zltunnel_carrier_lost(carrier);
    }
}


static ngx_int_t
ngx_zltunnel_carry_parse(ngx_zltunnel_carrier_t *carrier, const u_char *data,
    size_t len, ngx_zltunnel_budget_t *budget)
{
    int            rc;
    zlt_dgram_t    f;
    const u_char  *end;

    end = data + len;

    for ( ;; ) {

        if (ngx_zltunnel_budget_spent(budget)) {
            carrier->more = (data != end);
            return ngx_zltunnel_carry_read_keep(carrier, data, end - data);
        }

        rc = zlt_dgram_read(&carrier->reader, &f, &data, end);

        budget->messages++;

        if (rc == ZLT_OK) {

            if (f.type == ZLT_DATAGRAM) {
                ngx_zltunnel_udp_t  *udp;

                udp = ngx_zltunnel_carrier_session(carrier, f.session);

                if (udp && !udp->ending) {
                    ngx_zltunnel_reply(udp, f.data.data, f.data.len);

                } else {
                    ngx_zltunnel_carrier_drop(carrier, NULL,
                                              NGX_ZLTUNNEL_DROP_SESSION);
                }

                continue;
            }

            if (ngx_zltunnel_carry_frame(carrier, &f) != NGX_OK) {
                return NGX_ERROR;
            }

            continue;
        }

        if (rc == ZLT_DGRAM_BAD) {
            ngx_zltunnel_carry_malformed(carrier, &f);
            continue;
        }

        if (rc == ZLT_AGAIN) {
            return ngx_zltunnel_carry_read_keep(carrier, data, end - data);
        }

        ngx_log_error(NGX_LOG_INFO, carrier->channel->end.connection->log, 0,
                      "bad frame on a datagram channel: %s", zlt_msg_strerror(rc));
        return NGX_ERROR;
    }
}


/* a frame other than a datagram */

static ngx_int_t
ngx_zltunnel_carry_frame(ngx_zltunnel_carrier_t *carrier, zlt_dgram_t *f)
{
    ngx_zltunnel_udp_t  *udp;

    switch (f->type) {

    case ZLT_DATAGRAM_CLOSE:

        udp = ngx_zltunnel_carrier_session(carrier, f->session);

        if (udp) {
            udp->cause = f->cause;
            ngx_zltunnel_udp_session_end(udp, NGX_ZLTUNNEL_UDP_AGENT);
        }

        return NGX_OK;

    case ZLT_HEARTBEAT:

        ngx_zltunnel_carry_beat(carrier, ZLT_HEARTBEAT_ACK, f->timestamp);

        return NGX_OK;

    case ZLT_HEARTBEAT_ACK:
        return NGX_OK;

    case ZLT_RETIRE:

        /* sent before it had read what we sent: nothing was acted on */

        return NGX_ERROR;

    default:  /* ZLT_DATAGRAM_OPEN */

        ngx_zltunnel_log_complain(carrier->channel->end.connection->log,
                                  "unexpected %s on a datagram channel",
                                  zlt_msg_name(f->type));

        f->has_session = 1;
        ngx_zltunnel_carry_malformed(carrier, f);

        return NGX_OK;
    }
}


static void
ngx_zltunnel_carry_malformed(ngx_zltunnel_carrier_t *carrier, zlt_dgram_t *f)
{
    ngx_zltunnel_udp_t  *udp;

    udp = f->has_session ? ngx_zltunnel_carrier_session(carrier, f->session)
                         : NULL;

    ngx_zltunnel_carrier_drop(carrier, udp, NGX_ZLTUNNEL_DROP_MALFORMED);

    ngx_zltunnel_log_complain(carrier->channel->end.connection->log,
                              "malformed %s on a datagram channel",
                              zlt_msg_name(f->type));

    if (udp && !udp->ending) {

        /* the agent is told here, and not once more at the close */

        ngx_zltunnel_carry_close(carrier, udp->number, ZLT_E_FORBIDDEN);

        udp->cause = ZLT_E_FORBIDDEN;
        ngx_zltunnel_udp_session_end(udp, NGX_ZLTUNNEL_UDP_AGENT);
    }
}


/* the beginning of a frame, for the next time */

ngx_int_t
ngx_zltunnel_carry_read_keep(ngx_zltunnel_carrier_t *carrier,
    const u_char *data, size_t len)
{
    u_char  *p;

    if (len > carrier->in_size) {
        p = ngx_alloc(len, ngx_cycle->log);
        if (p == NULL) {
            return NGX_ERROR;
        }

        if (carrier->in) {
            ngx_free(carrier->in);
        }

        carrier->in = p;
        carrier->in_size = len;
    }

    if (len) {
        ngx_memcpy(carrier->in, data, len);
    }

    carrier->in_len = len;

    return NGX_OK;
}
