
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What the kernel keeps of datagrams for us, and what it drops.
 *
 * The default of a socket is 208k, which 300 small datagrams fill, or 90 large
 * ones: clients that come in the same moment would find no room.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_udp_socket.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_module.h"

#include <linux/sock_diag.h>


#define NGX_ZLTUNNEL_UDP_RCVBUF  (4 * 1024 * 1024)


static void ngx_zltunnel_udp_socket_listeners(ngx_cycle_t *cycle,
    ngx_array_t *listeners);
static void ngx_zltunnel_udp_socket_init(ngx_listening_t *ls);
static int ngx_zltunnel_udp_socket_rcvbuf(ngx_socket_t fd);


void
ngx_zltunnel_udp_socket_init_module(ngx_cycle_t *cycle)
{
    ngx_uint_t                 i, *index;
    ngx_listening_t           *ls;
    ngx_zltunnel_conf_t       *conf;
    ngx_zltunnel_registry_t  **registry;

    conf = (ngx_zltunnel_conf_t *) ngx_get_conf(cycle->conf_ctx,
                                                ngx_zltunnel_module);
    registry = conf->registries.elts;

    for (i = 0; i < conf->registries.nelts; i++) {
        ngx_zltunnel_udp_socket_listeners(cycle, &registry[i]->listeners);
        ngx_zltunnel_udp_socket_listeners(cycle, &registry[i]->passes);
    }

    ls = cycle->listening.elts;
    index = conf->datagrams.elts;

    for (i = 0; i < conf->datagrams.nelts; i++) {
        ngx_zltunnel_udp_socket_init(&ls[index[i]]);
    }
}


static void
ngx_zltunnel_udp_socket_listeners(ngx_cycle_t *cycle, ngx_array_t *listeners)
{
    ngx_uint_t                i;
    ngx_listening_t          *ls;
    ngx_zltunnel_listener_t  *l;

    ls = cycle->listening.elts;
    l = listeners->elts;

    for (i = 0; i < listeners->nelts; i++) {

        if (l[i].udp) {
            ngx_zltunnel_udp_socket_init(&ls[l[i].index]);
        }
    }
}


static void
ngx_zltunnel_udp_socket_init(ngx_listening_t *ls)
{
    int  on, size;

    if (ls->fd == (ngx_socket_t) -1) {
        return;
    }

    on = 1;

    if (setsockopt(ls->fd, SOL_SOCKET, SO_RXQ_OVFL, (const void *) &on,
                   sizeof(int))
        == -1)
    {
        ngx_log_error(NGX_LOG_ERR, ls->logp, ngx_socket_errno,
                      "setsockopt(SO_RXQ_OVFL) of %V failed", &ls->addr_text);
    }

    size = NGX_ZLTUNNEL_UDP_RCVBUF;

    /* the kernel says twice what it was told */

    if (ls->rcvbuf != -1
        || ngx_zltunnel_udp_socket_rcvbuf(ls->fd) >= 2 * size)
    {
        return;
    }

    /* above what is everybody's limit, if this process may */

    if (setsockopt(ls->fd, SOL_SOCKET, SO_RCVBUFFORCE, (const void *) &size,
                   sizeof(int))
        == -1)
    {
        (void) setsockopt(ls->fd, SOL_SOCKET, SO_RCVBUF,
                          (const void *) &size, sizeof(int));
    }
}


static int
ngx_zltunnel_udp_socket_rcvbuf(ngx_socket_t fd)
{
    int        size;
    socklen_t  len;

    size = 0;
    len = sizeof(int);

    (void) getsockopt(fd, SOL_SOCKET, SO_RCVBUF, (void *) &size, &len);

    return size;
}


uint32_t
ngx_zltunnel_udp_socket_drops(ngx_socket_t fd)
{
    uint32_t   mem[SK_MEMINFO_VARS];
    socklen_t  len;

    ngx_memzero(mem, sizeof(mem));
    len = sizeof(mem);

    (void) getsockopt(fd, SOL_SOCKET, SO_MEMINFO, (void *) mem, &len);

    return mem[SK_MEMINFO_DROPS];
}
