
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What services and access sessions have carried: an entry for each worker,
 * written by that worker alone, and summed here.  All of it runs under the
 * lock, but for the byte counts.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_counter.h"
#include "ngx_zltunnel_access.h"
#include "ngx_zltunnel_shm.h"
#include "ngx_zltunnel_zone.h"


/*
 * A full zone has no room for a counter, and costs nobody a connection: this
 * worker counts in one of its own, of which nobody is told.  It is in no list,
 * and of no service or access session, which may be gone before who counts in
 * it.
 */

static ngx_zltunnel_sh_counter_t  ngx_zltunnel_counter_spare;


static void ngx_zltunnel_counter_add(ngx_zltunnel_sh_counter_t *counter,
    ngx_int_t n);
static void ngx_zltunnel_counter_leave(ngx_zltunnel_sh_counter_t *counter);


void
ngx_zltunnel_counter_orphan(ngx_zltunnel_registry_t *registry,
    ngx_queue_t *counters)
{
    ngx_queue_t                *q;
    ngx_zltunnel_sh_counter_t  *counter;

    while (!ngx_queue_empty(counters)) {
        q = ngx_queue_head(counters);
        counter = ngx_queue_data(q, ngx_zltunnel_sh_counter_t, queue);

        ngx_queue_remove(q);

        if (counter->active == 0 && counter->busy == 0) {
            ngx_zltunnel_zone_free(registry, counter);
            continue;
        }

        /* relays of its worker still count in it */

        ngx_zltunnel_counter_leave(counter);

        counter->service = NULL;
        counter->access = NULL;
        ngx_queue_insert_tail(&registry->sh->orphans, &counter->queue);
    }
}


ngx_zltunnel_sh_counter_t *
ngx_zltunnel_counter_get(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service)
{
    ngx_zltunnel_sh_counter_t  *counter;

    counter = ngx_zltunnel_counter_find(registry, service);

    if (counter) {
        ngx_zltunnel_counter_add(counter, 1);
    }

    return counter;
}


/* the tunnel has a sum of them, for the limits of its token */

static void
ngx_zltunnel_counter_add(ngx_zltunnel_sh_counter_t *counter, ngx_int_t n)
{
    counter->active += n;

    if (counter->service) {
        counter->service->tunnel->active[counter->service->udp] += n;
    }
}


/* of which its connections are no part any more */

static void
ngx_zltunnel_counter_leave(ngx_zltunnel_sh_counter_t *counter)
{
    ngx_zltunnel_sh_service_t  *service;

    service = counter->service;

    if (service) {
        service->tunnel->active[service->udp] -= counter->active;
    }
}


ngx_zltunnel_sh_counter_t *
ngx_zltunnel_counter_more(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service, ngx_zltunnel_sh_counter_t *counter)
{
    if (counter == NULL) {
        return ngx_zltunnel_counter_get(registry, service);
    }

    ngx_zltunnel_counter_add(counter, 1);

    return counter;
}


ngx_zltunnel_sh_counter_t *
ngx_zltunnel_counter_find(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service)
{
    return ngx_zltunnel_counter_of(registry, &service->counters, service,
                                   NULL);
}


ngx_zltunnel_sh_counter_t *
ngx_zltunnel_counter_of(ngx_zltunnel_registry_t *registry,
    ngx_queue_t *counters, ngx_zltunnel_sh_service_t *service,
    ngx_zltunnel_sh_access_t *access)
{
    ngx_queue_t                *q;
    ngx_zltunnel_sh_counter_t  *counter;

    if (registry->slot == NGX_ZLTUNNEL_NO_SLOT) {
        return NULL;
    }

    for (q = ngx_queue_head(counters);
         q != ngx_queue_sentinel(counters);
         q = ngx_queue_next(q))
    {
        counter = ngx_queue_data(q, ngx_zltunnel_sh_counter_t, queue);

        if (counter->slot == registry->slot && counter->pid == ngx_pid) {
            return counter;
        }
    }

    counter = ngx_zltunnel_zone_alloc(registry,
                                      sizeof(ngx_zltunnel_sh_counter_t));
    if (counter == NULL) {
        return &ngx_zltunnel_counter_spare;
    }

    counter->service = service;
    counter->access = access;
    counter->slot = registry->slot;
    counter->pid = ngx_pid;

    ngx_queue_insert_tail(counters, &counter->queue);

    return counter;
}


void
ngx_zltunnel_counter_put(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_counter_t *counter)
{
    ngx_zltunnel_counter_add(counter, -1);

    ngx_zltunnel_counter_check(registry, counter);
}


void
ngx_zltunnel_counter_check(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_counter_t *counter)
{
    if (counter != &ngx_zltunnel_counter_spare
        && counter->active == 0 && counter->busy == 0
        && counter->service == NULL && counter->access == NULL)
    {
        ngx_queue_remove(&counter->queue);
        ngx_zltunnel_zone_free(registry, counter);
    }
}


void
ngx_zltunnel_counter_fold(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_counter_t *counter)
{
    ngx_uint_t                  i;
    ngx_zltunnel_sh_service_t  *service;

    service = counter->service;

    ngx_zltunnel_counter_leave(counter);

    if (counter->access) {
        ngx_zltunnel_access_fold(counter->access, counter);
    }

    if (service) {
        service->total += counter->total;
        service->bytes[0] += counter->bytes[0];
        service->bytes[1] += counter->bytes[1];
        service->datagrams[0] += counter->datagrams[0];
        service->datagrams[1] += counter->datagrams[1];

        for (i = 0; i < NGX_ZLTUNNEL_DROPS; i++) {
            service->dropped[i] += counter->dropped[i];
        }
    }

    ngx_queue_remove(&counter->queue);
    ngx_zltunnel_zone_free(registry, counter);
}


void
ngx_zltunnel_counter_fold_idle(ngx_zltunnel_registry_t *registry,
    ngx_queue_t *counters)
{
    ngx_queue_t                *q, *next;
    ngx_zltunnel_sh_counter_t  *counter;

    for (q = ngx_queue_head(counters);
         q != ngx_queue_sentinel(counters);
         q = next)
    {
        next = ngx_queue_next(q);
        counter = ngx_queue_data(q, ngx_zltunnel_sh_counter_t, queue);

        if (counter->active == 0 && counter->busy == 0) {
            ngx_zltunnel_counter_fold(registry, counter);
        }
    }
}


ngx_uint_t
ngx_zltunnel_counter_active(ngx_zltunnel_sh_service_t *service)
{
    ngx_uint_t                  active;
    ngx_queue_t                *q;
    ngx_zltunnel_sh_counter_t  *counter;

    active = 0;

    for (q = ngx_queue_head(&service->counters);
         q != ngx_queue_sentinel(&service->counters);
         q = ngx_queue_next(q))
    {
        counter = ngx_queue_data(q, ngx_zltunnel_sh_counter_t, queue);
        active += counter->active;
    }

    return active;
}


ngx_uint_t
ngx_zltunnel_counter_busy(ngx_zltunnel_sh_service_t *service)
{
    ngx_uint_t                  busy;
    ngx_queue_t                *q;
    ngx_zltunnel_sh_counter_t  *counter;

    busy = 0;

    for (q = ngx_queue_head(&service->counters);
         q != ngx_queue_sentinel(&service->counters);
         q = ngx_queue_next(q))
    {
        counter = ngx_queue_data(q, ngx_zltunnel_sh_counter_t, queue);
        busy += counter->busy;
    }

    return busy;
}
