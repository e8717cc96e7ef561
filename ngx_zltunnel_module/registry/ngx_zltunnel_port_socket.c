
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The listening sockets of assigned ports: how a port opens and closes.
 *
 * The sockets are those of an ordinary "listen", bound by the master.  A TCP
 * one is closed with shutdown(SHUT_RD), upon which it refuses but stays
 * bound, and opened with listen(), which any worker may call.  All workers
 * share the socket, so opening and closing is done once, by the worker that
 * changes the registry, under the registry's lock; the others are told.
 *
 * While closed a TCP socket must not have SO_REUSEADDR: another process could
 * bind and listen beside it.  It is set just before listen(), which would
 * otherwise fail for connections that are still there.
 *
 * A UDP socket is closed with connect() to itself: nobody else's datagrams are
 * for it then, and the kernel answers them with port unreachable.  Without an
 * address it is open again; it is emptied before, since what was queued was
 * sent to another service.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_port_socket.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_notice.h"
#include "ngx_zltunnel_overlap.h"
#include "ngx_zltunnel_port.h"
#include "ngx_zltunnel_shm.h"


#define NGX_ZLTUNNEL_DRAIN    100000   /* datagrams of one socket, at most */
#define NGX_ZLTUNNEL_BACKLOG  4096     /* what the kernel allows of it */


static ngx_int_t ngx_zltunnel_port_socket_reuseaddr(ngx_listening_t *ls,
    int value);
static ngx_int_t ngx_zltunnel_port_socket_disconnect(ngx_listening_t *ls);
static void ngx_zltunnel_port_socket_connect(ngx_listening_t *ls);
static void ngx_zltunnel_port_socket_empty(ngx_listening_t *ls);


ngx_zltunnel_listener_t *
ngx_zltunnel_port_socket_find(ngx_zltunnel_registry_t *registry,
    in_port_t port, ngx_uint_t udp)
{
    ngx_uint_t                left, right, middle;
    ngx_zltunnel_listener_t  *l;

    /* the first of the sockets of the port */

    l = registry->listeners.elts;
    left = 0;
    right = registry->listeners.nelts;

    while (left < right) {
        middle = left + (right - left) / 2;

        if (l[middle].udp < udp
            || (l[middle].udp == udp && l[middle].port < port))
        {
            left = middle + 1;

        } else {
            right = middle;
        }
    }

    if (left < registry->listeners.nelts
        && l[left].udp == udp && l[left].port == port)
    {
        return &l[left];
    }

    return NULL;
}


ngx_zltunnel_listener_t *
ngx_zltunnel_port_socket_next(ngx_zltunnel_listener_t *listener)
{
    ngx_zltunnel_listener_t  *end;

    end = (ngx_zltunnel_listener_t *) listener->registry->listeners.elts
          + listener->registry->listeners.nelts;

    if (listener + 1 < end
        && listener[1].port == listener->port
        && listener[1].udp == listener->udp)
    {
        return listener + 1;
    }

    return NULL;
}


ngx_int_t
ngx_zltunnel_port_socket_open(ngx_zltunnel_registry_t *registry,
    in_port_t port, ngx_uint_t udp)
{
    ngx_err_t                 err;
    ngx_listening_t          *ls;
    ngx_zltunnel_listener_t  *l, *first;

    if (ngx_exiting) {

        /* an exiting worker has closed its listening sockets */

        ngx_set_errno(NGX_EINVAL);
        return NGX_ERROR;
    }

    first = ngx_zltunnel_port_socket_find(registry, port, udp);

    for (l = first; l; l = ngx_zltunnel_port_socket_next(l)) {

        ls = ngx_zltunnel_listener_socket(l);

        if (ngx_zltunnel_port_socket_listen(ls) != NGX_OK) {
            err = ngx_socket_errno;

            for ( /* void */ ; first != l; first++) {
                ls = ngx_zltunnel_listener_socket(first);
                ngx_zltunnel_port_socket_shut(ls);
            }

            ngx_set_errno(err);
            return NGX_ERROR;
        }
    }

    if (udp) {
        registry->sh->changes++;
    }

    ngx_zltunnel_notice_port(registry, port, udp);

    return NGX_OK;
}


void
ngx_zltunnel_port_socket_close(ngx_zltunnel_registry_t *registry,
    in_port_t port, ngx_uint_t udp)
{
    ngx_zltunnel_listener_t  *l;

    /* who reads a UDP port looks whose it is */

    if (udp) {
        registry->sh->changes++;
    }

    if (ngx_exiting || ngx_zltunnel_overlap) {

        /*
         * It has closed its sockets, and the next sweep of another does it;
         * or another binary may serve the port, which shares the socket.
         */

        registry->sh->unclosed = 1;
        return;
    }

    for (l = ngx_zltunnel_port_socket_find(registry, port, udp);
         l;
         l = ngx_zltunnel_port_socket_next(l))
    {
        ngx_zltunnel_port_socket_shut(ngx_zltunnel_listener_socket(l));
    }

    ngx_zltunnel_notice_port(registry, port, udp);
}


void
ngx_zltunnel_port_socket_drain(ngx_zltunnel_registry_t *registry,
    in_port_t port)
{
    ngx_zltunnel_listener_t  *l;

    for (l = ngx_zltunnel_port_socket_find(registry, port, 1);
         l;
         l = ngx_zltunnel_port_socket_next(l))
    {
        ngx_zltunnel_port_socket_empty(ngx_zltunnel_listener_socket(l));
    }
}


ngx_int_t
ngx_zltunnel_port_socket_listen(ngx_listening_t *ls)
{
    if (ngx_zltunnel_port_socket_listens(ls)) {
        return NGX_OK;
    }

    if (ls->type == SOCK_DGRAM) {
        return ngx_zltunnel_port_socket_disconnect(ls);
    }

    if (ngx_zltunnel_port_socket_reuseaddr(ls, 1) == -1) {
        return NGX_ERROR;
    }

    if (listen(ls->fd, ngx_zltunnel_port_socket_backlog(ls)) == -1) {
        (void) ngx_zltunnel_port_socket_reuseaddr(ls, 0);
        return NGX_ERROR;
    }

    return NGX_OK;
}


int
ngx_zltunnel_port_socket_backlog(ngx_listening_t *ls)
{
    return ls->backlog == NGX_LISTEN_BACKLOG ? NGX_ZLTUNNEL_BACKLOG
                                             : ls->backlog;
}


void
ngx_zltunnel_port_socket_shut(ngx_listening_t *ls)
{
    if (ls->type == SOCK_DGRAM) {
        ngx_zltunnel_port_socket_connect(ls);
        ngx_zltunnel_port_socket_empty(ls);
        return;
    }

    /*
     * On one that does not listen it would last: clients that are accepted
     * when it listens again would have sent an end, and nothing before.
     */

    if (ngx_zltunnel_port_socket_listens(ls)) {
        (void) shutdown(ls->fd, SHUT_RD);
    }

    (void) ngx_zltunnel_port_socket_reuseaddr(ls, 0);
}


static void
ngx_zltunnel_port_socket_connect(ngx_listening_t *ls)
{
    ngx_sockaddr_t  sa;

    ngx_memcpy(&sa, ls->sockaddr, ls->socklen);

#if (NGX_HAVE_INET6)
    if (sa.sockaddr.sa_family == AF_INET6
        && IN6_IS_ADDR_UNSPECIFIED(&sa.sockaddr_in6.sin6_addr))
    {
        sa.sockaddr_in6.sin6_addr = in6addr_loopback;
    }
#endif

    if (sa.sockaddr.sa_family == AF_INET
        && sa.sockaddr_in.sin_addr.s_addr == INADDR_ANY)
    {
        sa.sockaddr_in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    }

    (void) connect(ls->fd, &sa.sockaddr, ls->socklen);
}


static ngx_int_t
ngx_zltunnel_port_socket_disconnect(ngx_listening_t *ls)
{
    struct sockaddr  sa;

    /* a datagram may have been on its way into the queue at the close */

    ngx_zltunnel_port_socket_empty(ls);

    ngx_memzero(&sa, sizeof(struct sockaddr));
    sa.sa_family = AF_UNSPEC;

    return connect(ls->fd, &sa, sizeof(struct sockaddr)) == -1 ? NGX_ERROR
                                                               : NGX_OK;
}


static void
ngx_zltunnel_port_socket_empty(ngx_listening_t *ls)
{
    u_char      byte;
    ngx_uint_t  n;

    for (n = 0; n < NGX_ZLTUNNEL_DRAIN; n++) {

        if (recv(ls->fd, &byte, 1, MSG_DONTWAIT|MSG_TRUNC) == -1
            && ngx_socket_errno == NGX_EAGAIN)
        {
            break;
        }
    }
}


static ngx_int_t
ngx_zltunnel_port_socket_reuseaddr(ngx_listening_t *ls, int value)
{
    return setsockopt(ls->fd, SOL_SOCKET, SO_REUSEADDR,
                      (const void *) &value, sizeof(int));
}


ngx_uint_t
ngx_zltunnel_port_socket_listens(ngx_listening_t *ls)
{
    int             value;
    socklen_t       len;
    ngx_sockaddr_t  sa;

    if (ls->type == SOCK_DGRAM) {
        len = sizeof(ngx_sockaddr_t);

        return getpeername(ls->fd, &sa.sockaddr, &len) == -1;
    }

    value = 0;
    len = sizeof(int);

    if (getsockopt(ls->fd, SOL_SOCKET, SO_ACCEPTCONN, (void *) &value, &len)
        == -1)
    {
        return 0;
    }

    return value;
}


void
ngx_zltunnel_port_socket_reconcile(ngx_zltunnel_registry_t *registry,
    ngx_uint_t freed)
{
    ngx_uint_t                i;
    ngx_listening_t          *ls;
    ngx_zltunnel_listener_t  *l;

    registry->sh->unclosed = 0;

    if (!freed) {
        registry->sh->unsettled = 0;
    }

    l = registry->listeners.elts;

    for (i = 0; i < registry->listeners.nelts; i++) {

        if (ngx_zltunnel_port_open(registry->sh, l[i].port, l[i].udp)
            || (freed && !ngx_zltunnel_port_freed(registry->sh, l[i].port,
                                                  l[i].udp)))
        {
            continue;
        }

        ls = ngx_zltunnel_listener_socket(&l[i]);

        if (ngx_zltunnel_port_socket_listens(ls)) {
            ngx_zltunnel_port_socket_shut(ls);
            ngx_zltunnel_notice_port(registry, l[i].port, l[i].udp);
            registry->sh->changes++;
        }
    }
}
