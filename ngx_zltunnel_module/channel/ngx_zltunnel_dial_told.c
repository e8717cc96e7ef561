
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What other workers, and control channels, have for the dials of this one: a
 * channel, or that there is none; a failure; and that an agent is back.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_dial_told.h"
#include "ngx_zltunnel_bridge.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_channel_io.h"
#include "ngx_zltunnel_dial.h"
#include "ngx_zltunnel_dial_search.h"
#include "ngx_zltunnel_dial_connect.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_release.h"
#include "ngx_zltunnel_transport.h"
#include "ngx_zltunnel_worker.h"

#include "zlt_msg.h"


static ngx_zltunnel_channel_t *ngx_zltunnel_dial_given(
    ngx_zltunnel_registry_t *registry, ngx_zltunnel_ipc_t *msg,
    ngx_socket_t fd, u_char *data);
static void ngx_zltunnel_dial_retry(ngx_zltunnel_peer_t *peer,
    u_char *service_id);
static ngx_uint_t ngx_zltunnel_dial_waits(ngx_zltunnel_dial_t *dial,
    u_char *service_id);


ngx_int_t
ngx_zltunnel_dial_told_fresh(ngx_zltunnel_channel_t *channel,
    u_char *connection_id)
{
    ngx_zltunnel_dial_t  *dial;

    dial = ngx_zltunnel_dial_find(connection_id);

    if (dial == NULL) {
        return NGX_DECLINED;
    }

    ngx_zltunnel_dial_connect(dial, channel, NGX_ZLTUNNEL_FRESH);

    return NGX_OK;
}


void
ngx_zltunnel_dial_told_given(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, ngx_socket_t fd, u_char *data)
{
    ngx_uint_t               way;
    ngx_zltunnel_dial_t     *dial;
    ngx_zltunnel_channel_t  *channel;

    dial = ngx_zltunnel_dial_find(msg->connection_id);

    if (dial && dial->remote
        && (!ngx_zltunnel_dial_searches(dial)
            || ngx_memcmp(dial->tunnel_id, msg->tunnel_id, ZLT_ID_SIZE) != 0))
    {
        /* too late: it has a channel of its own, or goes to another node, and
           nothing there sees that two Connects are one connection */

        dial = NULL;
    }

    if (dial) {
        ngx_zltunnel_room_release(&dial->held);

    } else if (msg->code || msg->type == NGX_ZLTUNNEL_IPC_BRIDGE
               || ngx_zltunnel_room_scarce())
    {
        /* its client has gone: a fresh one has a connection, and one that is
           idle beyond a bridge goes back by that */

        (void) ngx_close_socket(fd);
        return;
    }

    channel = ngx_zltunnel_dial_given(registry, msg, fd, data);

    if (channel == NULL) {
        ngx_zltunnel_dial_told_none(registry, msg);
        return;
    }

    if (dial == NULL) {

        /* it would be idle where it was */

        if (channel->have) {
            ngx_zltunnel_channel_close(channel);

        } else {
            ngx_zltunnel_release_idle(channel, NULL);
        }

        return;
    }

    channel->requests = channel->end.ops->bridged && dial->requests;

    way = channel->fresh ? NGX_ZLTUNNEL_FRESH
          : channel->end.ops->bridged ? NGX_ZLTUNNEL_BRIDGED
                                      : NGX_ZLTUNNEL_MOVED;

    if (way == NGX_ZLTUNNEL_MOVED) {
        ngx_zltunnel_dial_connect_by(dial, channel, way);
        return;
    }

    ngx_zltunnel_dial_connect(dial, channel, way);
}


/* the channel that has come, or NULL: it could not be had */

static ngx_zltunnel_channel_t *
ngx_zltunnel_dial_given(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, ngx_socket_t fd, u_char *data)
{
    ngx_connection_t        *c;
    ngx_zltunnel_channel_t  *channel;

    c = ngx_zltunnel_connection_create(fd, ngx_cycle->log);
    if (c == NULL) {
        return NULL;
    }

    channel = ngx_zltunnel_channel_create(registry, c,
                                          msg->type == NGX_ZLTUNNEL_IPC_BRIDGE
                                          ? &ngx_zltunnel_socket_bridge_ops
                                          : &ngx_zltunnel_socket_ops);
    if (channel == NULL) {
        ngx_zltunnel_connection_close(c);
        return NULL;
    }

    channel->fresh = msg->code ? 1 : 0;
    channel->epoch = msg->epoch;
    ngx_memcpy(channel->tunnel_id, msg->tunnel_id, ZLT_ID_SIZE);

    if (ngx_zltunnel_end_restore(&channel->end, data, msg->state) != NGX_OK
        || ngx_zltunnel_channel_io_unread(channel, data + msg->state,
                                          msg->data_len - msg->state)
           != NGX_OK)
    {
        ngx_zltunnel_channel_close(channel);
        return NULL;
    }

    return channel;
}


void
ngx_zltunnel_dial_told_none(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg)
{
    ngx_zltunnel_dial_t  *dial;

    dial = ngx_zltunnel_dial_find(msg->connection_id);

    if (dial == NULL) {
        return;
    }

    if (msg->code) {

        /* a fresh one, with which the agent has answered a Connect */

        dial->lost = 1;

        if (dial->unanswered) {
            dial->unanswered--;
        }
    }

    if (dial->state == NGX_ZLTUNNEL_DIAL_TAKING
        || dial->state == NGX_ZLTUNNEL_DIAL_WAITING)
    {
        ngx_zltunnel_dial_search(dial, 0);
    }
}


void
ngx_zltunnel_dial_told_failed(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg)
{
    ngx_zltunnel_dial_t  *dial;

    dial = ngx_zltunnel_dial_find(msg->connection_id);

    if (dial == NULL) {
        return;
    }

    dial->code = msg->code;

    if (dial->unanswered) {
        dial->unanswered--;
    }

    if (dial->code == ZLT_E_DUPLICATE
        && (dial->asked[0] || dial->asked[1] || dial->unanswered
            || !dial->lost))
    {
        /* the agent has acted on another Connect: its answer will come */
        return;
    }

    ngx_zltunnel_dial_connect_refused(dial, msg->text, msg->text_len);
}


void
ngx_zltunnel_dial_told_up(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg)
{
    ngx_zltunnel_peer_t  *peer;

    peer = ngx_zltunnel_peer_find(registry, msg->tunnel_id);

    if (peer) {
        ngx_zltunnel_dial_retry(peer, msg->service_id);
    }
}


/* What they wait for may be gone, and nobody tells of that. */

void
ngx_zltunnel_dial_told_check(ngx_zltunnel_registry_t *registry)
{
    ngx_rbtree_key_t      key;
    ngx_zltunnel_peer_t  *peer;

    if (!ngx_zltunnel_dial_running()
        || (ngx_zltunnel_gate_expecting(registry)
            && !ngx_zltunnel_stay_last(registry)))
    {
        return;
    }

    for (peer = ngx_zltunnel_peer_next(registry, NULL);
         peer;
         peer = ngx_zltunnel_peer_next(registry, &key))
    {
        key = peer->node.key;

        ngx_zltunnel_dial_retry(peer, NULL);
    }
}


/* Dials that wait for the agent: those of the service that it has registered,
   or all that it has not been told of. */

static void
ngx_zltunnel_dial_retry(ngx_zltunnel_peer_t *peer, u_char *service_id)
{
    ngx_queue_t          *q, *next;
    ngx_zltunnel_dial_t  *dial;
    ngx_zltunnel_link_t  *link, guard;

    ngx_zltunnel_peer_link(peer, &guard);

    for (q = ngx_queue_head(&peer->links);
         q != ngx_queue_sentinel(&peer->links);
         q = next)
    {
        next = ngx_queue_next(q);
        link = ngx_queue_data(q, ngx_zltunnel_link_t, queue);

        if (link == &guard) {
            break;
        }

        if (link->cut != ngx_zltunnel_dial_cut) {
            continue;
        }

        dial = ngx_zltunnel_dial_of(link);

        if (service_id ? ngx_zltunnel_dial_waits(dial, service_id)
                       : dial->state == NGX_ZLTUNNEL_DIAL_WAITING
                         && dial->entry != NGX_ZLTUNNEL_DIAL_ANNOUNCED)
        {

            /* an agent that remembers it says "duplicate", and a fresh
               channel is on its way */

            ngx_zltunnel_dial_search(dial,
                                dial->entry == NGX_ZLTUNNEL_DIAL_ANNOUNCED);
        }
    }

    ngx_zltunnel_peer_unlink(&guard);
}


static ngx_uint_t
ngx_zltunnel_dial_waits(ngx_zltunnel_dial_t *dial, u_char *service_id)
{
    return (dial->state == NGX_ZLTUNNEL_DIAL_TAKING
            || dial->state == NGX_ZLTUNNEL_DIAL_WAITING)
           && dial->entry != NGX_ZLTUNNEL_DIAL_UNKNOWN
           && ngx_memcmp(dial->service_id, service_id, ZLT_ID_SIZE) == 0;
}
