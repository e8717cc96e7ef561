
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Whether a data channel that an agent opens has a place in this worker.
 *
 * Idle ones are for later, and are refused where there is little room.  One
 * that answers a Connect has a client that waits for it: an idle one goes for
 * it if need be.  Its client may be another worker's, and if the channel cannot
 * move there it takes one connection more for the bridge, which is held from
 * here on.  Where there is none the agent tries again and may meet another
 * worker; the dial is told by its entry in the registry that it was for want of
 * room, and goes on waiting.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_channel_place.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_worker.h"

#include <openssl/crypto.h>


static ngx_int_t ngx_zltunnel_channel_place_look(
    ngx_zltunnel_registry_t *registry, ngx_connection_t *c,
    ngx_zltunnel_sh_tunnel_t *tunnel, u_char *connection_id,
    const char **limit, ngx_connection_t **held);
static ngx_uint_t ngx_zltunnel_channel_place_crowds(
    ngx_zltunnel_registry_t *registry, ngx_zltunnel_sh_tunnel_t *tunnel);
static ngx_uint_t ngx_zltunnel_channel_place_share(
    ngx_zltunnel_registry_t *registry);
static ngx_uint_t ngx_zltunnel_channel_place_most(void);


ngx_int_t
ngx_zltunnel_channel_place_take(ngx_zltunnel_registry_t *registry,
    ngx_connection_t *c, u_char *tunnel_id, u_char *key,
    u_char *connection_id, ngx_connection_t **held)
{
    ngx_int_t                  rc;
    const char                *limit;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    do {
        limit = NULL;

        ngx_zltunnel_zone_lock(registry);

        tunnel = ngx_zltunnel_tunnel_find(registry->sh, tunnel_id);

        if (tunnel == NULL
            || CRYPTO_memcmp(tunnel->data_key, key, ZLT_KEY_SIZE) != 0)
        {
            rc = 403;

        } else {
            rc = ngx_zltunnel_channel_place_look(registry, c, tunnel,
                                                 connection_id, &limit, held);
        }

        ngx_zltunnel_zone_unlock(registry);

    } while (rc == 503 && connection_id
             && (!ngx_zltunnel_channel_place_left(registry)
                 || ngx_zltunnel_room_scarce())
             && ngx_zltunnel_channel_evict(registry) == NGX_OK);

    if (rc == NGX_OK) {
        registry->nchannels++;
    }

    if (limit) {
        ngx_zltunnel_log_complain(c->log, "data channel refused: limit of %s",
                                  limit);
    }

    if (rc == 403 && ngx_zltunnel_overlap_look()) {
        rc = 421;
    }

    return rc;
}


/* under the lock, for who has shown the key */

static ngx_int_t
ngx_zltunnel_channel_place_look(ngx_zltunnel_registry_t *registry,
    ngx_connection_t *c, ngx_zltunnel_sh_tunnel_t *tunnel,
    u_char *connection_id, const char **limit, ngx_connection_t **held)
{
    ngx_zltunnel_sh_pending_t  *pending;

    pending = NULL;

    if (connection_id) {
        pending = ngx_zltunnel_pending_find(registry->sh, connection_id);

        if (pending == NULL || pending->answered
            || ngx_memcmp(pending->tunnel_id, tunnel->id, ZLT_ID_SIZE) != 0)
        {
            return 410;
        }

        /* until one comes that is not */

        pending->refused = 1;
    }

    if (!ngx_zltunnel_channel_place_left(registry)) {
        *limit = "max_channel_share";
        return 503;
    }

    if (pending == NULL) {

        if (ngx_zltunnel_room_scarce()) {
            *limit = "worker_connections";
            return 503;
        }

        if (ngx_zltunnel_channel_place_crowds(registry, tunnel)) {
            *limit = "a token's share of max_channel_share";
            return 503;
        }

        if (ngx_zltunnel_tunnel_nidle(registry->sh, tunnel)
            >= registry->max_idle_channels)
        {
            *limit = "max_idle_channels";
            return 503;
        }

        ngx_zltunnel_tunnel_idle(registry, tunnel, 1);

        return NGX_OK;
    }

    if (pending->slot != registry->slot && c->ssl) {
        *held = ngx_zltunnel_room_scarce() ? NULL : ngx_zltunnel_room_hold();

        if (*held == NULL) {
            *limit = "worker_connections";
            return 503;
        }
    }

    pending->answered = 1;
    pending->refused = 0;

    return NGX_OK;
}


void
ngx_zltunnel_channel_place_leave(ngx_zltunnel_registry_t *registry,
    u_char *tunnel_id, u_char *connection_id)
{
    ngx_zltunnel_sh_tunnel_t   *tunnel;
    ngx_zltunnel_sh_pending_t  *pending;

    registry->nchannels--;

    ngx_zltunnel_zone_lock(registry);

    if (connection_id) {
        pending = ngx_zltunnel_pending_find(registry->sh, connection_id);

        if (pending) {
            pending->answered = 0;
        }

    } else {
        tunnel = ngx_zltunnel_tunnel_find(registry->sh, tunnel_id);

        if (tunnel) {
            ngx_zltunnel_tunnel_idle(registry, tunnel, -1);
        }
    }

    ngx_zltunnel_zone_unlock(registry);
}


/* the idle ones of one agent would keep those of others out */

static ngx_uint_t
ngx_zltunnel_channel_place_crowds(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel)
{
    ngx_zltunnel_peer_t  *peer;

    if (!registry->tokens->many) {
        return 0;
    }

    peer = ngx_zltunnel_peer_find(registry, tunnel->id);

    return peer
           && ngx_zltunnel_room_crowds(peer->nidle,
                                    ngx_zltunnel_channel_place_left(registry));
}


ngx_uint_t
ngx_zltunnel_channel_place_left(ngx_zltunnel_registry_t *registry)
{
    ngx_uint_t  share;

    share = ngx_zltunnel_channel_place_share(registry);

    return share > registry->nchannels ? share - registry->nchannels : 0;
}


ngx_uint_t
ngx_zltunnel_channel_place_visits(ngx_zltunnel_registry_t *registry)
{
    return ngx_zltunnel_channel_place_left(registry)
           && 2 * registry->nvisits < ngx_zltunnel_channel_place_share(registry);
}


static ngx_uint_t
ngx_zltunnel_channel_place_share(ngx_zltunnel_registry_t *registry)
{
    return ngx_zltunnel_channel_place_most() * registry->max_channel_share
           / 100;
}


/* the connections that this worker can have: idle channels must not take all
   of the descriptors that its ports leave, or it could accept nothing for as
   long */

static ngx_uint_t
ngx_zltunnel_channel_place_most(void)
{
    struct rlimit  rlmt;

    static ngx_uint_t  nofile;

    if (nofile == 0) {

        if (getrlimit(RLIMIT_NOFILE, &rlmt) == -1
            || rlmt.rlim_cur > NGX_MAX_INT32_VALUE)
        {
            nofile = NGX_MAX_INT32_VALUE;

        } else {
            nofile = (ngx_uint_t) rlmt.rlim_cur;
        }

        nofile -= ngx_min(nofile - 1, ngx_cycle->listening.nelts);
    }

    return ngx_min(ngx_cycle->connection_n, nofile);
}
