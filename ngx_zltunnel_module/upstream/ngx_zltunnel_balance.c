
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Which agent's service a request goes to.
 *
 * All agents that have registered the name are candidates, in three classes:
 * ready; set aside, after failures; and away, whose control channel is gone
 * but may come back.  A better class is exhausted before a worse one is
 * looked at, and with backup servers only the first counts.  Those whose agent
 * has found the service down are candidates where there are no others, for
 * the sake of what is told: they fail at once.
 *
 * Failures and running requests are in the registry, so that all workers, and
 * all upstreams with the same service, know of them.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_balance.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_upstream_conf.h"

#include "zlt_msg.h"


typedef enum {
    NGX_ZLTUNNEL_UNUSABLE = 0,
    NGX_ZLTUNNEL_DOWN,
    NGX_ZLTUNNEL_AWAY,
    NGX_ZLTUNNEL_ASIDE,
    NGX_ZLTUNNEL_ELSEWHERE,
    NGX_ZLTUNNEL_READY
} ngx_zltunnel_class_e;


static ngx_zltunnel_sh_service_t *ngx_zltunnel_balance_choose(
    ngx_zltunnel_upstream_t *up);
static ngx_zltunnel_class_e ngx_zltunnel_balance_class(
    ngx_zltunnel_upstream_t *up, ngx_zltunnel_sh_service_t *service);
static ngx_uint_t ngx_zltunnel_balance_better(ngx_zltunnel_upstream_t *up,
    ngx_zltunnel_sh_service_t *service, ngx_zltunnel_sh_service_t *best);
static ngx_zltunnel_sh_service_t *ngx_zltunnel_balance_random(
    ngx_zltunnel_upstream_t *up, ngx_zltunnel_class_e class, ngx_uint_t n);
static uint32_t ngx_zltunnel_balance_score(ngx_zltunnel_upstream_t *up,
    ngx_zltunnel_sh_service_t *service);
static ngx_int_t ngx_zltunnel_balance_take(ngx_zltunnel_upstream_t *up,
    ngx_zltunnel_sh_service_t *service);
static ngx_zltunnel_sh_service_t *ngx_zltunnel_balance_find(
    ngx_zltunnel_upstream_t *up);
static ngx_zltunnel_absent_e ngx_zltunnel_balance_absent(
    ngx_zltunnel_upstream_t *up);
static void ngx_zltunnel_balance_tell(ngx_zltunnel_upstream_t *up);
static ngx_zltunnel_sh_service_t *ngx_zltunnel_balance_first(
    ngx_zltunnel_upstream_t *up);
static ngx_zltunnel_sh_service_t *ngx_zltunnel_balance_next(
    ngx_zltunnel_upstream_t *up, ngx_zltunnel_sh_service_t *service);


ngx_int_t
ngx_zltunnel_balance(ngx_zltunnel_upstream_t *up)
{
    u_char                     *id;
    ngx_int_t                   rc;
    ngx_uint_t                  missing, drained;
    ngx_zltunnel_sh_service_t  *service, *first;

    if (up->chosen) {
        ngx_zltunnel_balance_done(up);
    }

    if (up->candidates && !up->again) {

        /* not the first time */

        if (up->tried == NULL) {
            up->tried = ngx_array_create(up->pool, 4, ZLT_ID_SIZE);
            if (up->tried == NULL) {
                return NGX_ERROR;
            }
        }

        id = ngx_array_push(up->tried);
        if (id == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(id, up->service_id, ZLT_ID_SIZE);
    }

    up->again = 0;

    ngx_zltunnel_zone_lock(up->conf->registry);

    service = ngx_zltunnel_balance_choose(up);
    rc = service ? ngx_zltunnel_balance_take(up, service) : NGX_BUSY;

    up->cursor = NULL;
    first = service ? service : ngx_zltunnel_balance_next(up, NULL);
    missing = (first == NULL);
    drained = (service == NULL && first && first->tunnel->draining
               && !up->conf->host);
    up->absent = missing ? ngx_zltunnel_balance_absent(up)
                         : NGX_ZLTUNNEL_THERE;

    ngx_zltunnel_zone_unlock(up->conf->registry);

    if ((missing || drained) && up->candidates == 0 && !up->told) {
        up->told = 1;
        ngx_zltunnel_balance_tell(up);
    }

    return rc;
}


static void
ngx_zltunnel_balance_tell(ngx_zltunnel_upstream_t *up)
{
    if (up->conf->host) {

        /* whoever likes may ask for any name */

        ngx_log_error(NGX_LOG_INFO, up->log, 0, "no agent has the host \"%V\"",
                      up->host.len ? &up->host : &up->conf->service);
        return;
    }

    ngx_zltunnel_log_missing(up->log, up->conf->backup ? NGX_LOG_NOTICE
                                                       : NGX_LOG_ERR,
                             up->conf->registry, &up->conf->service,
                             &up->conf->token,
                             ngx_zltunnel_service_drained(up->conf->registry,
                                                      &up->conf->service,
                                                      &up->conf->token));
}


/* the rest of this file runs under the lock, but for done and the like */

static ngx_zltunnel_absent_e
ngx_zltunnel_balance_absent(ngx_zltunnel_upstream_t *up)
{
    if (up->conf->host == 0) {
        return NGX_ZLTUNNEL_THERE;
    }

    if (up->host.len == 0) {
        return NGX_ZLTUNNEL_NOWHERE;
    }

    if (up->sh_host) {
        return NGX_ZLTUNNEL_RESTING;
    }

    return ngx_zltunnel_host_expected(up->conf->registry)
           ? NGX_ZLTUNNEL_EXPECTED : NGX_ZLTUNNEL_NOWHERE;
}


static ngx_zltunnel_sh_service_t *
ngx_zltunnel_balance_first(ngx_zltunnel_upstream_t *up)
{
    up->cursor = NULL;

    if (up->conf->host) {
        up->sh_host = up->host.len
                      ? ngx_zltunnel_host_match(up->conf->registry->sh,
                                                &up->host)
                      : NULL;
    }

    return ngx_zltunnel_balance_next(up, NULL);
}


static ngx_zltunnel_sh_service_t *
ngx_zltunnel_balance_next(ngx_zltunnel_upstream_t *up,
    ngx_zltunnel_sh_service_t *service)
{
    if (!up->conf->host) {
        return ngx_zltunnel_service_named(up->conf->registry->sh,
                                          &up->conf->service, 0,
                                          &up->conf->token, service);
    }

    return up->sh_host ? ngx_zltunnel_host_next(up->sh_host, &up->conf->token,
                                                &up->cursor)
                       : NULL;
}


static ngx_zltunnel_sh_service_t *
ngx_zltunnel_balance_choose(ngx_zltunnel_upstream_t *up)
{
    ngx_uint_t                  n, candidates, down;
    ngx_zltunnel_class_e        class, best_class;
    ngx_zltunnel_sh_service_t  *service, *best;

    best = NULL;
    best_class = NGX_ZLTUNNEL_UNUSABLE;
    n = 0;
    candidates = 0;
    down = 0;

    for (service = ngx_zltunnel_balance_first(up);
         service;
         service = ngx_zltunnel_balance_next(up, service))
    {
        class = ngx_zltunnel_balance_class(up, service);

        if (class == NGX_ZLTUNNEL_UNUSABLE) {
            continue;
        }

        if (class == NGX_ZLTUNNEL_DOWN) {
            down++;

        } else {
            candidates++;
        }

        if (up->conf->backup && class < NGX_ZLTUNNEL_ELSEWHERE) {
            continue;
        }

        if (class < best_class) {
            continue;
        }

        if (class > best_class) {
            best = service;
            best_class = class;
            n = 1;
            continue;
        }

        n++;

        if (ngx_zltunnel_balance_better(up, service, best)) {
            best = service;
        }
    }

    if (up->candidates == 0) {
        up->candidates = candidates ? candidates : down;
        up->down = (candidates == 0);
    }

    if (n > 1 && up->conf->balance == NGX_ZLTUNNEL_RANDOM) {
        best = ngx_zltunnel_balance_random(up, best_class, n);
    }

    return best;
}


static ngx_zltunnel_class_e
ngx_zltunnel_balance_class(ngx_zltunnel_upstream_t *up,
    ngx_zltunnel_sh_service_t *service)
{
    u_char      *id;
    ngx_uint_t   i;

    if (!(service->tunnel->features & ZLT_F_CHANNELS)
        || service->tunnel->draining
        || ((service->flags & ZLT_R_INTERNAL) && !up->local))
    {
        return NGX_ZLTUNNEL_UNUSABLE;
    }

    if (up->tried) {
        id = up->tried->elts;

        for (i = 0; i < up->tried->nelts; i++) {

            if (ngx_memcmp(id + i * ZLT_ID_SIZE, service->id, ZLT_ID_SIZE)
                == 0)
            {
                return NGX_ZLTUNNEL_UNUSABLE;
            }
        }
    }

    if (service->tunnel->state != NGX_ZLTUNNEL_LIVE || service->stale) {
        return NGX_ZLTUNNEL_AWAY;
    }

    if (ngx_zltunnel_health_down(service)) {

        /* after an attempt at another one, its failure is what counts */

        return up->tried && !up->down ? NGX_ZLTUNNEL_UNUSABLE
                                      : NGX_ZLTUNNEL_DOWN;
    }

    if (up->conf->max_fails
        && service->fails >= up->conf->max_fails
        && ngx_zltunnel_zone_since(service->failed) < up->conf->fail_timeout)
    {
        return NGX_ZLTUNNEL_ASIDE;
    }

    if (service->tunnel->remote) {
        return ngx_zltunnel_remote_failing(service->tunnel)
               ? NGX_ZLTUNNEL_ASIDE : NGX_ZLTUNNEL_ELSEWHERE;
    }

    return NGX_ZLTUNNEL_READY;
}


static ngx_uint_t
ngx_zltunnel_balance_better(ngx_zltunnel_upstream_t *up,
    ngx_zltunnel_sh_service_t *service, ngx_zltunnel_sh_service_t *best)
{
    ngx_uint_t  n, m;

    switch (up->conf->balance) {

    case NGX_ZLTUNNEL_HASH:
        return ngx_zltunnel_balance_score(up, service)
               > ngx_zltunnel_balance_score(up, best);

    case NGX_ZLTUNNEL_LEAST_CONN:
        n = ngx_zltunnel_counter_busy(service);
        m = ngx_zltunnel_counter_busy(best);

        if (n != m) {
            return n < m;
        }

        /* fall through */

    default:
        return service->used < best->used;
    }
}


/* the less busy of two that are drawn from the n of that class */

static ngx_zltunnel_sh_service_t *
ngx_zltunnel_balance_random(ngx_zltunnel_upstream_t *up,
    ngx_zltunnel_class_e class, ngx_uint_t n)
{
    ngx_uint_t                  i, first, second;
    ngx_zltunnel_sh_service_t  *service, *a, *b;

    first = ngx_random() % n;
    second = ngx_random() % (n - 1);

    if (second >= first) {
        second++;
    }

    a = NULL;
    b = NULL;
    i = 0;

    for (service = ngx_zltunnel_balance_first(up);
         service;
         service = ngx_zltunnel_balance_next(up, service))
    {
        if (ngx_zltunnel_balance_class(up, service) != class) {
            continue;
        }

        if (i == first) {
            a = service;
        }

        if (i == second) {
            b = service;
        }

        i++;
    }

    if (a == NULL || b == NULL) {
        return a ? a : b;
    }

    return (ngx_zltunnel_counter_busy(b) < ngx_zltunnel_counter_busy(a))
           ? b : a;
}


/*
 * Rendezvous hashing: each service has a score for the key, and the highest
 * wins.  When a service goes, only its own keys move.
 */

static uint32_t
ngx_zltunnel_balance_score(ngx_zltunnel_upstream_t *up,
    ngx_zltunnel_sh_service_t *service)
{
    u_char  buf[ZLT_ID_SIZE + sizeof(uint32_t)];

    ngx_memcpy(buf, service->id, ZLT_ID_SIZE);
    ngx_memcpy(buf + ZLT_ID_SIZE, &up->hash, sizeof(uint32_t));

    return ngx_murmur_hash2(buf, sizeof(buf));
}


static ngx_int_t
ngx_zltunnel_balance_take(ngx_zltunnel_upstream_t *up,
    ngx_zltunnel_sh_service_t *service)
{
    u_char                    *p;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    tunnel = service->tunnel;

    up->name.data = ngx_pnalloc(up->pool,
                                tunnel->name_len + 1 + service->name_len);
    if (up->name.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(up->name.data, tunnel->name, tunnel->name_len);
    *p++ = '/';
    p = ngx_cpymem(p, service->name, service->name_len);

    up->name.len = p - up->name.data;

    ngx_memcpy(up->tunnel_id, tunnel->id, ZLT_ID_SIZE);
    ngx_memcpy(up->service_id, service->id, ZLT_ID_SIZE);

    /*
     * No address: a key by which connections that are kept alive are told
     * apart.  The ids are random, and belong to one tunnel of one tenant.
     * One on which another protocol was spoken, or TLS, is of no use.
     */

    up->sockaddr.sun_family = AF_UNIX;

    p = (u_char *) up->sockaddr.sun_path;
    *p++ = '\0';
    p = ngx_cpymem(p, up->speaks, sizeof(up->speaks));
    p = ngx_cpymem(p, &up->conf->registry->hash, sizeof(uint32_t));
    p = ngx_cpymem(p, tunnel->id, ZLT_ID_SIZE);
    p = ngx_cpymem(p, service->id, ZLT_ID_SIZE);

    if (up->down) {
        /* nor is any to a service that is down */
        *p++ = 'd';
    }

    up->socklen = p - (u_char *) &up->sockaddr;

    service->used = ngx_zltunnel_turn(up->conf->registry->sh);

    up->suspect = (service->fails != 0);
    up->waits = ngx_zltunnel_service_waits(service);

    if (up->conf->max_fails && service->fails >= up->conf->max_fails) {

        /* this request finds out; others wait for what it finds */

        service->failed = ngx_current_msec;
    }

    up->busy = NULL;

    if (up->conf->balance == NGX_ZLTUNNEL_LEAST_CONN
        || up->conf->balance == NGX_ZLTUNNEL_RANDOM)
    {
        /* in a full zone it is counted, and nobody sees it */

        up->busy = ngx_zltunnel_counter_find(up->conf->registry, service);

        if (up->busy) {
            up->busy->busy++;
        }
    }

    up->chosen = 1;

    return NGX_OK;
}


void
ngx_zltunnel_balance_done(ngx_zltunnel_upstream_t *up)
{
    up->chosen = 0;

    if (up->busy == NULL) {
        return;
    }

    ngx_zltunnel_zone_lock(up->conf->registry);

    up->busy->busy--;
    ngx_zltunnel_counter_check(up->conf->registry, up->busy);

    ngx_zltunnel_zone_unlock(up->conf->registry);

    up->busy = NULL;
}


void
ngx_zltunnel_balance_failed(ngx_zltunnel_upstream_t *up)
{
    ngx_uint_t                  fails;
    ngx_zltunnel_sh_service_t  *service;

    if (up->conf->max_fails == 0 || up->down
        || (up->candidates < 2 && !up->conf->backup))
    {
        /* the only one is tried again, as nginx does */

        return;
    }

    fails = 0;

    ngx_zltunnel_zone_lock(up->conf->registry);

    service = ngx_zltunnel_balance_find(up);

    if (service) {

        if (ngx_zltunnel_zone_since(service->failed) >= up->conf->fail_timeout)
        {
            service->fails = 0;
        }

        fails = ++service->fails;
        service->failed = ngx_current_msec;
    }

    ngx_zltunnel_zone_unlock(up->conf->registry);

    if (fails == up->conf->max_fails) {
        ngx_log_error(NGX_LOG_WARN, up->log, 0,
                      "tunnelled service \"%V\" is set aside for %M ms",
                      &up->name, up->conf->fail_timeout);
    }
}


void
ngx_zltunnel_balance_works(ngx_zltunnel_upstream_t *up)
{
    ngx_zltunnel_sh_service_t  *service;

    if (!up->suspect) {
        return;
    }

    up->suspect = 0;

    ngx_zltunnel_zone_lock(up->conf->registry);

    service = ngx_zltunnel_balance_find(up);

    if (service) {
        service->fails = 0;
    }

    ngx_zltunnel_zone_unlock(up->conf->registry);
}


ngx_uint_t
ngx_zltunnel_balance_away(ngx_zltunnel_upstream_t *up)
{
    ngx_uint_t                  away;
    ngx_zltunnel_sh_service_t  *service;

    ngx_zltunnel_zone_lock_read(up->conf->registry);

    service = ngx_zltunnel_balance_find(up);
    away = (service == NULL || ngx_zltunnel_service_waits(service));

    ngx_zltunnel_zone_unlock(up->conf->registry);

    return away;
}


static ngx_zltunnel_sh_service_t *
ngx_zltunnel_balance_find(ngx_zltunnel_upstream_t *up)
{
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    tunnel = ngx_zltunnel_tunnel_find(up->conf->registry->sh, up->tunnel_id);

    return tunnel ? ngx_zltunnel_service_by_id(tunnel, up->service_id) : NULL;
}
