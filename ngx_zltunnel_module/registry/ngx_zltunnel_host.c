
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Names of hosts, and the services that have them.
 *
 * A name that no service has any more rests: it is kept for its tenant, so that
 * nobody gets the visitors of a service whose agent is away for longer.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_host.h"
#include "ngx_zltunnel_host_table.h"
#include "ngx_zltunnel_overlap.h"
#include "ngx_zltunnel_service.h"
#include "ngx_zltunnel_shm.h"
#include "ngx_zltunnel_tunnel.h"
#include "ngx_zltunnel_zone.h"

#include "zlt_host.h"


#define NGX_ZLTUNNEL_HOST_REST     600000  /* ms */


static ngx_uint_t ngx_zltunnel_host_usable(ngx_zltunnel_sh_host_t *host,
    uint64_t tenant);
static ngx_zltunnel_host_e ngx_zltunnel_host_check(ngx_zltunnel_sh_t *sh,
    ngx_zltunnel_sh_service_t *service, ngx_str_t *token,
    ngx_zltunnel_host_name_t *names, ngx_uint_t n, ngx_uint_t max,
    ngx_str_t *failed);
static ngx_zltunnel_sh_hosted_t *ngx_zltunnel_host_hosted(
    ngx_zltunnel_sh_service_t *service, ngx_str_t *name);
static ngx_int_t ngx_zltunnel_host_add(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service, ngx_zltunnel_host_name_t *name,
    uint64_t tenant);
static ngx_zltunnel_sh_host_t *ngx_zltunnel_host_create(
    ngx_zltunnel_registry_t *registry, ngx_str_t *name, uint64_t tenant);
static void ngx_zltunnel_host_drop(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_hosted_t *hosted);
static void ngx_zltunnel_host_remove(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_host_t *host);
static ngx_queue_t *ngx_zltunnel_host_resting(ngx_zltunnel_sh_t *sh,
    uint64_t tenant);
static ngx_zltunnel_sh_host_t *ngx_zltunnel_host_rests(ngx_zltunnel_sh_t *sh,
    uint64_t tenant, ngx_uint_t *n);


ngx_zltunnel_sh_host_t *
ngx_zltunnel_host_match(ngx_zltunnel_sh_t *sh, ngx_str_t *name)
{
    u_char                  *p, text[ZLT_MAX_HOST + 2];
    ngx_str_t                wild;
    ngx_zltunnel_sh_host_t  *host, *first;

    first = ngx_zltunnel_host_table_find(sh, name);

    if (sh->hosts.nwild == 0
        || (first && !ngx_queue_empty(&first->services)))
    {
        return first;
    }

    /*
     * "*" and what begins with each dot: the longest first.  Behind one that
     * rests there are those of its own tenant only.
     */

    ngx_memcpy(text + 1, name->data, name->len);

    for (p = text + 1; p < text + 1 + name->len; p++) {

        if (*p != '.') {
            continue;
        }

        *(p - 1) = '*';

        wild.data = p - 1;
        wild.len = text + 1 + name->len - wild.data;

        host = ngx_zltunnel_host_table_find(sh, &wild);

        if (host == NULL || (first && host->tenant != first->tenant)) {
            continue;
        }

        if (!ngx_queue_empty(&host->services)) {
            return host;
        }

        if (first == NULL) {
            first = host;
        }
    }

    return first;
}


ngx_zltunnel_sh_service_t *
ngx_zltunnel_host_next(ngx_zltunnel_sh_host_t *host, ngx_str_t *token,
    ngx_queue_t **q)
{
    ngx_zltunnel_sh_hosted_t  *hosted;

    for (*q = *q ? ngx_queue_next(*q) : ngx_queue_head(&host->services);
         *q != ngx_queue_sentinel(&host->services);
         *q = ngx_queue_next(*q))
    {
        hosted = ngx_queue_data(*q, ngx_zltunnel_sh_hosted_t, queue);

        if (token->len == 0
            || ngx_zltunnel_tunnel_of(hosted->service->tunnel, token))
        {
            return hosted->service;
        }
    }

    return NULL;
}


ngx_zltunnel_sh_service_t *
ngx_zltunnel_host_service(ngx_zltunnel_sh_t *sh, ngx_str_t *name,
    ngx_str_t *token)
{
    ngx_queue_t                *q;
    ngx_zltunnel_sh_host_t     *host;
    ngx_zltunnel_sh_service_t  *service, *best;

    host = ngx_zltunnel_host_match(sh, name);

    if (host == NULL) {
        return NULL;
    }

    best = NULL;
    q = NULL;

    for (service = ngx_zltunnel_host_next(host, token, &q);
         service;
         service = ngx_zltunnel_host_next(host, token, &q))
    {
        if (ngx_zltunnel_service_before(service, best)) {
            best = service;
        }
    }

    if (best) {
        best->used = ngx_zltunnel_turn(sh);
    }

    return best;
}


ngx_uint_t
ngx_zltunnel_host_free(ngx_zltunnel_sh_t *sh, ngx_str_t *name, uint64_t tenant)
{
    ngx_zltunnel_sh_host_t  *host;

    host = ngx_zltunnel_host_table_find(sh, name);

    return host == NULL || ngx_zltunnel_host_usable(host, tenant);
}


uint64_t
ngx_zltunnel_host_tenant(ngx_str_t *token)
{
    return ngx_zltunnel_name_hash(token->data, token->len);
}


static ngx_uint_t
ngx_zltunnel_host_usable(ngx_zltunnel_sh_host_t *host, uint64_t tenant)
{
    return host->tenant == tenant
           || (ngx_queue_empty(&host->services)
               && ngx_zltunnel_zone_since(host->freed)
                  >= NGX_ZLTUNNEL_HOST_REST);
}


ngx_zltunnel_host_e
ngx_zltunnel_host_claim(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service, ngx_str_t *token,
    ngx_zltunnel_host_name_t *names, ngx_uint_t n, ngx_uint_t max,
    ngx_str_t *failed)
{
    uint64_t                   tenant;
    ngx_uint_t                 i, had;
    ngx_queue_t               *q, *next;
    ngx_zltunnel_host_e        rc;
    ngx_zltunnel_sh_hosted_t  *hosted;

    rc = ngx_zltunnel_host_check(registry->sh, service, token, names, n, max,
                                 failed);

    if (rc != NGX_ZLTUNNEL_HOST_OK) {
        return rc;
    }

    tenant = ngx_zltunnel_host_tenant(token);
    had = service->nhosts;

    for (i = 0; i < n; i++) {

        hosted = ngx_zltunnel_host_hosted(service, &names[i].name);

        if (hosted) {
            hosted->automatic = (uint8_t) names[i].automatic;
            continue;
        }

        if (ngx_zltunnel_host_add(registry, service, &names[i], tenant)
            != NGX_OK)
        {
            *failed = names[i].name;

            /* those that were added are behind those that it had */

            while (service->nhosts > had) {
                q = ngx_queue_last(&service->hosts);
                ngx_zltunnel_host_drop(registry,
                    ngx_queue_data(q, ngx_zltunnel_sh_hosted_t, list));
            }

            return NGX_ZLTUNNEL_HOST_FULL;
        }
    }

    for (q = ngx_queue_head(&service->hosts);
         q != ngx_queue_sentinel(&service->hosts) && had;
         q = next, had--)
    {
        next = ngx_queue_next(q);
        hosted = ngx_queue_data(q, ngx_zltunnel_sh_hosted_t, list);

        for (i = 0; i < n; i++) {

            if (ngx_zltunnel_host_table_is(hosted->host, &names[i].name)) {
                break;
            }
        }

        if (i == n) {
            ngx_zltunnel_host_drop(registry, hosted);
        }
    }

    return NGX_ZLTUNNEL_HOST_OK;
}


static ngx_zltunnel_host_e
ngx_zltunnel_host_check(ngx_zltunnel_sh_t *sh,
    ngx_zltunnel_sh_service_t *service, ngx_str_t *token,
    ngx_zltunnel_host_name_t *names, ngx_uint_t n, ngx_uint_t max,
    ngx_str_t *failed)
{
    uint64_t    tenant;
    ngx_uint_t  i, have;

    tenant = ngx_zltunnel_host_tenant(token);

    for (i = 0; i < n; i++) {

        if (!ngx_zltunnel_host_free(sh, &names[i].name, tenant)) {
            *failed = names[i].name;
            return NGX_ZLTUNNEL_HOST_TAKEN;
        }
    }

    if (n <= service->nhosts) {
        return NGX_ZLTUNNEL_HOST_OK;
    }

    have = n - service->nhosts
           + ngx_zltunnel_tunnel_sum(sh, token,
                                     offsetof(ngx_zltunnel_sh_tunnel_t,
                                              nhosts));

    if (have > max) {
        *failed = names[n - 1].name;
        return NGX_ZLTUNNEL_HOST_LIMIT;
    }

    return NGX_ZLTUNNEL_HOST_OK;
}


static ngx_zltunnel_sh_hosted_t *
ngx_zltunnel_host_hosted(ngx_zltunnel_sh_service_t *service, ngx_str_t *name)
{
    ngx_queue_t               *q;
    ngx_zltunnel_sh_hosted_t  *hosted;

    for (q = ngx_queue_head(&service->hosts);
         q != ngx_queue_sentinel(&service->hosts);
         q = ngx_queue_next(q))
    {
        hosted = ngx_queue_data(q, ngx_zltunnel_sh_hosted_t, list);

        if (ngx_zltunnel_host_table_is(hosted->host, name)) {
            return hosted;
        }
    }

    return NULL;
}


static ngx_int_t
ngx_zltunnel_host_add(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service, ngx_zltunnel_host_name_t *name,
    uint64_t tenant)
{
    ngx_uint_t                 n;
    ngx_zltunnel_sh_host_t    *host, *oldest;
    ngx_zltunnel_sh_hosted_t  *hosted;

    host = ngx_zltunnel_host_table_find(registry->sh, &name->name);

    if (host == NULL) {

        /* who registers ever new names fills no zone with those that he had */

        oldest = ngx_zltunnel_host_rests(registry->sh, tenant, &n);

        if (n >= registry->max_hosts) {
            ngx_zltunnel_host_remove(registry, oldest);
        }

        host = ngx_zltunnel_host_create(registry, &name->name, tenant);
        if (host == NULL) {
            return NGX_ERROR;
        }
    }

    hosted = ngx_zltunnel_zone_alloc(registry,
                                     sizeof(ngx_zltunnel_sh_hosted_t));
    if (hosted == NULL) {
        return NGX_ERROR;
    }

    if (ngx_queue_empty(&host->services)) {
        ngx_queue_remove(&host->rest);
        host->tenant = tenant;
    }

    hosted->host = host;
    hosted->service = service;
    hosted->automatic = (uint8_t) name->automatic;

    ngx_queue_insert_tail(&host->services, &hosted->queue);
    ngx_queue_insert_tail(&service->hosts, &hosted->list);

    service->nhosts++;
    service->tunnel->nhosts++;
    registry->sh->hosts.added++;

    return NGX_OK;
}


/* one that rests, and has rested for long enough */

static ngx_zltunnel_sh_host_t *
ngx_zltunnel_host_create(ngx_zltunnel_registry_t *registry, ngx_str_t *name,
    uint64_t tenant)
{
    ngx_zltunnel_sh_host_t  *host;

    host = ngx_zltunnel_zone_alloc(registry,
                                   offsetof(ngx_zltunnel_sh_host_t, name)
                                   + name->len);
    if (host == NULL) {
        return NULL;
    }

    host->hash = ngx_zltunnel_name_hash(name->data, name->len);
    host->tenant = tenant;
    host->freed = ngx_current_msec - NGX_ZLTUNNEL_HOST_REST;
    host->len = (uint8_t) name->len;
    ngx_memcpy(host->name, name->data, name->len);

    ngx_queue_init(&host->services);

    if (ngx_zltunnel_host_table_add(registry, host) != NGX_OK) {
        ngx_zltunnel_zone_free(registry, host);
        return NULL;
    }

    /* at the head are those that are due first */

    ngx_queue_insert_head(ngx_zltunnel_host_resting(registry->sh, tenant),
                          &host->rest);

    return host;
}


void
ngx_zltunnel_host_lose(ngx_zltunnel_sh_service_t *service, ngx_str_t *name,
    ngx_str_t *token)
{
    ngx_queue_t               *q;
    ngx_zltunnel_sh_host_t    *host;
    ngx_zltunnel_sh_hosted_t  *hosted;

    for (q = ngx_queue_head(&service->hosts);
         q != ngx_queue_sentinel(&service->hosts);
         q = ngx_queue_next(q))
    {
        hosted = ngx_queue_data(q, ngx_zltunnel_sh_hosted_t, list);
        host = hosted->host;

        if (host->len == name->len
            && ngx_memcmp(host->name, name->data, name->len) == 0)
        {
            host->tenant = ngx_zltunnel_host_tenant(token);
        }
    }
}


void
ngx_zltunnel_host_leave(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service)
{
    ngx_queue_t  *q;

    while (!ngx_queue_empty(&service->hosts)) {
        q = ngx_queue_head(&service->hosts);
        ngx_zltunnel_host_drop(registry,
                        ngx_queue_data(q, ngx_zltunnel_sh_hosted_t, list));
    }
}


static void
ngx_zltunnel_host_drop(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_hosted_t *hosted)
{
    ngx_zltunnel_sh_host_t     *host;
    ngx_zltunnel_sh_service_t  *service;

    host = hosted->host;
    service = hosted->service;

    ngx_queue_remove(&hosted->queue);
    ngx_queue_remove(&hosted->list);

    service->nhosts--;
    service->tunnel->nhosts--;

    ngx_zltunnel_zone_free(registry, hosted);

    if (!ngx_queue_empty(&host->services)) {
        return;
    }

    host->freed = ngx_current_msec;
    ngx_queue_insert_tail(ngx_zltunnel_host_resting(registry->sh,
                                                    host->tenant),
                          &host->rest);
}


/* several lists, so that who looks for his own names does not walk those of
   all */

static ngx_queue_t *
ngx_zltunnel_host_resting(ngx_zltunnel_sh_t *sh, uint64_t tenant)
{
    return &sh->hosts.resting[tenant % NGX_ZLTUNNEL_HOST_RESTS];
}


/* how many rest for a tenant, and the one that has for the longest time */

static ngx_zltunnel_sh_host_t *
ngx_zltunnel_host_rests(ngx_zltunnel_sh_t *sh, uint64_t tenant, ngx_uint_t *n)
{
    ngx_queue_t             *q, *resting;
    ngx_zltunnel_sh_host_t  *host, *oldest;

    *n = 0;
    oldest = NULL;
    resting = ngx_zltunnel_host_resting(sh, tenant);

    for (q = ngx_queue_last(resting);
         q != ngx_queue_sentinel(resting);
         q = ngx_queue_prev(q))
    {
        host = ngx_queue_data(q, ngx_zltunnel_sh_host_t, rest);

        if (host->tenant == tenant) {
            oldest = host;
            (*n)++;
        }
    }

    return oldest;
}


static void
ngx_zltunnel_host_remove(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_host_t *host)
{
    ngx_zltunnel_host_table_remove(registry->sh, host);
    ngx_queue_remove(&host->rest);

    ngx_zltunnel_zone_free(registry, host);
}


ngx_uint_t
ngx_zltunnel_host_expected(ngx_zltunnel_registry_t *registry)
{
    return ngx_zltunnel_overlap
           || ngx_zltunnel_zone_since(registry->sh->started)
              < registry->reconnect_grace;
}


ngx_uint_t
ngx_zltunnel_host_awaited(ngx_zltunnel_registry_t *registry, ngx_str_t *name)
{
    ngx_zltunnel_sh_host_t  *host;

    if (name->len == 0 || !ngx_zltunnel_host_expected(registry)) {
        return 0;
    }

    ngx_zltunnel_zone_lock_read(registry);

    host = ngx_zltunnel_host_match(registry->sh, name);

    ngx_zltunnel_zone_unlock(registry);

    return host == NULL;
}


void
ngx_zltunnel_host_sweep(ngx_zltunnel_registry_t *registry)
{
    ngx_uint_t               i;
    ngx_queue_t             *q, *resting;
    ngx_zltunnel_sh_host_t  *host;

    for (i = 0; i < NGX_ZLTUNNEL_HOST_RESTS; i++) {

        resting = &registry->sh->hosts.resting[i];

        while (!ngx_queue_empty(resting)) {
            q = ngx_queue_head(resting);
            host = ngx_queue_data(q, ngx_zltunnel_sh_host_t, rest);

            if (ngx_zltunnel_zone_since(host->freed)
                < NGX_ZLTUNNEL_HOST_REST)
            {
                break;
            }

            ngx_zltunnel_zone_change(registry);
            ngx_zltunnel_host_remove(registry, host);
        }
    }
}
