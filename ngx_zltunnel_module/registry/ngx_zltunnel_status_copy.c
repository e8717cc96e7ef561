
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What the status shows, copied.
 *
 * Nothing is written while the lock is held, and nobody waits for all of it:
 * first the ids of the tunnels are copied, then one tunnel at a time with its
 * services, and what was copied is written after the lock was given back.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_status_copy.h"
#include "ngx_zltunnel_figure.h"
#include "ngx_zltunnel_tunnel.h"
#include "ngx_zltunnel_zone.h"


static void ngx_zltunnel_status_copy_service(
    ngx_zltunnel_status_service_t *copy, ngx_zltunnel_sh_service_t *service);
static void ngx_zltunnel_status_copy_hosts(ngx_zltunnel_status_t *st,
    ngx_zltunnel_status_service_t *copy, ngx_zltunnel_sh_service_t *service);
static ngx_uint_t ngx_zltunnel_status_copy_ports(ngx_zltunnel_sh_t *sh);


ngx_int_t
ngx_zltunnel_status_copy(ngx_zltunnel_status_t *st)
{
    ngx_uint_t                 i, n, room;
    ngx_pool_t                *pool;
    ngx_queue_t               *q;
    ngx_zltunnel_sh_t         *sh;
    ngx_zltunnel_registry_t   *registry;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    registry = st->registry;
    pool = st->pool;
    sh = registry->sh;

    /* some more than there are: they come while we allocate */

    room = sh->nslots + NGX_ZLTUNNEL_SLOTS;
    st->workers = ngx_palloc(pool,
                             (room + 1) * sizeof(ngx_zltunnel_sh_worker_t));

    n = sh->ntunnels + sh->nremote + 16;
    st->ids = ngx_palloc(pool, n * sizeof(ngx_zltunnel_status_id_t));

    if (st->workers == NULL || st->ids == NULL) {
        return NGX_ERROR;
    }

    ngx_zltunnel_zone_lock_read(registry);

    st->generation = sh->generation;
    st->resets = sh->resets;
    st->astray = sh->astray.total;
    st->free = registry->shpool->pfree * ngx_pagesize;
    st->open = ngx_zltunnel_status_copy_ports(sh);

    st->nworkers = ngx_min(sh->nslots, room);

    for (i = 0; i < st->nworkers; i++) {
        st->workers[i] = *ngx_zltunnel_slot(sh, i);
        ngx_zltunnel_figure_add(&st->figures, st->workers[i].figures);
    }

    st->workers[i] = sh->gone;
    ngx_zltunnel_figure_add(&st->figures, sh->gone.figures);

    for (q = ngx_queue_head(&sh->list);
         q != ngx_queue_sentinel(&sh->list) && st->nids < n;
         q = ngx_queue_next(q))
    {
        tunnel = ngx_queue_data(q, ngx_zltunnel_sh_tunnel_t, queue);
        ngx_memcpy(st->ids[st->nids++].id, tunnel->id, ZLT_ID_SIZE);
        st->nremote += (tunnel->remote != NULL);
    }

    ngx_zltunnel_zone_unlock(registry);

    return NGX_OK;
}


static ngx_uint_t
ngx_zltunnel_status_copy_ports(ngx_zltunnel_sh_t *sh)
{
    ngx_uint_t                  n;
    ngx_rbtree_node_t          *node;
    ngx_zltunnel_sh_service_t  *service;

    n = 0;

    if (sh->ports.root == &sh->sentinel) {
        return 0;
    }

    for (node = ngx_rbtree_min(sh->ports.root, &sh->sentinel);
         node;
         node = ngx_rbtree_next(&sh->ports, node))
    {
        service = ((ngx_zltunnel_sh_port_t *) node)->service;

        if (service && !service->shut) {
            n++;
        }
    }

    return n;
}


ngx_int_t
ngx_zltunnel_status_copy_tunnel(ngx_zltunnel_status_t *st, u_char *id)
{
    ngx_uint_t                      n, hosts;
    ngx_queue_t                    *q;
    ngx_zltunnel_registry_t        *registry;
    ngx_zltunnel_sh_tunnel_t       *tunnel;
    ngx_zltunnel_sh_service_t      *service;
    ngx_zltunnel_status_service_t  *copy;

    registry = st->registry;

    for ( ;; ) {

        st->nservices = 0;
        st->nhosts = 0;
        n = 0;
        hosts = 0;

        ngx_zltunnel_zone_lock_read(registry);

        tunnel = ngx_zltunnel_tunnel_find(registry->sh, id);

        if (tunnel) {
            n = tunnel->nservices;
            hosts = tunnel->nhosts;
        }

        if (tunnel && n <= st->room && hosts <= st->hosts_room) {
            st->tunnel = *tunnel;

            for (q = ngx_queue_head(&tunnel->services);
                 q != ngx_queue_sentinel(&tunnel->services)
                 && st->nservices < st->room;
                 q = ngx_queue_next(q))
            {
                service = ngx_queue_data(q, ngx_zltunnel_sh_service_t, queue);

                copy = &st->services[st->nservices++];

                ngx_zltunnel_status_copy_service(copy, service);
                ngx_zltunnel_status_copy_hosts(st, copy, service);
            }
        }

        ngx_zltunnel_zone_unlock(registry);

        if (tunnel == NULL) {
            return NGX_DECLINED;
        }

        if (n <= st->room && hosts <= st->hosts_room) {
            return NGX_OK;
        }

        st->room = n + 16;
        st->services = ngx_palloc(st->pool, st->room
                                  * sizeof(ngx_zltunnel_status_service_t));

        st->hosts_room = hosts + 16;
        st->hosts = ngx_palloc(st->pool, st->hosts_room
                                  * sizeof(ngx_zltunnel_status_host_t));

        if (st->services == NULL || st->hosts == NULL) {
            return NGX_ERROR;
        }
    }
}


static void
ngx_zltunnel_status_copy_hosts(ngx_zltunnel_status_t *st,
    ngx_zltunnel_status_service_t *copy, ngx_zltunnel_sh_service_t *service)
{
    ngx_queue_t                 *q;
    ngx_zltunnel_sh_hosted_t    *hosted;
    ngx_zltunnel_status_host_t  *host;

    copy->hosts = st->nhosts;

    for (q = ngx_queue_head(&service->hosts);
         q != ngx_queue_sentinel(&service->hosts)
         && st->nhosts < st->hosts_room;
         q = ngx_queue_next(q))
    {
        hosted = ngx_queue_data(q, ngx_zltunnel_sh_hosted_t, list);
        host = &st->hosts[st->nhosts++];

        host->len = hosted->host->len;
        ngx_memcpy(host->name, hosted->host->name, host->len);
    }

    copy->nhosts = st->nhosts - copy->hosts;
}


static void
ngx_zltunnel_status_copy_service(ngx_zltunnel_status_service_t *copy,
    ngx_zltunnel_sh_service_t *service)
{
    ngx_uint_t                  i;
    ngx_queue_t                *q;
    ngx_zltunnel_sh_counter_t  *counter;

    ngx_memcpy(copy->id, service->id, ZLT_ID_SIZE);
    copy->port = service->port;
    copy->local_port = service->local_port;
    copy->udp = service->udp;
    copy->stale = service->stale;
    copy->unreached = service->unreached;
    copy->cause = service->cause;
    copy->down = (service->health != ZLT_H_UP);
    copy->ill_since = service->ill_since;
    copy->ill_len = service->ill_len;

    if (service->ill) {
        ngx_memcpy(copy->ill, service->ill, service->ill_len);

    } else {
        copy->ill_len = 0;
    }

    copy->name_len = service->name_len;
    ngx_memcpy(copy->name, service->name, service->name_len);

    copy->active = 0;
    copy->total = service->total;
    copy->bytes[0] = service->bytes[0];
    copy->bytes[1] = service->bytes[1];
    copy->datagrams[0] = service->datagrams[0];
    copy->datagrams[1] = service->datagrams[1];
    ngx_memcpy(copy->dropped, service->dropped, sizeof(copy->dropped));

    for (q = ngx_queue_head(&service->counters);
         q != ngx_queue_sentinel(&service->counters);
         q = ngx_queue_next(q))
    {
        counter = ngx_queue_data(q, ngx_zltunnel_sh_counter_t, queue);

        copy->active += counter->active;
        copy->total += counter->total;
        copy->bytes[0] += counter->bytes[0];
        copy->bytes[1] += counter->bytes[1];
        copy->datagrams[0] += counter->datagrams[0];
        copy->datagrams[1] += counter->datagrams[1];

        for (i = 0; i < NGX_ZLTUNNEL_DROPS; i++) {
            copy->dropped[i] += counter->dropped[i];
        }
    }
}


ngx_uint_t
ngx_zltunnel_status_copy_up(ngx_zltunnel_status_t *st,
    ngx_zltunnel_status_service_t *service)
{
    return st->tunnel.state == NGX_ZLTUNNEL_LIVE && !service->stale
           && !service->down;
}


const char *
ngx_zltunnel_status_copy_state(ngx_zltunnel_status_t *st,
    ngx_zltunnel_status_service_t *service)
{
    if (st->tunnel.state != NGX_ZLTUNNEL_LIVE) {
        return "down";
    }

    if (service->stale) {
        return "stale";
    }

    return service->down ? "down" : "up";
}
