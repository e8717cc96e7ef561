
/*
 * Copyright (C) zltunnel authors
 */

/*
 * How a dial looks for a channel: an idle one in this worker; an idle one in
 * another worker, which sends it; or a fresh one, which the agent opens when
 * the control channel's worker sends Connect.
 *
 * While the tunnel's agent is away, or has not registered the service again
 * yet, the dial goes to another node that has it, or waits;
 * ngx_zltunnel_dial_told_up() sends it on its way.  The service may have moved by
 * then, to another tunnel of its token.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_dial_search.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_dial.h"
#include "ngx_zltunnel_dial_connect.h"
#include "ngx_zltunnel_dial_elsewhere.h"
#include "ngx_zltunnel_dial_turn.h"
#include "ngx_zltunnel_lane.h"
#include "ngx_zltunnel_reach.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_transport.h"
#include "ngx_zltunnel_worker.h"

#include "zlt_msg.h"


#define NGX_ZLTUNNEL_DIAL_TAKES      2    /* tries at other workers */
#define NGX_ZLTUNNEL_DIAL_TAKE_TIME  250  /* ms for each */
#define NGX_ZLTUNNEL_DIAL_LATE       5000 /* ms for a fresh one, at exit */


static void ngx_zltunnel_dial_nowhere(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_dial_e rc);
static void ngx_zltunnel_dial_take(ngx_zltunnel_dial_t *dial, ngx_uint_t slot);
static ngx_int_t ngx_zltunnel_dial_follow(ngx_zltunnel_dial_t *dial);
static ngx_zltunnel_dial_e ngx_zltunnel_dial_where(ngx_zltunnel_dial_t *dial,
    ngx_uint_t fresh, ngx_uint_t *slot, ngx_zltunnel_dial_state_e *state);
static ngx_zltunnel_dial_e ngx_zltunnel_dial_last(ngx_zltunnel_dial_t *dial);
static ngx_int_t ngx_zltunnel_dial_pending(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_sh_tunnel_t *tunnel, ngx_uint_t live);
static ngx_uint_t ngx_zltunnel_dial_holder(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_sh_tunnel_t *tunnel);
static void ngx_zltunnel_dial_announce(ngx_zltunnel_dial_t *dial,
    ngx_uint_t slot);
static ngx_uint_t ngx_zltunnel_dial_refused(ngx_zltunnel_dial_t *dial);


ngx_zltunnel_channel_t *
ngx_zltunnel_dial_search_local(ngx_zltunnel_dial_t *dial)
{
    ngx_zltunnel_channel_t  *channel;

    channel = dial->lanes ? ngx_zltunnel_lane_open(dial->link.peer, NULL)
                          : NULL;

    if (channel) {
        return channel;
    }

    return ngx_zltunnel_channel_pop(dial->link.peer,
                                    ngx_zltunnel_dial_for(dial));
}


void
ngx_zltunnel_dial_search(ngx_zltunnel_dial_t *dial, ngx_uint_t fresh)
{
    ngx_uint_t                  slot;
    ngx_zltunnel_dial_e         rc;
    ngx_zltunnel_channel_t     *channel;
    ngx_zltunnel_registry_t    *registry;
    ngx_zltunnel_dial_state_e   state;

    registry = dial->registry;

    ngx_zltunnel_dial_state(dial, NGX_ZLTUNNEL_DIAL_LOOKING);

    if (!fresh) {
        channel = ngx_zltunnel_dial_search_local(dial);

        if (channel) {
            ngx_zltunnel_dial_connect(dial, channel, NGX_ZLTUNNEL_LOCAL);
            return;
        }
    }

    /* lanes share one, and nginx accepts the clients of http as it likes */

    if (dial->held == NULL && !dial->lanes) {
        dial->held = ngx_zltunnel_room_hold();
    }

    ngx_zltunnel_zone_lock(registry);
    rc = ngx_zltunnel_dial_where(dial, fresh, &slot, &state);
    ngx_zltunnel_zone_unlock(registry);

    ngx_zltunnel_dial_state(dial, state);

    if (rc != NGX_ZLTUNNEL_DIAL_OK) {

        if (dial->asked[0] || dial->asked[1]) {
            /* there is one that may yet answer */
            return;
        }

        ngx_zltunnel_dial_nowhere(dial, rc);
        return;
    }

    if (dial->remote && state == NGX_ZLTUNNEL_DIAL_WAITING) {
        ngx_zltunnel_reach(dial);
        return;
    }

    if (slot == NGX_ZLTUNNEL_NO_SLOT) {

        /*
         * The agent is away, and ngx_zltunnel_dial_told_up() will tell, if no
         * other node has one; or there are others before, or no memory for one
         * more that waits.
         */

        if (state == NGX_ZLTUNNEL_DIAL_WAITING && !dial->asked[0]
            && !dial->asked[1])
        {
            (void) ngx_zltunnel_dial_elsewhere(dial);
        }

        return;
    }

    if (state == NGX_ZLTUNNEL_DIAL_TAKING) {
        ngx_zltunnel_dial_take(dial, slot);
        return;
    }

    ngx_zltunnel_dial_announce(dial, slot);
    ngx_zltunnel_dial_search_insist(dial);
}


/* there is no such service, or no room for one more that waits for it */

static void
ngx_zltunnel_dial_nowhere(ngx_zltunnel_dial_t *dial, ngx_zltunnel_dial_e rc)
{
    if (rc == NGX_ZLTUNNEL_DIAL_NO_SERVICE
        && ngx_zltunnel_dial_follow(dial) == NGX_OK)
    {
        ngx_zltunnel_dial_search(dial, 0);
        return;
    }

    if (rc == NGX_ZLTUNNEL_DIAL_LIMIT) {
        ngx_zltunnel_log_complain(dial->log, "client refused: limit of %s",
                                  "max_pending");
    }

    if (rc == NGX_ZLTUNNEL_DIAL_SHUTDOWN
        && ngx_zltunnel_log_paced(dial->log, "services not reached"))
    {
        ngx_log_error(NGX_LOG_ERR, dial->log, 0, "service \"%V\" of agent "
                      "\"%V\" was not reached: this worker shuts down, and "
                      "has no channel to the agent left", &dial->service,
                      &dial->tunnel);
    }

    ngx_zltunnel_dial_finish(dial, rc);
}


static void
ngx_zltunnel_dial_take(ngx_zltunnel_dial_t *dial, ngx_uint_t slot)
{
    ngx_zltunnel_ipc_t  msg;

    ngx_memzero(&msg, sizeof(ngx_zltunnel_ipc_t));

    msg.type = NGX_ZLTUNNEL_IPC_TAKE;
    msg.code = dial->requests;
    ngx_memcpy(msg.tunnel_id, dial->tunnel_id, ZLT_ID_SIZE);
    ngx_memcpy(msg.connection_id, dial->id, ZLT_ID_SIZE);

    if (ngx_zltunnel_ipc_send(dial->registry, slot, &msg, NULL, -1)
        != NGX_OK)
    {
        ngx_zltunnel_dial_search(dial, 1);
        return;
    }

    ngx_add_timer(&dial->timer, ngx_min(NGX_ZLTUNNEL_DIAL_TAKE_TIME,
                                        ngx_zltunnel_dial_left(dial)));
}


/* NGX_OK: the service has moved to another tunnel, and so has the dial */

static ngx_int_t
ngx_zltunnel_dial_follow(ngx_zltunnel_dial_t *dial)
{
    u_char                      id[ZLT_ID_SIZE], token[32];
    ngx_zltunnel_registry_t    *registry;
    ngx_zltunnel_sh_service_t  *service;

    if (dial->asked[1] || (dial->lost && dial->last)) {

        /* bytes that an agent may have had go to no other one */

        return NGX_DECLINED;
    }

    registry = dial->registry;

    ngx_zltunnel_zone_lock_read(registry);

    service = ngx_zltunnel_service_find(registry->sh, &dial->service,
                                        dial->service_id);
    if (service) {
        ngx_memcpy(id, service->tunnel->id, ZLT_ID_SIZE);
        ngx_memcpy(token, service->tunnel->token, 32);

        dial->channels = (service->tunnel->features & ZLT_F_CHANNELS) ? 1 : 0;
    }

    ngx_zltunnel_zone_unlock(registry);

    return service ? ngx_zltunnel_dial_search_move(dial, id, token)
                   : NGX_DECLINED;
}


ngx_int_t
ngx_zltunnel_dial_search_move(ngx_zltunnel_dial_t *dial, u_char *id,
    u_char *token)
{
    ngx_zltunnel_peer_t  *peer;

    peer = ngx_zltunnel_peer_get(dial->registry, id, token, &dial->tunnel);
    if (peer == NULL) {
        return NGX_ERROR;
    }

    ngx_zltunnel_dial_unpend(dial);
    ngx_zltunnel_dial_turn_over(dial, 0);
    ngx_zltunnel_peer_unlink(&dial->link);
    ngx_zltunnel_peer_link(peer, &dial->link);

    ngx_memcpy(dial->tunnel_id, id, ZLT_ID_SIZE);
    dial->unanswered = 0;
    dial->taken = 0;

    return NGX_OK;
}


/*
 * Under the lock: who is to be asked for a channel, if anybody is, and the
 * state that leads to.  Another worker that has an idle one; or the agent, by
 * the worker with the control channel.
 */

static ngx_zltunnel_dial_e
ngx_zltunnel_dial_where(ngx_zltunnel_dial_t *dial, ngx_uint_t fresh,
    ngx_uint_t *slot, ngx_zltunnel_dial_state_e *state)
{
    ngx_uint_t                  live, last;
    ngx_zltunnel_sh_t          *sh;
    ngx_zltunnel_sh_tunnel_t   *tunnel;
    ngx_zltunnel_sh_service_t  *service;

    sh = dial->registry->sh;
    *slot = NGX_ZLTUNNEL_NO_SLOT;
    *state = NGX_ZLTUNNEL_DIAL_WAITING;

    tunnel = ngx_zltunnel_tunnel_find(sh, dial->tunnel_id);
    service = tunnel ? ngx_zltunnel_service_by_id(tunnel, dial->service_id)
                     : NULL;

    if (service == NULL) {
        return NGX_ZLTUNNEL_DIAL_NO_SERVICE;
    }

    dial->remote = (tunnel->remote != NULL);

    live = (tunnel->state == NGX_ZLTUNNEL_LIVE && !service->stale);
    last = tunnel->remote == NULL && ngx_zltunnel_stay_last(dial->registry);

    if (last || (live && !fresh)) {
        *slot = ngx_zltunnel_dial_holder(dial, tunnel);

        if (*slot != NGX_ZLTUNNEL_NO_SLOT) {
            *state = NGX_ZLTUNNEL_DIAL_TAKING;
            return NGX_ZLTUNNEL_DIAL_OK;
        }
    }

    if (last) {
        return ngx_zltunnel_dial_last(dial);
    }

    if (live && ngx_zltunnel_dial_turn_take(dial) != NGX_OK) {
        *state = NGX_ZLTUNNEL_DIAL_QUEUED;
        return NGX_ZLTUNNEL_DIAL_OK;
    }

    if (dial->remote) {

        /* this worker opens the channel, and nobody else hears of it */

        return NGX_ZLTUNNEL_DIAL_OK;
    }

    switch (ngx_zltunnel_dial_pending(dial, tunnel, live)) {

    case NGX_OK:
        break;

    case NGX_DECLINED:
        return NGX_ZLTUNNEL_DIAL_LIMIT;

    default:
        return live ? NGX_ZLTUNNEL_DIAL_OK : NGX_ZLTUNNEL_DIAL_LIMIT;
    }

    if (live) {
        *slot = tunnel->slot;
    }

    return NGX_ZLTUNNEL_DIAL_OK;
}


/*
 * No fresh one can come, but what an agent has begun before this worker exits:
 * for that the dial waits a while.
 */

static ngx_zltunnel_dial_e
ngx_zltunnel_dial_last(ngx_zltunnel_dial_t *dial)
{
    if (dial->entry == NGX_ZLTUNNEL_DIAL_ANNOUNCED
        && ngx_current_msec - dial->since < NGX_ZLTUNNEL_DIAL_LATE)
    {
        ngx_zltunnel_dial_search_insist(dial);
        return NGX_ZLTUNNEL_DIAL_OK;
    }

    return NGX_ZLTUNNEL_DIAL_SHUTDOWN;
}


/*
 * Under the lock: counts the dial among those without a channel.  How many
 * there may be is limited while the agent is away: NGX_DECLINED.  NGX_ERROR:
 * there is no memory.
 */

static ngx_int_t
ngx_zltunnel_dial_pending(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_sh_tunnel_t *tunnel, ngx_uint_t live)
{
    ngx_zltunnel_sh_pending_t  *pending;

    if (dial->entry != NGX_ZLTUNNEL_DIAL_UNKNOWN) {
        pending = ngx_zltunnel_pending_find(dial->registry->sh, dial->id);

        if (pending) {

            /* a channel that has answered is lost: another one may */

            pending->answered = 0;
            pending->expires = ngx_current_msec + dial->timeout + 1000;
            return NGX_OK;
        }
    }

    if (!live && tunnel->npending >= dial->registry->max_pending) {
        return NGX_DECLINED;
    }

    pending = ngx_zltunnel_pending_add(dial->registry, tunnel, dial->id,
                                       dial->datagrams, dial->timeout + 1000);
    if (pending == NULL) {
        return NGX_ERROR;
    }

    pending->requests = dial->requests;

    if (dial->entry == NGX_ZLTUNNEL_DIAL_UNKNOWN) {
        dial->entry = NGX_ZLTUNNEL_DIAL_PENDING;
    }

    return NGX_OK;
}


/*
 * Under the lock: another worker with idle channels of the tunnel, at random.
 * Not one that drains, but for those that drain with us.
 */

static ngx_uint_t
ngx_zltunnel_dial_holder(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_sh_tunnel_t *tunnel)
{
    ngx_uint_t                i, n, total;
    ngx_zltunnel_sh_t        *sh;
    ngx_zltunnel_registry_t  *registry;

    registry = dial->registry;
    sh = registry->sh;

    if (dial->taken == NGX_ZLTUNNEL_DIAL_TAKES || tunnel->nidle == 0) {
        return NGX_ZLTUNNEL_NO_SLOT;
    }

    total = 0;

    for (i = 0; i < sh->nslots; i++) {

        if (i != registry->slot
            && (!ngx_zltunnel_slot(sh, i)->exiting || ngx_exiting))
        {
            total += tunnel->idle[i];
        }
    }

    if (total == 0) {
        return NGX_ZLTUNNEL_NO_SLOT;
    }

    n = ngx_random() % total;

    for (i = 0; i < sh->nslots; i++) {

        if (i == registry->slot
            || (ngx_zltunnel_slot(sh, i)->exiting && !ngx_exiting))
        {
            continue;
        }

        if (n < tunnel->idle[i]) {
            dial->taken++;
            return i;
        }

        n -= tunnel->idle[i];
    }

    return NGX_ZLTUNNEL_NO_SLOT;
}


/* asks the control channel's worker to send Connect */

static void
ngx_zltunnel_dial_announce(ngx_zltunnel_dial_t *dial, ngx_uint_t slot)
{
    ngx_zltunnel_ipc_t  msg;

    dial->entry = NGX_ZLTUNNEL_DIAL_ANNOUNCED;
    dial->unanswered++;

    ngx_memzero(&msg, sizeof(ngx_zltunnel_ipc_t));

    msg.type = NGX_ZLTUNNEL_IPC_CONNECT;
    ngx_memcpy(msg.tunnel_id, dial->tunnel_id, ZLT_ID_SIZE);
    ngx_memcpy(msg.service_id, dial->service_id, ZLT_ID_SIZE);
    ngx_memcpy(msg.connection_id, dial->id, ZLT_ID_SIZE);

    msg.text_len = ngx_min(dial->client_addr.len, NGX_ZLTUNNEL_TEXT_MAX);
    ngx_memcpy(msg.text, dial->client_addr.data, msg.text_len);
    msg.data_len = dial->target.len;

    /* here perhaps, even if the tunnel was taken over: an exiting worker
       keeps its control channels */

    if (dial->link.peer->control) {
        ngx_zltunnel_ipc_handle(dial->registry, &msg, dial->target.data);
        return;
    }

    (void) ngx_zltunnel_ipc_send(dial->registry, slot, &msg,
                                 dial->target.data, -1);
}


/* Connect, or what it brought about, may get lost with a worker */

void
ngx_zltunnel_dial_search_insist(ngx_zltunnel_dial_t *dial)
{
    if (dial->channels) {
        ngx_add_timer(&dial->timer, ngx_min(NGX_ZLTUNNEL_REPEAT_AFTER,
                                            ngx_zltunnel_dial_left(dial)));
    }
}


void
ngx_zltunnel_dial_search_timer(ngx_event_t *ev)
{
    ngx_msec_t            left;
    ngx_zltunnel_dial_t  *dial;

    dial = ev->data;

    if (dial->state == NGX_ZLTUNNEL_DIAL_FAULT) {
        ngx_zltunnel_dial_finish(dial, NGX_ZLTUNNEL_DIAL_ERROR);
        return;
    }

    if (ngx_zltunnel_dial_searches(dial) && ngx_zltunnel_dial_refused(dial)) {

        /* what has become idle meanwhile, or in its turn, a fresh one again */

        ngx_add_timer(&dial->timer, ngx_zltunnel_dial_left(dial));
        ngx_zltunnel_dial_search(dial, 0);
        return;
    }

    left = ngx_zltunnel_dial_left(dial);

    if (left == 0) {
        left = ngx_zltunnel_dial_turn_left(dial);

        if (left) {
            ngx_add_timer(&dial->timer, left);
            return;
        }

        if (ngx_zltunnel_log_paced(dial->log, "services not reached")) {
            ngx_log_error(NGX_LOG_ERR, dial->log, NGX_ETIMEDOUT,
                          "service \"%V\" of agent \"%V\" was not reached in "
                          "time", &dial->service, &dial->tunnel);
        }

        ngx_zltunnel_dial_finish(dial, NGX_ZLTUNNEL_DIAL_TIMEOUT);
        return;
    }

    ngx_add_timer(&dial->timer, left);

    if (dial->state == NGX_ZLTUNNEL_DIAL_TAKING
        || (dial->state == NGX_ZLTUNNEL_DIAL_WAITING
            && dial->entry == NGX_ZLTUNNEL_DIAL_ANNOUNCED && dial->channels))
    {
        ngx_zltunnel_dial_search(dial, 1);
        return;
    }

    if (dial->state == NGX_ZLTUNNEL_DIAL_QUEUED) {
        ngx_zltunnel_dial_turn_next(dial->link.peer);
        return;
    }

    if (dial->silent || dial->state != NGX_ZLTUNNEL_DIAL_ASKED) {
        return;
    }

    if (dial->remote) {

        /* What another node has been told, another of its workers knows nothing
           of.  But is it there? */

        dial->silent = 1;
        ngx_zltunnel_lane_silent(dial->asked[0]);

        ngx_zltunnel_reach(dial);
        return;
    }

    /*
     * The first channel is silent: dropped on the way, perhaps, and then so
     * are others as idle as it was.  A fresh one is asked for; if the agent
     * is merely slow to reach the service, it says "duplicate".
     */

    dial->silent = 1;
    ngx_zltunnel_lane_silent(dial->asked[0]);

    if (dial->registry->slot != NGX_ZLTUNNEL_NO_SLOT) {
        ngx_zltunnel_dial_worker(dial)->repeated++;
    }

    ngx_zltunnel_dial_search(dial, 1);
}


/*
 * 1: the agent is there and has opened the channel that it was asked for, but
 * no worker had room for it.  The client goes on waiting, as those in the queues
 * of the sockets do, and so do those behind it.
 */

static ngx_uint_t
ngx_zltunnel_dial_refused(ngx_zltunnel_dial_t *dial)
{
    ngx_uint_t                  refused;
    ngx_zltunnel_sh_pending_t  *pending;

    if (dial->entry == NGX_ZLTUNNEL_DIAL_UNKNOWN) {
        return 0;
    }

    refused = 0;

    ngx_zltunnel_zone_lock(dial->registry);

    pending = ngx_zltunnel_pending_find(dial->registry->sh, dial->id);

    if (pending) {
        refused = pending->refused;
        pending->refused = 0;
    }

    ngx_zltunnel_zone_unlock(dial->registry);

    if (refused) {
        dial->since = ngx_current_msec;
        dial->taken = 0;
        ngx_zltunnel_dial_turn_over(dial, 1);
    }

    return refused;
}
