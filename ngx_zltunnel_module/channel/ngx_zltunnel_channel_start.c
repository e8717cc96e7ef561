
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A data channel has come: an idle one, or one that answers the Connect of a
 * dial, of this worker or of another.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_channel_start.h"
#include "ngx_zltunnel_bridge.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_channel_answer.h"
#include "ngx_zltunnel_channel_io.h"
#include "ngx_zltunnel_channel_place.h"
#include "ngx_zltunnel_dial_told.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_transport.h"


void
ngx_zltunnel_channel_start(ngx_zltunnel_registry_t *registry,
    ngx_connection_t *c, u_char *tunnel_id, u_char *connection_id,
    ngx_uint_t ws, u_char *data, size_t len, ngx_str_t *answer)
{
    u_char                      token[32], text[NGX_ZLTUNNEL_TOKEN_NAME];
    uint64_t                    epoch;
    ngx_str_t                   name;
    ngx_uint_t                  slot, requests;
    ngx_zltunnel_channel_t     *channel;
    ngx_zltunnel_sh_tunnel_t   *tunnel;
    ngx_zltunnel_sh_pending_t  *pending;

    epoch = 0;
    slot = NGX_ZLTUNNEL_NO_SLOT;
    requests = 0;
    name.len = 0;
    name.data = text;

    ngx_zltunnel_zone_lock_read(registry);

    tunnel = ngx_zltunnel_tunnel_find(registry->sh, tunnel_id);

    if (tunnel) {
        epoch = tunnel->epoch;
        ngx_memcpy(token, tunnel->token, 32);
        name.len = tunnel->name_len;
        ngx_memcpy(text, tunnel->name, name.len);
    }

    if (connection_id) {
        pending = ngx_zltunnel_pending_find(registry->sh, connection_id);

        if (pending) {
            slot = pending->slot;
            requests = pending->requests;
        }
    }

    ngx_zltunnel_zone_unlock(registry);

    /* nchannels was raised with its place, and is lowered by the close */

    channel = ngx_zltunnel_channel_create(registry, c, NULL);
    if (channel == NULL) {
        if (answer->data) {
            ngx_free(answer->data);
        }

        ngx_zltunnel_channel_place_leave(registry, tunnel_id, connection_id);
        ngx_zltunnel_connection_close(c);
        return;
    }

    if (answer->data) {
        ngx_zltunnel_channel_answer_hold(channel, answer);
    }

    channel->epoch = epoch;
    ngx_memcpy(channel->tunnel_id, tunnel_id, ZLT_ID_SIZE);

    if ((ws && ngx_zltunnel_ws_start(&channel->end, data, &len) != NGX_OK)
        || tunnel == NULL || (connection_id && slot == NGX_ZLTUNNEL_NO_SLOT)
        || ngx_zltunnel_channel_io_unread(channel, data, len) != NGX_OK)
    {
        ngx_zltunnel_channel_place_leave(registry, tunnel_id, connection_id);
        ngx_zltunnel_channel_close(channel);
        return;
    }

    registry->nchannels--;

    if (connection_id) {
        channel->fresh = 1;

        if (slot != registry->slot) {
            ngx_zltunnel_bridge_send(channel, slot, connection_id,
                                     tunnel_id, requests);

        } else if (ngx_zltunnel_dial_told_fresh(channel, connection_id)
                   != NGX_OK)
        {
            ngx_zltunnel_channel_close(channel);
        }

        return;
    }

    if (ngx_zltunnel_channel_list(channel, token, &name) == NGX_OK) {
        c->read->handler(c->read);
    }
}
