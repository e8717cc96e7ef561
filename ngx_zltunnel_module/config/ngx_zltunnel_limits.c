
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What a zltunnel{} block promises, and whether its zone and the connections
 * of a worker are enough for that.  Nothing here is an error: an administrator
 * may know that not all of it will be wanted.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_limits.h"
#include "ngx_zltunnel_conf.h"
#include "ngx_zltunnel_token.h"


/*
 * What the limits need of the zone, in bytes: all tunnels with one service
 * each, one of them with all the services that it may have, every port, and
 * the workers of two generations; and, apart from that, all that the tokens
 * allow.  More than that is for the administrator to judge.  A slab is a power
 * of two; a service has a counter with it.
 */

#define NGX_ZLTUNNEL_ZONE_FIXED       (48 * 1024)
#define NGX_ZLTUNNEL_ZONE_WORKER      128
#define NGX_ZLTUNNEL_ZONE_TUNNEL      512      /* and idle[] */
#define NGX_ZLTUNNEL_ZONE_SERVICE     512
#define NGX_ZLTUNNEL_ZONE_PORT        128
#define NGX_ZLTUNNEL_ZONE_LIST        8192     /* the longest */

/* connections of a worker that are few, beside those of ports */

#define NGX_ZLTUNNEL_CONNECTIONS      512


static void ngx_zltunnel_limits_zone(ngx_cycle_t *cycle,
    ngx_zltunnel_registry_t *registry);
static void ngx_zltunnel_limits_tokens(ngx_cycle_t *cycle,
    ngx_zltunnel_registry_t *registry);
static ngx_uint_t ngx_zltunnel_limits_services(
    ngx_zltunnel_registry_t *registry, ngx_zltunnel_token_t *token);
static void ngx_zltunnel_limits_access(ngx_cycle_t *cycle,
    ngx_zltunnel_registry_t *registry);
static void ngx_zltunnel_limits_connections(ngx_cycle_t *cycle,
    ngx_zltunnel_registry_t *registry);
static void ngx_zltunnel_limits_udp(ngx_cycle_t *cycle,
    ngx_zltunnel_registry_t *registry);
static ngx_uint_t ngx_zltunnel_limits_has_udp(ngx_array_t *listeners);


void
ngx_zltunnel_limits_check(ngx_cycle_t *cycle,
    ngx_zltunnel_registry_t *registry)
{
    ngx_zltunnel_limits_zone(cycle, registry);
    ngx_zltunnel_limits_tokens(cycle, registry);
    ngx_zltunnel_limits_access(cycle, registry);
    ngx_zltunnel_limits_connections(cycle, registry);
    ngx_zltunnel_limits_udp(cycle, registry);
}


static void
ngx_zltunnel_limits_zone(ngx_cycle_t *cycle, ngx_zltunnel_registry_t *registry)
{
    uint64_t          need;
    ngx_uint_t        workers, idle;
    ngx_core_conf_t  *ccf;

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    workers = ccf->master ? (ngx_uint_t) ccf->worker_processes : 1;
    registry->workers = workers;

    /* what a tunnel has for each slot, of which there are 64 at least */

    for (idle = 128; idle < 2 * workers * sizeof(uint16_t); idle *= 2) {
        /* void */
    }

    need = (uint64_t) registry->max_tunnels
           * (NGX_ZLTUNNEL_ZONE_TUNNEL + idle + NGX_ZLTUNNEL_ZONE_SERVICE)
           + 2 * workers * NGX_ZLTUNNEL_ZONE_WORKER
           + registry->max_services * NGX_ZLTUNNEL_ZONE_SERVICE
           + registry->listeners.nelts * NGX_ZLTUNNEL_ZONE_PORT
           + NGX_ZLTUNNEL_ZONE_FIXED;

    if (registry->zone_size >= need) {
        return;
    }

    ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                  "\"zone\" of zltunnel \"%V\" is too small for "
                  "\"max_tunnels %ui\", \"max_services %ui\" and %ui "
                  "worker%s: it has %uzk, %uLk are needed, in %s:%ui",
                  &registry->name, registry->max_tunnels,
                  registry->max_services, workers, workers == 1 ? "" : "s",
                  registry->zone_size / 1024, (need + 1023) / 1024,
                  registry->file, registry->line);
}


/* what the holders of all tokens could fill, if they liked */

static void
ngx_zltunnel_limits_tokens(ngx_cycle_t *cycle,
    ngx_zltunnel_registry_t *registry)
{
    uint64_t               need, services;
    ngx_uint_t             i, n, tunnels;
    ngx_zltunnel_token_t  *token;

    token = registry->tokens->tokens.elts;

    need = registry->listeners.nelts * NGX_ZLTUNNEL_ZONE_PORT
           + NGX_ZLTUNNEL_ZONE_FIXED;
    tunnels = 0;

    for (i = 0; i < registry->tokens->tokens.nelts; i++) {

        n = ngx_min(token[i].sessions, registry->max_tunnels - tunnels);
        tunnels += n;

        services = (uint64_t) n * ngx_zltunnel_limits_services(registry,
                                                               &token[i]);

        if (token[i].max_services) {
            services = ngx_min(services, token[i].max_services);
        }

        need += n * NGX_ZLTUNNEL_ZONE_TUNNEL
                + services * NGX_ZLTUNNEL_ZONE_SERVICE
                + ngx_min(services * NGX_ZLTUNNEL_ZONE_LIST,
                          NGX_ZLTUNNEL_ZONE_LISTS);
    }

    if (registry->zone_size >= need) {
        return;
    }

    ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                  "\"zone\" of zltunnel \"%V\" is too small for all that "
                  "the tokens in %V allow: it has %uzk, %uLk are needed; "
                  "\"sessions=\" and \"max_services=\" there say how much "
                  "that is, in %s:%ui",
                  &registry->name, &registry->token_file,
                  registry->zone_size / 1024, (need + 1023) / 1024,
                  registry->file, registry->line);
}


/* how many one tunnel of that token may have */

static ngx_uint_t
ngx_zltunnel_limits_services(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_token_t *token)
{
    ngx_str_t   *glob;
    ngx_uint_t   i, n;

    if (token->services == NULL && token->access) {

        /* a visitor's */

        return 0;
    }

    n = registry->max_services;

    if (token->services == NULL) {
        return n;
    }

    glob = token->services->elts;

    for (i = 0; i < token->services->nelts; i++) {

        if (glob[i].data[glob[i].len - 1] == '*') {
            return n;
        }
    }

    /* each name once a protocol */

    return ngx_min(n, token->services->nelts * (token->tcp + token->udp));
}


/* a number alone is seconds, and hours may have been meant */

static void
ngx_zltunnel_limits_access(ngx_cycle_t *cycle,
    ngx_zltunnel_registry_t *registry)
{
    ngx_uint_t             i;
    ngx_zltunnel_token_t  *token;

    token = registry->tokens->tokens.elts;

    for (i = 0; i < registry->tokens->tokens.nelts; i++) {

        if (token[i].access_ttl == 0 || token[i].access_ttl >= 60) {
            continue;
        }

        ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                      "\"access_ttl=\" of token \"%V\" is %T second%s, for "
                      "hours write \"access_ttl=%Th\", in %V",
                      &token[i].name, token[i].access_ttl,
                      token[i].access_ttl == 1 ? "" : "s",
                      token[i].access_ttl, &registry->token_file);
    }
}


/* each open port takes one, and each client two: ngx_zltunnel_share.c */

static void
ngx_zltunnel_limits_connections(ngx_cycle_t *cycle,
    ngx_zltunnel_registry_t *registry)
{
    ngx_uint_t  ports;

    ports = cycle->listening.nelts;

    if (registry->listeners.nelts == 0
        || cycle->connection_n < ports
        || cycle->connection_n - ports >= NGX_ZLTUNNEL_CONNECTIONS)
    {
        return;
    }

    ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                  "%ui worker_connections are few: %ui listening socket%s "
                  "leave %ui to clients, each of which takes two, and to "
                  "agents: at least %ui are needed", cycle->connection_n, ports,
                  ports == 1 ? "" : "s", cycle->connection_n - ports,
                  ports + NGX_ZLTUNNEL_CONNECTIONS);
}


/* one service may have two thirds of the UDP sessions of a worker:
   ngx_zltunnel_carrier_crowds() */

static void
ngx_zltunnel_limits_udp(ngx_cycle_t *cycle,
    ngx_zltunnel_registry_t *registry)
{
    ngx_uint_t  most, need;

    if (!ngx_zltunnel_limits_has_udp(&registry->listeners)
        && !ngx_zltunnel_limits_has_udp(&registry->passes))
    {
        return;
    }

    most = cycle->connection_n * registry->max_channel_share / 100 * 2 / 3;

    if (most >= registry->max_udp_sessions) {
        return;
    }

    need = (registry->max_udp_sessions * 300
            + 2 * registry->max_channel_share - 1)
           / (2 * registry->max_channel_share);

    ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                  "\"max_udp_sessions %ui\" of zltunnel \"%V\" cannot be "
                  "reached, a service has %ui of %ui worker_connections: "
                  "at least %ui are needed, in %s:%ui",
                  registry->max_udp_sessions, &registry->name, most,
                  cycle->connection_n, need, registry->file, registry->line);
}


static ngx_uint_t
ngx_zltunnel_limits_has_udp(ngx_array_t *listeners)
{
    ngx_uint_t                i;
    ngx_zltunnel_listener_t  *l;

    l = listeners->elts;

    for (i = 0; i < listeners->nelts; i++) {

        if (l[i].udp) {
            return 1;
        }
    }

    return 0;
}
