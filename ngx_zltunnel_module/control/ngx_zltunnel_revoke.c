
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What a changed token file leaves behind: tunnels whose token is gone or has
 * expired end, those that have been taken over with another token of the same
 * name go on, and rights are checked anew.
 *
 * Each worker checks the tunnels of which it holds something, so that
 * revocation reaches exiting workers too, without messages.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_revoke.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_control.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_withdraw.h"
#include "ngx_zltunnel_worker.h"

#include "zlt_msg.h"


#define NGX_ZLTUNNEL_REVOKE_SOON    200     /* ms, to connect again */
#define NGX_ZLTUNNEL_REVOKE_LATER   2000    /* ms, who may be let in again */
#define NGX_ZLTUNNEL_REVOKE_REASON  "The token was revoked or has expired"
#define NGX_ZLTUNNEL_REVOKE_LAPSED  "The token cannot be verified any more"


/* of a tunnel whose agent is away */

typedef struct {
    u_char  id[ZLT_ID_SIZE];
    u_char  token[32];
} ngx_zltunnel_revoke_t;


static void ngx_zltunnel_revoke_away_one(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_revoke_t *away);
static ngx_uint_t ngx_zltunnel_revoke_moved(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel);
static ngx_int_t ngx_zltunnel_revoke_rotated(ngx_zltunnel_peer_t *peer);
static ngx_uint_t ngx_zltunnel_revoke_bound(ngx_zltunnel_peer_t *peer,
    ngx_zltunnel_token_t *token);
static ngx_uint_t ngx_zltunnel_revoke_lapsed(ngx_zltunnel_registry_t *registry,
    u_char *hash);
static const char *ngx_zltunnel_revoke_reason(
    ngx_zltunnel_registry_t *registry, u_char *hash);
static void ngx_zltunnel_revoke_peer(ngx_zltunnel_peer_t *peer);


/* to find a token takes long, and the lock is not kept meanwhile */

void
ngx_zltunnel_revoke_away(ngx_zltunnel_registry_t *registry)
{
    ngx_uint_t                 i, n, room;
    ngx_rbtree_key_t           key;
    ngx_zltunnel_sh_tunnel_t  *tunnel;
    ngx_zltunnel_revoke_t     *away;

    room = registry->sh->ntunnels + registry->sh->nremote + 16;

    away = ngx_alloc(room * sizeof(ngx_zltunnel_revoke_t), ngx_cycle->log);
    if (away == NULL) {
        return;
    }

    n = 0;

    ngx_zltunnel_zone_lock_read(registry);

    for (tunnel = ngx_zltunnel_tunnel_after(registry->sh, NULL);
         tunnel && n < room;
         tunnel = ngx_zltunnel_tunnel_after(registry->sh, &key))
    {
        key = tunnel->node.key;

        if (tunnel->state == NGX_ZLTUNNEL_GRACE || tunnel->remote) {
            ngx_memcpy(away[n].id, tunnel->id, ZLT_ID_SIZE);
            ngx_memcpy(away[n++].token, tunnel->token, 32);
        }
    }

    ngx_zltunnel_zone_unlock(registry);

    for (i = 0; i < n; i++) {
        ngx_zltunnel_revoke_away_one(registry, &away[i]);
    }

    ngx_explicit_memzero(away, n * sizeof(ngx_zltunnel_revoke_t));
    ngx_free(away);
}


static void
ngx_zltunnel_revoke_away_one(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_revoke_t *away)
{
    ngx_queue_t                *q, *next;
    ngx_zltunnel_token_t       *token;
    ngx_zltunnel_sh_tunnel_t   *tunnel;
    ngx_zltunnel_sh_service_t  *service;

    token = ngx_zltunnel_token_find(registry, away->token);

    ngx_zltunnel_zone_lock(registry);

    tunnel = ngx_zltunnel_tunnel_find(registry->sh, away->id);

    if (tunnel == NULL
        || (tunnel->state != NGX_ZLTUNNEL_GRACE && tunnel->remote == NULL)
        || ngx_memcmp(tunnel->token, away->token, 32) != 0)
    {
        /* its agent is back, with the rights that it has now */
        ngx_zltunnel_zone_unlock(registry);
        return;
    }

    if (token == NULL || ngx_zltunnel_token_expired(token)) {
        ngx_zltunnel_tunnel_remove(registry, tunnel,
                                   NGX_ZLTUNNEL_EVENT_REVOKED,
                                   ngx_zltunnel_revoke_reason(registry,
                                                              away->token));
        ngx_zltunnel_zone_unlock(registry);
        return;
    }

    ngx_zltunnel_quota_note(tunnel, token);

    for (q = ngx_queue_head(&tunnel->services);
         q != ngx_queue_sentinel(&tunnel->services);
         q = next)
    {
        next = ngx_queue_next(q);
        service = ngx_queue_data(q, ngx_zltunnel_sh_service_t, queue);

        if (!ngx_zltunnel_withdraw_allowed(registry, service, token)) {
            ngx_zltunnel_service_withdraw(registry, service,
                                          NGX_ZLTUNNEL_WITHDRAW_REASON);
        }
    }

    ngx_zltunnel_zone_unlock(registry);
}


void
ngx_zltunnel_revoke_peers(ngx_zltunnel_registry_t *registry,
    ngx_uint_t changed)
{
    ngx_uint_t                 gone, moved;
    ngx_rbtree_key_t           key;
    ngx_zltunnel_peer_t       *peer;
    ngx_zltunnel_token_t      *token;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    /* services that have to go do so in the same way */

    changed |= (registry->sh->lost != 0);

    for (peer = ngx_zltunnel_peer_next(registry, NULL);
         peer;
         peer = ngx_zltunnel_peer_next(registry, &key))
    {
        key = peer->node.key;

        if (changed) {
            token = ngx_zltunnel_token_find(registry, peer->token);
            gone = (token == NULL || !ngx_zltunnel_revoke_bound(peer, token));
            ngx_zltunnel_peer_token(peer, token);

        } else {
            gone = 0;
        }

        if (gone || (peer->expires && ngx_time() >= peer->expires)) {

            if (ngx_zltunnel_revoke_rotated(peer) != NGX_OK) {
                ngx_zltunnel_revoke_peer(peer);
            }

            continue;
        }

        if (changed && peer->control) {
            ngx_zltunnel_withdraw_rights(peer->control);
            continue;
        }

        if (peer->nidle == 0 && peer->shared == NULL && peer->control == NULL) {
            continue;
        }

        ngx_zltunnel_zone_lock_read(registry);
        tunnel = ngx_zltunnel_tunnel_find(registry->sh, peer->id);
        moved = tunnel && ngx_exiting
                && ngx_zltunnel_revoke_moved(registry, tunnel);
        ngx_zltunnel_zone_unlock(registry);

        if (moved) {

            /* what still needs a channel here gets a fresh one */

            ngx_zltunnel_channel_drop(registry, peer->id, (uint64_t) -1);
            continue;
        }

        if (tunnel) {
            continue;
        }

        /* its grace is over, or the registry had to be emptied */

        if (peer->control) {
            ngx_zltunnel_control_stop(peer->control, ZLT_D_LATER,
                                      NGX_ZLTUNNEL_REVOKE_SOON,
                                      "the tunnel was lost");

        } else {
            ngx_zltunnel_channel_drop(registry, peer->id, (uint64_t) -1);
        }
    }
}


static ngx_uint_t
ngx_zltunnel_revoke_bound(ngx_zltunnel_peer_t *peer,
    ngx_zltunnel_token_t *token)
{
    const char  *reason;

    return peer->control == NULL
           || ngx_zltunnel_cert_allows(token, peer->control->end.connection,
                                       &reason);
}


static ngx_uint_t
ngx_zltunnel_revoke_moved(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel)
{
    return tunnel->state == NGX_ZLTUNNEL_LIVE
           && tunnel->slot != NGX_ZLTUNNEL_NO_SLOT
           && tunnel->slot != registry->slot
           && !ngx_zltunnel_slot(registry->sh, tunnel->slot)->exiting;
}


static ngx_int_t
ngx_zltunnel_revoke_rotated(ngx_zltunnel_peer_t *peer)
{
    u_char                     hash[32];
    ngx_uint_t                 found;
    ngx_zltunnel_token_t      *token;
    ngx_zltunnel_registry_t   *registry;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    registry = peer->registry;
    found = 0;

    ngx_zltunnel_zone_lock_read(registry);

    tunnel = ngx_zltunnel_tunnel_find(registry->sh, peer->id);

    if (tunnel && ngx_memcmp(tunnel->token, peer->token, 32) != 0) {
        ngx_memcpy(hash, tunnel->token, 32);
        found = 1;
    }

    ngx_zltunnel_zone_unlock(registry);

    if (!found) {
        return NGX_DECLINED;
    }

    token = ngx_zltunnel_token_find(registry, hash);

    if (token == NULL || ngx_zltunnel_token_expired(token)
        || token->name.len != peer->name.len
        || ngx_memcmp(token->name.data, peer->name.data, token->name.len) != 0)
    {
        return NGX_DECLINED;
    }

    ngx_memcpy(peer->token, hash, 32);
    ngx_zltunnel_peer_token(peer, token);

    return NGX_OK;
}


/* zltunnel_auth has let it in, and could not say any more: it may come again */

static ngx_uint_t
ngx_zltunnel_revoke_lapsed(ngx_zltunnel_registry_t *registry, u_char *hash)
{
    ngx_zltunnel_granted_t  *granted;

    granted = ngx_zltunnel_granted_find(registry, hash);

    return granted && granted->lapsed;
}


static const char *
ngx_zltunnel_revoke_reason(ngx_zltunnel_registry_t *registry, u_char *hash)
{
    return ngx_zltunnel_revoke_lapsed(registry, hash)
           ? NGX_ZLTUNNEL_REVOKE_LAPSED : NGX_ZLTUNNEL_REVOKE_REASON;
}


static void
ngx_zltunnel_revoke_peer(ngx_zltunnel_peer_t *peer)
{
    u_char                     id[ZLT_ID_SIZE];
    ngx_uint_t                 lapsed;
    const char                *reason;
    ngx_zltunnel_registry_t   *registry;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    registry = peer->registry;
    ngx_memcpy(id, peer->id, ZLT_ID_SIZE);

    lapsed = ngx_zltunnel_revoke_lapsed(registry, peer->token);
    reason = ngx_zltunnel_revoke_reason(registry, peer->token);

    ngx_zltunnel_zone_lock(registry);

    tunnel = ngx_zltunnel_tunnel_find(registry->sh, id);

    if (tunnel && ngx_memcmp(tunnel->token, peer->token, 32) == 0) {
        ngx_zltunnel_tunnel_remove(registry, tunnel,
                                   NGX_ZLTUNNEL_EVENT_REVOKED, reason);
    }

    ngx_zltunnel_zone_unlock(registry);

    ngx_zltunnel_revoke_end(registry, id, lapsed ? ZLT_D_LATER : ZLT_D_STOP,
                            lapsed ? NGX_ZLTUNNEL_REVOKE_LATER : 0, reason);
}


void
ngx_zltunnel_revoke_end(ngx_zltunnel_registry_t *registry, u_char *id,
    ngx_uint_t action, ngx_msec_t later, const char *reason)
{
    ngx_zltunnel_peer_t  *peer;

    peer = ngx_zltunnel_peer_find(registry, id);

    if (peer && peer->control) {
        ngx_zltunnel_control_stop(peer->control, action, later, reason);
    }

    ngx_zltunnel_channel_drop(registry, id, (uint64_t) -1);

    /* with its channels the peer may have gone */

    peer = ngx_zltunnel_peer_find(registry, id);

    if (peer) {
        ngx_zltunnel_peer_cut(peer);
    }
}
