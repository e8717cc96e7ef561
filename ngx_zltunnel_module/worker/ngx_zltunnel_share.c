
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What the clients of one token may have of this worker's connections.
 *
 * Ports accept clients as long as there is room for them, so those of one tenant
 * could take all of it, and keep it.  A token may have twice as much as is left:
 * two thirds of the room if it is the only busy one, two fifths if there are two.
 * What comes beyond that waits in the queues of its sockets.  Who is alone in
 * the token file has all.  Idle channels count as left, whosoever they are: they
 * carry the clients that come, or give way to them.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_share.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_room.h"


#define NGX_ZLTUNNEL_SHARE_CLIENT  2  /* connections: its own, a channel's */


ngx_zltunnel_share_t *
ngx_zltunnel_share_get(ngx_zltunnel_registry_t *registry, ngx_str_t *name)
{
    ngx_queue_t           *q;
    ngx_zltunnel_share_t  *share;

    for (q = ngx_queue_head(&registry->shares);
         q != ngx_queue_sentinel(&registry->shares);
         q = ngx_queue_next(q))
    {
        share = ngx_queue_data(q, ngx_zltunnel_share_t, queue);

        if (share->name.len == name->len
            && ngx_memcmp(share->name.data, name->data, name->len) == 0)
        {
            return share;
        }
    }

    share = ngx_pcalloc(ngx_cycle->pool,
                        sizeof(ngx_zltunnel_share_t) + name->len + 1);
    if (share == NULL) {
        return NULL;
    }

    share->name.data = (u_char *) share + sizeof(ngx_zltunnel_share_t);
    share->name.len = name->len;
    ngx_memcpy(share->name.data, name->data, name->len);

    ngx_queue_insert_head(&registry->shares, &share->queue);

    return share;
}


ngx_uint_t
ngx_zltunnel_share_full(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_share_t *share)
{
    ngx_uint_t  left;

    if (!registry->tokens->many) {
        return 0;
    }

    left = ngx_zltunnel_room_left() + registry->nidle;

    return ngx_zltunnel_room_crowds(share->clients * NGX_ZLTUNNEL_SHARE_CLIENT,
                                    left);
}
