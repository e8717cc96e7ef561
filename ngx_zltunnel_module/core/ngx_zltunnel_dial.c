
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
 * yet, the dial waits; ngx_zltunnel_dial_up() sends it on its way.
 */


#include "ngx_zltunnel_dial.h"


#define NGX_ZLTUNNEL_DIAL_REPEATS  3
#define NGX_ZLTUNNEL_DIAL_TAKES    2
#define NGX_ZLTUNNEL_DIAL_TAKING   250    /* ms for another worker */
#define NGX_ZLTUNNEL_DIAL_CONNECT  1024   /* bytes of Connect at most */


static ngx_zltunnel_dial_e ngx_zltunnel_dial_admit(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_sh_service_t *service, u_char *token, const char **limit);
static void ngx_zltunnel_dial_next(ngx_zltunnel_dial_t *dial,
    ngx_uint_t fresh);
static ngx_int_t ngx_zltunnel_dial_pending(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_sh_tunnel_t *tunnel);
static ngx_uint_t ngx_zltunnel_dial_holder(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_sh_tunnel_t *tunnel);
static void ngx_zltunnel_dial_announce(ngx_zltunnel_dial_t *dial,
    ngx_uint_t slot);
static void ngx_zltunnel_dial_insist(ngx_zltunnel_dial_t *dial);
static void ngx_zltunnel_dial_use(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_channel_t *channel, ngx_uint_t way);
static void ngx_zltunnel_dial_uncork(ngx_event_t *ev);
static ngx_int_t ngx_zltunnel_dial_send(ngx_zltunnel_dial_t *dial,
    ngx_uint_t i);
static void ngx_zltunnel_dial_failed_on(ngx_zltunnel_dial_t *dial,
    ngx_uint_t i);
static void ngx_zltunnel_dial_declined(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg);
static void ngx_zltunnel_dial_retry(ngx_zltunnel_peer_t *peer,
    u_char *service_id);
static void ngx_zltunnel_dial_timer(ngx_event_t *ev);
static void ngx_zltunnel_dial_cut(ngx_zltunnel_link_t *link);
static void ngx_zltunnel_dial_unpend(ngx_zltunnel_dial_t *dial);
static void ngx_zltunnel_dial_finish(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_dial_e rc);
static ngx_zltunnel_dial_t *ngx_zltunnel_dial_find(u_char *id);
static ngx_msec_t ngx_zltunnel_dial_left(ngx_zltunnel_dial_t *dial);


#define ngx_zltunnel_dial_worker(dial)                                        \
    (&(dial)->registry->sh->workers[(dial)->registry->slot])


static ngx_rbtree_t       ngx_zltunnel_dials;
static ngx_rbtree_node_t  ngx_zltunnel_dials_sentinel;


void
ngx_zltunnel_dial_port(ngx_zltunnel_dial_t *dial, in_port_t port)
{
    ngx_zltunnel_lock(dial->registry);

    ngx_zltunnel_dial_found(dial,
                            ngx_zltunnel_service_by_port(dial->registry->sh,
                                                         port, 0));
}


void
ngx_zltunnel_dial_name(ngx_zltunnel_dial_t *dial, ngx_str_t *name,
    ngx_str_t *token)
{
    ngx_zltunnel_lock(dial->registry);

    ngx_zltunnel_dial_found(dial,
                            ngx_zltunnel_service_by_name(dial->registry->sh,
                                                         name, 0, token));
}


void
ngx_zltunnel_dial_service(ngx_zltunnel_dial_t *dial, u_char *tunnel_id,
    u_char *service_id)
{
    ngx_zltunnel_sh_tunnel_t   *tunnel;
    ngx_zltunnel_sh_service_t  *service;

    ngx_zltunnel_lock(dial->registry);

    tunnel = ngx_zltunnel_tunnel_find(dial->registry->sh, tunnel_id);
    service = tunnel ? ngx_zltunnel_service_by_id(tunnel, service_id) : NULL;

    ngx_zltunnel_dial_found(dial, service);
}


void
ngx_zltunnel_dial_found(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_sh_service_t *service)
{
    u_char                token[32];
    const char           *limit;
    ngx_zltunnel_dial_e   rc;
    ngx_zltunnel_peer_t  *peer;

    if (ngx_zltunnel_dials.root == NULL) {
        ngx_rbtree_init(&ngx_zltunnel_dials, &ngx_zltunnel_dials_sentinel,
                        ngx_rbtree_insert_value);
    }

    limit = NULL;

    /* the asking generation and worker, and 80 random bits */

    ngx_zltunnel_random(dial->id, ZLT_ID_SIZE);
    dial->id[0] = (u_char) (ngx_zltunnel_generation >> 24);
    dial->id[1] = (u_char) (ngx_zltunnel_generation >> 16);
    dial->id[2] = (u_char) (ngx_zltunnel_generation >> 8);
    dial->id[3] = (u_char) ngx_zltunnel_generation;
    dial->id[4] = (u_char) (ngx_worker >> 8);
    dial->id[5] = (u_char) ngx_worker;

    dial->running = 1;
    dial->searching = 1;
    dial->started = ngx_current_msec;

    dial->node.key = ngx_zltunnel_id_key(dial->id);
    ngx_rbtree_insert(&ngx_zltunnel_dials, &dial->node);

    dial->timer.handler = ngx_zltunnel_dial_timer;
    dial->timer.data = dial;
    dial->timer.log = dial->log;

    rc = service ? ngx_zltunnel_dial_admit(dial, service, token, &limit)
                 : NGX_ZLTUNNEL_DIAL_NO_SERVICE;

    ngx_zltunnel_unlock(dial->registry);

    if (rc != NGX_ZLTUNNEL_DIAL_OK) {

        if (limit) {
            ngx_zltunnel_complain(dial->log,
                                  "client refused: limit of %s", limit);
        }

        ngx_zltunnel_dial_finish(dial, rc);
        return;
    }

    peer = ngx_zltunnel_peer_get(dial->registry, dial->tunnel_id, token,
                                 &dial->tunnel);
    if (peer == NULL) {
        ngx_zltunnel_dial_finish(dial, NGX_ZLTUNNEL_DIAL_ERROR);
        return;
    }

    dial->link.cut = ngx_zltunnel_dial_cut;
    ngx_zltunnel_link_add(peer, &dial->link);

    if (dial->timeout == 0
        || dial->timeout > dial->registry->connect_timeout)
    {
        dial->timeout = dial->registry->connect_timeout;
    }

    ngx_add_timer(&dial->timer, dial->timeout);

    ngx_zltunnel_dial_next(dial, 0);
}


static ngx_zltunnel_dial_e
ngx_zltunnel_dial_admit(ngx_zltunnel_dial_t *dial,
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
        && ngx_zltunnel_service_active(service)
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

    if (dial->datagrams || !(tunnel->features & ZLT_F_REUSE)) {
        dial->framed = 0;
    }

    if (!(tunnel->features & ZLT_F_LANES)) {
        dial->lanes = 0;
    }

    if (dial->datagrams) {
        /* its sessions are counted */
        return NGX_ZLTUNNEL_DIAL_OK;
    }

    dial->counter = ngx_zltunnel_counter_get(dial->registry, service);

    if (dial->counter == NULL) {
        *limit = "zone, which is full";
        return NGX_ZLTUNNEL_DIAL_ERROR;
    }

    dial->counter->total++;

    return NGX_ZLTUNNEL_DIAL_OK;
}


static void
ngx_zltunnel_dial_next(ngx_zltunnel_dial_t *dial, ngx_uint_t fresh)
{
    ngx_uint_t                  slot;
    ngx_zltunnel_ipc_t          msg;
    ngx_zltunnel_dial_e         rc;
    ngx_zltunnel_channel_t     *channel;
    ngx_zltunnel_registry_t    *registry;
    ngx_zltunnel_sh_tunnel_t   *tunnel;
    ngx_zltunnel_sh_service_t  *service;

    registry = dial->registry;
    dial->searching = 1;
    dial->taking = 0;

    if (!fresh) {
        channel = dial->lanes ? ngx_zltunnel_lane_open(dial->link.peer, NULL)
                              : NULL;

        if (channel == NULL) {
            channel = ngx_zltunnel_channel_pop(dial->link.peer, 0);
        }

        if (channel) {
            ngx_zltunnel_dial_use(dial, channel, NGX_ZLTUNNEL_LOCAL);
            return;
        }
    }

    rc = NGX_ZLTUNNEL_DIAL_OK;
    slot = NGX_ZLTUNNEL_NO_SLOT;

    ngx_zltunnel_lock(registry);

    tunnel = ngx_zltunnel_tunnel_find(registry->sh, dial->tunnel_id);
    service = tunnel ? ngx_zltunnel_service_by_id(tunnel, dial->service_id)
                     : NULL;

    if (service == NULL) {
        rc = NGX_ZLTUNNEL_DIAL_NO_SERVICE;

    } else if (!fresh && tunnel->state == NGX_ZLTUNNEL_LIVE
               && !service->stale)
    {
        slot = ngx_zltunnel_dial_holder(dial, tunnel);
    }

    if (service && slot == NGX_ZLTUNNEL_NO_SLOT) {

        if (ngx_zltunnel_dial_pending(dial, tunnel) != NGX_OK) {
            rc = NGX_ZLTUNNEL_DIAL_LIMIT;

        } else if (tunnel->state == NGX_ZLTUNNEL_LIVE && !service->stale) {
            slot = tunnel->slot;
            fresh = 1;
        }
    }

    ngx_zltunnel_unlock(registry);

    if (rc != NGX_ZLTUNNEL_DIAL_OK) {

        if (dial->asked[0]) {
            /* there is one that may yet answer */
            return;
        }

        if (rc == NGX_ZLTUNNEL_DIAL_LIMIT) {
            ngx_zltunnel_complain(dial->log,
                                  "client refused: limit of %s",
                                  "max_pending");
        }

        ngx_zltunnel_dial_finish(dial, rc);
        return;
    }

    if (slot == NGX_ZLTUNNEL_NO_SLOT) {
        /* the agent is away: ngx_zltunnel_dial_up() will tell */
        return;
    }

    if (fresh) {
        ngx_zltunnel_dial_announce(dial, slot);
        ngx_zltunnel_dial_insist(dial);
        return;
    }

    ngx_memzero(&msg, sizeof(ngx_zltunnel_ipc_t));

    msg.type = NGX_ZLTUNNEL_IPC_TAKE;
    ngx_memcpy(msg.tunnel_id, dial->tunnel_id, ZLT_ID_SIZE);
    ngx_memcpy(msg.connection_id, dial->id, ZLT_ID_SIZE);

    if (ngx_zltunnel_ipc_send(registry, slot, &msg, NULL, -1) != NGX_OK) {
        ngx_zltunnel_dial_next(dial, 1);
        return;
    }

    dial->taking = 1;
    ngx_add_timer(&dial->timer, ngx_min(NGX_ZLTUNNEL_DIAL_TAKING,
                                        ngx_zltunnel_dial_left(dial)));
}


/* under the lock: counts the dial among those without a channel */

static ngx_int_t
ngx_zltunnel_dial_pending(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_sh_tunnel_t *tunnel)
{
    ngx_zltunnel_sh_pending_t  *pending;

    if (dial->pending) {
        pending = ngx_zltunnel_pending_find(dial->registry->sh, dial->id);

        if (pending) {

            /* a channel that has answered is lost: another one may */

            pending->answered = 0;
            return NGX_OK;
        }
    }

    if (tunnel->npending >= dial->registry->max_pending) {
        return NGX_DECLINED;
    }

    if (ngx_zltunnel_pending_add(dial->registry, tunnel, dial->id,
                                 dial->datagrams,
                                 dial->timeout + 1000)
        == NULL)
    {
        return NGX_DECLINED;
    }

    dial->pending = 1;

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
    ngx_uint_t                 i, n, total;
    ngx_zltunnel_registry_t   *registry;
    ngx_zltunnel_sh_worker_t  *w;

    registry = dial->registry;
    w = registry->sh->workers;

    if (dial->taken == NGX_ZLTUNNEL_DIAL_TAKES || tunnel->nidle == 0) {
        return NGX_ZLTUNNEL_NO_SLOT;
    }

    total = 0;

    for (i = 0; i < NGX_ZLTUNNEL_MAX_WORKERS; i++) {

        if (i != registry->slot && (!w[i].exiting || ngx_exiting)) {
            total += tunnel->idle[i];
        }
    }

    if (total == 0) {
        return NGX_ZLTUNNEL_NO_SLOT;
    }

    n = ngx_random() % total;

    for (i = 0; i < NGX_ZLTUNNEL_MAX_WORKERS; i++) {

        if (i == registry->slot || (w[i].exiting && !ngx_exiting)) {
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

    dial->announced = 1;
    dial->unanswered++;

    ngx_memzero(&msg, sizeof(ngx_zltunnel_ipc_t));

    msg.type = NGX_ZLTUNNEL_IPC_CONNECT;
    msg.code = dial->framed ? ZLT_C_FRAMED : 0;
    ngx_memcpy(msg.tunnel_id, dial->tunnel_id, ZLT_ID_SIZE);
    ngx_memcpy(msg.service_id, dial->service_id, ZLT_ID_SIZE);
    ngx_memcpy(msg.connection_id, dial->id, ZLT_ID_SIZE);

    msg.text_len = ngx_min(dial->client_addr.len, NGX_ZLTUNNEL_TEXT_MAX);
    ngx_memcpy(msg.text, dial->client_addr.data, msg.text_len);
    msg.data_len = dial->target.len;

    /* here perhaps, even if the tunnel was taken over: an exiting worker
       keeps its control channels */

    if (dial->link.peer->control
        && ngx_zltunnel_control_connect(dial->registry, &msg,
                                        dial->target.data)
           == NGX_OK)
    {
        return;
    }

    (void) ngx_zltunnel_ipc_send(dial->registry, slot, &msg,
                                 dial->target.data, -1);
}


/* Connect, or what it brought about, may get lost with a worker */

static void
ngx_zltunnel_dial_insist(ngx_zltunnel_dial_t *dial)
{
    if (dial->channels) {
        ngx_add_timer(&dial->timer, ngx_min(NGX_ZLTUNNEL_REPEAT_AFTER,
                                            ngx_zltunnel_dial_left(dial)));
    }
}


static void
ngx_zltunnel_dial_use(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_channel_t *channel, ngx_uint_t way)
{
    ngx_uint_t  i;

    /* a fresh channel may be on its way, and be the one that counts */

    if (!dial->announced) {
        ngx_zltunnel_dial_unpend(dial);
    }

    if (channel->fresh && dial->unanswered) {
        dial->unanswered--;
    }

    dial->searching = 0;
    dial->taking = 0;

    if (channel->end.lane) {
        way = NGX_ZLTUNNEL_LANED;
    }

    if (dial->registry->slot != NGX_ZLTUNNEL_NO_SLOT) {
        ngx_zltunnel_dial_worker(dial)->acquired[way]++;
    }

    if (dial->datagrams) {
        dial->channel = channel;
        ngx_zltunnel_dial_finish(dial, NGX_ZLTUNNEL_DIAL_OK);
        return;
    }

    i = dial->asked[0] ? 1 : 0;

    if (dial->asked[i]) {
        /* both are taken, which a late answer of another worker brings */
        ngx_zltunnel_channel_close(channel);
        return;
    }

    dial->asked[i] = channel;
    dial->sent[i] = 0;

    ngx_zltunnel_channel_ask(channel, dial);

    if (!channel->fresh) {
        dial->due |= 1 << i;
    }

    if (dial->corked && dial->last == 0) {
        dial->uncork.handler = ngx_zltunnel_dial_uncork;
        dial->uncork.data = dial;
        dial->uncork.log = dial->log;

        ngx_post_event(&dial->uncork, &ngx_posted_events);

    } else if (ngx_zltunnel_dial_send(dial, i) != NGX_OK) {
        ngx_zltunnel_dial_dead(dial, channel, channel->fresh);
        return;
    }

    if (!dial->silent) {
        ngx_add_timer(&dial->timer, ngx_min(NGX_ZLTUNNEL_REPEAT_AFTER,
                                            ngx_zltunnel_dial_left(dial)));
    }
}


/* no bytes have come in this turn, or they have uncorked it already */

static void
ngx_zltunnel_dial_uncork(ngx_event_t *ev)
{
    ngx_uint_t            i;
    ngx_zltunnel_dial_t  *dial;

    dial = ev->data;
    dial->corked = 0;

    for (i = 0; i < 2; i++) {

        if (dial->running && (dial->due & (1 << i))
            && ngx_zltunnel_dial_send(dial, i) != NGX_OK)
        {
            ngx_zltunnel_dial_dead(dial, dial->asked[i], 0);
            return;
        }
    }
}


/*
 * What waits on the channel, the 101 or an end marker; Connect, if it was not
 * sent otherwise; and the early bytes behind it.
 */

static ngx_int_t
ngx_zltunnel_dial_send(ngx_zltunnel_dial_t *dial, ngx_uint_t i)
{
    size_t                   len, head, size;
    ssize_t                  n;
    zlt_msg_t                m;
    ngx_connection_t        *c;
    ngx_zltunnel_channel_t  *channel;

    static u_char  out[NGX_ZLTUNNEL_ANSWER_SIZE + NGX_ZLTUNNEL_EARLY_SIZE
                       + NGX_ZLTUNNEL_DIAL_CONNECT];

    channel = dial->asked[i];
    c = channel->end.connection;

    len = channel->answer.len;

    if (len && channel->end.ws) {

        /* it goes by the same call, but is not within the WebSocket */

        if (ngx_zltunnel_ws_put(&channel->end, channel->answer.data, len)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        ngx_zltunnel_channel_answered(channel);
        len = 0;
    }

    if (len) {
        ngx_memcpy(out, channel->answer.data, len);
    }

    if (dial->due & (1 << i)) {
        dial->due &= ~(1 << i);

        ngx_memzero(&m, sizeof(zlt_msg_t));

        m.type = ZLT_CONNECT;
        m.service_id = dial->service_id;
        m.connection_id = dial->id;
        m.client_addr.data = dial->client_addr.data;
        m.client_addr.len = dial->client_addr.len;

        if (dial->target.len) {
            m.ext |= ZLT_X_TARGET;
            m.target.data = dial->target.data;
            m.target.len = dial->target.len;
        }

        if (channel->end.frames) {
            m.ext |= ZLT_X_FLAGS;
            m.flags = ZLT_C_FRAMED;
        }

        len += zlt_msg_encode(&m, out + len, NGX_ZLTUNNEL_DIAL_CONNECT);
    }

    size = dial->last - dial->sent[i];

    if (len + size == 0) {
        return ngx_zltunnel_end_flush(&channel->end) == NGX_ERROR ? NGX_ERROR
                                                                  : NGX_OK;
    }

    head = 0;

    if (size && channel->end.frames) {
        size = zlt_frames_data(&channel->frames.out, size);
        head = zlt_frames_pending(&channel->frames.out);

        (void) zlt_frames_prefix(&channel->frames.out, out + len + head);
    }

    if (size) {
        ngx_memcpy(out + len + head, dial->buf + dial->sent[i], size);
    }

    if (!c->write->ready) {
        /* ngx_zltunnel_dial_writable() */
        return len ? NGX_ERROR : NGX_OK;
    }

    n = ngx_zltunnel_end_push(&channel->end, out, len + head + size);

    if (n == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (n == NGX_AGAIN) {
        n = 0;
    }

    if ((size_t) n < len) {

        /* nothing was under way on it, so it takes a frame or is dead */

        return NGX_ERROR;
    }

    n -= len;

    if (channel->end.frames) {
        n = zlt_frames_sent(&channel->frames.out, n);
    }

    dial->sent[i] += n;

    ngx_zltunnel_channel_answered(channel);

    return ngx_handle_write_event(c->write, 0);
}


size_t
ngx_zltunnel_dial_room(ngx_zltunnel_dial_t *dial, u_char **to)
{
    if (dial->buf == NULL) {
        dial->buf = ngx_alloc(NGX_ZLTUNNEL_EARLY_SIZE, dial->log);

        if (dial->buf == NULL) {
            return 0;
        }
    }

    *to = dial->buf + dial->last;

    return NGX_ZLTUNNEL_EARLY_SIZE - dial->last;
}


void
ngx_zltunnel_dial_put(ngx_zltunnel_dial_t *dial, size_t n)
{
    ngx_uint_t  i, due;

    dial->last += n;

    for (i = 0; i < 2; i++) {

        if (dial->running && dial->asked[i]) {
            due = dial->due & (1 << i);

            /*
             * An error is found by reading: the answer may have been sent
             * before whatever made the write fail.
             */

            if (ngx_zltunnel_dial_send(dial, i) != NGX_OK && due) {

                /* but for Connect, which has not been sent */

                ngx_zltunnel_dial_dead(dial, dial->asked[i], 0);
                return;
            }
        }
    }
}


void
ngx_zltunnel_dial_writable(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_channel_t *channel)
{
    ngx_uint_t  i;

    i = (dial->asked[0] == channel) ? 0 : 1;

    if (dial->sent[i] < dial->last) {
        (void) ngx_zltunnel_dial_send(dial, i);
    }
}


void
ngx_zltunnel_dial_answer(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_channel_t *channel, zlt_msg_t *m)
{
    size_t      len;
    u_char      reason[NGX_ZLTUNNEL_TEXT_MAX];
    ngx_uint_t  i;

    i = (dial->asked[0] == channel) ? 0 : 1;

    if (ngx_memcmp(m->connection_id, dial->id, ZLT_ID_SIZE) != 0) {
        ngx_log_error(NGX_LOG_INFO, dial->log, 0,
                      "%s with another connection id", zlt_msg_name(m->type));
        ngx_zltunnel_dial_dead(dial, channel, 1);
        return;
    }

    if (m->type == ZLT_CONNECT_ACK) {
        dial->asked[i] = NULL;
        dial->channel = channel;
        dial->sent[0] = dial->sent[i];
        channel->dial = NULL;

        ngx_zltunnel_dial_finish(dial, NGX_ZLTUNNEL_DIAL_OK);
        return;
    }

    dial->code = (m->ext & ZLT_X_CODE) ? m->code : 0;

    if (dial->code == ZLT_E_DUPLICATE
        && (dial->asked[!i] || dial->unanswered || !dial->lost))
    {
        /* the agent has acted on the other one, or on the control channel */

        ngx_zltunnel_dial_failed_on(dial, i);

        if (dial->asked[!i] == NULL) {
            dial->searching = 1;
            ngx_zltunnel_dial_insist(dial);
        }

        return;
    }

    /* the message is in the channel's buffer */

    len = ngx_min(m->reason.len, NGX_ZLTUNNEL_TEXT_MAX);
    ngx_memcpy(reason, m->reason.data, len);

    ngx_zltunnel_dial_failed_on(dial, i);

    ngx_zltunnel_dial_refused(dial, reason, len);
}


/* ConnectFail has come, the agent's end of the connection; of the channel only
   if it is not framed */

static void
ngx_zltunnel_dial_failed_on(ngx_zltunnel_dial_t *dial, ngx_uint_t i)
{
    ngx_zltunnel_channel_t  *channel;

    channel = dial->asked[i];

    dial->asked[i] = NULL;
    channel->dial = NULL;

    if (channel->end.frames) {
        channel->frames.in.end = ZLT_FRAMES_RESET;
    }

    ngx_zltunnel_channel_release(channel, 1);
}


void
ngx_zltunnel_dial_refused(ngx_zltunnel_dial_t *dial, const u_char *reason,
    size_t len)
{
    ngx_str_t  text;
    u_char     buf[NGX_ZLTUNNEL_TEXT_MAX];

    text.data = buf;
    text.len = ngx_zltunnel_printable(buf, sizeof(buf), reason, len);

    ngx_log_error(NGX_LOG_ERR, dial->log, 0,
                  "agent \"%V\" could not connect to service \"%V\": %V",
                  &dial->tunnel, &dial->service, &text);

    ngx_zltunnel_dial_finish(dial, NGX_ZLTUNNEL_DIAL_REFUSED);
}


void
ngx_zltunnel_dial_dead(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_channel_t *channel, ngx_uint_t acted)
{
    ngx_uint_t  i;

    if (acted) {
        dial->lost = 1;
    }

    i = (dial->asked[0] == channel) ? 0 : 1;

    dial->asked[i] = NULL;
    channel->dial = NULL;
    ngx_zltunnel_channel_close(channel);

    if (dial->asked[!i] || dial->searching) {
        return;
    }

    if (dial->repeats++ == NGX_ZLTUNNEL_DIAL_REPEATS) {
        ngx_log_error(NGX_LOG_ERR, dial->log, 0,
                      "data channels to service \"%V\" end without an answer",
                      &dial->service);
        ngx_zltunnel_dial_finish(dial, NGX_ZLTUNNEL_DIAL_ERROR);
        return;
    }

    if (dial->registry->slot != NGX_ZLTUNNEL_NO_SLOT) {
        ngx_zltunnel_dial_worker(dial)->repeated++;
    }

    ngx_zltunnel_dial_next(dial, dial->repeats > 1);
}


ngx_int_t
ngx_zltunnel_dial_fresh(ngx_zltunnel_channel_t *channel, u_char *connection_id)
{
    ngx_zltunnel_dial_t  *dial;

    dial = ngx_zltunnel_dial_find(connection_id);

    if (dial == NULL) {
        return NGX_DECLINED;
    }

    ngx_zltunnel_dial_use(dial, channel, NGX_ZLTUNNEL_FRESH);

    return NGX_OK;
}


void
ngx_zltunnel_dial_given(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, ngx_socket_t fd, u_char *data)
{
    size_t                   len;
    ngx_int_t                rc;
    ngx_uint_t               way;
    ngx_connection_t        *c;
    ngx_zltunnel_kind_e      kind;
    ngx_zltunnel_dial_t     *dial;
    ngx_zltunnel_channel_t  *channel, *lane;

    dial = ngx_zltunnel_dial_find(msg->connection_id);

    if (dial == NULL) {
        /* its client has gone */
        ngx_zltunnel_dial_declined(registry, msg);
        (void) ngx_close_socket(fd);
        return;
    }

    c = ngx_zltunnel_connection_create(fd, ngx_cycle->log);
    if (c == NULL) {
        ngx_zltunnel_dial_declined(registry, msg);
        ngx_zltunnel_dial_none(registry, msg);
        return;
    }

    if (msg->type == NGX_ZLTUNNEL_IPC_BRIDGE) {
        kind = NGX_ZLTUNNEL_BRIDGE;
        way = NGX_ZLTUNNEL_BRIDGED;

    } else {
        kind = NGX_ZLTUNNEL_PLAIN;
        way = NGX_ZLTUNNEL_MOVED;
    }

    channel = ngx_zltunnel_channel_create(registry, c, kind);
    if (channel == NULL) {
        ngx_zltunnel_dial_declined(registry, msg);
        ngx_zltunnel_connection_close(c);
        ngx_zltunnel_dial_none(registry, msg);
        return;
    }

    if (kind == NGX_ZLTUNNEL_BRIDGE) {
        ngx_zltunnel_end_bridge(&channel->end, registry, msg->bridge_id,
                                msg->slot, msg->from);
    }

    channel->epoch = msg->epoch;
    ngx_memcpy(channel->tunnel_id, msg->tunnel_id, ZLT_ID_SIZE);

    if (msg->code) {
        channel->fresh = 1;
        way = NGX_ZLTUNNEL_FRESH;
    }

    rc = NGX_OK;
    len = msg->data_len;

    channel->websocket = msg->ws ? 1 : 0;

    /* a bridge leads to the inside of its WebSocket */

    if (msg->ws && kind == NGX_ZLTUNNEL_PLAIN) {
        rc = ngx_zltunnel_ws_restore(&channel->end, data);
        data += sizeof(zlt_wsd_t);
        len -= sizeof(zlt_wsd_t);
    }

    if (rc != NGX_OK
        || ngx_zltunnel_channel_unread(channel, data, len) != NGX_OK)
    {
        ngx_zltunnel_channel_close(channel);
        ngx_zltunnel_dial_none(registry, msg);
        return;
    }

    if (dial->lanes && way == NGX_ZLTUNNEL_MOVED && len == 0
        && !channel->websocket)
    {
        /* .. as if it had been here from the start */

        lane = ngx_zltunnel_lane_open(dial->link.peer, channel);

        if (lane == NULL && dial->link.peer->shared) {

            /* another dial, as early as this, was first */

            lane = ngx_zltunnel_lane_open(dial->link.peer, NULL);

            if (lane) {
                ngx_zltunnel_channel_again(channel);
            }
        }

        if (lane) {
            channel = lane;
        }
    }

    ngx_zltunnel_dial_use(dial, channel, way);
}


/* a bridge that is not taken up is not one that this worker has dropped */

static void
ngx_zltunnel_dial_declined(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg)
{
    ngx_zltunnel_ipc_t  end;

    if (msg->type != NGX_ZLTUNNEL_IPC_BRIDGE) {
        return;
    }

    ngx_memzero(&end, sizeof(ngx_zltunnel_ipc_t));

    end.type = NGX_ZLTUNNEL_IPC_END;
    end.code = 1;
    ngx_memcpy(end.bridge_id, msg->bridge_id, ZLT_ID_SIZE);

    (void) ngx_zltunnel_ipc_send(registry, msg->slot, &end, NULL, -1);
}


void
ngx_zltunnel_dial_none(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg)
{
    ngx_zltunnel_dial_t  *dial;

    dial = ngx_zltunnel_dial_find(msg->connection_id);

    if (dial && dial->searching) {
        ngx_zltunnel_dial_next(dial, 0);
    }
}


void
ngx_zltunnel_dial_failed(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg)
{
    ngx_zltunnel_dial_t  *dial;

    dial = ngx_zltunnel_dial_find(msg->connection_id);

    if (dial == NULL) {
        return;
    }

    dial->code = msg->code;

    if (dial->unanswered) {
        dial->unanswered--;
    }

    if (dial->code == ZLT_E_DUPLICATE
        && (dial->asked[0] || dial->asked[1] || dial->unanswered
            || !dial->lost))
    {
        /* the agent has acted on another Connect: its answer will come */
        return;
    }

    ngx_zltunnel_dial_refused(dial, msg->text, msg->text_len);
}


void
ngx_zltunnel_dial_up(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg)
{
    ngx_zltunnel_peer_t  *peer;

    peer = ngx_zltunnel_peer_find(registry, msg->tunnel_id);

    if (peer) {
        ngx_zltunnel_dial_retry(peer, msg->service_id);
    }
}


/* What they wait for may be gone, and nobody tells of that. */

void
ngx_zltunnel_dials_check(ngx_zltunnel_registry_t *registry)
{
    ngx_rbtree_key_t      key;
    ngx_zltunnel_peer_t  *peer;

    if (ngx_zltunnel_gate_expecting(registry)) {
        return;
    }

    for (peer = ngx_zltunnel_peer_next(registry, NULL);
         peer;
         peer = ngx_zltunnel_peer_next(registry, &key))
    {
        key = peer->node.key;

        ngx_zltunnel_dial_retry(peer, NULL);
    }
}


/* Dials that wait for the agent: those of the service that it has registered,
   or all that it has not been told of. */

static void
ngx_zltunnel_dial_retry(ngx_zltunnel_peer_t *peer, u_char *service_id)
{
    ngx_queue_t          *q, *next;
    ngx_zltunnel_dial_t  *dial;
    ngx_zltunnel_link_t  *link, guard;

    ngx_zltunnel_link_add(peer, &guard);

    for (q = ngx_queue_head(&peer->links);
         q != ngx_queue_sentinel(&peer->links);
         q = next)
    {
        next = ngx_queue_next(q);
        link = ngx_queue_data(q, ngx_zltunnel_link_t, queue);

        if (link == &guard) {
            break;
        }

        if (link->cut != ngx_zltunnel_dial_cut) {
            continue;
        }

        dial = ngx_zltunnel_dial_of(link);

        if (!dial->running || !dial->searching || !dial->pending) {
            continue;
        }

        if (service_id
            ? ngx_memcmp(dial->service_id, service_id, ZLT_ID_SIZE) == 0
            : !dial->announced && !dial->taking)
        {

            /* an agent that remembers it says "duplicate", and a fresh
               channel is on its way */

            ngx_zltunnel_dial_next(dial, dial->announced);
        }
    }

    ngx_zltunnel_link_remove(&guard);
}


static void
ngx_zltunnel_dial_timer(ngx_event_t *ev)
{
    ngx_msec_t            left;
    ngx_zltunnel_dial_t  *dial;

    dial = ev->data;

    left = ngx_zltunnel_dial_left(dial);

    if (left == 0) {
        ngx_log_error(NGX_LOG_ERR, dial->log, NGX_ETIMEDOUT,
                      "service \"%V\" of agent \"%V\" was not reached in time",
                      &dial->service, &dial->tunnel);
        ngx_zltunnel_dial_finish(dial, NGX_ZLTUNNEL_DIAL_TIMEOUT);
        return;
    }

    ngx_add_timer(&dial->timer, left);

    if (dial->taking || (dial->searching && dial->announced
                         && dial->channels))
    {
        ngx_zltunnel_dial_next(dial, 1);
        return;
    }

    if (dial->silent || dial->searching) {
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


static ngx_msec_t
ngx_zltunnel_dial_left(ngx_zltunnel_dial_t *dial)
{
    ngx_msec_t  elapsed;

    elapsed = ngx_current_msec - dial->started;

    if (elapsed >= dial->timeout) {
        return 0;
    }

    return dial->timeout - elapsed;
}


static void
ngx_zltunnel_dial_cut(ngx_zltunnel_link_t *link)
{
    ngx_zltunnel_dial_t  *dial;

    dial = ngx_zltunnel_dial_of(link);

    if (dial->running) {
        ngx_zltunnel_dial_finish(dial, NGX_ZLTUNNEL_DIAL_ERROR);
        return;
    }

    if (dial->relay) {
        ngx_zltunnel_relay_abort(dial->relay);
        return;
    }

    ngx_zltunnel_link_remove(link);
}


static void
ngx_zltunnel_dial_unpend(ngx_zltunnel_dial_t *dial)
{
    ngx_zltunnel_sh_pending_t  *pending;

    if (!dial->pending) {
        return;
    }

    dial->pending = 0;

    ngx_zltunnel_lock(dial->registry);

    pending = ngx_zltunnel_pending_find(dial->registry->sh, dial->id);

    if (pending) {
        ngx_zltunnel_pending_remove(dial->registry, pending);
    }

    ngx_zltunnel_unlock(dial->registry);
}


/* ends the search: dial->channel and the link stay, for what follows */

static void
ngx_zltunnel_dial_stop(ngx_zltunnel_dial_t *dial)
{
    ngx_uint_t               i;
    ngx_zltunnel_channel_t  *channel;

    dial->running = 0;

    ngx_rbtree_delete(&ngx_zltunnel_dials, &dial->node);

    if (dial->timer.timer_set) {
        ngx_del_timer(&dial->timer);
    }

    if (dial->uncork.posted) {
        ngx_delete_posted_event(&dial->uncork);
    }

    ngx_zltunnel_dial_unpend(dial);

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


static void
ngx_zltunnel_dial_finish(ngx_zltunnel_dial_t *dial, ngx_zltunnel_dial_e rc)
{
    ngx_zltunnel_dial_stop(dial);

    dial->connect_time = ngx_current_msec - dial->started;

    dial->handler(dial, rc);
}


void
ngx_zltunnel_dial_done(ngx_zltunnel_dial_t *dial)
{
    if (dial->running) {
        ngx_zltunnel_dial_stop(dial);
    }

    ngx_zltunnel_link_remove(&dial->link);

    if (dial->buf) {
        ngx_free(dial->buf);
        dial->buf = NULL;
    }

    if (dial->counter) {
        ngx_zltunnel_lock(dial->registry);
        ngx_zltunnel_counter_put(dial->registry, dial->counter);
        ngx_zltunnel_unlock(dial->registry);

        dial->counter = NULL;
    }
}


static ngx_zltunnel_dial_t *
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

    default:
        return "the tunnel failed";
    }
}
