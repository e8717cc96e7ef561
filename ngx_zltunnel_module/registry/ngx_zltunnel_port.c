
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Which port a service gets, and whose a port is and was.  All of it runs under
 * the lock.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_port.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_port_socket.h"
#include "ngx_zltunnel_remote.h"
#include "ngx_zltunnel_service.h"
#include "ngx_zltunnel_shm.h"
#include "ngx_zltunnel_zone.h"

#include "zlt_msg.h"


#define NGX_ZLTUNNEL_PORT_TEXT    256  /* bytes */
#define NGX_ZLTUNNEL_PORT_RANGES  8    /* that are told */


static ngx_int_t ngx_zltunnel_port_asked(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel, ngx_zltunnel_token_t *token,
    ngx_zltunnel_sh_service_t *service, ngx_uint_t *code,
    const char **reason);
static const char *ngx_zltunnel_port_told(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_token_t *token, ngx_zltunnel_sh_service_t *service,
    const char *what);
static u_char *ngx_zltunnel_port_ranges(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_token_t *token, ngx_uint_t udp, u_char *p, u_char *last);
static u_char *ngx_zltunnel_port_range(u_char *p, u_char *last, ngx_uint_t n,
    in_port_t first, in_port_t end);
static ngx_int_t ngx_zltunnel_port_assign(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel, ngx_zltunnel_token_t *token,
    ngx_zltunnel_sh_service_t *service, in_port_t preferred,
    ngx_uint_t *code, const char **reason);
static ngx_uint_t ngx_zltunnel_port_start(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_token_t *token, ngx_uint_t udp, uint64_t user);
static ngx_uint_t ngx_zltunnel_port_offered(ngx_zltunnel_listener_t *l,
    ngx_uint_t i, ngx_uint_t udp);
static ngx_int_t ngx_zltunnel_port_take(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel, ngx_zltunnel_sh_service_t *service,
    in_port_t port, ngx_uint_t *code, const char **reason);
static ngx_zltunnel_sh_port_t *ngx_zltunnel_port_lookup(ngx_zltunnel_sh_t *sh,
    in_port_t port, ngx_uint_t udp);
static ngx_zltunnel_sh_service_t *ngx_zltunnel_port_elsewhere(
    ngx_zltunnel_sh_t *sh, ngx_zltunnel_sh_service_t *service);
static ngx_uint_t ngx_zltunnel_port_borrowed(ngx_zltunnel_sh_port_t *port,
    ngx_zltunnel_sh_tunnel_t *tunnel);
static ngx_uint_t ngx_zltunnel_port_rested(ngx_zltunnel_sh_port_t *port);


ngx_int_t
ngx_zltunnel_port_choose(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel, ngx_zltunnel_token_t *token,
    ngx_zltunnel_sh_service_t *service, in_port_t preferred,
    ngx_uint_t *code, const char **reason)
{
    if (service->remote_port) {
        return ngx_zltunnel_port_asked(registry, tunnel, token, service, code,
                                       reason);
    }

    return ngx_zltunnel_port_assign(registry, tunnel, token, service,
                                    preferred, code, reason);
}


void
ngx_zltunnel_port_free(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service)
{
    ngx_zltunnel_sh_port_t     *port;
    ngx_zltunnel_sh_service_t  *heir;

    if (service->port == 0) {

        if (service->tunnel->remote && service->remote_port) {
            service->tunnel->nwanting--;
        }

        return;
    }

    port = ngx_zltunnel_port_lookup(registry->sh, service->port,
                                    service->udp);

    if (port == NULL || port->service != service) {
        return;
    }

    heir = NULL;

    if (!service->shut
        && port->tenant == ngx_zltunnel_name_hash(service->tunnel->name,
                                                  service->tunnel->name_len))
    {
        heir = ngx_zltunnel_port_elsewhere(registry->sh, service);
    }

    if (heir) {

        /* clients do not notice */

        port->service = heir;
        heir->port = port->port;
        heir->tunnel->nwanting--;
        return;
    }

    port->service = NULL;
    port->freed = ngx_current_msec;
    ngx_zltunnel_port_socket_close(registry, service->port, service->udp);
}


/* the same of another node, which has that port there and would borrow it */

static ngx_zltunnel_sh_service_t *
ngx_zltunnel_port_elsewhere(ngx_zltunnel_sh_t *sh,
    ngx_zltunnel_sh_service_t *service)
{
    ngx_str_t                   name, token;
    ngx_zltunnel_sh_service_t  *other, *best;

    if (sh->nremote == 0) {
        return NULL;
    }

    name.data = service->name;
    name.len = service->name_len;
    token.data = service->tunnel->name;
    token.len = service->tunnel->name_len;

    best = NULL;

    for (other = ngx_zltunnel_service_named(sh, &name, service->udp, &token,
                                            NULL);
         other;
         other = ngx_zltunnel_service_named(sh, &name, service->udp, &token,
                                            other))
    {
        if (other->tunnel->remote && other->tunnel != service->tunnel
            && other->port == 0 && other->remote_port == service->port
            && !other->shut && ngx_zltunnel_service_before(other, best))
        {
            best = other;
        }
    }

    return best;
}


void
ngx_zltunnel_port_lose(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service, ngx_str_t *token)
{
    ngx_zltunnel_sh_port_t  *port;

    port = ngx_zltunnel_port_lookup(registry->sh, service->port,
                                    service->udp);

    if (port && port->service == service) {
        port->tenant = ngx_zltunnel_name_hash(token->data, token->len);
        port->user = 0;
    }
}


void
ngx_zltunnel_port_borrow(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service)
{
    ngx_uint_t                 code;
    const char                *reason;
    ngx_zltunnel_sh_port_t    *p;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    tunnel = service->tunnel;

    p = ngx_zltunnel_port_lookup(registry->sh, service->remote_port,
                                 service->udp);

    if (ngx_zltunnel_port_socket_find(registry, service->remote_port,
                                      service->udp)
        == NULL
        || (p && p->service)
        || (p && !ngx_zltunnel_port_rested(p)
            && p->tenant != ngx_zltunnel_name_hash(tunnel->name,
                                                   tunnel->name_len)))
    {
        return;
    }

    if (ngx_zltunnel_port_take(registry, tunnel, service, service->remote_port,
                               &code, &reason)
        == NGX_OK)
    {
        tunnel->nwanting--;
    }
}


/* Whether a service of another node has it only while none of its token that is
   here does. */

static ngx_uint_t
ngx_zltunnel_port_borrowed(ngx_zltunnel_sh_port_t *port,
    ngx_zltunnel_sh_tunnel_t *tunnel)
{
    return port->service && port->service->tunnel->remote
           && tunnel->remote == NULL
           && port->tenant == ngx_zltunnel_name_hash(tunnel->name,
                                                     tunnel->name_len);
}


ngx_uint_t
ngx_zltunnel_port_freed(ngx_zltunnel_sh_t *sh, in_port_t port, ngx_uint_t udp)
{
    ngx_zltunnel_sh_port_t  *p;

    p = ngx_zltunnel_port_lookup(sh, port, udp);

    return p && (p->service == NULL || p->service->shut);
}


ngx_uint_t
ngx_zltunnel_port_open(ngx_zltunnel_sh_t *sh, in_port_t port, ngx_uint_t udp)
{
    ngx_zltunnel_sh_port_t  *p;

    p = ngx_zltunnel_port_lookup(sh, port, udp);

    return p && p->service && !p->service->shut;
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

    if (ngx_zltunnel_port_socket_find(registry, port, service->udp) == NULL) {
        *code = ZLT_E_FORBIDDEN;
        *reason = !tunnel->extended ? "this server does not offer that port"
                  : ngx_zltunnel_port_told(registry, token, service,
                                           "this server does not offer");
        return NGX_DECLINED;
    }

    if (!ngx_zltunnel_rights_port(token, port)) {
        *code = ZLT_E_FORBIDDEN;
        *reason = !tunnel->extended ? "the token does not allow that port"
                  : ngx_zltunnel_port_told(registry, token, service,
                                           "the token does not allow");
        return NGX_DECLINED;
    }

    p = ngx_zltunnel_port_lookup(registry->sh, port, service->udp);

    if (p && p->service && !ngx_zltunnel_port_borrowed(p, tunnel)) {

        if (p->service->tunnel != tunnel || !p->service->stale) {
            *code = ZLT_E_PORT_TAKEN;
            *reason = "that port is taken by another service";
            return NGX_DECLINED;
        }

        /* ours from before the takeover, under another name */

        ngx_zltunnel_service_withdraw(registry, p->service,
                                      "another service has its port");

    } else if (p && p->service == NULL && !ngx_zltunnel_port_rested(p)
               && p->tenant != ngx_zltunnel_name_hash(tunnel->name,
                                                      tunnel->name_len))
    {
        /* clients come back to where they found a service */

        *code = ZLT_E_PORT_TAKEN;
        *reason = "that port was another token's within the last ten minutes";
        return NGX_DECLINED;
    }

    return ngx_zltunnel_port_take(registry, tunnel, service, port, code,
                                  reason);
}


/* Which port it was, and which there are instead; until the next call. */

static const char *
ngx_zltunnel_port_told(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_token_t *token, ngx_zltunnel_sh_service_t *service,
    const char *what)
{
    u_char      *p, *last, *list;
    const char  *protocol;

    static u_char  text[NGX_ZLTUNNEL_PORT_TEXT];

    last = text + sizeof(text) - 1;
    protocol = service->udp ? "UDP" : "TCP";

    p = ngx_slprintf(text, last, "%s port %ui for %s", what,
                     (ngx_uint_t) service->remote_port, protocol);
    list = ngx_slprintf(p, last, "; there are ");

    p = ngx_zltunnel_port_ranges(registry, token, service->udp, list, last);

    if (p == list) {
        p = ngx_slprintf(list, last, "none for %s%s", protocol,
                         token->ports ? " that the token allows" : "");
    }

    *p = '\0';

    return (char *) text;
}


/* Those that the token may have: "30000-30009, 30020"; the end of it. */

static u_char *
ngx_zltunnel_port_ranges(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_token_t *token, ngx_uint_t udp, u_char *p, u_char *last)
{
    in_port_t                 first, end;
    ngx_uint_t                i, n;
    ngx_zltunnel_listener_t  *l;

    l = registry->listeners.elts;
    first = end = 0;
    n = 0;

    for (i = 0; i < registry->listeners.nelts; i++) {

        if (l[i].udp != udp || l[i].port == end
            || !ngx_zltunnel_rights_port(token, l[i].port))
        {
            continue;
        }

        if (end && l[i].port == end + 1) {
            end = l[i].port;
            continue;
        }

        if (end) {
            p = ngx_zltunnel_port_range(p, last, n++, first, end);
        }

        if (n == NGX_ZLTUNNEL_PORT_RANGES) {
            return ngx_slprintf(p, last, ", ...");
        }

        first = end = l[i].port;
    }

    return end ? ngx_zltunnel_port_range(p, last, n, first, end) : p;
}


static u_char *
ngx_zltunnel_port_range(u_char *p, u_char *last, ngx_uint_t n,
    in_port_t first, in_port_t end)
{
    p = ngx_slprintf(p, last, "%s%ui", n ? ", " : "", (ngx_uint_t) first);

    return first == end ? p : ngx_slprintf(p, last, "-%ui", (ngx_uint_t) end);
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

    tenant = ngx_zltunnel_name_hash(tunnel->name, tunnel->name_len);
    user = tenant * 31
           + ngx_zltunnel_name_hash(service->name, service->name_len);

    l = registry->listeners.elts;
    n = registry->listeners.nelts;

    offered = 0;
    last = lowest = former = oldest = 0;
    age = 0;

    /*
     * An agent of version 1 cannot ask for the port that it had before the
     * server was started again: let it find the same one, whenever it comes.
     */

    start = tunnel->extended ? 0
            : ngx_zltunnel_port_start(registry, token, service->udp, user);

    for (i = 0; i < n; i++) {
        ngx_zltunnel_listener_t  *c = &l[(start + i) % n];

        port = c->port;

        if (c->udp != service->udp || c->reserved || port == last) {
            continue;
        }

        last = port;
        offered = 1;

        if (!ngx_zltunnel_rights_port(token, port)) {
            continue;
        }

        p = ngx_zltunnel_port_lookup(registry->sh, port, service->udp);

        if (p && p->service
            && (!ngx_zltunnel_port_borrowed(p, tunnel)
                || (p->user != user && port != preferred)))
        {
            continue;
        }

        if (p && p->tenant != tenant && !ngx_zltunnel_port_rested(p)) {

            /* somebody's until lately: only if there is nothing else */

            if (oldest == 0 || ngx_zltunnel_zone_since(p->freed) > age) {
                oldest = port;
                age = ngx_zltunnel_zone_since(p->freed);
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


/* a place among the sockets that depends on token and service alone */

static ngx_uint_t
ngx_zltunnel_port_start(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_token_t *token, ngx_uint_t udp, uint64_t user)
{
    ngx_uint_t                i, n;
    ngx_zltunnel_listener_t  *l;

    l = registry->listeners.elts;
    n = 0;

    for (i = 0; i < registry->listeners.nelts; i++) {

        if (ngx_zltunnel_port_offered(l, i, udp)
            && ngx_zltunnel_rights_port(token, l[i].port))
        {
            n++;
        }
    }

    if (n == 0) {
        return 0;
    }

    n = user % n;

    for (i = 0; i < registry->listeners.nelts; i++) {

        if (ngx_zltunnel_port_offered(l, i, udp)
            && ngx_zltunnel_rights_port(token, l[i].port)
            && n-- == 0)
        {
            break;
        }
    }

    return i;
}


/* the first of a port's sockets, of those that are assigned */

static ngx_uint_t
ngx_zltunnel_port_offered(ngx_zltunnel_listener_t *l, ngx_uint_t i,
    ngx_uint_t udp)
{
    return l[i].udp == udp && !l[i].reserved
           && (i == 0 || l[i - 1].udp != udp || l[i - 1].port != l[i].port);
}


static ngx_int_t
ngx_zltunnel_port_take(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel, ngx_zltunnel_sh_service_t *service,
    in_port_t port, ngx_uint_t *code, const char **reason)
{
    ngx_zltunnel_sh_port_t  *p;

    p = ngx_zltunnel_port_lookup(registry->sh, port, service->udp);

    if (p == NULL) {
        p = ngx_zltunnel_zone_alloc(registry, sizeof(ngx_zltunnel_sh_port_t));
        if (p == NULL) {
            *code = ZLT_E_BUSY;
            *reason = NGX_ZLTUNNEL_ZONE_FULL;
            return NGX_ERROR;
        }

        p->port = port;
        p->udp = service->udp;
        p->node.key = port | (ngx_rbtree_key_t) service->udp << 16;
        ngx_rbtree_insert(&registry->sh->ports, &p->node);
    }

    if (p->service) {
        p->service->port = 0;
        p->service->tunnel->nwanting++;
        p->service = NULL;
    }

    if (service->udp && p->tenant
        && p->tenant != ngx_zltunnel_name_hash(tunnel->name, tunnel->name_len))
    {
        /* during an upgrade it may have stayed open in between */

        ngx_zltunnel_port_socket_drain(registry, port);
    }

    if (ngx_zltunnel_port_socket_open(registry, port, service->udp)
        != NGX_OK)
    {
        *code = ZLT_E_BUSY;
        *reason = "the server cannot listen on that port now";
        return NGX_ERROR;
    }

    p->service = service;
    p->tenant = ngx_zltunnel_name_hash(tunnel->name, tunnel->name_len);
    p->user = p->tenant * 31
              + ngx_zltunnel_name_hash(service->name, service->name_len);

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
    /* it is nobody's yet where its socket could not be opened */

    return port->tenant == 0
           || ngx_zltunnel_zone_since(port->freed) >= NGX_ZLTUNNEL_PORT_REST;
}


void
ngx_zltunnel_port_sweep(ngx_zltunnel_registry_t *registry)
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
            ngx_zltunnel_zone_change(registry);
            ngx_rbtree_delete(&sh->ports, &p->node);
            ngx_zltunnel_zone_free(registry, p);
        }
    }
}


ngx_zltunnel_sh_service_t *
ngx_zltunnel_port_service(ngx_zltunnel_sh_t *sh, in_port_t port,
    ngx_uint_t udp)
{
    ngx_zltunnel_sh_port_t     *p;
    ngx_zltunnel_sh_service_t  *other;

    p = ngx_zltunnel_port_lookup(sh, port, udp);

    if (p == NULL || p->service == NULL) {
        return NULL;
    }

    if (p->service->tunnel->remote
        ? ngx_zltunnel_remote_failing(p->service->tunnel)
        : ngx_zltunnel_service_waits(p->service))
    {
        other = ngx_zltunnel_port_elsewhere(sh, p->service);

        if (other && ngx_zltunnel_service_before(other, p->service)) {
            return other;
        }
    }

    return p->service;
}
