
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A client's connection to a service, for all who have its one end: ports,
 * visitors, and the pairs of nginx's upstreams.
 *
 *     start       a dial looks for a channel; the client's first bytes go
 *       |         behind Connect
 *       +-------> handler: no service, refused, too late
 *       v
 *     answered    what the client is to get before the service's first byte
 *       |
 *     relay       the rest of the early bytes, and all that follows
 *       |
 *       v         the channel is given back, or closed
 *     handler     ended, reset by one side, idle too long, or cut
 *
 * While the relay runs the connection is linked to the tunnel, with which it is
 * cut.  A pair has dialled by itself, and begins with the relay.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_connect.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_channel_io.h"
#include "ngx_zltunnel_dial_connect.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_release.h"
#include "ngx_zltunnel_worker.h"


static void ngx_zltunnel_connect_dialled(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_dial_e rc);
static void ngx_zltunnel_connect_cut(ngx_zltunnel_link_t *link);
static void ngx_zltunnel_connect_paced(ngx_zltunnel_link_t *link,
    uint64_t old);
static void ngx_zltunnel_connect_relayed(ngx_zltunnel_relay_t *relay,
    ngx_zltunnel_relay_end_e how);


void
ngx_zltunnel_connect_start(ngx_zltunnel_connect_t *connect)
{
    ngx_zltunnel_dial_t  *dial;

    dial = connect->dial;

    dial->handler = ngx_zltunnel_connect_dialled;
    dial->data = connect;
}


ngx_int_t
ngx_zltunnel_connect_put(ngx_zltunnel_connect_t *connect, u_char *data,
    size_t len)
{
    u_char  *p;

    if (len == 0) {
        return NGX_OK;
    }

    if (len > ngx_zltunnel_dial_connect_room(connect->dial, &p)) {
        return NGX_ERROR;
    }

    ngx_memcpy(p, data, len);
    ngx_zltunnel_dial_connect_put(connect->dial, len);

    return NGX_OK;
}


ngx_int_t
ngx_zltunnel_connect_read(ngx_zltunnel_connect_t *connect)
{
    size_t        size;
    u_char       *p;
    ssize_t       n;
    ngx_event_t  *rev;

    rev = connect->end->connection->read;

    while (!connect->eof) {

        size = ngx_zltunnel_dial_connect_room(connect->dial, &p);

        if (size == 0) {
            /* enough for now: the relay reads on */
            break;
        }

        n = ngx_zltunnel_end_recv(connect->end, p, size);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (n == 0) {

            /* the relay reads it again, and passes it on */

            connect->eof = 1;
            rev->ready = 1;
            return NGX_OK;
        }

        ngx_zltunnel_dial_connect_put(connect->dial, n);
    }

    return ngx_handle_read_event(rev, 0);
}


static void
ngx_zltunnel_connect_dialled(ngx_zltunnel_dial_t *dial, ngx_zltunnel_dial_e rc)
{
    ngx_zltunnel_relay_t    *relay;
    ngx_zltunnel_connect_t  *connect;

    connect = dial->data;
    relay = &connect->relay;

    if (rc != NGX_ZLTUNNEL_DIAL_OK) {
        connect->handler(connect, rc, NGX_ZLTUNNEL_RELAY_ABORTED);
        return;
    }

    relay->count[0] = &dial->counter->bytes[0];
    relay->count[1] = &dial->counter->bytes[1];

    *relay->count[0] += dial->sent[0];

    if (relay->also[0]) {
        *relay->also[0] += dial->sent[0];
    }

    if (connect->answered && connect->answered(connect) != NGX_OK) {
        ngx_zltunnel_connect_close(dial);

    } else if (ngx_zltunnel_connect_relay(connect) == NGX_OK) {
        return;
    }

    ngx_zltunnel_end_abort(connect->end);
    connect->handler(connect, rc, NGX_ZLTUNNEL_RELAY_ABORTED);
}


ngx_int_t
ngx_zltunnel_connect_relay(ngx_zltunnel_connect_t *connect)
{
    size_t                    early;
    ngx_zltunnel_dial_t      *dial;
    ngx_zltunnel_relay_t     *relay;
    ngx_zltunnel_channel_t   *channel;
    ngx_zltunnel_registry_t  *registry;

    dial = connect->dial;
    relay = &connect->relay;
    channel = dial->channel;
    registry = dial->registry;

    relay->side[0] = connect->end;
    relay->side[1] = &channel->end;
    relay->handler = ngx_zltunnel_connect_relayed;
    relay->data = connect;

    if (registry->slot != NGX_ZLTUNNEL_NO_SLOT) {
        relay->spliced = &ngx_zltunnel_dial_worker(dial)->spliced;
    }

    /* early bytes that could not be sent yet, and an answer to them */

    early = dial->sent[0];
    connect->early = dial->last - early;

    if (ngx_zltunnel_relay_put(relay, 0, dial->buf + dial->sent[0],
                               connect->early)
        != NGX_OK
        || ngx_zltunnel_channel_io_rest(channel, relay) != NGX_OK)
    {
        /* it has not begun, and so nobody ends it */

        ngx_zltunnel_flow_release(&relay->flow[0]);
        ngx_zltunnel_flow_release(&relay->flow[1]);

        ngx_zltunnel_connect_close(dial);
        return NGX_ERROR;
    }

    ngx_free(dial->buf);
    dial->buf = NULL;
    dial->channel = NULL;

    connect->channel = channel;

    if (dial->link.peer) {
        connect->link.cut = ngx_zltunnel_connect_cut;
        connect->link.paced = ngx_zltunnel_connect_paced;
        ngx_zltunnel_peer_link(dial->link.peer, &connect->link);

        relay->flow[0].pace[0] = ngx_zltunnel_peer_pace(dial->link.peer, NULL);
        relay->flow[1].pace[0] = relay->flow[0].pace[0];
    }

    ngx_zltunnel_flow_spend(relay, 0, early);
    ngx_zltunnel_flow_spend(relay, 1, 0);

    connect->end->connection->log->action = connect->action;

    ngx_zltunnel_relay_start(relay);

    return NGX_OK;
}


void
ngx_zltunnel_connect_close(ngx_zltunnel_dial_t *dial)
{
    ngx_zltunnel_end_abort(&dial->channel->end);
    ngx_zltunnel_channel_close(dial->channel);
    dial->channel = NULL;
}


ngx_int_t
ngx_zltunnel_connect_abort(ngx_zltunnel_connect_t *connect)
{
    if (connect->channel == NULL) {
        return NGX_DECLINED;
    }

    ngx_zltunnel_relay_abort(&connect->relay);

    return NGX_OK;
}


static void
ngx_zltunnel_connect_cut(ngx_zltunnel_link_t *link)
{
    ngx_zltunnel_connect_t  *connect;

    connect = (ngx_zltunnel_connect_t *)
                  ((u_char *) link - offsetof(ngx_zltunnel_connect_t, link));

    ngx_zltunnel_relay_abort(&connect->relay);
}


static void
ngx_zltunnel_connect_paced(ngx_zltunnel_link_t *link, uint64_t old)
{
    ngx_zltunnel_connect_t  *connect;

    connect = (ngx_zltunnel_connect_t *)
                  ((u_char *) link - offsetof(ngx_zltunnel_connect_t, link));

    ngx_zltunnel_relay_pace(&connect->relay, old, link->peer->pace.rate);
}


static void
ngx_zltunnel_connect_relayed(ngx_zltunnel_relay_t *relay,
    ngx_zltunnel_relay_end_e how)
{
    ngx_zltunnel_channel_t  *channel;
    ngx_zltunnel_connect_t  *connect;

    connect = relay->data;

    channel = connect->channel;
    connect->channel = NULL;

    /* the dial of a pair may be gone, and counts by itself */

    ngx_zltunnel_release(channel, how != NGX_ZLTUNNEL_RELAY_DONE,
                         relay->count[0] ? &connect->dial->counter : NULL);
    ngx_zltunnel_peer_unlink(&connect->link);

    connect->handler(connect, NGX_ZLTUNNEL_DIAL_OK, how);
}
