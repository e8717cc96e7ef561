
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Visits: connections of visitors, in the worker where they landed.
 *
 * Theory of operation.  The visitor's channel is reserved, in the registry,
 * before its 101, and comes here detached from http.  The 101 is sent, a dial
 * looks for a service that suits the session, and what comes of the two is
 * another matter for each protocol.
 *
 * A visit is linked to the visitor's tunnel, and its dial to the serving one:
 * whichever is revoked, it is cut.  Every second the visits of a worker are
 * held against their sessions; one whose session is gone, or whose grace is
 * over, is cut by a reset of both sides.  A registry that had to be emptied has
 * no sessions any more, nor has the one of a worker that is left over from
 * before an upgrade of the binary: there a visit goes by what was last seen of
 * its session, and ends when that would have ended.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_visit.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_transport.h"
#include "ngx_zltunnel_visit_tcp.h"
#include "ngx_zltunnel_visit_udp.h"
#include "ngx_zltunnel_worker.h"

#include "zlt_msg.h"

#include <openssl/crypto.h>


#define NGX_ZLTUNNEL_VISIT_CHANNELS  4       /* of one session of UDP */


static ngx_int_t ngx_zltunnel_visit_look(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_access_request_t *req, u_char *key, const char **limit,
    ngx_connection_t **held);
static ngx_zltunnel_visit_t *ngx_zltunnel_visit_create(
    ngx_zltunnel_registry_t *registry, ngx_connection_t *c,
    ngx_zltunnel_access_request_t *req);
static ngx_int_t ngx_zltunnel_visit_string(ngx_pool_t *pool, ngx_str_t *dst,
    u_char *data, size_t len);
static ngx_int_t ngx_zltunnel_visit_join(ngx_zltunnel_visit_t *visit);
static ngx_int_t ngx_zltunnel_visit_answer(ngx_zltunnel_visit_t *visit,
    ngx_str_t *answer);
static void ngx_zltunnel_visit_empty_handler(ngx_event_t *ev);
static void ngx_zltunnel_visit_link_paced(ngx_zltunnel_link_t *link,
    uint64_t old);
static void ngx_zltunnel_visit_link_cut(ngx_zltunnel_link_t *link);
static ngx_uint_t ngx_zltunnel_visit_over(ngx_zltunnel_visit_t *visit);


static ngx_queue_t  ngx_zltunnel_visits;


ngx_int_t
ngx_zltunnel_visit_check(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_access_request_t *req, u_char *key, ngx_connection_t **held,
    ngx_log_t *log)
{
    ngx_int_t    rc;
    const char  *limit;

    do {
        limit = NULL;
        rc = ngx_zltunnel_visit_look(registry, req, key, &limit, held);

    } while (rc == 503 && *held == NULL && ngx_zltunnel_room_scarce()
             && ngx_zltunnel_channel_evict(registry) == NGX_OK);

    if (rc == NGX_OK) {
        registry->nchannels++;
        registry->nvisits++;

    } else {
        ngx_zltunnel_room_release(held);
    }

    if (limit) {
        ngx_zltunnel_log_complain(log, "visitor's channel refused: limit of %s",
                                  limit);
    }

    if (rc == 403 && ngx_zltunnel_overlap_look()) {
        rc = 421;
    }

    return rc;
}


static ngx_int_t
ngx_zltunnel_visit_look(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_access_request_t *req, u_char *key, const char **limit,
    ngx_connection_t **held)
{
    ngx_int_t                   rc;
    ngx_zltunnel_sh_access_t   *access;
    ngx_zltunnel_sh_tunnel_t   *tunnel;
    ngx_zltunnel_access_sum_t   sum;

    rc = 503;

    ngx_zltunnel_zone_lock(registry);

    tunnel = ngx_zltunnel_tunnel_find(registry->sh, req->tunnel_id);
    access = ngx_zltunnel_access_find(registry->sh, req->access_id);

    if (tunnel == NULL
        || CRYPTO_memcmp(tunnel->data_key, key, ZLT_KEY_SIZE) != 0)
    {
        rc = 403;

    } else if (access == NULL || access->tunnel != tunnel
               || ngx_zltunnel_access_over(access,
                                           ngx_zltunnel_access_boottime()))
    {
        rc = 410;

    } else if (!ngx_zltunnel_channel_place_visits(registry)) {
        *limit = "max_channel_share";

    } else if (ngx_zltunnel_room_scarce()
               || (*held = ngx_zltunnel_room_hold()) == NULL)
    {
        /* for the channel to the service */

        *limit = "worker_connections";

    } else if ((*limit = ngx_zltunnel_quota_visit(registry, tunnel)) == NULL) {
        ngx_zltunnel_access_sum(access, &sum);

        if (access->udp && sum.active >= NGX_ZLTUNNEL_VISIT_CHANNELS) {
            *limit = "channels of one session";

        } else {
            req->counter = ngx_zltunnel_access_enter(registry, access);

            if (req->counter) {
                req->counter->total++;
                rc = NGX_OK;

            } else {
                *limit = NGX_ZLTUNNEL_ZONE_LIMIT;
            }
        }
    }

    ngx_zltunnel_zone_unlock(registry);

    return rc;
}


void
ngx_zltunnel_visit_cancel(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_access_request_t *req)
{
    registry->nchannels--;
    registry->nvisits--;

    ngx_zltunnel_zone_lock(registry);
    ngx_zltunnel_access_leave(registry, req->counter);
    ngx_zltunnel_zone_unlock(registry);
}


void
ngx_zltunnel_visit_start(ngx_zltunnel_registry_t *registry,
    ngx_connection_t *c, ngx_zltunnel_access_request_t *req, u_char *data,
    size_t len, ngx_str_t *answer)
{
    ngx_int_t              rc;
    ngx_zltunnel_visit_t  *visit;

    visit = ngx_zltunnel_visit_create(registry, c, req);

    if (visit == NULL) {
        if (answer->data) {
            ngx_free(answer->data);
        }

        ngx_zltunnel_visit_cancel(registry, req);
        ngx_zltunnel_connection_close(c);
        return;
    }

    rc = ngx_zltunnel_visit_join(visit);

    if (ngx_zltunnel_visit_answer(visit, answer) != NGX_OK
        || rc == NGX_ERROR
        || (req->ws
            && ngx_zltunnel_ws_start(&visit->end, data, &len) != NGX_OK))
    {
        ngx_zltunnel_visit_cut(visit);
        return;
    }

    if (rc == NGX_DECLINED) {
        ngx_zltunnel_visit_tcp_refuse(visit, ZLT_E_EXPIRED,
                                      "The access session has ended");
        return;
    }

    ngx_log_error(NGX_LOG_INFO, c->log, 0,
                  "visitor \"%V\" from %V%s%V connects to %s service \"%V\", "
                  "session %s", &visit->ask.visitor, &visit->client_addr,
                  req->client.len ? " for " : "", &req->client,
                  visit->ask.udp ? "udp" : "tcp", &visit->ask.name,
                  ngx_zltunnel_access_hex(visit->access_id));

    if (visit->ask.udp) {
        ngx_zltunnel_visit_udp_start(visit, data, len);

    } else {
        ngx_zltunnel_visit_tcp_start(visit, data, len);
    }
}


/* in the connection's pool, with which it goes */

static ngx_zltunnel_visit_t *
ngx_zltunnel_visit_create(ngx_zltunnel_registry_t *registry,
    ngx_connection_t *c, ngx_zltunnel_access_request_t *req)
{
    ngx_zltunnel_visit_t  *visit;

    visit = ngx_pcalloc(c->pool, sizeof(ngx_zltunnel_visit_t));

    if (visit == NULL
        || ngx_zltunnel_visit_string(c->pool, &visit->client_addr,
                                     req->client_addr.data,
                                     req->client_addr.len)
           != NGX_OK)
    {
        return NULL;
    }

    if (ngx_zltunnel_visits.next == NULL) {
        ngx_queue_init(&ngx_zltunnel_visits);
    }

    ngx_queue_insert_tail(&ngx_zltunnel_visits, &visit->queue);

    visit->registry = registry;
    visit->counter = req->counter;
    ngx_memcpy(visit->access_id, req->access_id, ZLT_ID_SIZE);
    ngx_memcpy(visit->tunnel_id, req->tunnel_id, ZLT_ID_SIZE);

    ngx_zltunnel_end_init(&visit->end, c, NULL);

    visit->ask.local = req->local;

    visit->timer.data = visit;
    visit->timer.log = c->log;

    /* not to be closed when the worker begins to exit */
    c->idle = 0;

    c->data = visit;
    c->log->data = NULL;
    c->log->handler = NULL;
    c->log->action = "connecting a visitor";
    c->read->handler = ngx_zltunnel_visit_empty_handler;
    c->write->handler = ngx_zltunnel_visit_empty_handler;

    return visit;
}


static ngx_int_t
ngx_zltunnel_visit_string(ngx_pool_t *pool, ngx_str_t *dst, u_char *data,
    size_t len)
{
    dst->data = ngx_pnalloc(pool, len + 1);
    if (dst->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(dst->data, data, len);
    dst->len = len;

    return NGX_OK;
}


/* takes what is known of the session; NGX_DECLINED: it is gone */

static ngx_int_t
ngx_zltunnel_visit_join(ngx_zltunnel_visit_t *visit)
{
    u_char                      token[32], name[ZLT_MAX_NAME],
                                target[ZLT_MAX_TARGET],
                                text[NGX_ZLTUNNEL_TOKEN_NAME];
    ngx_str_t                   service, at, visitor;
    ngx_pool_t                 *pool;
    ngx_zltunnel_peer_t        *peer;
    ngx_zltunnel_registry_t    *registry;
    ngx_zltunnel_sh_access_t   *access;

    registry = visit->registry;
    pool = visit->end.connection->pool;

    service.data = name;
    at.data = target;
    visitor.data = text;

    ngx_zltunnel_zone_lock_read(registry);

    access = ngx_zltunnel_access_find(registry->sh, visit->access_id);

    visit->resets = registry->sh->resets;

    if (access) {
        visit->ask.udp = access->udp;
        visit->end_time = access->deadline
                          ? access->deadline + access->grace : 0;

        service.len = access->name_len;
        ngx_memcpy(name, access->name, access->name_len);

        at.len = access->target_len;
        ngx_memcpy(target, ngx_zltunnel_access_target(access), at.len);

        visitor.len = access->tunnel->name_len;
        ngx_memcpy(text, access->tunnel->name, visitor.len);
        ngx_memcpy(token, access->tunnel->token, 32);
    }

    ngx_zltunnel_zone_unlock(registry);

    if (access == NULL) {
        return NGX_DECLINED;
    }

    if (ngx_zltunnel_visit_string(pool, &visit->ask.name, name, service.len)
        != NGX_OK
        || ngx_zltunnel_visit_string(pool, &visit->ask.target, target, at.len)
           != NGX_OK
        || ngx_zltunnel_visit_string(pool, &visit->ask.visitor, text,
                                     visitor.len)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    peer = ngx_zltunnel_peer_get(registry, visit->tunnel_id, token, &visitor);
    if (peer == NULL) {
        return NGX_ERROR;
    }

    visit->link.cut = ngx_zltunnel_visit_link_cut;
    visit->link.paced = ngx_zltunnel_visit_link_paced;
    ngx_zltunnel_peer_link(peer, &visit->link);

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_visit_answer(ngx_zltunnel_visit_t *visit, ngx_str_t *answer)
{
    ssize_t  n;

    if (answer->data == NULL) {
        return NGX_OK;
    }

    /* the first bytes on the connection, so they fit, or it is dead */

    n = ngx_zltunnel_end_push(&visit->end, answer->data, answer->len);

    ngx_free(answer->data);

    return (n == (ssize_t) answer->len) ? NGX_OK : NGX_ERROR;
}


void
ngx_zltunnel_visit_dial(ngx_zltunnel_visit_t *visit)
{
    ngx_zltunnel_registry_t    *registry;
    ngx_zltunnel_admission_t    admission;
    ngx_zltunnel_sh_service_t  *service;

    registry = visit->registry;

    ngx_zltunnel_grant_sync(registry);

    visit->ask.token = ngx_zltunnel_token_find(registry,
                                               visit->link.peer->token);

    if (visit->ask.token == NULL) {
        ngx_zltunnel_visit_tcp_refuse(visit, ZLT_E_FORBIDDEN,
                                      "The token is no longer valid");
        return;
    }

    ngx_zltunnel_zone_lock(registry);

    service = ngx_zltunnel_access_service(registry->sh, &visit->ask);

    visit->ask.token = NULL;

    if (service) {
        ngx_zltunnel_dial_start_admit(&visit->dial, service, &admission);
    }

    ngx_zltunnel_zone_unlock(registry);

    if (service == NULL) {
        if (ngx_zltunnel_log_paced(visit->end.connection->log,
                                   "visitors that are refused"))
        {
            ngx_log_error(NGX_LOG_WARN, visit->end.connection->log, 0,
                          "visitor \"%V\" is refused service \"%V\": %s",
                          &visit->ask.visitor, &visit->ask.name,
                          visit->ask.reason);
        }

        ngx_zltunnel_visit_tcp_refuse(visit, visit->ask.code,
                                      visit->ask.reason);
        return;
    }

    ngx_zltunnel_dial_start(&visit->dial, &admission);
}


static void
ngx_zltunnel_visit_empty_handler(ngx_event_t *ev)
{
    ngx_log_debug0(NGX_LOG_DEBUG_EVENT, ev->log, 0,
                   "zltunnel visit empty handler");
}


static void
ngx_zltunnel_visit_link_cut(ngx_zltunnel_link_t *link)
{
    ngx_zltunnel_visit_cut((ngx_zltunnel_visit_t *)
                               ((u_char *) link
                                - offsetof(ngx_zltunnel_visit_t, link)));
}


static void
ngx_zltunnel_visit_link_paced(ngx_zltunnel_link_t *link, uint64_t old)
{
    ngx_zltunnel_visit_t  *visit;

    visit = (ngx_zltunnel_visit_t *)
                ((u_char *) link - offsetof(ngx_zltunnel_visit_t, link));

    ngx_zltunnel_relay_pace(&visit->connect.relay, old, link->peer->pace.rate);
    ngx_zltunnel_visit_udp_pace(visit, old, link->peer->pace.rate);
}


void
ngx_zltunnel_visit_cut(ngx_zltunnel_visit_t *visit)
{
    if (ngx_zltunnel_connect_abort(&visit->connect) == NGX_OK) {
        /* its handler has closed the visit */
        return;
    }

    ngx_zltunnel_end_abort(&visit->end);
    ngx_zltunnel_visit_close(visit);
}


void
ngx_zltunnel_visit_close(ngx_zltunnel_visit_t *visit)
{
    ngx_zltunnel_registry_t  *registry;

    registry = visit->registry;

    if (visit->timer.timer_set) {
        ngx_del_timer(&visit->timer);
    }

    ngx_zltunnel_visit_udp_done(visit);

    if (visit->dial.registry) {
        ngx_zltunnel_dial_done(&visit->dial);
    }

    ngx_zltunnel_peer_unlink(&visit->link);

    ngx_zltunnel_zone_lock(registry);
    ngx_zltunnel_access_leave(registry, visit->counter);
    ngx_zltunnel_zone_unlock(registry);

    registry->nchannels--;
    registry->nvisits--;

    ngx_queue_remove(&visit->queue);

    /* with the pool, in which it is */

    ngx_zltunnel_end_close(&visit->end);
}


void
ngx_zltunnel_visit_check_all(ngx_zltunnel_registry_t *registry)
{
    ngx_uint_t             n;
    ngx_queue_t           *q, *next;
    ngx_zltunnel_visit_t  *visit;

    if (ngx_zltunnel_visits.next == NULL) {
        return;
    }

    n = 0;

    for (q = ngx_queue_head(&ngx_zltunnel_visits);
         q != ngx_queue_sentinel(&ngx_zltunnel_visits);
         q = next)
    {
        next = ngx_queue_next(q);
        visit = ngx_queue_data(q, ngx_zltunnel_visit_t, queue);

        if (visit->registry == registry && !visit->failing
            && ngx_zltunnel_visit_over(visit))
        {
            ngx_zltunnel_visit_cut(visit);
            n++;
        }
    }

    if (n) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "%ui connection%s of visitors cut, with the end of "
                      "access sessions", n, n == 1 ? "" : "s");
    }
}


static ngx_uint_t
ngx_zltunnel_visit_over(ngx_zltunnel_visit_t *visit)
{
    ngx_uint_t                  gone;
    ngx_zltunnel_registry_t    *registry;
    ngx_zltunnel_sh_access_t   *access;
    ngx_zltunnel_sh_service_t  *service;

    registry = visit->registry;
    gone = 0;

    ngx_zltunnel_zone_lock_read(registry);

    access = ngx_zltunnel_access_find(registry->sh, visit->access_id);

    if (access) {
        visit->end_time = access->deadline
                          ? access->deadline + access->grace : 0;

    } else if (ngx_exiting || visit->resets != registry->sh->resets) {

        /* of a tunnel that is not here either it goes by what it has seen */

        gone = (ngx_zltunnel_tunnel_find(registry->sh, visit->tunnel_id)
                != NULL);

    } else {
        gone = 1;
    }

    if (visit->dial.link.peer) {

        /* what serves may have withdrawn it, or narrowed its own list */

        service = ngx_zltunnel_service_find(registry->sh,
                                            &visit->dial.service,
                                            visit->dial.service_id);

        if (service
            && !ngx_zltunnel_access_listed(service, &visit->ask.visitor))
        {
            gone = 1;
        }

        if (service == NULL && visit->carrying && !ngx_exiting) {
            gone = 1;
        }
    }

    ngx_zltunnel_zone_unlock(registry);

    return gone || (visit->end_time
                    && ngx_zltunnel_access_boottime() >= visit->end_time);
}


void
ngx_zltunnel_visit_exit(ngx_uint_t all)
{
    ngx_queue_t           *q, *next;
    ngx_zltunnel_visit_t  *visit;

    if (ngx_zltunnel_visits.next == NULL) {
        return;
    }

    for (q = ngx_queue_head(&ngx_zltunnel_visits);
         q != ngx_queue_sentinel(&ngx_zltunnel_visits);
         q = next)
    {
        next = ngx_queue_next(q);
        visit = ngx_queue_data(q, ngx_zltunnel_visit_t, queue);

        if (all || visit->ask.udp) {
            ngx_zltunnel_visit_cut(visit);
        }
    }
}
