
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What this worker holds of a tunnel: its control channel perhaps, idle data
 * channels, and links, which is whatever must be cut here when the tunnel's
 * token is revoked.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_peer.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_share.h"

#include "zlt_pace.h"


static uint64_t *ngx_zltunnel_peer_clock(ngx_zltunnel_pace_t *pace);


ngx_zltunnel_peer_t *
ngx_zltunnel_peer_find(ngx_zltunnel_registry_t *registry, u_char *tunnel_id)
{
    return (ngx_zltunnel_peer_t *)
               ngx_zltunnel_util_id_lookup(&registry->peers, tunnel_id,
                                           offsetof(ngx_zltunnel_peer_t, id));
}


ngx_zltunnel_peer_t *
ngx_zltunnel_peer_next(ngx_zltunnel_registry_t *registry,
    ngx_rbtree_key_t *after)
{
    ngx_rbtree_node_t  *node, *found;

    found = NULL;
    node = registry->peers.root;

    while (node != &registry->peers_sentinel) {

        if (after && node->key <= *after) {
            node = node->right;
            continue;
        }

        found = node;
        node = node->left;
    }

    return (ngx_zltunnel_peer_t *) found;
}


ngx_zltunnel_peer_t *
ngx_zltunnel_peer_get(ngx_zltunnel_registry_t *registry, u_char *tunnel_id,
    u_char *token, ngx_str_t *name)
{
    ngx_zltunnel_peer_t  *peer;

    peer = ngx_zltunnel_peer_find(registry, tunnel_id);

    if (peer) {

        /* a takeover may have come with a newer token of the same name */

        if (ngx_memcmp(peer->token, token, 32) != 0) {
            ngx_memcpy(peer->token, token, 32);
            ngx_zltunnel_peer_token(peer,
                                    ngx_zltunnel_token_find(registry, token));
        }

        return peer;
    }

    peer = ngx_calloc(sizeof(ngx_zltunnel_peer_t) + name->len,
                      ngx_cycle->log);
    if (peer == NULL) {
        return NULL;
    }

    ngx_memcpy(peer->id, tunnel_id, ZLT_ID_SIZE);
    ngx_memcpy(peer->token, token, 32);

    peer->name.data = (u_char *) peer + sizeof(ngx_zltunnel_peer_t);
    peer->name.len = name->len;
    ngx_memcpy(peer->name.data, name->data, name->len);

    peer->pace.find = ngx_zltunnel_peer_clock;
    peer->pace.parts = registry->workers;

    peer->share = ngx_zltunnel_share_get(registry, name);
    peer->registry = registry;
    ngx_queue_init(&peer->idle);
    ngx_queue_init(&peer->waiting);
    ngx_queue_init(&peer->links);

    ngx_zltunnel_peer_token(peer, ngx_zltunnel_token_find(registry, token));

    peer->node.key = ngx_zltunnel_id_key(peer->id);
    ngx_rbtree_insert(&registry->peers, &peer->node);

    return peer;
}


void
ngx_zltunnel_peer_token(ngx_zltunnel_peer_t *peer, ngx_zltunnel_token_t *token)
{
    uint64_t              old, rate;
    ngx_queue_t          *q;
    ngx_zltunnel_link_t  *link;

    peer->expires = token ? token->expires : 0;

    old = peer->pace.rate;
    rate = token ? token->rate : 0;

    if (rate == old) {
        return;
    }

    peer->pace.rate = rate;

    ngx_zltunnel_rate_change(peer->registry, &peer->rate, old, rate);
    zlt_pace_change(&peer->pace.clock, old, rate,
                    (uint64_t) ngx_current_msec * 1000000);

    for (q = ngx_queue_head(&peer->links);
         q != ngx_queue_sentinel(&peer->links);
         q = ngx_queue_next(q))
    {
        link = ngx_queue_data(q, ngx_zltunnel_link_t, queue);

        if (link->paced) {
            link->paced(link, old);
        }
    }
}


ngx_zltunnel_pace_t *
ngx_zltunnel_peer_pace(ngx_zltunnel_peer_t *peer, ngx_zltunnel_peer_t *beside)
{
    if (peer == NULL
        || (beside && beside->registry == peer->registry
            && beside->name.len == peer->name.len
            && ngx_memcmp(beside->name.data, peer->name.data, peer->name.len)
               == 0))
    {
        return NULL;
    }

    return &peer->pace;
}


static uint64_t *
ngx_zltunnel_peer_clock(ngx_zltunnel_pace_t *pace)
{
    ngx_zltunnel_peer_t  *peer;

    peer = (ngx_zltunnel_peer_t *)
               ((u_char *) pace - offsetof(ngx_zltunnel_peer_t, pace));

    return ngx_zltunnel_rate_clock(peer->registry, &peer->name, &peer->rate);
}


void
ngx_zltunnel_peer_release(ngx_zltunnel_peer_t *peer)
{
    if (peer->control
        || !ngx_queue_empty(&peer->idle)
        || !ngx_queue_empty(&peer->links))
    {
        return;
    }

    ngx_rbtree_delete(&peer->registry->peers, &peer->node);
    ngx_free(peer);
}


void
ngx_zltunnel_peer_link(ngx_zltunnel_peer_t *peer, ngx_zltunnel_link_t *link)
{
    link->peer = peer;
    ngx_queue_insert_tail(&peer->links, &link->queue);
}


void
ngx_zltunnel_peer_unlink(ngx_zltunnel_link_t *link)
{
    ngx_zltunnel_peer_t  *peer;

    peer = link->peer;

    if (peer == NULL) {
        return;
    }

    link->peer = NULL;
    ngx_queue_remove(&link->queue);

    ngx_zltunnel_peer_release(peer);
}


void
ngx_zltunnel_peer_cut(ngx_zltunnel_peer_t *peer)
{
    ngx_queue_t          *q;
    ngx_zltunnel_link_t  *link, guard;

    /* cutting one removes it; the guard keeps the peer meanwhile */

    guard.peer = NULL;
    guard.paced = NULL;
    ngx_zltunnel_peer_link(peer, &guard);

    for ( ;; ) {
        q = ngx_queue_head(&peer->links);
        link = ngx_queue_data(q, ngx_zltunnel_link_t, queue);

        if (link == &guard) {

            /* added last, so all before it are gone; any after it go, too */

            if (q == ngx_queue_last(&peer->links)) {
                break;
            }

            ngx_queue_remove(q);
            ngx_queue_insert_tail(&peer->links, q);
            continue;
        }

        link->cut(link);
    }

    ngx_zltunnel_peer_unlink(&guard);
}
