
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The registry's services, their ports and their counters.  All of it runs
 * under the lock.
 */


#include "ngx_zltunnel_access.h"


static ngx_zltunnel_sh_service_t *ngx_zltunnel_service_first(
    ngx_zltunnel_sh_t *sh, ngx_rbtree_key_t key);
static ngx_int_t ngx_zltunnel_port_asked(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel, ngx_zltunnel_token_t *token,
    ngx_zltunnel_sh_service_t *service, ngx_uint_t *code,
    const char **reason);
static ngx_int_t ngx_zltunnel_port_assign(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel, ngx_zltunnel_token_t *token,
    ngx_zltunnel_sh_service_t *service, in_port_t preferred,
    ngx_uint_t *code, const char **reason);
static ngx_int_t ngx_zltunnel_port_take(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel, ngx_zltunnel_sh_service_t *service,
    in_port_t port, ngx_uint_t *code, const char **reason);
static ngx_zltunnel_sh_port_t *ngx_zltunnel_port_lookup(ngx_zltunnel_sh_t *sh,
    in_port_t port, ngx_uint_t udp);
static ngx_uint_t ngx_zltunnel_port_rested(ngx_zltunnel_sh_port_t *port);


#define ngx_zltunnel_hash(data, len)                                          \
    ((uint64_t) ngx_murmur_hash2(data, len) << 32 | ngx_crc32_long(data, len))


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


ngx_zltunnel_sh_service_t *
ngx_zltunnel_service_of(ngx_zltunnel_sh_tunnel_t *tunnel, u_char *name,
    size_t len)
{
    ngx_queue_t                *q;
    ngx_zltunnel_sh_service_t  *service;

    for (q = ngx_queue_head(&tunnel->services);
         q != ngx_queue_sentinel(&tunnel->services);
         q = ngx_queue_next(q))
    {
        service = ngx_queue_data(q, ngx_zltunnel_sh_service_t, queue);

        if (service->name_len == len
            && ngx_memcmp(service->name, name, len) == 0)
        {
            return service;
        }
    }

    return NULL;
}


ngx_zltunnel_sh_service_t *
ngx_zltunnel_service_by_port(ngx_zltunnel_sh_t *sh, in_port_t port,
    ngx_uint_t udp)
{
    ngx_zltunnel_sh_port_t  *p;

    p = ngx_zltunnel_port_lookup(sh, port, udp);

    return p ? p->service : NULL;
}


ngx_uint_t
ngx_zltunnel_port_freed(ngx_zltunnel_sh_t *sh, in_port_t port, ngx_uint_t udp)
{
    ngx_zltunnel_sh_port_t  *p;

    p = ngx_zltunnel_port_lookup(sh, port, udp);

    return p && p->service == NULL;
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
        key = (ngx_rbtree_key_t) ngx_zltunnel_hash(name->data, name->len);
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

        if (token && token->len
            && (tunnel->name_len != token->len
                || ngx_memcmp(tunnel->name, token->data, token->len) != 0))
        {
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
    if (best == NULL) {
        return 1;
    }

    if (service->tunnel->state != best->tunnel->state) {
        return service->tunnel->state == NGX_ZLTUNNEL_LIVE;
    }

    return service->used < best->used;
}


ngx_zltunnel_sh_service_t *
ngx_zltunnel_service_add(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel, zlt_msg_t *m,
    ngx_zltunnel_token_t *token, u_char *id, ngx_uint_t *code,
    const char **reason)
{
    ngx_int_t                   rc;
    in_port_t                   preferred;
    ngx_zltunnel_sh_service_t  *service;

    service = ngx_slab_calloc_locked(registry->shpool,
                    offsetof(ngx_zltunnel_sh_service_t, name) + m->name.len);
    if (service == NULL) {
        *code = ZLT_E_BUSY;
        *reason = "the server's zone is full";
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

    if (ngx_zltunnel_service_allow(registry, service, m) != NGX_OK) {
        *code = ZLT_E_BUSY;
        *reason = "the server's zone is full";
        rc = NGX_ERROR;

    } else if (service->flags & (ZLT_R_PRIVATE|ZLT_R_OPEN)) {
        rc = NGX_OK;

    } else if (m->remote_port) {
        rc = ngx_zltunnel_port_asked(registry, tunnel, token, service, code,
                                     reason);

    } else {
        preferred = (m->ext & ZLT_X_PREFERRED) ? m->preferred_port : 0;

        rc = ngx_zltunnel_port_assign(registry, tunnel, token, service,
                                      preferred, code, reason);
    }

    if (rc != NGX_OK) {
        if (service->allow) {
            ngx_slab_free_locked(registry->shpool, service->allow);
        }

        ngx_slab_free_locked(registry->shpool, service);
        return NULL;
    }

    service->node.key = (ngx_rbtree_key_t)
                         ngx_zltunnel_hash(service->name, service->name_len);
    ngx_rbtree_insert(&registry->sh->names, &service->node);

    ngx_queue_insert_tail(&tunnel->services, &service->queue);
    tunnel->nservices++;

    return service;
}


ngx_int_t
ngx_zltunnel_service_allow(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service, zlt_msg_t *m)
{
    u_char  *p;

    p = NULL;

    if (m->ext & ZLT_X_ALLOW) {
        p = ngx_slab_alloc_locked(registry->shpool, m->allow.len + 1);
        if (p == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(p, m->allow.data, m->allow.len);
    }

    if (service->allow) {
        ngx_slab_free_locked(registry->shpool, service->allow);
    }

    service->allow = p;
    service->allow_len = (uint16_t) m->allow.len;

    return NGX_OK;
}


void
ngx_zltunnel_service_remove(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service)
{
    ngx_zltunnel_sh_t       *sh;
    ngx_zltunnel_sh_port_t  *port;

    sh = registry->sh;

    if (service->port) {
        port = ngx_zltunnel_port_lookup(sh, service->port, service->udp);

        if (port && port->service == service) {
            port->service = NULL;
            port->freed = ngx_current_msec;
            ngx_zltunnel_port_close(registry, service->port, service->udp);
        }
    }

    ngx_zltunnel_counters_orphan(registry, &service->counters);

    ngx_rbtree_delete(&sh->names, &service->node);
    ngx_queue_remove(&service->queue);
    service->tunnel->nservices--;

    if (service->allow) {
        ngx_slab_free_locked(registry->shpool, service->allow);
    }

    ngx_slab_free_locked(registry->shpool, service);
}


void
ngx_zltunnel_counters_orphan(ngx_zltunnel_registry_t *registry,
    ngx_queue_t *counters)
{
    ngx_queue_t                *q;
    ngx_zltunnel_sh_counter_t  *counter;

    while (!ngx_queue_empty(counters)) {
        q = ngx_queue_head(counters);
        counter = ngx_queue_data(q, ngx_zltunnel_sh_counter_t, queue);

        ngx_queue_remove(q);

        if (counter->active == 0 && counter->busy == 0) {
            ngx_slab_free_locked(registry->shpool, counter);
            continue;
        }

        /* relays of its worker still count in it */

        counter->service = NULL;
        counter->access = NULL;
        ngx_queue_insert_tail(&registry->sh->orphans, &counter->queue);
    }
}


static ngx_int_t
ngx_zltunnel_port_asked(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel, ngx_zltunnel_token_t *token,
    ngx_zltunnel_sh_service_t *service, ngx_uint_t *code,
    const char **reason)
{
    in_port_t                   port;
    ngx_zltunnel_sh_port_t     *p;

    port = service->remote_port;

    if (ngx_zltunnel_port_find(registry, port, service->udp) == NULL) {
        *code = ZLT_E_FORBIDDEN;
        *reason = "this server does not offer that port";
        return NGX_DECLINED;
    }

    if (!ngx_zltunnel_token_port(token, port)) {
        *code = ZLT_E_FORBIDDEN;
        *reason = "the token does not allow that port";
        return NGX_DECLINED;
    }

    p = ngx_zltunnel_port_lookup(registry->sh, port, service->udp);

    if (p && p->service) {

        if (p->service->tunnel != tunnel || !p->service->stale) {
            *code = ZLT_E_PORT_TAKEN;
            *reason = "that port is taken by another service";
            return NGX_DECLINED;
        }

        /* ours from before the takeover, under another name */

        ngx_zltunnel_service_remove(registry, p->service);
    }

    return ngx_zltunnel_port_take(registry, tunnel, service, port, code,
                                  reason);
}


static ngx_int_t
ngx_zltunnel_port_assign(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel, ngx_zltunnel_token_t *token,
    ngx_zltunnel_sh_service_t *service, in_port_t preferred,
    ngx_uint_t *code, const char **reason)
{
    uint64_t                  tenant, user;
    in_port_t                 port, last, lowest, former, oldest;
    ngx_msec_t                age;
    ngx_uint_t                i, n, start, offered;
    ngx_zltunnel_sh_port_t   *p;
    ngx_zltunnel_listener_t  *l;

    tenant = ngx_zltunnel_hash(tunnel->name, tunnel->name_len);
    user = tenant * 31 + ngx_zltunnel_hash(service->name, service->name_len);

    l = registry->listeners.elts;
    n = registry->listeners.nelts;

    offered = 0;
    last = lowest = former = oldest = 0;
    age = 0;
    start = 0;

    if (n && !tunnel->extended
        && ngx_current_msec - registry->sh->started
           < registry->reconnect_grace)
    {
        /*
         * An agent of version 1 cannot ask for the port that it had before
         * the server was started again: let it find the same one.
         */

        start = user % n;
    }

    for (i = 0; i < n; i++) {
        ngx_zltunnel_listener_t  *c = &l[(start + i) % n];

        port = c->port;

        if (c->udp != service->udp || c->reserved || port == last) {
            continue;
        }

        last = port;
        offered = 1;

        if (!ngx_zltunnel_token_port(token, port)) {
            continue;
        }

        p = ngx_zltunnel_port_lookup(registry->sh, port, service->udp);

        if (p && p->service) {
            continue;
        }

        if (p && p->tenant != tenant && !ngx_zltunnel_port_rested(p)) {

            /* somebody's until lately: only if there is nothing else */

            if (oldest == 0 || ngx_current_msec - p->freed > age) {
                oldest = port;
                age = ngx_current_msec - p->freed;
            }

            continue;
        }

        if (port == preferred) {
            lowest = port;
            former = port;
            break;
        }

        if (p && p->user == user && former == 0) {
            former = port;
        }

        if (lowest == 0) {
            lowest = port;
        }
    }

    if (!offered) {

        /* reachable by zltunnel_pass and by upstreams */

        return NGX_OK;
    }

    port = former ? former : (lowest ? lowest : oldest);

    if (port == 0) {
        *code = ZLT_E_LIMIT;
        *reason = token->ports ? "no port that the token allows is free"
                               : "no port is free";
        return NGX_DECLINED;
    }

    return ngx_zltunnel_port_take(registry, tunnel, service, port, code,
                                  reason);
}


static ngx_int_t
ngx_zltunnel_port_take(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel, ngx_zltunnel_sh_service_t *service,
    in_port_t port, ngx_uint_t *code, const char **reason)
{
    ngx_zltunnel_sh_port_t  *p;

    p = ngx_zltunnel_port_lookup(registry->sh, port, service->udp);

    if (p == NULL) {
        p = ngx_slab_calloc_locked(registry->shpool,
                                   sizeof(ngx_zltunnel_sh_port_t));
        if (p == NULL) {
            *code = ZLT_E_BUSY;
            *reason = "the server's zone is full";
            return NGX_ERROR;
        }

        p->port = port;
        p->udp = service->udp;
        p->node.key = port | (ngx_rbtree_key_t) service->udp << 16;
        ngx_rbtree_insert(&registry->sh->ports, &p->node);
    }

    if (service->udp && p->tenant
        && p->tenant != ngx_zltunnel_hash(tunnel->name, tunnel->name_len))
    {
        /* during an upgrade it may have stayed open in between */

        ngx_zltunnel_port_drain(registry, port);
    }

    if (ngx_zltunnel_port_open(registry, port, service->udp) != NGX_OK) {
        *code = ZLT_E_BUSY;
        *reason = "the server cannot listen on that port now";
        return NGX_ERROR;
    }

    p->service = service;
    p->tenant = ngx_zltunnel_hash(tunnel->name, tunnel->name_len);
    p->user = p->tenant * 31
              + ngx_zltunnel_hash(service->name, service->name_len);

    service->port = port;

    return NGX_OK;
}


static ngx_zltunnel_sh_port_t *
ngx_zltunnel_port_lookup(ngx_zltunnel_sh_t *sh, in_port_t port, ngx_uint_t udp)
{
    ngx_rbtree_key_t    key;
    ngx_rbtree_node_t  *node;

    key = port | (ngx_rbtree_key_t) udp << 16;
    node = sh->ports.root;

    while (node != &sh->sentinel) {

        if (key == node->key) {
            return (ngx_zltunnel_sh_port_t *) node;
        }

        node = (key < node->key) ? node->left : node->right;
    }

    return NULL;
}


static ngx_uint_t
ngx_zltunnel_port_rested(ngx_zltunnel_sh_port_t *port)
{
    return ngx_current_msec - port->freed >= NGX_ZLTUNNEL_PORT_REST;
}


void
ngx_zltunnel_ports_sweep(ngx_zltunnel_registry_t *registry)
{
    ngx_rbtree_node_t       *node;
    ngx_zltunnel_sh_t       *sh;
    ngx_zltunnel_sh_port_t  *p;

    sh = registry->sh;

    if (sh->ports.root == &sh->sentinel) {
        return;
    }

    for (node = ngx_rbtree_min(sh->ports.root, &sh->sentinel);
         node;
         /* void */ )
    {
        p = (ngx_zltunnel_sh_port_t *) node;
        node = ngx_rbtree_next(&sh->ports, node);

        if (p->service == NULL && ngx_zltunnel_port_rested(p)) {
            ngx_zltunnel_change(registry);
            ngx_rbtree_delete(&sh->ports, &p->node);
            ngx_slab_free_locked(registry->shpool, p);
        }
    }
}


ngx_zltunnel_sh_counter_t *
ngx_zltunnel_counter_get(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service)
{
    ngx_zltunnel_sh_counter_t  *counter;

    counter = ngx_zltunnel_counter_find(registry, service);

    if (counter) {
        counter->active++;
    }

    return counter;
}


ngx_zltunnel_sh_counter_t *
ngx_zltunnel_counter_find(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service)
{
    ngx_zltunnel_sh_counter_t  *counter;

    counter = ngx_zltunnel_counter_of(registry, &service->counters);

    if (counter) {
        counter->service = service;
    }

    return counter;
}


ngx_zltunnel_sh_counter_t *
ngx_zltunnel_counter_of(ngx_zltunnel_registry_t *registry,
    ngx_queue_t *counters)
{
    ngx_queue_t                *q;
    ngx_zltunnel_sh_counter_t  *counter;

    for (q = ngx_queue_head(counters);
         q != ngx_queue_sentinel(counters);
         q = ngx_queue_next(q))
    {
        counter = ngx_queue_data(q, ngx_zltunnel_sh_counter_t, queue);

        if (counter->slot == registry->slot && counter->pid == ngx_pid) {
            return counter;
        }
    }

    counter = ngx_slab_calloc_locked(registry->shpool,
                                     sizeof(ngx_zltunnel_sh_counter_t));
    if (counter == NULL) {
        return NULL;
    }

    counter->slot = registry->slot;
    counter->pid = ngx_pid;

    ngx_queue_insert_tail(counters, &counter->queue);

    return counter;
}


void
ngx_zltunnel_counter_put(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_counter_t *counter)
{
    counter->active--;

    ngx_zltunnel_counter_check(registry, counter);
}


void
ngx_zltunnel_counter_check(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_counter_t *counter)
{
    if (counter->active == 0 && counter->busy == 0
        && counter->service == NULL && counter->access == NULL)
    {
        ngx_queue_remove(&counter->queue);
        ngx_slab_free_locked(registry->shpool, counter);
    }
}


void
ngx_zltunnel_counter_fold(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_counter_t *counter)
{
    ngx_uint_t                  i;
    ngx_zltunnel_sh_service_t  *service;

    service = counter->service;

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
    ngx_slab_free_locked(registry->shpool, counter);
}


ngx_uint_t
ngx_zltunnel_service_active(ngx_zltunnel_sh_service_t *service)
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
ngx_zltunnel_service_busy(ngx_zltunnel_sh_service_t *service)
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
