
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Where a dial begins.  Under one lock the service is found, by a port, a name,
 * a host or its ids, the client is admitted to it, and an idle channel of this
 * worker is taken.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_dial_start.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_dial.h"
#include "ngx_zltunnel_dial_connect.h"
#include "ngx_zltunnel_dial_search.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_transport.h"
#include "ngx_zltunnel_worker.h"

#include "zlt_msg.h"


static void ngx_zltunnel_dial_start_named(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_admission_t *admission);
static ngx_zltunnel_dial_e ngx_zltunnel_dial_start_ill(
    ngx_zltunnel_dial_t *dial, ngx_zltunnel_sh_service_t *service,
    ngx_str_t *ill);
static ngx_zltunnel_dial_e ngx_zltunnel_dial_start_enter(
    ngx_zltunnel_dial_t *dial, ngx_zltunnel_sh_service_t *service,
    u_char *token, const char **limit);


void
ngx_zltunnel_dial_start_port(ngx_zltunnel_dial_t *dial, in_port_t port)
{
    ngx_zltunnel_admission_t  admission;

    ngx_zltunnel_zone_lock(dial->registry);

    ngx_zltunnel_dial_start_admit(dial,
                            ngx_zltunnel_port_service(dial->registry->sh,
                                                      port, 0),
                            &admission);

    ngx_zltunnel_zone_unlock(dial->registry);

    ngx_zltunnel_dial_start(dial, &admission);
}


void
ngx_zltunnel_dial_start_name(ngx_zltunnel_dial_t *dial, ngx_str_t *name,
    ngx_str_t *token)
{
    ngx_zltunnel_admission_t  admission;

    ngx_zltunnel_zone_lock(dial->registry);

    ngx_zltunnel_dial_start_admit(dial,
                            ngx_zltunnel_service_by_name(dial->registry->sh,
                                                         name, 0, token),
                            &admission);

    ngx_zltunnel_zone_unlock(dial->registry);

    ngx_zltunnel_dial_start_named(dial, &admission);
}


void
ngx_zltunnel_dial_start_host(ngx_zltunnel_dial_t *dial, ngx_str_t *host,
    ngx_str_t *token)
{
    ngx_zltunnel_admission_t  admission;

    ngx_zltunnel_zone_lock(dial->registry);

    ngx_zltunnel_dial_start_admit(dial,
                            ngx_zltunnel_host_service(dial->registry->sh,
                                                      host, token),
                            &admission);

    ngx_zltunnel_zone_unlock(dial->registry);

    ngx_zltunnel_dial_start_named(dial, &admission);
}


static void
ngx_zltunnel_dial_start_named(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_admission_t *admission)
{
    if (admission->rc == NGX_ZLTUNNEL_DIAL_OK && !dial->channels) {

        /* of those with the name none can carry it, so why wait */

        admission->rc = NGX_ZLTUNNEL_DIAL_INCAPABLE;
    }

    ngx_zltunnel_dial_start(dial, admission);
}


void
ngx_zltunnel_dial_start_service(ngx_zltunnel_dial_t *dial, u_char *tunnel_id,
    u_char *service_id)
{
    ngx_zltunnel_admission_t    admission;
    ngx_zltunnel_sh_tunnel_t   *tunnel;
    ngx_zltunnel_sh_service_t  *service;

    ngx_zltunnel_zone_lock(dial->registry);

    tunnel = ngx_zltunnel_tunnel_find(dial->registry->sh, tunnel_id);
    service = tunnel ? ngx_zltunnel_service_by_id(tunnel, service_id) : NULL;

    ngx_zltunnel_dial_start_admit(dial, service, &admission);

    ngx_zltunnel_zone_unlock(dial->registry);

    ngx_zltunnel_dial_start(dial, &admission);
}


void
ngx_zltunnel_dial_start(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_admission_t *admission)
{
    ngx_zltunnel_peer_t     *peer;
    ngx_zltunnel_channel_t  *channel;

    ngx_zltunnel_dial_state(dial, NGX_ZLTUNNEL_DIAL_LOOKING);

    dial->started = ngx_current_msec;
    dial->since = ngx_current_msec;

    ngx_zltunnel_dial_add(dial);

    dial->timer.handler = ngx_zltunnel_dial_search_timer;
    dial->timer.data = dial;
    dial->timer.log = dial->log;

    if (admission->rc != NGX_ZLTUNNEL_DIAL_OK) {

        if (admission->limit) {
            ngx_zltunnel_log_complain(dial->log,
                                      "client refused: limit of %s",
                                      admission->limit);
        }

        if (admission->rc == NGX_ZLTUNNEL_DIAL_REFUSED
            && ngx_zltunnel_log_paced(dial->log, "services not connected to"))
        {
            ngx_log_error(NGX_LOG_ERR, dial->log, 0, "service \"%V\" of agent "
                          "\"%V\" is down, its check fails: %V",
                          &dial->service, &dial->tunnel, &admission->ill);
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

    ngx_zltunnel_dial_search(dial, 0);
}


void
ngx_zltunnel_dial_start_admit(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_sh_service_t *service, ngx_zltunnel_admission_t *admission)
{
    admission->limit = NULL;

    if (service == NULL || service->tunnel->draining) {
        admission->rc = NGX_ZLTUNNEL_DIAL_NO_SERVICE;
        return;
    }

    admission->rc = ngx_zltunnel_dial_start_enter(dial, service, admission->token,
                                            &admission->limit);

    if (admission->rc == NGX_ZLTUNNEL_DIAL_OK
        && ngx_zltunnel_health_down(service))
    {
        admission->rc = ngx_zltunnel_dial_start_ill(dial, service,
                                                    &admission->ill);
    }

    /* the lock is taken once, for most connections */

    if (admission->rc == NGX_ZLTUNNEL_DIAL_OK && !dial->lanes) {
        dial->found = ngx_zltunnel_channel_take(dial->registry,
                                                service->tunnel,
                                                ngx_zltunnel_dial_for(dial));
    }
}


/* The agent is not asked: it has just found out. */

static ngx_zltunnel_dial_e
ngx_zltunnel_dial_start_ill(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_sh_service_t *service, ngx_str_t *ill)
{
    dial->code = ZLT_E_REFUSED;

    ngx_str_set(ill, "it does not say why");

    if (service->ill) {
        ill->data = ngx_pnalloc(dial->pool, service->ill_len);
        if (ill->data == NULL) {
            return NGX_ZLTUNNEL_DIAL_ERROR;
        }

        ill->len = service->ill_len;
        ngx_memcpy(ill->data, service->ill, ill->len);
    }

    return NGX_ZLTUNNEL_DIAL_REFUSED;
}


static ngx_zltunnel_dial_e
ngx_zltunnel_dial_start_enter(ngx_zltunnel_dial_t *dial,
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

    if (!dial->datagrams) {
        *limit = ngx_zltunnel_quota_service(dial->registry, service);

        if (*limit) {
            return NGX_ZLTUNNEL_DIAL_LIMIT;
        }
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
    dial->remote = (tunnel->remote != NULL);

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
