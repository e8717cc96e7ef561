
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The channel is joined with one of the agent as it is: all that comes is meant
 * for it, with the numbers of sessions and the heartbeats.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_forward_udp.h"
#include "ngx_zltunnel_forward_dial.h"
#include "ngx_zltunnel_worker.h"


static void ngx_zltunnel_forward_udp_dialled(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_dial_e rc);
static void ngx_zltunnel_forward_udp_read(ngx_event_t *ev);
static ngx_int_t ngx_zltunnel_forward_udp_join(ngx_zltunnel_forward_udp_t *fu,
    ngx_zltunnel_channel_t *channel);
static void ngx_zltunnel_forward_udp_cut(ngx_zltunnel_link_t *link);
static void ngx_zltunnel_forward_udp_ended(ngx_zltunnel_relay_t *relay,
    ngx_zltunnel_relay_end_e how);


ngx_int_t
ngx_zltunnel_forward_udp(ngx_zltunnel_forward_udp_t *fu, zlt_msg_t *m,
    u_char *data, size_t len)
{
    u_char                service[ZLT_ID_SIZE];
    ngx_connection_t     *c;
    ngx_zltunnel_dial_t  *dial;

    c = fu->end->connection;
    dial = &fu->dial;

    if (ngx_zltunnel_forward_dial_begin(dial, fu->registry, c, m) != NGX_OK) {
        ngx_zltunnel_forward_dial_done(dial);
        return NGX_ERROR;
    }

    ngx_memcpy(service, m->service_id, ZLT_ID_SIZE);

    fu->first.data = data;
    fu->first.len = len;

    c->data = fu;
    c->read->handler = ngx_zltunnel_forward_udp_read;
    c->write->handler = ngx_zltunnel_forward_udp_read;
    c->log->action = "joining datagrams of another node";

    dial->datagrams = 1;
    dial->handler = ngx_zltunnel_forward_udp_dialled;
    dial->data = fu;

    ngx_zltunnel_forward_dial(dial, service, 1);

    return NGX_OK;
}


/* nothing is read before it is joined */

static void
ngx_zltunnel_forward_udp_read(ngx_event_t *ev)
{
    ngx_connection_t            *c;
    ngx_zltunnel_forward_udp_t  *fu;

    c = ev->data;
    fu = c->data;

    if (c->close) {
        ngx_zltunnel_forward_udp_abort(fu);
    }
}


static void
ngx_zltunnel_forward_udp_dialled(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_dial_e rc)
{
    ngx_zltunnel_channel_t      *channel;
    ngx_zltunnel_forward_udp_t  *fu;

    fu = dial->data;

    if (rc == NGX_ZLTUNNEL_DIAL_OK) {
        channel = dial->channel;
        dial->channel = NULL;

        if (ngx_zltunnel_forward_udp_join(fu, channel) == NGX_OK) {
            return;
        }

        ngx_zltunnel_end_abort(&channel->end);
        ngx_zltunnel_channel_close(channel);
    }

    ngx_zltunnel_forward_udp_abort(fu);
}


static ngx_int_t
ngx_zltunnel_forward_udp_join(ngx_zltunnel_forward_udp_t *fu,
    ngx_zltunnel_channel_t *channel)
{
    ngx_zltunnel_relay_t  *relay;

    relay = &fu->relay;

    relay->side[0] = fu->end;
    relay->side[1] = &channel->end;
    relay->handler = ngx_zltunnel_forward_udp_ended;
    relay->data = fu;

    if (ngx_zltunnel_channel_answer_flush(channel) != NGX_OK
        || ngx_zltunnel_relay_put(relay, 0, fu->first.data, fu->first.len)
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

    channel->have = 0;
    channel->used = 0;

    channel->end.frames = NULL;

    fu->channel = channel;
    fu->link.cut = ngx_zltunnel_forward_udp_cut;

    if (fu->dial.link.peer) {
        ngx_zltunnel_peer_link(fu->dial.link.peer, &fu->link);

        relay->flow[0].pace[0] = ngx_zltunnel_peer_pace(fu->link.peer, NULL);
        relay->flow[1].pace[0] = relay->flow[0].pace[0];
    }

    ngx_zltunnel_relay_start(relay);

    return NGX_OK;
}


static void
ngx_zltunnel_forward_udp_cut(ngx_zltunnel_link_t *link)
{
    ngx_zltunnel_forward_udp_t  *fu;

    fu = (ngx_zltunnel_forward_udp_t *)
             ((u_char *) link - offsetof(ngx_zltunnel_forward_udp_t, link));

    ngx_zltunnel_relay_abort(&fu->relay);
}


static void
ngx_zltunnel_forward_udp_ended(ngx_zltunnel_relay_t *relay,
    ngx_zltunnel_relay_end_e how)
{
    ngx_zltunnel_forward_udp_t  *fu;

    fu = relay->data;

    ngx_zltunnel_peer_unlink(&fu->link);

    ngx_zltunnel_channel_close(fu->channel);
    fu->channel = NULL;

    ngx_zltunnel_forward_dial_done(&fu->dial);

    fu->handler(fu->data);
}


void
ngx_zltunnel_forward_udp_abort(ngx_zltunnel_forward_udp_t *fu)
{
    if (fu->channel) {
        ngx_zltunnel_relay_abort(&fu->relay);
        return;
    }

    ngx_zltunnel_end_abort(fu->end);
    ngx_zltunnel_forward_dial_done(&fu->dial);

    fu->handler(fu->data);
}
