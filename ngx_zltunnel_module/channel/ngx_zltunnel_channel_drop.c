
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The channels of a tunnel that are older than its takeover, or all of them:
 * those that nobody uses go at once, one with lanes when they have gone.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_channel_drop.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_shared.h"
#include "ngx_zltunnel_worker.h"


void
ngx_zltunnel_channel_drop(ngx_zltunnel_registry_t *registry,
    u_char *tunnel_id, uint64_t epoch)
{
    ngx_queue_t             *q, *next;
    ngx_zltunnel_peer_t     *peer;
    ngx_zltunnel_link_t      guard;
    ngx_zltunnel_channel_t  *channel;

    peer = ngx_zltunnel_peer_find(registry, tunnel_id);
    if (peer == NULL) {
        return;
    }

    ngx_zltunnel_peer_link(peer, &guard);

    ngx_zltunnel_shared_drop(peer, epoch);

    for (q = ngx_queue_head(&peer->idle);
         q != ngx_queue_sentinel(&peer->idle);
         q = next)
    {
        next = ngx_queue_next(q);
        channel = ngx_queue_data(q, ngx_zltunnel_channel_t, queue);

        if (channel->epoch < epoch) {
            ngx_zltunnel_channel_close(channel);
        }
    }

    ngx_zltunnel_peer_unlink(&guard);
}
