
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Carriers: the UDP sessions of one service in this worker, and the datagram
 * channel that they share.
 *
 * A carrier comes with the first session of its service.  It dials a channel
 * when there is a datagram to send, gives numbers to the sessions on it, and
 * dials another when that one ends; the sessions live on.  Without sessions
 * it goes after some seconds.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_carrier.h"
#include "ngx_zltunnel_carry.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_client.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_module.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_udp_session.h"
#include "ngx_zltunnel_worker.h"


#define NGX_ZLTUNNEL_CARRIER_RETRY   1000    /* ms after a failed dial */
#define NGX_ZLTUNNEL_CARRIER_UNUSED  10000   /* ms without sessions */
#define NGX_ZLTUNNEL_CARRIER_FULL    100     /* ms until the next look */
#define NGX_ZLTUNNEL_CARRIER_TICK    1000    /* ms */


static void ngx_zltunnel_carrier_try(ngx_zltunnel_carrier_t *carrier,
    ngx_zltunnel_udp_t *udp);
static void ngx_zltunnel_carrier_dialled(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_dial_e rc);
static void ngx_zltunnel_carrier_dial_done(ngx_zltunnel_carrier_t *carrier);
static void ngx_zltunnel_carrier_redial(ngx_zltunnel_carrier_t *carrier);
static ngx_int_t ngx_zltunnel_carrier_there(ngx_zltunnel_carrier_t *carrier);
static ngx_int_t ngx_zltunnel_carrier_move(ngx_zltunnel_carrier_t *carrier,
    u_char *tunnel_id, u_char *token);
static void ngx_zltunnel_carrier_tick(ngx_event_t *ev);
static void ngx_zltunnel_carrier_cut(ngx_zltunnel_link_t *link);
static void ngx_zltunnel_carrier_pace(ngx_zltunnel_link_t *link, uint64_t old);
static void ngx_zltunnel_carrier_end(ngx_zltunnel_carrier_t *carrier,
    ngx_zltunnel_udp_end_e how);
static void ngx_zltunnel_carriers_handler(ngx_event_t *ev);


static ngx_rbtree_t       ngx_zltunnel_carriers;
static ngx_rbtree_node_t  ngx_zltunnel_carriers_sentinel;
static ngx_event_t        ngx_zltunnel_check_event;
static ngx_connection_t   ngx_zltunnel_check_dummy;


/* under the lock: neither logs nor waits */

ngx_zltunnel_carrier_t *
ngx_zltunnel_carrier_create(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service)
{
    u_char                    *p;
    ngx_zltunnel_peer_t       *peer;
    ngx_zltunnel_carrier_t    *carrier;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    tunnel = service->tunnel;

    carrier = calloc(1, sizeof(ngx_zltunnel_carrier_t) + service->name_len
                        + tunnel->name_len);
    if (carrier == NULL) {
        return NULL;
    }

    p = (u_char *) carrier + sizeof(ngx_zltunnel_carrier_t);

    carrier->service.data = p;
    carrier->service.len = service->name_len;
    p = ngx_cpymem(p, service->name, service->name_len);

    carrier->tunnel.data = p;
    carrier->tunnel.len = tunnel->name_len;
    ngx_memcpy(p, tunnel->name, tunnel->name_len);

    peer = ngx_zltunnel_peer_get(registry, tunnel->id, tunnel->token,
                                 &carrier->tunnel);
    if (peer == NULL) {
        ngx_free(carrier);
        return NULL;
    }

    carrier->link.cut = ngx_zltunnel_carrier_cut;
    carrier->link.paced = ngx_zltunnel_carrier_pace;
    ngx_zltunnel_peer_link(peer, &carrier->link);

    ngx_memcpy(carrier->id, service->id, ZLT_ID_SIZE);
    ngx_memcpy(carrier->tunnel_id, tunnel->id, ZLT_ID_SIZE);

    carrier->registry = registry;
    ngx_queue_init(&carrier->sessions);
    zlt_queue_init(&carrier->queue, &ngx_zltunnel_udp_session_queue);

    carrier->node.key = ngx_zltunnel_id_key(carrier->id);
    ngx_rbtree_insert(&ngx_zltunnel_carriers, &carrier->node);

    carrier->failed = ngx_current_msec - NGX_ZLTUNNEL_CARRIER_RETRY;
    carrier->unused = ngx_current_msec;
    carrier->tick.handler = ngx_zltunnel_carrier_tick;
    carrier->tick.data = carrier;
    carrier->tick.log = ngx_cycle->log;
    carrier->tick.cancelable = 1;

    ngx_add_timer(&carrier->tick, NGX_ZLTUNNEL_CARRIER_TICK);

    return carrier;
}


ngx_zltunnel_carrier_t *
ngx_zltunnel_carrier_find(u_char *service_id)
{
    if (ngx_zltunnel_carriers.root == NULL) {
        ngx_rbtree_init(&ngx_zltunnel_carriers,
                        &ngx_zltunnel_carriers_sentinel,
                        ngx_rbtree_insert_value);
    }

    return (ngx_zltunnel_carrier_t *)
               ngx_zltunnel_util_id_lookup(&ngx_zltunnel_carriers, service_id,
                                  offsetof(ngx_zltunnel_carrier_t, id));
}


/*
 * A flood of forged addresses is turned away here, before it costs a
 * connection, and without asking the registry each time.
 */

ngx_uint_t
ngx_zltunnel_carrier_full(ngx_zltunnel_carrier_t *carrier)
{
    if (carrier->isfull
        && ngx_current_msec - carrier->full >= NGX_ZLTUNNEL_CARRIER_FULL)
    {
        carrier->isfull = 0;
    }

    return carrier->isfull
           || carrier->nsessions >= carrier->registry->max_udp_sessions;
}


/* a flood at one service, or at several, leaves room for the others */

ngx_uint_t
ngx_zltunnel_carrier_crowds(ngx_zltunnel_carrier_t *carrier)
{
    ngx_uint_t  most, left;

    most = ngx_cycle->connection_n * carrier->registry->max_channel_share
           / 100;

    left = most > ngx_zltunnel_client_count ? most - ngx_zltunnel_client_count
                                            : 0;

    return ngx_zltunnel_room_crowds(carrier->nsessions, left);
}


void
ngx_zltunnel_carrier_drop(ngx_zltunnel_carrier_t *carrier,
    ngx_zltunnel_udp_t *udp, ngx_uint_t cause)
{
    if (carrier->counter) {
        carrier->counter->dropped[cause]++;

    } else {
        carrier->dropped[cause]++;
    }

    if (udp) {
        udp->dropped++;
    }
}


ngx_uint_t
ngx_zltunnel_carrier_paced(ngx_zltunnel_carrier_t *carrier,
    ngx_zltunnel_udp_t *udp, ngx_uint_t side, size_t len)
{
    ngx_zltunnel_pace_t  *by[NGX_ZLTUNNEL_PACES];

    by[0] = ngx_zltunnel_peer_pace(carrier->link.peer, NULL);
    by[1] = NULL;

    if (!ngx_zltunnel_paced(by)
        || ngx_zltunnel_pace_datagram(by, &carrier->portion[side], len))
    {
        return 1;
    }

    ngx_zltunnel_carrier_drop(carrier, udp, NGX_ZLTUNNEL_DROP_RATE);

    return 0;
}


static void
ngx_zltunnel_carrier_pace(ngx_zltunnel_link_t *link, uint64_t old)
{
    ngx_uint_t               i;
    ngx_zltunnel_carrier_t  *carrier;

    carrier = (ngx_zltunnel_carrier_t *)
                  ((u_char *) link - offsetof(ngx_zltunnel_carrier_t, link));

    for (i = 0; i < 2; i++) {
        (void) ngx_zltunnel_pace_rescale(&carrier->portion[i], old,
                                         link->peer->pace.rate);
    }
}


void
ngx_zltunnel_carrier_lose(ngx_zltunnel_carrier_t *carrier, uint32_t n)
{
    if (carrier->counter) {
        carrier->counter->dropped[NGX_ZLTUNNEL_DROP_KERNEL] += n;

    } else {
        carrier->dropped[NGX_ZLTUNNEL_DROP_KERNEL] += n;
    }
}


void
ngx_zltunnel_carrier_dial(ngx_zltunnel_carrier_t *carrier,
    ngx_zltunnel_udp_t *udp)
{
    ngx_zltunnel_carrier_try(carrier, udp);

    if (carrier->channel == NULL && !carrier->dialling) {

        /* too early again, unless the service has been found elsewhere */

        ngx_zltunnel_carrier_try(carrier, udp);
    }
}


static void
ngx_zltunnel_carrier_try(ngx_zltunnel_carrier_t *carrier,
    ngx_zltunnel_udp_t *udp)
{
    ngx_zltunnel_dial_t  *dial;

    if (carrier->dialling || !carrier->capable || carrier->dead
        || ngx_current_msec - carrier->failed < NGX_ZLTUNNEL_CARRIER_RETRY)
    {
        return;
    }

    carrier->dial_pool = ngx_create_pool(512, ngx_cycle->log);
    if (carrier->dial_pool == NULL) {
        return;
    }

    dial = &carrier->dial;
    ngx_memzero(dial, sizeof(ngx_zltunnel_dial_t));

    dial->registry = carrier->registry;
    dial->pool = carrier->dial_pool;
    dial->log = ngx_cycle->log;
    dial->datagrams = 1;
    dial->handler = ngx_zltunnel_carrier_dialled;
    dial->data = carrier;

    /* the session may be gone before the dial is through */

    dial->client_addr.data = ngx_pstrdup(dial->pool, &udp->client_addr);

    if (dial->client_addr.data) {
        dial->client_addr.len = udp->client_addr.len;
    }

    carrier->dialling = 1;

    ngx_zltunnel_dial_start_service(dial, carrier->tunnel_id, carrier->id);
}


static void
ngx_zltunnel_carrier_dialled(ngx_zltunnel_dial_t *dial, ngx_zltunnel_dial_e rc)
{
    ngx_zltunnel_carrier_t  *carrier;
    ngx_zltunnel_channel_t  *channel;

    carrier = dial->data;
    channel = dial->channel;

    if (rc != NGX_ZLTUNNEL_DIAL_OK) {
        ngx_log_error(NGX_LOG_INFO, ngx_cycle->log, 0,
                      "no channel for the datagrams of service \"%V\": %s",
                      &carrier->service, ngx_zltunnel_dial_error(dial, rc));

        carrier->failed = ngx_current_msec;
        ngx_zltunnel_carrier_dial_done(carrier);

        /* its service may have moved before this worker was told */

        if (ngx_zltunnel_carrier_there(carrier) == NGX_OK) {
            ngx_zltunnel_carrier_redial(carrier);
        }

        return;
    }

    ngx_zltunnel_carrier_dial_done(carrier);

    zlt_queue_opened(&carrier->queue, ngx_current_msec);
    carrier->number = 0;

    ngx_zltunnel_carry_start(carrier, channel);
}


static void
ngx_zltunnel_carrier_dial_done(ngx_zltunnel_carrier_t *carrier)
{
    carrier->dialling = 0;

    ngx_zltunnel_dial_done(&carrier->dial);

    ngx_destroy_pool(carrier->dial_pool);
    carrier->dial_pool = NULL;
}


void
ngx_zltunnel_carrier_lost(ngx_zltunnel_carrier_t *carrier)
{
    ngx_queue_t         *q;
    ngx_zltunnel_udp_t  *udp;

    ngx_zltunnel_carry_stop(carrier);

    for (q = ngx_queue_head(&carrier->sessions);
         q != ngx_queue_sentinel(&carrier->sessions);
         q = ngx_queue_next(q))
    {
        udp = ngx_queue_data(q, ngx_zltunnel_udp_t, queue);
        udp->number = 0;
        udp->next = NULL;
    }

    if (carrier->numbers) {
        ngx_free(carrier->numbers);
        carrier->numbers = NULL;
        carrier->nnumbers = 0;
    }

    ngx_zltunnel_carrier_redial(carrier);
}


/* datagrams that wait go on the next channel, if it comes in time */

static void
ngx_zltunnel_carrier_redial(ngx_zltunnel_carrier_t *carrier)
{
    zlt_list_t  *link;

    if (!zlt_queue_empty(&carrier->queue)) {
        link = carrier->queue.flows.next;

        ngx_zltunnel_carrier_dial(carrier,
                                  zlt_list_data(link, ngx_zltunnel_udp_t,
                                                waiting.link));
    }
}


static void
ngx_zltunnel_carrier_tick(ngx_event_t *ev)
{
    ngx_zltunnel_carrier_t  *carrier;

    carrier = ev->data;

    if (carrier->nsessions == 0
        && ngx_current_msec - carrier->unused >= NGX_ZLTUNNEL_CARRIER_UNUSED)
    {
        ngx_zltunnel_carrier_end(carrier, NGX_ZLTUNNEL_UDP_DONE);
        return;
    }

    ngx_add_timer(ev, NGX_ZLTUNNEL_CARRIER_TICK);
}


static void
ngx_zltunnel_carrier_cut(ngx_zltunnel_link_t *link)
{
    ngx_zltunnel_carrier_t  *carrier;

    carrier = (ngx_zltunnel_carrier_t *)
                  ((u_char *) link - offsetof(ngx_zltunnel_carrier_t, link));

    ngx_zltunnel_carrier_end(carrier, NGX_ZLTUNNEL_UDP_CUT);
}


/* ends the sessions and frees the carrier */

static void
ngx_zltunnel_carrier_end(ngx_zltunnel_carrier_t *carrier,
    ngx_zltunnel_udp_end_e how)
{
    ngx_queue_t         *q;
    ngx_zltunnel_udp_t  *udp;

    carrier->dead = 1;

    while (!ngx_queue_empty(&carrier->sessions)) {
        q = ngx_queue_head(&carrier->sessions);
        udp = ngx_queue_data(q, ngx_zltunnel_udp_t, queue);

        udp->ending = 1;
        udp->how = how;
        udp->handler(udp, how);
    }

    if (carrier->dialling) {
        ngx_zltunnel_carrier_dial_done(carrier);
    }

    if (carrier->channel) {
        ngx_zltunnel_datagrams_out_flush();
    }

    if (carrier->channel) {
        ngx_zltunnel_carrier_lost(carrier);
    }

    if (carrier->numbers) {
        ngx_free(carrier->numbers);
    }

    if (carrier->tick.timer_set) {
        ngx_del_timer(&carrier->tick);
    }

    ngx_rbtree_delete(&ngx_zltunnel_carriers, &carrier->node);
    ngx_zltunnel_peer_unlink(&carrier->link);

    ngx_free(carrier);
}


void
ngx_zltunnel_carrier_check(ngx_zltunnel_registry_t *registry)
{
    ngx_rbtree_node_t       *node, *next;
    ngx_zltunnel_carrier_t  *carrier;

    if (ngx_zltunnel_carriers.root == &ngx_zltunnel_carriers_sentinel
        || ngx_zltunnel_carriers.root == NULL)
    {
        return;
    }

    for (node = ngx_rbtree_min(ngx_zltunnel_carriers.root,
                               &ngx_zltunnel_carriers_sentinel);
         node;
         node = next)
    {
        next = ngx_rbtree_next(&ngx_zltunnel_carriers, node);
        carrier = (ngx_zltunnel_carrier_t *) node;

        if (carrier->registry == registry
            && ngx_zltunnel_carrier_there(carrier) != NGX_OK)
        {
            ngx_zltunnel_carrier_end(carrier, NGX_ZLTUNNEL_UDP_CUT);
        }
    }
}


/* its service is, in whichever tunnel */

static ngx_int_t
ngx_zltunnel_carrier_there(ngx_zltunnel_carrier_t *carrier)
{
    u_char                      tunnel_id[ZLT_ID_SIZE], token[32];
    ngx_zltunnel_registry_t    *registry;
    ngx_zltunnel_sh_service_t  *service;

    registry = carrier->registry;

    ngx_zltunnel_zone_lock_read(registry);

    service = ngx_zltunnel_service_find(registry->sh, &carrier->service,
                                        carrier->id);
    if (service) {
        ngx_memcpy(tunnel_id, service->tunnel->id, ZLT_ID_SIZE);
        ngx_memcpy(token, service->tunnel->token, 32);
        carrier->capable = ngx_zltunnel_service_carries(service);
    }

    ngx_zltunnel_zone_unlock(registry);

    if (service == NULL) {
        return NGX_DECLINED;
    }

    if (ngx_memcmp(tunnel_id, carrier->tunnel_id, ZLT_ID_SIZE) == 0) {
        return NGX_OK;
    }

    return ngx_zltunnel_carrier_move(carrier, tunnel_id, token);
}


/* the sessions go on, on a channel of the other tunnel */

static ngx_int_t
ngx_zltunnel_carrier_move(ngx_zltunnel_carrier_t *carrier, u_char *tunnel_id,
    u_char *token)
{
    ngx_zltunnel_peer_t  *peer;

    peer = ngx_zltunnel_peer_get(carrier->registry, tunnel_id, token,
                                 &carrier->tunnel);
    if (peer == NULL) {
        return NGX_ERROR;
    }

    ngx_zltunnel_peer_unlink(&carrier->link);
    ngx_zltunnel_peer_link(peer, &carrier->link);

    ngx_memcpy(carrier->tunnel_id, tunnel_id, ZLT_ID_SIZE);

    carrier->failed = ngx_current_msec - NGX_ZLTUNNEL_CARRIER_RETRY;

    if (carrier->channel) {
        ngx_zltunnel_carrier_lost(carrier);
    }

    return NGX_OK;
}


void
ngx_zltunnel_carrier_recheck(void)
{
    if (ngx_zltunnel_carriers.root == NULL) {
        return;
    }

    if (ngx_zltunnel_check_event.handler == NULL) {
        ngx_zltunnel_check_dummy.fd = (ngx_socket_t) -1;
        ngx_zltunnel_check_event.data = &ngx_zltunnel_check_dummy;
        ngx_zltunnel_check_event.log = ngx_cycle->log;
        ngx_zltunnel_check_event.handler = ngx_zltunnel_carriers_handler;
    }

    ngx_post_event(&ngx_zltunnel_check_event, &ngx_posted_events);
}


static void
ngx_zltunnel_carriers_handler(ngx_event_t *ev)
{
    ngx_uint_t                 i;
    ngx_zltunnel_conf_t       *conf;
    ngx_zltunnel_registry_t  **registry;

    conf = (ngx_zltunnel_conf_t *) ngx_get_conf(ngx_cycle->conf_ctx,
                                                ngx_zltunnel_module);
    registry = conf->registries.elts;

    for (i = 0; i < conf->registries.nelts; i++) {
        ngx_zltunnel_carrier_check(registry[i]);
    }
}


void
ngx_zltunnel_carrier_exit(void)
{
    ngx_zltunnel_carrier_t  *carrier;

    if (ngx_zltunnel_carriers.root == NULL) {
        return;
    }

    while (ngx_zltunnel_carriers.root != &ngx_zltunnel_carriers_sentinel) {
        carrier = (ngx_zltunnel_carrier_t *) ngx_zltunnel_carriers.root;
        ngx_zltunnel_carrier_end(carrier, NGX_ZLTUNNEL_UDP_EXIT);
    }
}
