
/*
 * Copyright (C) zltunnel authors
 */

/*
 * UDP sessions, and the datagrams of them that wait for the channel, in the
 * carrier's queue.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_udp_number.h"
#include "ngx_zltunnel_udp_session.h"
#include "ngx_zltunnel_carrier.h"
#include "ngx_zltunnel_carry.h"
#include "ngx_zltunnel_client.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_reply.h"
#include "ngx_zltunnel_worker.h"

#include "zlt_dgram.h"
#include "zlt_msg.h"
#include "zlt_queue.h"


static ngx_zltunnel_dial_e ngx_zltunnel_udp_open(ngx_zltunnel_udp_t *udp,
    ngx_zltunnel_dial_e rc, const char *limit);
static void ngx_zltunnel_udp_announce(ngx_zltunnel_udp_t *udp);
static ngx_zltunnel_dial_e ngx_zltunnel_udp_admit(ngx_zltunnel_udp_t *udp,
    ngx_zltunnel_sh_service_t *service, const char **limit);
static void ngx_zltunnel_udp_wait(ngx_zltunnel_udp_t *udp, u_char *data,
    size_t len);
static void *ngx_zltunnel_udp_alloc(size_t size);
static void ngx_zltunnel_udp_lost(zlt_queue_flow_t *flow,
    zlt_queue_item_t *item, zlt_queue_drop_e why);
static void ngx_zltunnel_udp_served(ngx_zltunnel_udp_t *udp);
static void ngx_zltunnel_udp_timer(ngx_event_t *ev);


const zlt_queue_ops_t  ngx_zltunnel_udp_session_queue = {
    ngx_zltunnel_udp_alloc,
    ngx_zltunnel_udp_lost
};


ngx_zltunnel_dial_e
ngx_zltunnel_udp_session_open_port(ngx_zltunnel_udp_t *udp, in_port_t port)
{
    const char           *limit;
    ngx_zltunnel_dial_e   rc;

    ngx_zltunnel_zone_lock(udp->registry);

    rc = ngx_zltunnel_udp_admit(udp,
                       ngx_zltunnel_port_service(udp->registry->sh, port, 1),
                       &limit);

    ngx_zltunnel_zone_unlock(udp->registry);

    return ngx_zltunnel_udp_open(udp, rc, limit);
}


ngx_zltunnel_dial_e
ngx_zltunnel_udp_session_open_name(ngx_zltunnel_udp_t *udp, ngx_str_t *name,
    ngx_str_t *token)
{
    const char                 *limit;
    ngx_zltunnel_dial_e         rc;
    ngx_zltunnel_sh_service_t  *service;

    limit = NULL;

    ngx_zltunnel_zone_lock(udp->registry);

    service = ngx_zltunnel_service_by_name(udp->registry->sh, name, 1, token);

    if (service && !ngx_zltunnel_service_carries(service)) {

        /* of those with the name none can */

        rc = NGX_ZLTUNNEL_DIAL_INCAPABLE;

    } else {
        rc = ngx_zltunnel_udp_admit(udp, service, &limit);
    }

    ngx_zltunnel_zone_unlock(udp->registry);

    return ngx_zltunnel_udp_open(udp, rc, limit);
}


static ngx_zltunnel_dial_e
ngx_zltunnel_udp_open(ngx_zltunnel_udp_t *udp, ngx_zltunnel_dial_e rc,
    const char *limit)
{
    if (limit) {
        ngx_zltunnel_log_complain(udp->connection->log,
                                  "client refused: limit of %s", limit);
    }

    if (rc == NGX_ZLTUNNEL_DIAL_INCAPABLE
        || (rc == NGX_ZLTUNNEL_DIAL_OK && !udp->carrier->capable))
    {
        ngx_zltunnel_log_complain(udp->connection->log,
                                  "datagrams of a client are dropped: %s",
                                  "the agent of their service carries none");
    }

    if (rc != NGX_ZLTUNNEL_DIAL_OK) {
        return rc;
    }

    if (!udp->carrier->capable) {
        ngx_zltunnel_udp_announce(udp);
    }

    udp->active = ngx_current_msec;
    udp->timer.handler = ngx_zltunnel_udp_timer;
    udp->timer.data = udp;
    udp->timer.log = udp->connection->log;

    if (udp->timeout) {
        ngx_add_timer(&udp->timer, udp->timeout);
    }

    ngx_zltunnel_client_attach(udp->connection, udp);

    return NGX_ZLTUNNEL_DIAL_OK;
}


/*
 * To an agent of version 1 a session is announced, as a connection is, which is
 * all that it can be told.  As many as may be pending at a time, since the
 * answer is for nobody.
 */

static void
ngx_zltunnel_udp_announce(ngx_zltunnel_udp_t *udp)
{
    ngx_uint_t                 slot;
    ngx_zltunnel_ipc_t         msg;
    ngx_zltunnel_carrier_t    *carrier;
    ngx_zltunnel_registry_t   *registry;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    carrier = udp->carrier;
    registry = carrier->registry;
    slot = NGX_ZLTUNNEL_NO_SLOT;

    ngx_memzero(&msg, sizeof(ngx_zltunnel_ipc_t));

    msg.type = NGX_ZLTUNNEL_IPC_CONNECT;
    ngx_memcpy(msg.tunnel_id, carrier->tunnel_id, ZLT_ID_SIZE);
    ngx_memcpy(msg.service_id, carrier->id, ZLT_ID_SIZE);
    ngx_zltunnel_util_random(msg.connection_id, ZLT_ID_SIZE);

    msg.text_len = ngx_min(udp->client_addr.len, NGX_ZLTUNNEL_TEXT_MAX);
    ngx_memcpy(msg.text, udp->client_addr.data, msg.text_len);

    ngx_zltunnel_zone_lock(registry);

    tunnel = ngx_zltunnel_tunnel_find(registry->sh, carrier->tunnel_id);

    if (tunnel && tunnel->state == NGX_ZLTUNNEL_LIVE
        && tunnel->npending < registry->max_pending
        && ngx_zltunnel_pending_add(registry, tunnel, msg.connection_id, 1,
                                    registry->connect_timeout))
    {
        slot = tunnel->slot;
    }

    ngx_zltunnel_zone_unlock(registry);

    if (slot != NGX_ZLTUNNEL_NO_SLOT) {
        (void) ngx_zltunnel_ipc_send(registry, slot, &msg, NULL, -1);
    }
}


/* under the lock */

static ngx_zltunnel_dial_e
ngx_zltunnel_udp_admit(ngx_zltunnel_udp_t *udp,
    ngx_zltunnel_sh_service_t *service, const char **limit)
{
    ngx_uint_t                  i;
    ngx_zltunnel_carrier_t     *carrier;
    ngx_zltunnel_sh_counter_t  *counter;

    *limit = NULL;

    if (service == NULL || service->tunnel->draining) {
        return NGX_ZLTUNNEL_DIAL_NO_SERVICE;
    }

    if ((service->flags & ZLT_R_INTERNAL) && !udp->local) {
        *limit = "internal services to clients of this host";
        return NGX_ZLTUNNEL_DIAL_LIMIT;
    }

    carrier = ngx_zltunnel_carrier_find(service->id);

    if (carrier == NULL) {
        carrier = ngx_zltunnel_carrier_create(udp->registry, service);

        if (carrier == NULL) {
            return NGX_ZLTUNNEL_DIAL_ERROR;
        }
    }

    *limit = ngx_zltunnel_quota_service(udp->registry, service);

    if (*limit) {
        carrier->isfull = 1;
        carrier->full = ngx_current_msec;
        ngx_zltunnel_carrier_drop(carrier, NULL, NGX_ZLTUNNEL_DROP_LIMIT);

        return NGX_ZLTUNNEL_DIAL_LIMIT;
    }

    if (ngx_zltunnel_carrier_crowds(carrier)) {
        ngx_zltunnel_carrier_drop(carrier, NULL, NGX_ZLTUNNEL_DROP_LIMIT);

        *limit = NGX_ZLTUNNEL_CARRIER_SHARE;
        return NGX_ZLTUNNEL_DIAL_LIMIT;
    }

    counter = ngx_zltunnel_counter_more(udp->registry, service,
                                        carrier->counter);

    if (counter == NULL) {
        *limit = NGX_ZLTUNNEL_ZONE_LIMIT;
        return NGX_ZLTUNNEL_DIAL_ERROR;
    }

    counter->total++;

    if (carrier->counter == NULL) {

        for (i = 0; i < NGX_ZLTUNNEL_DROPS; i++) {
            counter->dropped[i] += carrier->dropped[i];
            carrier->dropped[i] = 0;
        }
    }

    carrier->counter = counter;
    carrier->capable = ngx_zltunnel_service_carries(service);
    carrier->nsessions++;

    ngx_queue_insert_tail(&carrier->sessions, &udp->queue);
    zlt_queue_flow_init(&udp->waiting);

    udp->carrier = carrier;

    return NGX_ZLTUNNEL_DIAL_OK;
}


void
ngx_zltunnel_udp_session_send(ngx_zltunnel_udp_t *udp, u_char *data,
    size_t len)
{
    ngx_zltunnel_carrier_t  *carrier;

    carrier = udp->carrier;

    if (udp->ending) {
        ngx_zltunnel_carrier_drop(carrier, udp, NGX_ZLTUNNEL_DROP_SESSION);
        return;
    }

    udp->active = ngx_current_msec;

    if (!ngx_zltunnel_carrier_paced(carrier, udp, 0, len)) {
        ngx_zltunnel_udp_served(udp);
        return;
    }

    udp->datagrams[0]++;

    carrier->counter->datagrams[0]++;
    carrier->counter->bytes[0] += len;

    if (carrier->channel && zlt_queue_empty(&carrier->queue)
        && ngx_zltunnel_datagrams_out_ready(&carrier->frames))
    {
        ngx_zltunnel_carry_datagram(carrier, udp, data, len);

    } else {
        ngx_zltunnel_udp_wait(udp, data, len);
    }

    ngx_zltunnel_udp_served(udp);
}


static void
ngx_zltunnel_udp_wait(ngx_zltunnel_udp_t *udp, u_char *data, size_t len)
{
    ngx_zltunnel_carrier_t  *carrier;

    carrier = udp->carrier;

    if (carrier->channel == NULL) {
        ngx_zltunnel_carrier_dial(carrier, udp);

        if (carrier->channel == NULL && !carrier->dialling) {
            ngx_zltunnel_carrier_drop(carrier, udp,
                                      NGX_ZLTUNNEL_DROP_CHANNEL);
            return;
        }
    }

    if (zlt_queue_put(&carrier->queue, &udp->waiting, data, len,
                      ngx_zltunnel_datagrams_waiting(&carrier->frames),
                      ngx_current_msec)
        == -1)
    {
        ngx_zltunnel_carrier_drop(carrier, udp, NGX_ZLTUNNEL_DROP_QUEUE);
        return;
    }

    if (carrier->channel && ngx_zltunnel_datagrams_out_ready(&carrier->frames)) {
        ngx_zltunnel_datagrams_out_write(&carrier->frames);
    }
}


static void *
ngx_zltunnel_udp_alloc(size_t size)
{
    return ngx_alloc(size, ngx_cycle->log);
}


static void
ngx_zltunnel_udp_lost(zlt_queue_flow_t *flow, zlt_queue_item_t *item,
    zlt_queue_drop_e why)
{
    ngx_zltunnel_udp_t  *udp;

    static const ngx_uint_t  causes[] = {
        NGX_ZLTUNNEL_DROP_QUEUE,     /* ZLT_QUEUE_FULL */
        NGX_ZLTUNNEL_DROP_AGE,       /* ZLT_QUEUE_LATE */
        NGX_ZLTUNNEL_DROP_SESSION    /* ZLT_QUEUE_GONE */
    };

    udp = zlt_list_data(flow, ngx_zltunnel_udp_t, waiting);

    ngx_zltunnel_carrier_drop(udp->carrier, udp, causes[why]);
    ngx_free(item);

    if (why == ZLT_QUEUE_LATE) {
        ngx_zltunnel_udp_served(udp);
    }
}


zlt_queue_item_t *
ngx_zltunnel_udp_session_next(ngx_zltunnel_carrier_t *carrier,
    ngx_zltunnel_udp_t **udp)
{
    zlt_queue_flow_t  *flow;
    zlt_queue_item_t  *item;

    item = zlt_queue_next(&carrier->queue, &flow, ngx_current_msec);

    if (item) {
        *udp = zlt_list_data(flow, ngx_zltunnel_udp_t, waiting);
        ngx_zltunnel_udp_served(*udp);
    }

    return item;
}


/* a session that expects no answer ends with its last datagram */

static void
ngx_zltunnel_udp_served(ngx_zltunnel_udp_t *udp)
{
    if (udp->responses == 0 && zlt_queue_flow_empty(&udp->waiting)) {
        ngx_zltunnel_udp_session_end(udp, NGX_ZLTUNNEL_UDP_DONE);
    }
}


void
ngx_zltunnel_udp_session_end(ngx_zltunnel_udp_t *udp,
    ngx_zltunnel_udp_end_e how)
{
    if (udp->ending) {
        return;
    }

    udp->ending = 1;
    udp->how = how;

    ngx_post_event(&udp->timer, &ngx_posted_events);
}


static void
ngx_zltunnel_udp_timer(ngx_event_t *ev)
{
    ngx_msec_t           idle;
    ngx_zltunnel_udp_t  *udp;

    udp = ev->data;

    if (udp->ending) {
        udp->handler(udp, udp->how);
        return;
    }

    idle = ngx_current_msec - udp->active;

    if (idle < udp->timeout) {
        ngx_add_timer(ev, udp->timeout - idle);
        return;
    }

    udp->ending = 1;
    udp->handler(udp, NGX_ZLTUNNEL_UDP_IDLE);
}


void
ngx_zltunnel_udp_session_close(ngx_zltunnel_udp_t *udp)
{
    ngx_zltunnel_carrier_t  *carrier;

    carrier = udp->carrier;

    if (carrier == NULL) {
        return;
    }

    /* the reply that is to go out points to its client's address */

    ngx_zltunnel_reply_flush();
    ngx_zltunnel_client_attach(udp->connection, NULL);

    if (udp->timer.posted) {
        ngx_delete_posted_event(&udp->timer);
    }

    if (udp->timer.timer_set) {
        ngx_del_timer(&udp->timer);
    }

    zlt_queue_purge(&carrier->queue, &udp->waiting);

    if (udp->number) {

        if (udp->how != NGX_ZLTUNNEL_UDP_AGENT && carrier->channel) {
            (void) ngx_zltunnel_datagrams_out_close(&carrier->frames,
                                                    udp->number,
                                                    ZLT_DGRAM_ENDED);
        }

        ngx_zltunnel_udp_number_take(carrier, udp);
    }

    ngx_queue_remove(&udp->queue);
    udp->carrier = NULL;

    carrier->nsessions--;
    carrier->isfull = 0;

    ngx_zltunnel_zone_lock(carrier->registry);
    ngx_zltunnel_counter_put(carrier->registry, carrier->counter);
    ngx_zltunnel_zone_unlock(carrier->registry);

    if (carrier->nsessions == 0) {
        carrier->counter = NULL;
        carrier->unused = ngx_current_msec;
    }
}


ngx_str_t *
ngx_zltunnel_udp_session_service(ngx_zltunnel_udp_t *udp)
{
    return &udp->carrier->service;
}


ngx_str_t *
ngx_zltunnel_udp_session_tunnel(ngx_zltunnel_udp_t *udp)
{
    return &udp->carrier->tunnel;
}
