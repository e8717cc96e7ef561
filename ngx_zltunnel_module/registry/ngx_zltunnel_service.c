
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The registry's services: found by id, by name, and in turn.  All of it runs
 * under the lock.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_service.h"
#include "ngx_zltunnel_counter.h"
#include "ngx_zltunnel_event.h"
#include "ngx_zltunnel_health.h"
#include "ngx_zltunnel_host.h"
#include "ngx_zltunnel_port.h"
#include "ngx_zltunnel_remote.h"
#include "ngx_zltunnel_shm.h"
#include "ngx_zltunnel_zone.h"

#include "zlt_msg.h"


static ngx_zltunnel_sh_service_t *ngx_zltunnel_service_first(
    ngx_zltunnel_sh_t *sh, ngx_rbtree_key_t key);
static void ngx_zltunnel_service_unlist(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service);
static ngx_uint_t ngx_zltunnel_service_rank(
    ngx_zltunnel_sh_service_t *service);


ngx_zltunnel_sh_service_t *
ngx_zltunnel_service_by_id(ngx_zltunnel_sh_tunnel_t *tunnel, u_char *id)
{
    ngx_queue_t                *q;
    ngx_zltunnel_sh_service_t  *service;

    for (q = ngx_queue_head(&tunnel->services);
         q != ngx_queue_sentinel(&tunnel->services);
         q = ngx_queue_next(q))
    {
        service = ngx_queue_data(q, ngx_zltunnel_sh_service_t, queue);

        if (ngx_memcmp(service->id, id, ZLT_ID_SIZE) == 0) {
            return service;
        }
    }

    return NULL;
}


static ngx_zltunnel_sh_service_t *
ngx_zltunnel_service_first(ngx_zltunnel_sh_t *sh, ngx_rbtree_key_t key)
{
    ngx_rbtree_node_t  *node, *found;

    /* several services share a key: the leftmost of them */

    found = NULL;
    node = sh->names.root;

    while (node != &sh->sentinel) {

        if (key > node->key) {
            node = node->right;
            continue;
        }

        if (key == node->key) {
            found = node;
        }

        node = node->left;
    }

    return (ngx_zltunnel_sh_service_t *) found;
}


ngx_zltunnel_sh_service_t *
ngx_zltunnel_service_next(ngx_zltunnel_sh_t *sh, ngx_str_t *name,
    ngx_zltunnel_sh_service_t *prev)
{
    ngx_rbtree_key_t            key;
    ngx_zltunnel_sh_service_t  *service;

    if (prev) {
        key = prev->node.key;
        service = (ngx_zltunnel_sh_service_t *)
                      ngx_rbtree_next(&sh->names, &prev->node);

    } else {
        key = (ngx_rbtree_key_t) ngx_zltunnel_name_hash(name->data, name->len);
        service = ngx_zltunnel_service_first(sh, key);
    }

    for ( /* void */ ;
         service && service->node.key == key;
         service = (ngx_zltunnel_sh_service_t *)
                       ngx_rbtree_next(&sh->names, &service->node))
    {
        if (service->name_len == name->len
            && ngx_memcmp(service->name, name->data, name->len) == 0)
        {
            return service;
        }
    }

    return NULL;
}


ngx_zltunnel_sh_service_t *
ngx_zltunnel_service_named(ngx_zltunnel_sh_t *sh, ngx_str_t *name,
    ngx_uint_t udp, ngx_str_t *token, ngx_zltunnel_sh_service_t *prev)
{
    ngx_zltunnel_sh_tunnel_t   *tunnel;
    ngx_zltunnel_sh_service_t  *service;

    for (service = ngx_zltunnel_service_next(sh, name, prev);
         service;
         service = ngx_zltunnel_service_next(sh, name, service))
    {
        tunnel = service->tunnel;

        if (service->udp != udp || (service->flags & ZLT_R_OPEN)) {
            continue;
        }

        if (token && token->len && !ngx_zltunnel_tunnel_of(tunnel, token)) {
            continue;
        }

        return service;
    }

    return NULL;
}


ngx_zltunnel_sh_service_t *
ngx_zltunnel_service_by_name(ngx_zltunnel_sh_t *sh, ngx_str_t *name,
    ngx_uint_t udp, ngx_str_t *token)
{
    ngx_zltunnel_sh_service_t  *service, *best;

    best = NULL;

    for (service = ngx_zltunnel_service_named(sh, name, udp, token, NULL);
         service;
         service = ngx_zltunnel_service_named(sh, name, udp, token, service))
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
ngx_zltunnel_service_before(ngx_zltunnel_sh_service_t *service,
    ngx_zltunnel_sh_service_t *best)
{
    ngx_uint_t  rank, best_rank;

    if (service->tunnel->draining) {
        return 0;
    }

    if (best == NULL) {
        return 1;
    }

    rank = ngx_zltunnel_service_rank(service);
    best_rank = ngx_zltunnel_service_rank(best);

    if (rank != best_rank) {
        return rank > best_rank;
    }

    return service->used < best->used;
}


/*
 * Who can carry is worth waiting for, and who is away may come back.  An agent
 * that is here goes before another node, which costs a hop more.
 */

static ngx_uint_t
ngx_zltunnel_service_rank(ngx_zltunnel_sh_service_t *service)
{
    ngx_uint_t  rank;

    rank = ngx_zltunnel_service_carries(service) ? 5 : 0;

    if (ngx_zltunnel_health_down(service)) {
        return rank;
    }

    if (service->tunnel->remote) {
        return rank + (ngx_zltunnel_remote_failing(service->tunnel) ? 2 : 3);
    }

    return rank + (ngx_zltunnel_service_waits(service) ? 1 : 4);
}


ngx_uint_t
ngx_zltunnel_service_carries(ngx_zltunnel_sh_service_t *service)
{
    return (service->tunnel->features
            & (service->udp ? ZLT_F_DATAGRAMS : ZLT_F_CHANNELS)) != 0;
}


ngx_uint_t
ngx_zltunnel_service_waits(ngx_zltunnel_sh_service_t *service)
{
    return service->stale || service->tunnel->state == NGX_ZLTUNNEL_GRACE;
}


ngx_zltunnel_sh_service_t *
ngx_zltunnel_service_find(ngx_zltunnel_sh_t *sh, ngx_str_t *name, u_char *id)
{
    ngx_zltunnel_sh_service_t  *service;

    for (service = ngx_zltunnel_service_next(sh, name, NULL);
         service;
         service = ngx_zltunnel_service_next(sh, name, service))
    {
        if (ngx_memcmp(service->id, id, ZLT_ID_SIZE) == 0) {
            break;
        }
    }

    return service;
}


void
ngx_zltunnel_service_move(ngx_zltunnel_sh_service_t *service,
    ngx_zltunnel_sh_tunnel_t *tunnel)
{
    size_t  list;

    list = service->allow ? ngx_zltunnel_service_list_size(service->allow_len)
                          : 0;

    ngx_queue_remove(&service->queue);
    service->tunnel->nservices--;
    service->tunnel->lists -= list;
    service->tunnel->nhosts -= service->nhosts;

    service->tunnel = tunnel;

    ngx_queue_insert_tail(&tunnel->services, &service->queue);
    tunnel->nservices++;
    tunnel->lists += list;
    tunnel->nhosts += service->nhosts;
}


ngx_zltunnel_sh_service_t *
ngx_zltunnel_service_add(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel, zlt_msg_t *m,
    ngx_zltunnel_token_t *token, u_char *id, ngx_uint_t *code,
    const char **reason)
{
    u_char                     *list;
    ngx_int_t                   rc;
    ngx_zltunnel_sh_service_t  *service;

    service = ngx_zltunnel_zone_alloc(registry,
                               offsetof(ngx_zltunnel_sh_service_t, name)
                               + m->name.len);
    if (service == NULL) {
        *code = ZLT_E_BUSY;
        *reason = NGX_ZLTUNNEL_ZONE_FULL;
        return NULL;
    }

    ngx_memcpy(service->id, id, ZLT_ID_SIZE);
    ngx_memcpy(service->name, m->name.data, m->name.len);
    service->name_len = (uint8_t) m->name.len;
    service->udp = (m->protocol == ZLT_PROTO_UDP);
    service->flags = (m->ext & ZLT_X_FLAGS) ? m->flags : 0;
    service->local_port = m->local_port;
    service->remote_port = m->remote_port;
    service->tunnel = tunnel;
    ngx_queue_init(&service->counters);
    ngx_queue_init(&service->hosts);

    rc = ngx_zltunnel_service_list(registry, m, &list);

    ngx_zltunnel_service_allow(registry, service, list, m->allow.len);

    if (rc != NGX_OK) {
        *code = ZLT_E_BUSY;
        *reason = NGX_ZLTUNNEL_ZONE_FULL;

    } else if (service->flags & (ZLT_R_PRIVATE|ZLT_R_OPEN)) {
        rc = NGX_OK;

    } else {
        rc = ngx_zltunnel_port_choose(registry, tunnel, token, service,
                                      (m->ext & ZLT_X_PREFERRED)
                                      ? m->preferred_port : 0,
                                      code, reason);
    }

    if (rc != NGX_OK) {
        ngx_zltunnel_service_unlist(registry, service);
        ngx_zltunnel_zone_free(registry, service);
        return NULL;
    }

    ngx_zltunnel_service_insert(registry, service);

    return service;
}


void
ngx_zltunnel_service_insert(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service)
{
    service->node.key = (ngx_rbtree_key_t)
                            ngx_zltunnel_name_hash(service->name,
                                                   service->name_len);
    ngx_rbtree_insert(&registry->sh->names, &service->node);

    service->by_id.key = ngx_zltunnel_id_key(service->id);
    ngx_rbtree_insert(&registry->sh->ids, &service->by_id);

    ngx_queue_insert_tail(&service->tunnel->services, &service->queue);
    service->tunnel->nservices++;
}


ngx_zltunnel_sh_service_t *
ngx_zltunnel_service_after(ngx_zltunnel_sh_t *sh, ngx_rbtree_key_t key,
    ngx_zltunnel_sh_service_t *prev)
{
    ngx_rbtree_node_t  *node, *found;

    if (prev) {
        found = ngx_rbtree_next(&sh->ids, &prev->by_id);

    } else {
        found = NULL;
        node = sh->ids.root;

        while (node != &sh->sentinel) {

            if (node->key < key) {
                node = node->right;
                continue;
            }

            found = node;
            node = node->left;
        }
    }

    return found ? ngx_rbtree_data(found, ngx_zltunnel_sh_service_t, by_id)
                 : NULL;
}


ngx_zltunnel_sh_service_t *
ngx_zltunnel_service_own(ngx_zltunnel_sh_t *sh, const u_char *id)
{
    ngx_rbtree_key_t            key;
    ngx_zltunnel_sh_service_t  *service;

    key = ngx_zltunnel_id_key((u_char *) id);

    for (service = ngx_zltunnel_service_after(sh, key, NULL);
         service && service->by_id.key == key;
         service = ngx_zltunnel_service_after(sh, key, service))
    {
        if (service->tunnel->remote == NULL
            && ngx_memcmp(service->id, id, ZLT_ID_SIZE) == 0)
        {
            return service;
        }
    }

    return NULL;
}


size_t
ngx_zltunnel_service_list_size(size_t len)
{
    size_t  size;

    /* a power of two, or whole pages above half of one */

    for (size = 8; size < len + 1; size *= 2) {

        if (size >= ngx_pagesize / 2) {
            return ngx_align(len + 1, ngx_pagesize);
        }
    }

    return size;
}


ngx_int_t
ngx_zltunnel_service_list(ngx_zltunnel_registry_t *registry, zlt_msg_t *m,
    u_char **list)
{
    *list = NULL;

    if (!(m->ext & ZLT_X_ALLOW)) {
        return NGX_OK;
    }

    *list = ngx_zltunnel_zone_alloc(registry, m->allow.len + 1);
    if (*list == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(*list, m->allow.data, m->allow.len);

    return NGX_OK;
}


void
ngx_zltunnel_service_allow(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service, u_char *list, size_t len)
{
    ngx_zltunnel_service_unlist(registry, service);

    if (list) {
        service->allow = list;
        service->allow_len = (uint16_t) len;
        service->tunnel->lists += ngx_zltunnel_service_list_size(len);
    }
}


static void
ngx_zltunnel_service_unlist(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service)
{
    if (service->allow == NULL) {
        return;
    }

    service->tunnel->lists -= ngx_zltunnel_service_list_size(
                                                          service->allow_len);

    ngx_zltunnel_zone_free(registry, service->allow);

    service->allow = NULL;
    service->allow_len = 0;
}


void
ngx_zltunnel_service_withdraw(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service, const char *reason)
{
    ngx_zltunnel_event_t  *event;

    if (service->tunnel->remote == NULL) {
        event = ngx_zltunnel_event_new(registry,
                                       NGX_ZLTUNNEL_EVENT_SERVICE_GONE);

        ngx_zltunnel_event_service(event, service);
        ngx_zltunnel_event_reason(event, 0, reason);

    } else {
        registry->sh->remote_lost++;
    }

    ngx_zltunnel_service_remove(registry, service);
}


void
ngx_zltunnel_service_remove(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service)
{
    ngx_zltunnel_sh_t  *sh;

    sh = registry->sh;

    if (service->lost && sh->lost) {
        sh->lost--;
    }

    ngx_zltunnel_port_free(registry, service);
    ngx_zltunnel_health_free(registry, service);
    ngx_zltunnel_host_leave(registry, service);
    ngx_zltunnel_counter_orphan(registry, &service->counters);

    ngx_rbtree_delete(&sh->names, &service->node);
    ngx_rbtree_delete(&sh->ids, &service->by_id);
    ngx_queue_remove(&service->queue);
    service->tunnel->nservices--;

    ngx_zltunnel_service_unlist(registry, service);

    ngx_zltunnel_zone_free(registry, service);
}


ngx_uint_t
ngx_zltunnel_service_drained(ngx_zltunnel_registry_t *registry,
    ngx_str_t *name, ngx_str_t *token)
{
    ngx_uint_t                  udp, drained;
    ngx_zltunnel_sh_service_t  *service;

    drained = 0;

    ngx_zltunnel_zone_lock_read(registry);

    for (udp = 0; udp < 2; udp++) {
        service = ngx_zltunnel_service_named(registry->sh, name, udp, token,
                                             NULL);

        if (service && service->tunnel->draining) {
            drained = 1;
        }
    }

    ngx_zltunnel_zone_unlock(registry);

    return drained;
}
