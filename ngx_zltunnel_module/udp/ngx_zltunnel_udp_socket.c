
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


void
ngx_zltunnel_udp_socket_told(ngx_listening_t *ls, struct msghdr *msg,
    ngx_sockaddr_t *local, uint32_t *drops)
{
    struct cmsghdr      *cmsg;
    struct in_pktinfo    pkt;
#if (NGX_HAVE_INET6)
    struct in6_pktinfo   pkt6;
#endif

    ngx_memcpy(local, ls->sockaddr, ls->socklen);

    for (cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {

        if (cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SO_RXQ_OVFL) {
            ngx_memcpy(drops, CMSG_DATA(cmsg), sizeof(uint32_t));
        }

        if (!ls->wildcard) {
            continue;
        }

        if (cmsg->cmsg_level == IPPROTO_IP && cmsg->cmsg_type == IP_PKTINFO
            && local->sockaddr.sa_family == AF_INET)
        {
            ngx_memcpy(&pkt, CMSG_DATA(cmsg), sizeof(struct in_pktinfo));
            local->sockaddr_in.sin_addr = pkt.ipi_addr;
        }

#if (NGX_HAVE_INET6)

        if (cmsg->cmsg_level == IPPROTO_IPV6 && cmsg->cmsg_type == IPV6_PKTINFO
            && local->sockaddr.sa_family == AF_INET6)
        {
            ngx_memcpy(&pkt6, CMSG_DATA(cmsg), sizeof(struct in6_pktinfo));
            local->sockaddr_in6.sin6_addr = pkt6.ipi6_addr;
        }

#endif
    }
}
