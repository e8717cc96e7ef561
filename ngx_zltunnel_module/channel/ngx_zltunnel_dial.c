
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The one primitive by which everyone gets a channel to a service.
 *
 * A dial looks for a data channel of the service's tunnel: an idle one in
 * this worker; an idle one in another worker, which sends it; or a fresh one,
 * which the agent opens when the control channel's worker sends Connect.  It
 * sends Connect on it (a fresh one has had it), the client's first bytes
 * behind it if the caller likes, and waits for ConnectAck.
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
 *
 * While the tunnel's agent is away, or has not registered the service again
 * yet, the dial waits; ngx_zltunnel_dial_told_up() sends it on its way.  The
 * service may have moved by then, to another tunnel of its token.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_dial.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_dial_connect.h"
#include "ngx_zltunnel_dial_turn.h"
#include "ngx_zltunnel_lane.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_release.h"
#include "ngx_zltunnel_transport.h"
#include "ngx_zltunnel_worker.h"

#include "zlt_msg.h"


#define ngx_zltunnel_dial_for(dial)                                           \
    ((dial)->requests ? NGX_ZLTUNNEL_FOR_REQUESTS : NGX_ZLTUNNEL_FOR_BYTES)


#define NGX_ZLTUNNEL_DIAL_TAKES      2    /* tries at other workers */
#define NGX_ZLTUNNEL_DIAL_TAKE_TIME  250  /* ms for each */


static ngx_zltunnel_dial_e ngx_zltunnel_dial_enter(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_sh_service_t *service, u_char *token, const char **limit);
static ngx_zltunnel_dial_e ngx_zltunnel_dial_where(ngx_zltunnel_dial_t *dial,
    ngx_uint_t fresh, ngx_uint_t *slot, ngx_zltunnel_dial_state_e *state);
static void ngx_zltunnel_dial_nowhere(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_dial_e rc);
static void ngx_zltunnel_dial_take(ngx_zltunnel_dial_t *dial,
    ngx_uint_t slot);
static ngx_int_t ngx_zltunnel_dial_pending(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_sh_tunnel_t *tunnel, ngx_uint_t live);
static ngx_int_t ngx_zltunnel_dial_follow(ngx_zltunnel_dial_t *dial);
static ngx_uint_t ngx_zltunnel_dial_holder(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_sh_tunnel_t *tunnel);
static void ngx_zltunnel_dial_announce(ngx_zltunnel_dial_t *dial,
    ngx_uint_t slot);
static void ngx_zltunnel_dial_named(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_admission_t *admission);
static void ngx_zltunnel_dial_timer(ngx_event_t *ev);
static ngx_uint_t ngx_zltunnel_dial_refused(ngx_zltunnel_dial_t *dial);
static void ngx_zltunnel_dial_note(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_dial_e rc);


static ngx_rbtree_t       ngx_zltunnel_dials;
static ngx_rbtree_node_t  ngx_zltunnel_dials_sentinel;


void
ngx_zltunnel_dial_port(ngx_zltunnel_dial_t *dial, in_port_t port)
{
    ngx_zltunnel_admission_t  admission;

    ngx_zltunnel_zone_lock(dial->registry);

    ngx_zltunnel_dial_admit(dial,
                            ngx_zltunnel_port_service(dial->registry->sh,
                                                      port, 0),
                            &admission);

    ngx_zltunnel_zone_unlock(dial->registry);

    ngx_zltunnel_dial_start(dial, &admission);
}


void
ngx_zltunnel_dial_name(ngx_zltunnel_dial_t *dial, ngx_str_t *name,
    ngx_str_t *token)
{
    ngx_zltunnel_admission_t  admission;

    ngx_zltunnel_zone_lock(dial->registry);

    ngx_zltunnel_dial_admit(dial,
                            ngx_zltunnel_service_by_name(dial->registry->sh,
                                                         name, 0, token),
                            &admission);

    ngx_zltunnel_zone_unlock(dial->registry);

    ngx_zltunnel_dial_named(dial, &admission);
}


void
ngx_zltunnel_dial_host(ngx_zltunnel_dial_t *dial, ngx_str_t *host,
    ngx_str_t *token)
{
    ngx_zltunnel_admission_t  admission;

    ngx_zltunnel_zone_lock(dial->registry);

    ngx_zltunnel_dial_admit(dial,
                            ngx_zltunnel_host_service(dial->registry->sh,
                                                      host, token),
                            &admission);

    ngx_zltunnel_zone_unlock(dial->registry);

    ngx_zltunnel_dial_named(dial, &admission);
}


static void
ngx_zltunnel_dial_named(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_admission_t *admission)
{
    if (admission->rc == NGX_ZLTUNNEL_DIAL_OK && !dial->channels) {

        /* of those with the name none can carry it, so why wait */

        admission->rc = NGX_ZLTUNNEL_DIAL_INCAPABLE;
    }

    ngx_zltunnel_dial_start(dial, admission);
}


void
ngx_zltunnel_dial_service(ngx_zltunnel_dial_t *dial, u_char *tunnel_id,
    u_char *service_id)
{
    ngx_zltunnel_admission_t    admission;
    ngx_zltunnel_sh_tunnel_t   *tunnel;
    ngx_zltunnel_sh_service_t  *service;

    ngx_zltunnel_zone_lock(dial->registry);

    tunnel = ngx_zltunnel_tunnel_find(dial->registry->sh, tunnel_id);
    service = tunnel ? ngx_zltunnel_service_by_id(tunnel, service_id) : NULL;

    ngx_zltunnel_dial_admit(dial, service, &admission);

    ngx_zltunnel_zone_unlock(dial->registry);

    ngx_zltunnel_dial_start(dial, &admission);
}


void
ngx_zltunnel_dial_start(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_admission_t *admission)
{
    ngx_zltunnel_peer_t     *peer;
    ngx_zltunnel_channel_t  *channel;

    if (ngx_zltunnel_dials.root == NULL) {
        ngx_rbtree_init(&ngx_zltunnel_dials, &ngx_zltunnel_dials_sentinel,
                        ngx_rbtree_insert_value);
    }

    /* the asking generation and worker, and 80 random bits */

    ngx_zltunnel_util_random(dial->id, ZLT_ID_SIZE);
    dial->id[0] = (u_char) (ngx_zltunnel_ipc_generation >> 24);
    dial->id[1] = (u_char) (ngx_zltunnel_ipc_generation >> 16);
    dial->id[2] = (u_char) (ngx_zltunnel_ipc_generation >> 8);
    dial->id[3] = (u_char) ngx_zltunnel_ipc_generation;
    dial->id[4] = (u_char) (ngx_worker >> 8);
    dial->id[5] = (u_char) ngx_worker;

    ngx_zltunnel_dial_state(dial, NGX_ZLTUNNEL_DIAL_LOOKING);

    dial->started = ngx_current_msec;
    dial->since = ngx_current_msec;

    dial->node.key = ngx_zltunnel_id_key(dial->id);
    ngx_rbtree_insert(&ngx_zltunnel_dials, &dial->node);

    dial->timer.handler = ngx_zltunnel_dial_timer;
    dial->timer.data = dial;
    dial->timer.log = dial->log;

    if (admission->rc != NGX_ZLTUNNEL_DIAL_OK) {

        if (admission->limit) {
            ngx_zltunnel_log_complain(dial->log,
                                      "client refused: limit of %s",
                                      admission->limit);
        }

        ngx_zltunnel_dial_finish(dial, admission->rc);
        return;
    }

    peer = ngx_zltunnel_peer_get(dial->registry, dial->tunnel_id,
                                 admission->token, &dial->tunnel);
    if (peer == NULL) {
        ngx_zltunnel_dial_finish(dial, NGX_ZLTUNNEL_DIAL_ERROR);
        return;
    }

    dial->link.cut = ngx_zltunnel_dial_cut;
    ngx_zltunnel_peer_link(peer, &dial->link);

    if (dial->listening && peer->share) {
        dial->share = peer->share;
        dial->share->clients++;

        ngx_zltunnel_listener_served(dial->registry, dial->listening,
                                     dial->share);
    }

    if (dial->timeout == 0
        || dial->timeout > dial->registry->connect_timeout)
    {
        dial->timeout = dial->registry->connect_timeout;
    }

    ngx_add_timer(&dial->timer, dial->timeout);

    channel = dial->found;

    if (channel) {
        dial->found = NULL;
        ngx_zltunnel_dial_connect(dial, channel, NGX_ZLTUNNEL_LOCAL);
        return;
    }

    ngx_zltunnel_dial_next(dial, 0);
}


void
ngx_zltunnel_dial_admit(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_sh_service_t *service, ngx_zltunnel_admission_t *admission)
{
    admission->limit = NULL;

    if (service == NULL) {
        admission->rc = NGX_ZLTUNNEL_DIAL_NO_SERVICE;
        return;
    }

    admission->rc = ngx_zltunnel_dial_enter(dial, service, admission->token,
                                            &admission->limit);

    /* the lock is taken once, for most connections */

    if (admission->rc == NGX_ZLTUNNEL_DIAL_OK && !dial->lanes) {
        dial->found = ngx_zltunnel_channel_take(dial->registry,
                                                service->tunnel,
                                                ngx_zltunnel_dial_for(dial));
    }
}


static ngx_zltunnel_dial_e
ngx_zltunnel_dial_enter(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_sh_service_t *service, u_char *token, const char **limit)
{
    u_char                    *p;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    tunnel = service->tunnel;

    if ((service->flags & ZLT_R_INTERNAL) && !dial->local
        && !dial->datagrams)
    {
        *limit = "internal services to clients of this host";
        return NGX_ZLTUNNEL_DIAL_LIMIT;
    }

    if (!dial->datagrams
        && ngx_zltunnel_counter_active(service)
           >= dial->registry->max_connections)
    {
        *limit = "max_connections";
        return NGX_ZLTUNNEL_DIAL_LIMIT;
    }

    p = ngx_pnalloc(dial->pool, service->name_len + tunnel->name_len);
    if (p == NULL) {
        return NGX_ZLTUNNEL_DIAL_ERROR;
    }

    dial->service.data = p;
    dial->service.len = service->name_len;
    p = ngx_cpymem(p, service->name, service->name_len);

    dial->tunnel.data = p;
    dial->tunnel.len = tunnel->name_len;
    ngx_memcpy(p, tunnel->name, tunnel->name_len);

    ngx_memcpy(dial->tunnel_id, tunnel->id, ZLT_ID_SIZE);
    ngx_memcpy(dial->service_id, service->id, ZLT_ID_SIZE);
    ngx_memcpy(token, tunnel->token, 32);

    dial->channels = (tunnel->features & ZLT_F_CHANNELS) ? 1 : 0;

    if (dial->datagrams) {
        /* its sessions are counted */
        return NGX_ZLTUNNEL_DIAL_OK;
    }

    dial->counter = ngx_zltunnel_counter_get(dial->registry, service);

    if (dial->counter == NULL) {
        *limit = NGX_ZLTUNNEL_ZONE_LIMIT;
        return NGX_ZLTUNNEL_DIAL_ERROR;
    }

    dial->counter->total++;

    return NGX_ZLTUNNEL_DIAL_OK;
}


ngx_zltunnel_channel_t *
ngx_zltunnel_dial_local(ngx_zltunnel_dial_t *dial)
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
ngx_zltunnel_dial_next(ngx_zltunnel_dial_t *dial, ngx_uint_t fresh)
{
    ngx_uint_t                  slot;
    ngx_zltunnel_dial_e         rc;
    ngx_zltunnel_channel_t     *channel;
    ngx_zltunnel_registry_t    *registry;
    ngx_zltunnel_dial_state_e   state;

    registry = dial->registry;

    ngx_zltunnel_dial_state(dial, NGX_ZLTUNNEL_DIAL_LOOKING);

    if (!fresh) {
        channel = ngx_zltunnel_dial_local(dial);

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

    if (slot == NGX_ZLTUNNEL_NO_SLOT) {

        /*
         * The agent is away, and ngx_zltunnel_dial_told_up() will tell; or
         * there are others before, or no memory for one more that waits.
         */

        return;
    }

    if (state == NGX_ZLTUNNEL_DIAL_TAKING) {
        ngx_zltunnel_dial_take(dial, slot);
        return;
    }

    ngx_zltunnel_dial_announce(dial, slot);
    ngx_zltunnel_dial_insist(dial);
}


/* there is no such service, or no room for one more that waits for it */

static void
ngx_zltunnel_dial_nowhere(ngx_zltunnel_dial_t *dial, ngx_zltunnel_dial_e rc)
{
    if (rc == NGX_ZLTUNNEL_DIAL_NO_SERVICE
        && ngx_zltunnel_dial_follow(dial) == NGX_OK)
    {
        ngx_zltunnel_dial_next(dial, 0);
        return;
    }

    if (rc == NGX_ZLTUNNEL_DIAL_LIMIT) {
        ngx_zltunnel_log_complain(dial->log, "client refused: limit of %s",
                                  "max_pending");
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
        ngx_zltunnel_dial_next(dial, 1);
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
    ngx_zltunnel_peer_t        *peer;
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

    if (service == NULL) {
        return NGX_DECLINED;
    }

    peer = ngx_zltunnel_peer_get(registry, id, token, &dial->tunnel);
    if (peer == NULL) {
        return NGX_ERROR;
    }

    /* what was asked of the former tunnel will not be answered */

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
    ngx_uint_t                  live;
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

    live = (tunnel->state == NGX_ZLTUNNEL_LIVE && !service->stale);

    if (live && !fresh) {
        *slot = ngx_zltunnel_dial_holder(dial, tunnel);

        if (*slot != NGX_ZLTUNNEL_NO_SLOT) {
            *state = NGX_ZLTUNNEL_DIAL_TAKING;
            return NGX_ZLTUNNEL_DIAL_OK;
        }
    }

    if (live && ngx_zltunnel_dial_turn_take(dial) != NGX_OK) {
        *state = NGX_ZLTUNNEL_DIAL_QUEUED;
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
ngx_zltunnel_dial_insist(ngx_zltunnel_dial_t *dial)
{
    if (dial->channels) {
        ngx_add_timer(&dial->timer, ngx_min(NGX_ZLTUNNEL_REPEAT_AFTER,
                                            ngx_zltunnel_dial_left(dial)));
    }
}


static void
ngx_zltunnel_dial_timer(ngx_event_t *ev)
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
        ngx_zltunnel_dial_next(dial, 0);
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
        ngx_zltunnel_dial_next(dial, 1);
        return;
    }

    if (dial->state == NGX_ZLTUNNEL_DIAL_QUEUED) {
        ngx_zltunnel_dial_turn_next(dial->link.peer);
        return;
    }

    if (dial->silent || dial->state != NGX_ZLTUNNEL_DIAL_ASKED) {
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

    ngx_zltunnel_dial_next(dial, 1);
}


/*
 * 1: the agent is there and has opened the channel that it was asked for, but no
 * worker had room for it.  The client goes on waiting, as those in the queues
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
            ngx_zltunnel_end_abort(&channel->end);
            ngx_zltunnel_channel_close(channel);
        }
    }
}


void
ngx_zltunnel_dial_finish(ngx_zltunnel_dial_t *dial, ngx_zltunnel_dial_e rc)
{
    ngx_zltunnel_dial_stop(dial);

    dial->connect_time = ngx_current_msec - dial->started;

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

    case NGX_ZLTUNNEL_DIAL_INCAPABLE:
        return "its agent is one of version 1, which carries nothing";

    default:
        return "the tunnel failed";
    }
}
