
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Services of agents that are at other nodes.
 *
 * Who tells of them is believed no more than an agent is: a service needs a
 * token in this node's own token file, which allows its name, port and hosts.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_remote.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_health.h"
#include "ngx_zltunnel_host.h"
#include "ngx_zltunnel_port.h"
#include "ngx_zltunnel_quota.h"
#include "ngx_zltunnel_service.h"
#include "ngx_zltunnel_tunnel.h"
#include "ngx_zltunnel_zone.h"

#include "zlt_host.h"
#include "zlt_msg.h"
#include "zlt_name.h"

#include <openssl/sha.h>


#define NGX_ZLTUNNEL_REMOTE_HOSTS  64      /* of a service */
#define NGX_ZLTUNNEL_REMOTE_LABEL  8       /* characters of a name made up */
#define NGX_ZLTUNNEL_REMOTE_REST   10000   /* ms, of a node that fails */


/* what is allowed, in the form that the registry has it */

typedef struct {
    ngx_zltunnel_token_t        *token;
    ngx_uint_t                   n;
    ngx_zltunnel_host_name_t     names[NGX_ZLTUNNEL_REMOTE_HOSTS];
    u_char                       text[NGX_ZLTUNNEL_REMOTE_HOSTS]
                                     [ZLT_MAX_HOST];
} ngx_zltunnel_remote_t;


static ngx_zltunnel_token_t *ngx_zltunnel_remote_token(
    ngx_zltunnel_registry_t *registry, ngx_str_t *name);
static const char *ngx_zltunnel_remote_check(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_remote_service_t *s, ngx_zltunnel_remote_t *allowed);
static const char *ngx_zltunnel_remote_hosts(ngx_zltunnel_registry_t *registry,
    ngx_str_t *hosts, ngx_zltunnel_remote_t *allowed);
static ngx_uint_t ngx_zltunnel_remote_automatic(ngx_str_t *domain,
    ngx_str_t *name);
static ngx_zltunnel_sh_remote_t *ngx_zltunnel_remote_find(ngx_zltunnel_sh_t *sh,
    const u_char *id);
static ngx_zltunnel_sh_tunnel_t *ngx_zltunnel_remote_join(
    ngx_zltunnel_registry_t *registry, ngx_zltunnel_sh_remote_t *node,
    ngx_zltunnel_token_t *token, u_char *random);
static ngx_zltunnel_sh_service_t *ngx_zltunnel_remote_of(
    ngx_zltunnel_sh_t *sh, const u_char *node, const u_char *id);
static ngx_uint_t ngx_zltunnel_remote_same(ngx_zltunnel_sh_service_t *service,
    ngx_zltunnel_sh_tunnel_t *tunnel, ngx_zltunnel_remote_service_t *s);
static ngx_zltunnel_sh_service_t *ngx_zltunnel_remote_add(
    ngx_zltunnel_registry_t *registry, ngx_zltunnel_sh_tunnel_t *tunnel,
    ngx_zltunnel_remote_service_t *s);
static void ngx_zltunnel_remote_drop(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service);
static ngx_uint_t ngx_zltunnel_remote_give(ngx_zltunnel_sh_t *sh,
    ngx_zltunnel_sh_service_t *service, u_char *node, u_char *id);


ngx_int_t
ngx_zltunnel_remote_node(ngx_zltunnel_registry_t *registry,
    const u_char *id, ngx_str_t *addr)
{
    ngx_int_t                rc;
    ngx_addr_t               at;
    ngx_pool_t              *pool;
    ngx_zltunnel_sh_remote_t  *node;

    pool = ngx_create_pool(512, ngx_cycle->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&at, sizeof(ngx_addr_t));

    rc = ngx_parse_addr_port(pool, &at, addr->data, addr->len);

    if (rc != NGX_OK || ngx_inet_get_port(at.sockaddr) == 0) {

        if (ngx_zltunnel_log_paced(ngx_cycle->log, "addresses of nodes")) {
            ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                          "zltunnel \"%V\": another node says that it is at "
                          "\"%V\", which is no address with a port, as "
                          "10.0.0.1:7443: its services are left out",
                          &registry->name, addr);
        }

        ngx_destroy_pool(pool);
        return NGX_DECLINED;
    }

    rc = NGX_OK;

    ngx_zltunnel_zone_lock(registry);

    node = ngx_zltunnel_remote_find(registry->sh, id);

    if (node == NULL) {
        node = ngx_zltunnel_zone_alloc(registry,
                                       sizeof(ngx_zltunnel_sh_remote_t));
        if (node == NULL) {
            rc = NGX_ERROR;

        } else {
            ngx_memcpy(node->id, id, ZLT_ID_SIZE);
            ngx_queue_insert_tail(&registry->sh->nodes, &node->queue);
        }
    }

    if (node) {
        node->socklen = at.socklen;
        ngx_memcpy(&node->sockaddr, at.sockaddr, at.socklen);
        node->failing = 0;
    }

    ngx_zltunnel_zone_unlock(registry);

    ngx_destroy_pool(pool);

    return rc;
}


ngx_int_t
ngx_zltunnel_remote_service(ngx_zltunnel_registry_t *registry,
    const u_char *id, ngx_zltunnel_remote_service_t *s, ngx_str_t *why)
{
    u_char                      random[ZLT_ID_SIZE + 2 * ZLT_KEY_SIZE];
    ngx_int_t                   rc;
    ngx_str_t                   failed, none;
    const char                 *reason;
    ngx_zltunnel_sh_t          *sh;
    ngx_zltunnel_sh_remote_t     *node;
    ngx_zltunnel_sh_tunnel_t   *tunnel;
    ngx_zltunnel_sh_service_t  *service, *was;

    static ngx_zltunnel_remote_t  allowed;

    sh = registry->sh;
    reason = ngx_zltunnel_remote_check(registry, s, &allowed);

    if (reason) {

        /* what it had under that id is another thing */

        ngx_zltunnel_remote_service_end(registry, id, s->id);
        goto declined;
    }

    ngx_zltunnel_util_random(random, sizeof(random));

    rc = NGX_ERROR;

    ngx_zltunnel_zone_lock(registry);

    node = ngx_zltunnel_remote_find(sh, id);
    was = ngx_zltunnel_remote_of(sh, id, s->id);
    tunnel = node ? ngx_zltunnel_remote_join(registry, node, allowed.token,
                                             random)
                  : NULL;

    if (was && (tunnel == NULL || !ngx_zltunnel_remote_same(was, tunnel, s))) {
        ngx_zltunnel_remote_drop(registry, was);
        was = NULL;

        /* with its last service it may have been this one */

        tunnel = node ? ngx_zltunnel_remote_join(registry, node,
                                                 allowed.token, random)
                      : NULL;
    }

    service = was;

    if (service == NULL && tunnel) {
        service = ngx_zltunnel_remote_add(registry, tunnel, s);
    }

    if (service) {
        rc = NGX_OK;

        switch (ngx_zltunnel_host_claim(registry, service,
                                        &allowed.token->name, allowed.names,
                                        allowed.n, NGX_MAX_INT32_VALUE,
                                        &failed))
        {
        case NGX_ZLTUNNEL_HOST_OK:
            break;

        case NGX_ZLTUNNEL_HOST_TAKEN:
            reason = "one of its hosts is another token's here, or was so in "
                     "the last ten minutes";
            break;

        default:
            rc = NGX_ERROR;
            break;
        }

        ngx_str_set(&none, "its agent says so at another node");

        if (s->down != ngx_zltunnel_health_down(service)) {
            (void) ngx_zltunnel_health_set(registry, service,
                                           s->down ? ZLT_H_DOWN : ZLT_H_UP,
                                           &none);
        }

        if (reason || rc != NGX_OK) {
            ngx_zltunnel_remote_drop(registry, service);
        }

    } else if (tunnel && tunnel->nservices == 0) {
        ngx_zltunnel_tunnel_remove(registry, tunnel, NGX_ZLTUNNEL_EVENT_GONE,
                                   NULL);
    }

    ngx_zltunnel_zone_unlock(registry);

    ngx_explicit_memzero(random, sizeof(random));

    if (reason == NULL) {
        return rc;
    }

declined:

    why->data = (u_char *) reason;
    why->len = ngx_strlen(reason);

    return NGX_DECLINED;
}


/* one that holds now, of those with the name */

static ngx_zltunnel_token_t *
ngx_zltunnel_remote_token(ngx_zltunnel_registry_t *registry, ngx_str_t *name)
{
    ngx_uint_t             i;
    ngx_zltunnel_token_t  *token;

    if (registry->tokens == NULL) {
        return NULL;
    }

    token = registry->tokens->tokens.elts;

    for (i = 0; i < registry->tokens->tokens.nelts; i++) {

        if (token[i].name.len == name->len
            && ngx_memcmp(token[i].name.data, name->data, name->len) == 0
            && !ngx_zltunnel_token_expired(&token[i]))
        {
            return &token[i];
        }
    }

    return NULL;
}


/* NULL, or why this node does not have that service of another one */

static const char *
ngx_zltunnel_remote_check(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_remote_service_t *s, ngx_zltunnel_remote_t *allowed)
{
    ngx_zltunnel_token_t  *token;

    if (!zlt_name_valid(s->name.data, s->name.len)) {
        return "that is no name of a service";
    }

    token = ngx_zltunnel_remote_token(registry, &s->token);

    if (token == NULL) {
        return "there is no such token in this node's token file";
    }

    if (!ngx_zltunnel_rights_service(token, s->name.data, s->name.len)) {
        return "the token does not allow a service of that name here";
    }

    if (s->protocol == ZLT_PROTO_UDP ? !token->udp : !token->tcp) {
        return "the token does not allow that protocol here";
    }

    if (s->port && !ngx_zltunnel_rights_port(token, s->port)) {
        return "the token does not allow its port here";
    }

    /* the tokens that may reach an open one are not known here */

    if (s->flags & (ZLT_R_OPEN|ZLT_R_INTERNAL)) {
        return "it is one that is reached at its own node alone";
    }

    allowed->token = token;
    allowed->n = 0;

    return ngx_zltunnel_remote_hosts(registry, &s->hosts, allowed);
}


static const char *
ngx_zltunnel_remote_hosts(ngx_zltunnel_registry_t *registry, ngx_str_t *hosts,
    ngx_zltunnel_remote_t *allowed)
{
    u_char      *p, *last, *end;
    ngx_str_t   *name;
    ngx_uint_t   automatic;

    last = hosts->data + hosts->len;

    for (p = hosts->data; p < last; p = end + 1) {

        end = ngx_strlchr(p, last, ',');

        if (end == NULL) {
            end = last;
        }

        if (allowed->n == NGX_ZLTUNNEL_REMOTE_HOSTS) {
            return "it has more than 64 hosts";
        }

        name = &allowed->names[allowed->n].name;

        name->data = allowed->text[allowed->n];
        name->len = zlt_host_name(name->data, p, end - p);

        if (name->len == 0) {
            return "one of its hosts is no host's name";
        }

        automatic = ngx_zltunnel_remote_automatic(&registry->domain, name);

        if (!ngx_zltunnel_rights_host(allowed->token, &registry->domain, name,
                                      automatic))
        {
            return "the token does not allow one of its hosts here";
        }

        allowed->names[allowed->n++].automatic = automatic;
    }

    return NULL;
}


/* such a one as a node makes up: see ngx_zltunnel_register_host.c */

static ngx_uint_t
ngx_zltunnel_remote_automatic(ngx_str_t *domain, ngx_str_t *name)
{
    ngx_uint_t  i;

    if (domain->len == 0
        || name->len != NGX_ZLTUNNEL_REMOTE_LABEL + 1 + domain->len
        || name->data[NGX_ZLTUNNEL_REMOTE_LABEL] != '.'
        || ngx_memcmp(name->data + NGX_ZLTUNNEL_REMOTE_LABEL + 1,
                      domain->data, domain->len)
           != 0)
    {
        return 0;
    }

    for (i = 0; i < NGX_ZLTUNNEL_REMOTE_LABEL; i++) {

        if (!(name->data[i] >= 'a' && name->data[i] <= 'z')
            && !(name->data[i] >= '2' && name->data[i] <= '7'))
        {
            return 0;
        }
    }

    return 1;
}


static ngx_zltunnel_sh_remote_t *
ngx_zltunnel_remote_find(ngx_zltunnel_sh_t *sh, const u_char *id)
{
    ngx_queue_t             *q;
    ngx_zltunnel_sh_remote_t  *node;

    for (q = ngx_queue_head(&sh->nodes);
         q != ngx_queue_sentinel(&sh->nodes);
         q = ngx_queue_next(q))
    {
        node = ngx_queue_data(q, ngx_zltunnel_sh_remote_t, queue);

        if (ngx_memcmp(node->id, id, ZLT_ID_SIZE) == 0) {
            return node;
        }
    }

    return NULL;
}


/* The tunnel of that node and token, whose id is theirs. */

static ngx_zltunnel_sh_tunnel_t *
ngx_zltunnel_remote_join(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_remote_t *node, ngx_zltunnel_token_t *token, u_char *random)
{
    u_char                     digest[SHA256_DIGEST_LENGTH];
    u_char                     text[ZLT_ID_SIZE + NGX_ZLTUNNEL_TOKEN_NAME];
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    ngx_memcpy(text, node->id, ZLT_ID_SIZE);
    ngx_memcpy(text + ZLT_ID_SIZE, token->name.data, token->name.len);

    (void) SHA256(text, ZLT_ID_SIZE + token->name.len, digest);

    ngx_memcpy(random, digest, ZLT_ID_SIZE);

    tunnel = ngx_zltunnel_tunnel_find(registry->sh, random);

    if (tunnel && tunnel->remote != node) {
        return NULL;
    }

    if (tunnel == NULL) {
        tunnel = ngx_zltunnel_tunnel_create(registry, random);
        if (tunnel == NULL) {
            return NULL;
        }

        registry->sh->ntunnels--;
        registry->sh->nremote++;

        tunnel->remote = node;
        ngx_memcpy(tunnel->remote_id, node->id, ZLT_ID_SIZE);
        tunnel->slot = NGX_ZLTUNNEL_NO_SLOT;
        tunnel->extended = 1;
        tunnel->features = ZLT_F_CHANNELS|ZLT_F_DATAGRAMS|ZLT_F_HOSTS;
        tunnel->since = ngx_time();

        tunnel->name_len = (uint8_t) token->name.len;
        ngx_memcpy(tunnel->name, token->name.data, token->name.len);

        tunnel->address_len = (uint8_t)
                 ngx_sock_ntop(&node->sockaddr.sockaddr, node->socklen,
                               tunnel->address, NGX_SOCKADDR_STRLEN, 1);
    }

    ngx_memcpy(tunnel->token, token->hash, 32);
    ngx_zltunnel_quota_note(tunnel, token);

    return tunnel;
}


static ngx_zltunnel_sh_service_t *
ngx_zltunnel_remote_of(ngx_zltunnel_sh_t *sh, const u_char *node,
    const u_char *id)
{
    ngx_rbtree_key_t            key;
    ngx_zltunnel_sh_service_t  *service;

    key = ngx_zltunnel_id_key((u_char *) id);

    for (service = ngx_zltunnel_service_after(sh, key, NULL);
         service && service->by_id.key == key;
         service = ngx_zltunnel_service_after(sh, key, service))
    {
        if (service->tunnel->remote
            && ngx_memcmp(service->id, id, ZLT_ID_SIZE) == 0
            && ngx_memcmp(service->tunnel->remote->id, node, ZLT_ID_SIZE) == 0)
        {
            return service;
        }
    }

    return NULL;
}


static ngx_uint_t
ngx_zltunnel_remote_same(ngx_zltunnel_sh_service_t *service,
    ngx_zltunnel_sh_tunnel_t *tunnel, ngx_zltunnel_remote_service_t *s)
{
    return service->tunnel == tunnel
           && service->udp == (s->protocol == ZLT_PROTO_UDP)
           && service->flags == (uint8_t) s->flags
           && service->remote_port == s->port
           && service->name_len == s->name.len
           && ngx_memcmp(service->name, s->name.data, s->name.len) == 0;
}


static ngx_zltunnel_sh_service_t *
ngx_zltunnel_remote_add(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel, ngx_zltunnel_remote_service_t *s)
{
    ngx_zltunnel_sh_service_t  *service;

    service = ngx_zltunnel_zone_alloc(registry,
                               offsetof(ngx_zltunnel_sh_service_t, name)
                               + s->name.len);
    if (service == NULL) {
        return NULL;
    }

    ngx_memcpy(service->id, s->id, ZLT_ID_SIZE);
    ngx_memcpy(service->name, s->name.data, s->name.len);
    service->name_len = (uint8_t) s->name.len;
    service->udp = (s->protocol == ZLT_PROTO_UDP);
    service->flags = (uint8_t) s->flags;
    service->remote_port = s->port;
    service->tunnel = tunnel;
    ngx_queue_init(&service->counters);
    ngx_queue_init(&service->hosts);

    ngx_zltunnel_service_insert(registry, service);

    if (s->port) {
        tunnel->nwanting++;
        ngx_zltunnel_port_borrow(registry, service);
    }

    return service;
}


/* .. and its tunnel with the last one */

static void
ngx_zltunnel_remote_drop(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service)
{
    ngx_uint_t                 lost;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    tunnel = service->tunnel;

    ngx_zltunnel_service_remove(registry, service);

    if (tunnel->nservices == 0) {
        lost = registry->sh->remote_lost;

        ngx_zltunnel_tunnel_remove(registry, tunnel, NGX_ZLTUNNEL_EVENT_GONE,
                                   NULL);

        registry->sh->remote_lost = lost;
    }
}


void
ngx_zltunnel_remote_service_end(ngx_zltunnel_registry_t *registry,
    const u_char *node, const u_char *id)
{
    ngx_zltunnel_sh_service_t  *service;

    ngx_zltunnel_zone_lock(registry);

    service = ngx_zltunnel_remote_of(registry->sh, node, id);

    if (service) {
        ngx_zltunnel_remote_drop(registry, service);
    }

    ngx_zltunnel_zone_unlock(registry);
}


/* Others get the lock in between: the node goes last. */

void
ngx_zltunnel_remote_node_end(ngx_zltunnel_registry_t *registry,
    const u_char *id)
{
    ngx_uint_t                 work;
    ngx_rbtree_key_t           key;
    ngx_zltunnel_sh_remote_t    *node;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    work = 0;

    ngx_zltunnel_zone_lock(registry);

    for (tunnel = ngx_zltunnel_tunnel_after(registry->sh, NULL);
         tunnel;
         tunnel = ngx_zltunnel_tunnel_after(registry->sh, &key))
    {
        key = tunnel->node.key;
        work++;

        if (tunnel->remote
            && ngx_memcmp(tunnel->remote->id, id, ZLT_ID_SIZE) == 0)
        {
            work += 8 * tunnel->nservices;

            ngx_zltunnel_zone_change(registry);
            ngx_zltunnel_tunnel_remove(registry, tunnel,
                                       NGX_ZLTUNNEL_EVENT_GONE, NULL);

            registry->sh->remote_lost--;
        }

        (void) ngx_zltunnel_zone_unlock_briefly(registry, &work);
    }

    ngx_zltunnel_zone_change(registry);

    node = ngx_zltunnel_remote_find(registry->sh, id);

    if (node) {
        ngx_queue_remove(&node->queue);
        ngx_zltunnel_zone_free(registry, node);
    }

    ngx_zltunnel_zone_unlock(registry);
}


ngx_uint_t
ngx_zltunnel_remote_first(ngx_zltunnel_registry_t *registry, u_char *node,
    u_char *id)
{
    ngx_uint_t          more;
    ngx_zltunnel_sh_t  *sh;

    sh = registry->sh;

    ngx_zltunnel_zone_lock_read(registry);
    more = ngx_zltunnel_remote_give(sh, ngx_zltunnel_service_after(sh, 0, NULL),
                                    node, id);
    ngx_zltunnel_zone_unlock(registry);

    return more;
}


ngx_uint_t
ngx_zltunnel_remote_next(ngx_zltunnel_registry_t *registry, u_char *node,
    u_char *id)
{
    ngx_uint_t                  more;
    ngx_zltunnel_sh_t          *sh;
    ngx_zltunnel_sh_service_t  *service;

    sh = registry->sh;

    ngx_zltunnel_zone_lock_read(registry);

    service = ngx_zltunnel_remote_of(sh, node, id);

    service = service ? ngx_zltunnel_service_after(sh, 0, service)
                      : ngx_zltunnel_service_after(sh,
                                                   ngx_zltunnel_id_key(id) + 1,
                                                   NULL);

    more = ngx_zltunnel_remote_give(sh, service, node, id);

    ngx_zltunnel_zone_unlock(registry);

    return more;
}


static ngx_uint_t
ngx_zltunnel_remote_give(ngx_zltunnel_sh_t *sh,
    ngx_zltunnel_sh_service_t *service, u_char *node, u_char *id)
{
    while (service && service->tunnel->remote == NULL) {
        service = ngx_zltunnel_service_after(sh, 0, service);
    }

    if (service == NULL) {
        return 0;
    }

    ngx_memcpy(node, service->tunnel->remote->id, ZLT_ID_SIZE);
    ngx_memcpy(id, service->id, ZLT_ID_SIZE);

    return 1;
}


ngx_uint_t
ngx_zltunnel_remote_lost(ngx_zltunnel_registry_t *registry)
{
    return registry->sh->remote_lost;
}


ngx_uint_t
ngx_zltunnel_remote_failing(ngx_zltunnel_sh_tunnel_t *tunnel)
{
    return tunnel->remote->failing
           && ngx_zltunnel_zone_since(tunnel->remote->failed)
              < NGX_ZLTUNNEL_REMOTE_REST;
}


void
ngx_zltunnel_remote_reached(ngx_zltunnel_sh_tunnel_t *tunnel,
    ngx_uint_t reached)
{
    tunnel->remote->failing = !reached;
    tunnel->remote->failed = ngx_current_msec;
}


ngx_uint_t
ngx_zltunnel_remote_active(ngx_zltunnel_sh_t *sh, ngx_str_t *token,
    ngx_uint_t udp)
{
    ngx_uint_t                 n;
    ngx_queue_t               *q;
    ngx_zltunnel_sh_tunnel_t  *tunnel;

    if (sh->nremote == 0) {
        return 0;
    }

    n = 0;

    for (q = ngx_queue_head(&sh->list);
         q != ngx_queue_sentinel(&sh->list);
         q = ngx_queue_next(q))
    {
        tunnel = ngx_queue_data(q, ngx_zltunnel_sh_tunnel_t, queue);

        if (tunnel->remote && ngx_zltunnel_tunnel_of(tunnel, token)) {
            n += tunnel->active[udp];
        }
    }

    return n;
}


void
ngx_zltunnel_remote_sweep(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel)
{
    ngx_queue_t                *q;
    ngx_zltunnel_sh_service_t  *service;

    ngx_zltunnel_zone_change(registry);

    for (q = ngx_queue_head(&tunnel->services);
         q != ngx_queue_sentinel(&tunnel->services);
         q = ngx_queue_next(q))
    {
        service = ngx_queue_data(q, ngx_zltunnel_sh_service_t, queue);

        if (service->remote_port && service->port == 0) {
            ngx_zltunnel_port_borrow(registry, service);
        }
    }
}
