
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Channels for the dials of other workers.
 *
 * A plain channel moves: its descriptor is passed on, with the state of what
 * is above that, and nothing of it stays here.  The state of a
 * TLS session cannot move, so such a channel stays, and what is passed on is
 * one end of a socketpair; this worker relays between the other end and the
 * channel, whatever is said there.  To the worker that has got it that end is a
 * channel like any other, for one connection after another, which may move on.
 *
 * What passes tells this worker whether a connection is under way (zlt_track.h).
 * If none is when the other end is closed, because nobody has needed it there for
 * a while, the channel is idle here again, and asked at once whether its agent
 * lives.  Till then it may give way to a client, as any idle channel.
 *
 * Either worker may be killed, which looks like an end.  But every connection
 * ends by a message, and what ends without one is reset.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_bridge.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_channel_answer.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_release.h"
#include "ngx_zltunnel_transport.h"
#include "ngx_zltunnel_worker.h"

#include "zlt_msg.h"
#include "zlt_track.h"


/* ms without a byte, when one end has come: as long as a client may pause */
#define NGX_ZLTUNNEL_BRIDGE_LINGER  3600000

/* connections of an idle one: its own, and the channel's */
#define NGX_ZLTUNNEL_BRIDGE_IDLE    2

#define NGX_ZLTUNNEL_BRIDGE_PEEK    16384       /* bytes */


struct ngx_zltunnel_bridge_s {
    ngx_zltunnel_end_t           end;        /* towards the other worker */
    ngx_zltunnel_channel_t      *channel;
    ngx_zltunnel_relay_t         relay;
    ngx_zltunnel_link_t          link;
    zlt_track_t                  track;      /* of what passes */
    unsigned                     idle:1;     /* counted as such */
    unsigned                     back:1;     /* the channel is this worker's
                                                again */
    unsigned                     whole:1;    /* what waits there to be read is,
                                                and nothing more comes */
};


static void ngx_zltunnel_channel_move(ngx_zltunnel_channel_t *channel,
    ngx_uint_t slot, ngx_zltunnel_ipc_t *msg);
static void ngx_zltunnel_bridge_start(ngx_zltunnel_channel_t *channel,
    ngx_uint_t slot, ngx_zltunnel_ipc_t *msg, ngx_uint_t requests);
static void ngx_zltunnel_bridge_none(ngx_zltunnel_channel_t *channel,
    ngx_uint_t slot, ngx_zltunnel_ipc_t *msg);
static ngx_int_t ngx_zltunnel_bridge_look(ngx_zltunnel_relay_t *relay,
    ngx_uint_t from, u_char *data, size_t len);
static ngx_int_t ngx_zltunnel_bridge_closed(ngx_zltunnel_relay_t *relay);
static void ngx_zltunnel_bridge_count(ngx_zltunnel_bridge_t *bridge,
    ngx_uint_t idle);
static void ngx_zltunnel_bridge_cut(ngx_zltunnel_link_t *link);
static void ngx_zltunnel_bridge_done(ngx_zltunnel_relay_t *relay,
    ngx_zltunnel_relay_end_e how);


void
ngx_zltunnel_bridge_give(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg)
{
    ngx_uint_t               slot, requests;
    ngx_zltunnel_peer_t     *peer;
    ngx_zltunnel_channel_t  *channel;

    slot = msg->slot;
    requests = msg->code;

    peer = ngx_zltunnel_peer_find(registry, msg->tunnel_id);

    channel = peer
              ? ngx_zltunnel_channel_pop(peer, requests
                                               ? NGX_ZLTUNNEL_FOR_REQUESTS
                                               : NGX_ZLTUNNEL_FOR_BYTES)
              : NULL;

    if (channel && !channel->end.ops->moves
        && ngx_zltunnel_room_scarce())
    {
        /* for the bridge: the channel is of more use here */

        ngx_zltunnel_release_idle(channel, NULL);

        channel = NULL;
    }

    if (channel == NULL) {
        msg->type = NGX_ZLTUNNEL_IPC_NONE;
        msg->code = 0;
        (void) ngx_zltunnel_ipc_send(registry, slot, msg, NULL, -1);
        return;
    }

    ngx_zltunnel_bridge_send(channel, slot, msg->connection_id,
                             msg->tunnel_id, requests);
}


void
ngx_zltunnel_bridge_send(ngx_zltunnel_channel_t *channel, ngx_uint_t slot,
    u_char *connection_id, u_char *tunnel_id, ngx_uint_t requests)
{
    ngx_zltunnel_ipc_t  msg;

    ngx_memzero(&msg, sizeof(ngx_zltunnel_ipc_t));

    msg.code = channel->fresh;
    msg.epoch = channel->epoch;
    ngx_memcpy(msg.connection_id, connection_id, ZLT_ID_SIZE);
    ngx_memcpy(msg.tunnel_id, tunnel_id, ZLT_ID_SIZE);

    /* a frame that was given out is done with, as on any idle channel */

    msg.data_len = channel->have - channel->used;

    if (ngx_zltunnel_channel_answer_flush(channel) != NGX_OK) {
        ngx_zltunnel_bridge_none(channel, slot, &msg);
        return;
    }

    if (channel->end.ops->moves) {
        ngx_zltunnel_channel_move(channel, slot, &msg);

    } else {
        ngx_zltunnel_bridge_start(channel, slot, &msg, requests);
    }
}


static void
ngx_zltunnel_channel_move(ngx_zltunnel_channel_t *channel, ngx_uint_t slot,
    ngx_zltunnel_ipc_t *msg)
{
    ngx_socket_t              fd;
    ngx_zltunnel_registry_t  *registry;

    static u_char  data[NGX_ZLTUNNEL_END_STATE + ZLT_HEADER_SIZE
                        + ZLT_MAX_CHANNEL_FRAME];

    registry = channel->registry;

    /* nothing of a message is lost between the workers */

    if (ngx_zltunnel_end_flush(&channel->end) != NGX_OK) {
        ngx_zltunnel_bridge_none(channel, slot, msg);
        return;
    }

    msg->type = channel->end.ops->bridged ? NGX_ZLTUNNEL_IPC_BRIDGE
                                          : NGX_ZLTUNNEL_IPC_CHANNEL;
    msg->state = ngx_zltunnel_end_state(&channel->end, data);

    ngx_memcpy(data + msg->state, channel->frame + channel->used,
               msg->data_len);
    msg->data_len += msg->state;

    fd = ngx_zltunnel_connection_detach(channel->end.connection);
    channel->end.connection = NULL;

    (void) ngx_zltunnel_ipc_send(registry, slot, msg, data, fd);

    ngx_zltunnel_channel_close(channel);
}


static void
ngx_zltunnel_bridge_start(ngx_zltunnel_channel_t *channel, ngx_uint_t slot,
    ngx_zltunnel_ipc_t *msg, ngx_uint_t requests)
{
    ngx_socket_t              s[2];
    ngx_connection_t         *c;
    ngx_zltunnel_peer_t      *peer;
    ngx_zltunnel_bridge_t    *bridge;
    ngx_zltunnel_registry_t  *registry;

    registry = channel->registry;

    bridge = ngx_calloc(sizeof(ngx_zltunnel_bridge_t), ngx_cycle->log);
    if (bridge == NULL) {
        goto failed;
    }

    if (socketpair(AF_UNIX, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0, s)
        == -1)
    {
        ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, ngx_errno,
                      "socketpair() for a data channel failed");
        goto failed;
    }

    c = ngx_zltunnel_connection_create(s[0], ngx_cycle->log);
    if (c == NULL) {
        (void) ngx_close_socket(s[1]);
        goto failed;
    }

    ngx_zltunnel_end_init(&bridge->end, c, &ngx_zltunnel_socket_bridge_ops);

    msg->type = NGX_ZLTUNNEL_IPC_BRIDGE;

    if (ngx_zltunnel_ipc_send(registry, slot, msg,
                              channel->frame + channel->used, s[1])
        != NGX_OK)
    {
        ngx_zltunnel_end_close(&bridge->end);
        goto failed;
    }

    bridge->channel = channel;
    channel->bridge = bridge;

    /* what was read before the bridge was there */

    if (channel->fresh) {
        zlt_track_begin(&bridge->track);
    }

    zlt_track_bytes(&bridge->track, ZLT_TRACK_AGENT,
                    channel->frame + channel->used, msg->data_len);

    bridge->link.cut = ngx_zltunnel_bridge_cut;

    peer = ngx_zltunnel_peer_find(registry, msg->tunnel_id);

    if (peer) {
        ngx_zltunnel_peer_link(peer, &bridge->link);
    }

    bridge->relay.side[0] = &bridge->end;
    bridge->relay.side[1] = &channel->end;
    bridge->relay.half_timeout = NGX_ZLTUNNEL_BRIDGE_LINGER;
    bridge->relay.dead = requests ? registry->heartbeat_timeout : 0;
    bridge->relay.look = ngx_zltunnel_bridge_look;
    bridge->relay.closed = ngx_zltunnel_bridge_closed;
    bridge->relay.handler = ngx_zltunnel_bridge_done;
    bridge->relay.data = bridge;

    ngx_zltunnel_channel_state(channel, NGX_ZLTUNNEL_CHANNEL_BRIDGED);

    ngx_zltunnel_relay_start(&bridge->relay);

    return;

failed:

    if (bridge) {
        ngx_free(bridge);
    }

    ngx_zltunnel_bridge_none(channel, slot, msg);
}


/* nothing comes of the channel: the dial looks for another one */

static void
ngx_zltunnel_bridge_none(ngx_zltunnel_channel_t *channel, ngx_uint_t slot,
    ngx_zltunnel_ipc_t *msg)
{
    msg->type = NGX_ZLTUNNEL_IPC_NONE;
    msg->data_len = 0;

    (void) ngx_zltunnel_ipc_send(channel->registry, slot, msg, NULL, -1);

    ngx_zltunnel_channel_close(channel);
}


static ngx_int_t
ngx_zltunnel_bridge_look(ngx_zltunnel_relay_t *relay, ngx_uint_t from,
    u_char *data, size_t len)
{
    ngx_zltunnel_bridge_t  *bridge;

    bridge = relay->data;

    if (len) {
        zlt_track_bytes(&bridge->track, from == 0 ? ZLT_TRACK_SERVER
                                                  : ZLT_TRACK_AGENT,
                        data, len);

        ngx_zltunnel_bridge_count(bridge, zlt_track_idle(&bridge->track));

        return NGX_OK;
    }

    if (from == 1) {

        /* the other worker reads on, to the end */

        ngx_zltunnel_bridge_count(bridge, 0);

        return NGX_OK;
    }

    /* amid a connection the agent finds an end without an end marker, behind what
       it has yet to read; else whole messages have gone to the other worker, which
       was done with them */

    bridge->back = zlt_track_idle(&bridge->track)
                   && !bridge->channel->end.eof
                   && relay->flow[1].pos == relay->flow[1].last;

    return NGX_DONE;
}


/*
 * The other worker is gone from the bridge, and the agent takes nothing.  A
 * socketpair has no reset, but what waits in it says how it ends.
 */

static ngx_int_t
ngx_zltunnel_bridge_closed(ngx_zltunnel_relay_t *relay)
{
    int                     fd, offset;
    ssize_t                 n;
    zlt_track_t             track;
    ngx_zltunnel_bridge_t  *bridge;

    static u_char  buf[NGX_ZLTUNNEL_BRIDGE_PEEK];

    bridge = relay->data;

    if (bridge->whole) {
        return NGX_OK;
    }

    track = bridge->track;
    fd = bridge->end.connection->fd;

    /* each peek goes on where the last one has ended: socket(7), SO_PEEK_OFF */

    offset = 0;

    if (setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof(int)) == -1) {
        return NGX_OK;
    }

    do {
        n = recv(fd, buf, sizeof(buf), MSG_PEEK|MSG_DONTWAIT);

        if (n > 0) {
            zlt_track_bytes(&track, ZLT_TRACK_SERVER, buf, n);
        }

    } while (n > 0 || (n == -1 && ngx_socket_errno == NGX_EINTR));

    offset = -1;
    (void) setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof(int));

    if (n != 0 || !zlt_track_whole(&track, ZLT_TRACK_SERVER)) {
        return NGX_ERROR;
    }

    bridge->whole = 1;

    return NGX_OK;
}


static void
ngx_zltunnel_bridge_count(ngx_zltunnel_bridge_t *bridge, ngx_uint_t idle)
{
    ngx_zltunnel_registry_t  *registry;

    if (bridge->idle == idle) {
        return;
    }

    registry = bridge->channel->registry;

    if (idle) {
        registry->nidle += NGX_ZLTUNNEL_BRIDGE_IDLE;

    } else {
        registry->nidle -= NGX_ZLTUNNEL_BRIDGE_IDLE;
    }

    bridge->idle = idle;

    /* nor does a worker that exits wait for one */

    bridge->relay.event.cancelable = idle;
}


ngx_uint_t
ngx_zltunnel_bridge_idle(ngx_zltunnel_bridge_t *bridge)
{
    return bridge->idle;
}


/*
 * The other worker may use it in this moment: Retire says that what it has sent
 * and will not get an answer to was not read by the agent.
 */

void
ngx_zltunnel_bridge_retire(ngx_zltunnel_bridge_t *bridge)
{
    size_t             len;
    u_char             buf[ZLT_HEADER_SIZE];
    zlt_msg_t          m;
    ngx_connection_t  *c;

    ngx_memzero(&m, sizeof(zlt_msg_t));
    m.type = ZLT_RETIRE;

    len = zlt_msg_encode(&m, buf, sizeof(buf));
    c = bridge->end.connection;

    if (bridge->relay.flow[1].pos == bridge->relay.flow[1].last) {
        (void) c->send(c, buf, len);
    }

    ngx_zltunnel_bridge_close(bridge);
}


void
ngx_zltunnel_bridge_close(ngx_zltunnel_bridge_t *bridge)
{
    ngx_zltunnel_relay_abort(&bridge->relay);
}


static void
ngx_zltunnel_bridge_cut(ngx_zltunnel_link_t *link)
{
    ngx_zltunnel_bridge_t  *bridge;

    bridge = (ngx_zltunnel_bridge_t *)
                 ((u_char *) link - offsetof(ngx_zltunnel_bridge_t, link));

    ngx_zltunnel_bridge_close(bridge);
}


static void
ngx_zltunnel_bridge_done(ngx_zltunnel_relay_t *relay,
    ngx_zltunnel_relay_end_e how)
{
    ngx_uint_t               back;
    ngx_zltunnel_bridge_t   *bridge;
    ngx_zltunnel_channel_t  *channel;

    bridge = relay->data;
    channel = bridge->channel;
    back = bridge->back;

    ngx_zltunnel_bridge_count(bridge, 0);
    ngx_zltunnel_peer_unlink(&bridge->link);
    ngx_zltunnel_end_close(&bridge->end);

    ngx_free(bridge);
    channel->bridge = NULL;

    if (!back) {
        ngx_zltunnel_channel_close(channel);
        return;
    }

    channel->beat.unheard = 1;

    ngx_zltunnel_release_idle(channel, NULL);
}
