
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Which listening sockets are assigned ports: those of servers with
 * zltunnel_ports; and which lead to a service by zltunnel_pass.
 */


#include "ngx_stream_zltunnel.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_module.h"


static char *ngx_stream_zltunnel_listener(ngx_cycle_t *cycle, ngx_uint_t n);
static char *ngx_stream_zltunnel_passing(ngx_cycle_t *cycle, ngx_uint_t n);
static char *ngx_stream_zltunnel_shared(ngx_cycle_t *cycle, ngx_uint_t n);
static ngx_stream_addr_conf_t *ngx_stream_zltunnel_addr(ngx_listening_t *ls,
    ngx_uint_t i);
static int ngx_libc_cdecl ngx_stream_zltunnel_cmp(const void *one,
    const void *two);
static char *ngx_stream_zltunnel_check_events(ngx_cycle_t *cycle);


char *
ngx_stream_zltunnel_listen(ngx_cycle_t *cycle)
{
    char                      *rv;
    ngx_uint_t                 i, n;
    ngx_listening_t           *ls;
    ngx_zltunnel_conf_t       *conf;
    ngx_zltunnel_registry_t  **registry;

    ls = cycle->listening.elts;

    for (i = 0; i < cycle->listening.nelts; i++) {

        if (ls[i].handler != ngx_stream_init_connection) {
            continue;
        }

        rv = ngx_stream_zltunnel_listener(cycle, i);

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    conf = (ngx_zltunnel_conf_t *) ngx_get_conf(cycle->conf_ctx,
                                                ngx_zltunnel_module);
    registry = conf->registries.elts;
    n = 0;

    for (i = 0; i < conf->registries.nelts; i++) {
        ngx_qsort(registry[i]->listeners.elts, registry[i]->listeners.nelts,
                  sizeof(ngx_zltunnel_listener_t), ngx_stream_zltunnel_cmp);

        n += registry[i]->listeners.nelts;
    }

    return n ? ngx_stream_zltunnel_check_events(cycle) : NGX_CONF_OK;
}


static char *
ngx_stream_zltunnel_listener(ngx_cycle_t *cycle, ngx_uint_t n)
{
    ngx_uint_t                i, reserved;
    ngx_listening_t          *ls;
    ngx_stream_port_t        *port;
    ngx_stream_addr_conf_t   *addr;
    ngx_zltunnel_registry_t  *registry;
    ngx_zltunnel_listener_t  *listener;

    ls = (ngx_listening_t *) cycle->listening.elts + n;
    port = ls->servers;

    registry = NULL;
    reserved = 0;

    for (i = 0; i < port->naddrs; i++) {
        addr = ngx_stream_zltunnel_addr(ls, i);

        registry = ngx_stream_zltunnel_module_ports(
                                            ngx_zltunnel_addr_srv_conf(addr),
                                            &reserved);
        if (registry) {
            break;
        }
    }

    if (registry == NULL) {
        return ngx_stream_zltunnel_passing(cycle, n);
    }

    if (port->naddrs > 1) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "\"listen %V\" of a server with \"zltunnel_ports\" "
                      "shares its socket with another address of the same "
                      "port, which must be removed", &ls->addr_text);
        return NGX_CONF_ERROR;
    }

    if (ls->sockaddr->sa_family == AF_UNIX) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "\"listen %V\" of a server with \"zltunnel_ports\" "
                      "must be a port", &ls->addr_text);
        return NGX_CONF_ERROR;
    }

#if (NGX_HAVE_REUSEPORT)
    if (ls->reuseport) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "\"listen %V\" of a server with \"zltunnel_ports\" "
                      "must not have \"reuseport\"", &ls->addr_text);
        return NGX_CONF_ERROR;
    }
#endif

    listener = ngx_array_push(&registry->listeners);
    if (listener == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(listener, sizeof(ngx_zltunnel_listener_t));

    listener->registry = registry;
    listener->index = n;
    listener->port = ngx_inet_get_port(ls->sockaddr);
    listener->udp = (ls->type == SOCK_DGRAM);
    listener->reserved = reserved;

    return NGX_CONF_OK;
}


/* a socket with zltunnel_pass */

static char *
ngx_stream_zltunnel_passing(ngx_cycle_t *cycle, ngx_uint_t n)
{
    ngx_str_t                 service, token;
    ngx_listening_t          *ls;
    ngx_stream_port_t        *port;
    ngx_stream_addr_conf_t   *addr;
    ngx_zltunnel_registry_t  *registry;
    ngx_zltunnel_listener_t  *pass;

    ls = (ngx_listening_t *) cycle->listening.elts + n;
    port = ls->servers;

    if (port->naddrs > 1
        || (ls->type == SOCK_DGRAM && ls->sockaddr->sa_family == AF_UNIX))
    {
        return ngx_stream_zltunnel_shared(cycle, n);
    }

#if (NGX_HAVE_REUSEPORT)
    if (ls->reuseport) {
        return ngx_stream_zltunnel_shared(cycle, n);
    }
#endif

    /* of its own for one service, shared by the workers */

    addr = ngx_stream_zltunnel_addr(ls, 0);

    registry = ngx_stream_zltunnel_module_pass(ngx_zltunnel_addr_srv_conf(addr),
                                               &service, &token);
    if (registry == NULL) {
        return ngx_stream_zltunnel_shared(cycle, n);
    }

    pass = ngx_array_push(&registry->passes);
    if (pass == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(pass, sizeof(ngx_zltunnel_listener_t));

    pass->registry = registry;
    pass->index = n;
    pass->service = service;
    pass->token = token;
    pass->udp = (ls->type == SOCK_DGRAM);
    pass->pass = 1;

    return NGX_CONF_OK;
}


/*
 * Any other socket.  A UDP socket all of whose servers have zltunnel_pass is read
 * by us.  Some clients of a TCP socket may come to a service: which upstream a
 * server has, its requests may say.
 */

static char *
ngx_stream_zltunnel_shared(ngx_cycle_t *cycle, ngx_uint_t n)
{
    ngx_str_t                service, token;
    ngx_uint_t               i, passes, *index;
    ngx_array_t             *sockets;
    ngx_listening_t         *ls;
    ngx_stream_port_t       *port;
    ngx_zltunnel_conf_t     *conf;
    ngx_stream_addr_conf_t  *addr;

    ls = (ngx_listening_t *) cycle->listening.elts + n;
    port = ls->servers;
    passes = 0;

    for (i = 0; i < port->naddrs; i++) {
        addr = ngx_stream_zltunnel_addr(ls, i);

        if (ngx_stream_zltunnel_module_pass(ngx_zltunnel_addr_srv_conf(addr),
                                            &service, &token))
        {
            passes++;
        }
    }

    conf = (ngx_zltunnel_conf_t *) ngx_get_conf(cycle->conf_ctx,
                                                ngx_zltunnel_module);

    if (ls->type == SOCK_STREAM) {
        sockets = (passes || conf->upstreams) ? &conf->streams : NULL;

    } else {
        sockets = (passes == port->naddrs
                   && ls->sockaddr->sa_family != AF_UNIX)
                  ? &conf->datagrams : NULL;
    }

    if (sockets == NULL) {
        return NGX_CONF_OK;
    }

    index = ngx_array_push(sockets);
    if (index == NULL) {
        return NGX_CONF_ERROR;
    }

    *index = n;

    return NGX_CONF_OK;
}


static ngx_stream_addr_conf_t *
ngx_stream_zltunnel_addr(ngx_listening_t *ls, ngx_uint_t i)
{
    ngx_stream_port_t  *port;

    port = ls->servers;

#if (NGX_HAVE_INET6)
    if (ls->sockaddr->sa_family == AF_INET6) {
        return &((ngx_stream_in6_addr_t *) port->addrs)[i].conf;
    }
#endif

    return &((ngx_stream_in_addr_t *) port->addrs)[i].conf;
}


static int ngx_libc_cdecl
ngx_stream_zltunnel_cmp(const void *one, const void *two)
{
    const ngx_zltunnel_listener_t  *a, *b;

    a = one;
    b = two;

    if (a->udp != b->udp) {
        return (int) a->udp - (int) b->udp;
    }

    return (int) a->port - (int) b->port;
}


static char *
ngx_stream_zltunnel_check_events(ngx_cycle_t *cycle)
{
    ngx_event_conf_t  *ecf;

    if (ngx_get_conf(cycle->conf_ctx, ngx_events_module) == NULL) {
        /* core says what is missing */
        return NGX_CONF_OK;
    }

    ecf = ngx_event_get_conf(cycle->conf_ctx, ngx_event_core_module);

    if (ngx_strcmp(ecf->name, "epoll") != 0) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "\"zltunnel_ports\" needs \"use epoll\", not \"%s\"",
                      ecf->name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
