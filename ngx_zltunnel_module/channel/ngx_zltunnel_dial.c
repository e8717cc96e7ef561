
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The one primitive by which everyone gets a channel to a service.
 *
 * A dial looks for a data channel of the service's tunnel, dial_search.  It
 * sends Connect on it (a fresh one has had it), the client's first bytes
 * behind it if the caller likes, and waits for ConnectAck, dial_connect.
 *
 * The channel may turn out to be dead: closed, retired, or dropped silently
 * by a middlebox.  Until ConnectAck the bytes are kept, so Connect can be
 * repeated on another channel with the same id.  The agent, which remembers
 * ids, answers "duplicate" if it has acted on the first after all, and the
 * first is then waited for: a service is never dialled twice.  The first may
 * also have been a Connect on the control channel, so a place is kept for the
 * fresh channel that answers it until the dial is over; only when a channel
 * has ended without an answer, and every such Connect has had one, does
 * "duplicate" mean that the connection is lost.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_dial.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_dial_turn.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_release.h"
#include "ngx_zltunnel_transport.h"
#include "ngx_zltunnel_worker.h"


static void ngx_zltunnel_dial_stop(ngx_zltunnel_dial_t *dial);
static void ngx_zltunnel_dial_note(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_dial_e rc);


static ngx_rbtree_t       ngx_zltunnel_dials;
static ngx_rbtree_node_t  ngx_zltunnel_dials_sentinel;


void
ngx_zltunnel_dial_add(ngx_zltunnel_dial_t *dial)
{
    if (ngx_zltunnel_dials.root == NULL) {
        ngx_rbtree_init(&ngx_zltunnel_dials, &ngx_zltunnel_dials_sentinel,
                        ngx_rbtree_insert_value);
    }

    /* the asking generation and worker, and 80 random bits */

    ngx_zltunnel_util_random(dial->id, ZLT_ID_SIZE);
    dial->id[0] = (u_char) (ngx_zltunnel_way_generation >> 24);
    dial->id[1] = (u_char) (ngx_zltunnel_way_generation >> 16);
    dial->id[2] = (u_char) (ngx_zltunnel_way_generation >> 8);
    dial->id[3] = (u_char) ngx_zltunnel_way_generation;
    dial->id[4] = (u_char) (ngx_worker >> 8);
    dial->id[5] = (u_char) ngx_worker;

    dial->node.key = ngx_zltunnel_id_key(dial->id);
    ngx_rbtree_insert(&ngx_zltunnel_dials, &dial->node);
}


ngx_msec_t
ngx_zltunnel_dial_left(ngx_zltunnel_dial_t *dial)
{
    ngx_msec_t  elapsed;

    elapsed = ngx_current_msec - dial->since;

    if (elapsed >= dial->timeout) {
        return 0;
    }

    return dial->timeout - elapsed;
}


void
ngx_zltunnel_dial_cut(ngx_zltunnel_link_t *link)
{
    ngx_zltunnel_dial_t  *dial;

    dial = ngx_zltunnel_dial_of(link);

    if (ngx_zltunnel_dial_runs(dial)) {
        ngx_zltunnel_dial_finish(dial, NGX_ZLTUNNEL_DIAL_ERROR);
        return;
    }

    ngx_zltunnel_peer_unlink(link);
}


void
ngx_zltunnel_dial_unpend(ngx_zltunnel_dial_t *dial)
{
    ngx_zltunnel_sh_pending_t  *pending;

    if (dial->entry == NGX_ZLTUNNEL_DIAL_UNKNOWN) {
        return;
    }

    dial->entry = NGX_ZLTUNNEL_DIAL_UNKNOWN;

    ngx_zltunnel_zone_lock(dial->registry);

    pending = ngx_zltunnel_pending_find(dial->registry->sh, dial->id);

    if (pending) {
        ngx_zltunnel_pending_remove(dial->registry, pending);
    }

    ngx_zltunnel_zone_unlock(dial->registry);
}


/* ends the search: dial->channel and the link stay, for what follows */

static void
ngx_zltunnel_dial_stop(ngx_zltunnel_dial_t *dial)
{
    ngx_uint_t               i;
    ngx_zltunnel_channel_t  *channel;

    ngx_zltunnel_dial_state(dial, NGX_ZLTUNNEL_DIAL_OVER);

    ngx_rbtree_delete(&ngx_zltunnel_dials, &dial->node);

    if (dial->timer.timer_set) {
        ngx_del_timer(&dial->timer);
    }

    if (dial->uncork.posted) {
        ngx_delete_posted_event(&dial->uncork);
    }

    ngx_zltunnel_dial_unpend(dial);
    ngx_zltunnel_dial_turn_over(dial, 0);
    ngx_zltunnel_room_release(&dial->held);

    if (dial->found) {
        ngx_zltunnel_release_idle(dial->found, NULL);
        dial->found = NULL;
    }

    for (i = 0; i < 2; i++) {
        channel = dial->asked[i];

        if (channel) {
            dial->asked[i] = NULL;
            channel->dial = NULL;

            /* an end is enough for the agent, and a reset would take from it
               what it has not read yet of the connection before */

            ngx_zltunnel_channel_close(channel);
        }
    }
}


void
ngx_zltunnel_dial_finish(ngx_zltunnel_dial_t *dial, ngx_zltunnel_dial_e rc)
{
    ngx_zltunnel_dial_stop(dial);

    dial->connect_time = ngx_current_msec - dial->started;

    ngx_zltunnel_figure_dial(dial->registry, rc, dial->connect_time);

    if (rc == NGX_ZLTUNNEL_DIAL_REFUSED || rc == NGX_ZLTUNNEL_DIAL_TIMEOUT) {
        ngx_zltunnel_dial_note(dial, rc);
    }

    dial->handler(dial, rc);
}


/* for who looks at the status, and not into the log */

static void
ngx_zltunnel_dial_note(ngx_zltunnel_dial_t *dial, ngx_zltunnel_dial_e rc)
{
    ngx_zltunnel_sh_tunnel_t   *tunnel;
    ngx_zltunnel_sh_service_t  *service;

    ngx_zltunnel_zone_lock(dial->registry);

    tunnel = ngx_zltunnel_tunnel_find(dial->registry->sh, dial->tunnel_id);
    service = tunnel ? ngx_zltunnel_service_by_id(tunnel, dial->service_id)
                     : NULL;

    if (service) {
        service->unreached = ngx_time();
        service->cause = (rc == NGX_ZLTUNNEL_DIAL_TIMEOUT) ? 0
                         : dial->code ? (uint8_t) dial->code : 0xff;
    }

    ngx_zltunnel_zone_unlock(dial->registry);
}


void
ngx_zltunnel_dial_done(ngx_zltunnel_dial_t *dial)
{
    if (ngx_zltunnel_dial_runs(dial)) {
        ngx_zltunnel_dial_stop(dial);
    }

    ngx_zltunnel_peer_unlink(&dial->link);

    if (dial->share) {
        dial->share->clients--;
        dial->share = NULL;
    }

    if (dial->buf) {
        ngx_free(dial->buf);
        dial->buf = NULL;
    }

    if (dial->counter) {
        ngx_zltunnel_zone_lock(dial->registry);
        ngx_zltunnel_counter_put(dial->registry, dial->counter);
        ngx_zltunnel_zone_unlock(dial->registry);

        dial->counter = NULL;
    }
}


ngx_uint_t
ngx_zltunnel_dial_running(void)
{
    return ngx_zltunnel_dials.root
           && ngx_zltunnel_dials.root != &ngx_zltunnel_dials_sentinel;
}


ngx_zltunnel_dial_t *
ngx_zltunnel_dial_find(u_char *id)
{
    ngx_rbtree_key_t      key;
    ngx_rbtree_node_t    *node;
    ngx_zltunnel_dial_t  *dial;

    if (ngx_zltunnel_dials.root == NULL) {
        return NULL;
    }

    key = ngx_zltunnel_id_key(id);
    node = ngx_zltunnel_dials.root;

    while (node != &ngx_zltunnel_dials_sentinel) {

        if (key == node->key) {
            dial = (ngx_zltunnel_dial_t *) node;

            if (ngx_memcmp(dial->id, id, ZLT_ID_SIZE) == 0) {
                return dial;
            }
        }

        node = (key < node->key) ? node->left : node->right;
    }

    return NULL;
}


const char *
ngx_zltunnel_dial_error(ngx_zltunnel_dial_t *dial, ngx_zltunnel_dial_e rc)
{
    switch (rc) {

    case NGX_ZLTUNNEL_DIAL_OK:
        return "ok";

    case NGX_ZLTUNNEL_DIAL_NO_SERVICE:
        return "no agent has registered the service";

    case NGX_ZLTUNNEL_DIAL_LIMIT:
        return "a limit was reached";

    case NGX_ZLTUNNEL_DIAL_REFUSED:
        return "the agent could not connect to the service";

    case NGX_ZLTUNNEL_DIAL_TIMEOUT:
        return "the service was not reached in time";

    case NGX_ZLTUNNEL_DIAL_SHUTDOWN:
        return "this worker shuts down, and has no channel to the agent left";

    case NGX_ZLTUNNEL_DIAL_INCAPABLE:
        return "its agent is one of version 1, which carries nothing";

    default:
        return "the tunnel failed";
    }
}
