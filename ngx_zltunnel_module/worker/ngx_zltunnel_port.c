
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Assigned ports: listening sockets that refuse connections while no service
 * has them.
 *
 * The sockets are those of an ordinary "listen", bound by the master.  A TCP
 * one is closed with shutdown(SHUT_RD), upon which it refuses but stays
 * bound, and opened with listen(), which any worker may call.  All workers
 * share the socket, so opening and closing is done once, by the worker that
 * changes the registry, under the registry's lock; the others are told, and
 * take the accept event out of epoll or put it in.  Since a message can be
 * late, the accept handler first asks the socket whether it listens.
 *
 * A UDP socket is closed with connect() to itself: nobody else's datagrams are
 * for it then, and the kernel answers them with port unreachable.  Without an
 * address it is open again; it is emptied before, since what was queued was
 * sent to another service.  All workers share its queue, and would tear the
 * datagrams of one client apart, so one worker alone reads it, the one that
 * the port's number says.
 *
 * While closed a TCP socket must not have SO_REUSEADDR: another process could
 * bind and listen beside it.  It is set just before listen(), which would
 * otherwise fail for connections that are still there.
 *
 * An accept event is never disarmed from within ngx_event_accept(), which
 * uses ls->connection after its handler; what comes then is done afterwards.
 */


#include "ngx_zltunnel_udp.h"


#define NGX_ZLTUNNEL_CHANGED  64
#define NGX_ZLTUNNEL_DRAIN    100000   /* datagrams of one socket, at most */


static void ngx_zltunnel_listener_init(ngx_cycle_t *cycle,
    ngx_zltunnel_listener_t *listener);
static void ngx_zltunnel_listener_close(ngx_listening_t *ls);
static ngx_int_t ngx_zltunnel_listener_open(ngx_listening_t *ls);
static ngx_uint_t ngx_zltunnel_listener_listens(ngx_listening_t *ls);
static void ngx_zltunnel_listener_arm(ngx_listening_t *ls,
    ngx_event_handler_pt handler);
static void ngx_zltunnel_listener_disarm(ngx_listening_t *ls);
static void ngx_zltunnel_port_accept(ngx_event_t *ev);
static void ngx_zltunnel_port_receive(ngx_event_t *ev);
static void ngx_zltunnel_port_missed(ngx_event_t *ev);
static ngx_zltunnel_listener_t *ngx_zltunnel_listener_of(ngx_listening_t *ls);
static ngx_int_t ngx_zltunnel_reuseaddr(ngx_listening_t *ls, int value);
static ngx_int_t ngx_zltunnel_listener_disconnect(ngx_listening_t *ls);
static void ngx_zltunnel_listener_connect(ngx_listening_t *ls);
static void ngx_zltunnel_listener_drain(ngx_listening_t *ls);
static ngx_uint_t ngx_zltunnel_listener_mine(ngx_uint_t n);
static ngx_uint_t ngx_zltunnel_listener_read(
    ngx_zltunnel_listener_t *listener);


#define ngx_zltunnel_listening(listener)                                      \
    ((ngx_listening_t *) ngx_cycle->listening.elts + (listener)->index)


/* ports opened or closed since the lock was taken */

static struct {
    in_port_t   port;
    ngx_uint_t  udp;
} ngx_zltunnel_changed[NGX_ZLTUNNEL_CHANGED];

static ngx_uint_t        ngx_zltunnel_nchanged;
static ngx_uint_t        ngx_zltunnel_accepting;
static ngx_event_t       ngx_zltunnel_missed_event;
static ngx_connection_t  ngx_zltunnel_missed_dummy;


void
ngx_zltunnel_ports_init_module(ngx_cycle_t *cycle)
{
    ngx_uint_t                 i, k;
    ngx_zltunnel_conf_t       *conf;
    ngx_zltunnel_listener_t   *l;
    ngx_zltunnel_registry_t  **registry;

    conf = (ngx_zltunnel_conf_t *) ngx_get_conf(cycle->conf_ctx,
                                                ngx_zltunnel_module);
    registry = conf->registries.elts;

    for (i = 0; i < conf->registries.nelts; i++) {

        ngx_shmtx_lock(&registry[i]->shpool->mutex);

        l = registry[i]->listeners.elts;

        for (k = 0; k < registry[i]->listeners.nelts; k++) {
            ngx_zltunnel_listener_init(cycle, &l[k]);
        }

        ngx_shmtx_unlock(&registry[i]->shpool->mutex);
    }
}


static void
ngx_zltunnel_listener_init(ngx_cycle_t *cycle,
    ngx_zltunnel_listener_t *listener)
{
    ngx_listening_t  *ls;

    ls = (ngx_listening_t *) cycle->listening.elts + listener->index;

    if (ls->fd == (ngx_socket_t) -1) {
        return;
    }

    if (ngx_zltunnel_service_by_port(listener->registry->sh, listener->port,
                                     listener->udp))
    {
        return;
    }

    /*
     * No service has it.  Core has called listen() if the socket is new or
     * its backlog has changed; a socket that it has left alone, inherited
     * from a binary that still serves, is in the state that it should be.
     */

    if ((listener->udp ? !ls->inherited : ls->listen)
        || !ngx_zltunnel_listener_listens(ls))
    {
        ngx_zltunnel_listener_close(ls);
        return;
    }

    /* its agent has as long as the grace to register again */

    listener->registry->sh->unsettled = 1;
}


ngx_int_t
ngx_zltunnel_ports_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                 i, k, udp, *index;
    ngx_listening_t           *ls;
    ngx_zltunnel_conf_t       *conf;
    ngx_zltunnel_listener_t   *l;
    ngx_zltunnel_registry_t  **registry;

    ngx_zltunnel_missed_dummy.fd = (ngx_socket_t) -1;
    ngx_zltunnel_missed_event.data = &ngx_zltunnel_missed_dummy;
    ngx_zltunnel_missed_event.log = cycle->log;
    ngx_zltunnel_missed_event.handler = ngx_zltunnel_port_missed;

    conf = (ngx_zltunnel_conf_t *) ngx_get_conf(cycle->conf_ctx,
                                                ngx_zltunnel_module);
    registry = conf->registries.elts;

    udp = conf->datagrams.nelts;

    for (i = 0; i < conf->registries.nelts; i++) {
        l = registry[i]->listeners.elts;

        for (k = 0; k < registry[i]->listeners.nelts; k++) {
            udp += l[k].udp;
        }

        l = registry[i]->passes.elts;

        for (k = 0; k < registry[i]->passes.nelts; k++) {
            udp += l[k].udp;
        }
    }

    if (udp && ngx_zltunnel_udp_init_process(cycle) != NGX_OK) {
        return NGX_ERROR;
    }

    for (i = 0; i < conf->registries.nelts; i++) {
        l = registry[i]->listeners.elts;

        for (k = 0; k < registry[i]->listeners.nelts; k++) {
            ls = (ngx_listening_t *) cycle->listening.elts + l[k].index;

            if (l[k].udp) {
                ngx_zltunnel_listener_disarm(ls);
                ngx_zltunnel_listener_update(&l[k]);

            } else if (!ngx_zltunnel_listener_listens(ls)) {
                ngx_zltunnel_listener_disarm(ls);

            } else if (ls->connection) {
                ls->connection->read->handler = ngx_zltunnel_port_accept;
            }
        }

        l = registry[i]->passes.elts;

        for (k = 0; k < registry[i]->passes.nelts; k++) {

            if (l[k].udp) {
                ls = (ngx_listening_t *) cycle->listening.elts + l[k].index;

                ngx_zltunnel_listener_disarm(ls);
                ngx_zltunnel_listener_update(&l[k]);
            }
        }
    }

    /* UDP sockets with zltunnel_pass that several servers or workers have */

    index = conf->datagrams.elts;

    for (i = 0; i < conf->datagrams.nelts; i++) {
        ls = (ngx_listening_t *) cycle->listening.elts + index[i];

        if (ls->connection == NULL) {
            continue;
        }

#if (NGX_HAVE_REUSEPORT)
        if (ls->reuseport) {
            ls->connection->read->handler = ngx_zltunnel_udp_receive;
            continue;
        }
#endif

        if (ngx_zltunnel_listener_mine(index[i])) {
            ls->connection->read->handler = ngx_zltunnel_udp_receive;

        } else {
            ngx_zltunnel_listener_disarm(ls);
        }
    }

    return NGX_OK;
}


/* 1 if it is this worker that reads the n-th of several UDP sockets */

static ngx_uint_t
ngx_zltunnel_listener_mine(ngx_uint_t n)
{
    ngx_core_conf_t  *ccf;

    if (ngx_process == NGX_PROCESS_SINGLE) {
        return 1;
    }

    ccf = (ngx_core_conf_t *) ngx_get_conf(ngx_cycle->conf_ctx,
                                           ngx_core_module);

    return n % ccf->worker_processes == ngx_worker;
}


ngx_zltunnel_listener_t *
ngx_zltunnel_port_find(ngx_zltunnel_registry_t *registry, in_port_t port,
    ngx_uint_t udp)
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


/* the next socket of the same port, on another address */

static ngx_zltunnel_listener_t *
ngx_zltunnel_listener_next(ngx_zltunnel_listener_t *listener)
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


static void
ngx_zltunnel_port_changed(in_port_t port, ngx_uint_t udp)
{
    if (ngx_zltunnel_nchanged == NGX_ZLTUNNEL_CHANGED) {

        /* more than we remember: all of them */

        ngx_zltunnel_nchanged = 0;
        port = 0;
    }

    if (ngx_zltunnel_nchanged && ngx_zltunnel_changed[0].port == 0) {
        return;
    }

    ngx_zltunnel_changed[ngx_zltunnel_nchanged].port = port;
    ngx_zltunnel_changed[ngx_zltunnel_nchanged].udp = udp;
    ngx_zltunnel_nchanged++;
}


void
ngx_zltunnel_ports_notify(ngx_zltunnel_registry_t *registry)
{
    in_port_t           port;
    ngx_uint_t          i, n, udp;
    ngx_zltunnel_ipc_t  msg;

    n = ngx_zltunnel_nchanged;
    ngx_zltunnel_nchanged = 0;

    for (i = 0; i < n; i++) {
        port = ngx_zltunnel_changed[i].port;
        udp = ngx_zltunnel_changed[i].udp;

        ngx_memzero(&msg, sizeof(ngx_zltunnel_ipc_t));

        msg.type = NGX_ZLTUNNEL_IPC_PORT;
        msg.port = port;
        msg.code = udp;

        ngx_zltunnel_ipc_broadcast(registry, &msg);

        ngx_zltunnel_port_update(registry, port, udp);
    }
}


ngx_int_t
ngx_zltunnel_port_open(ngx_zltunnel_registry_t *registry, in_port_t port,
    ngx_uint_t udp)
{
    ngx_err_t                 err;
    ngx_zltunnel_listener_t  *l, *first;

    if (ngx_exiting) {

        /* an exiting worker has closed its listening sockets */

        ngx_set_errno(NGX_EINVAL);
        return NGX_ERROR;
    }

    first = ngx_zltunnel_port_find(registry, port, udp);

    for (l = first; l; l = ngx_zltunnel_listener_next(l)) {

        if (ngx_zltunnel_listener_open(ngx_zltunnel_listening(l)) != NGX_OK) {
            err = ngx_socket_errno;

            for ( /* void */ ; first != l; first++) {
                ngx_zltunnel_listener_close(ngx_zltunnel_listening(first));
            }

            ngx_set_errno(err);
            return NGX_ERROR;
        }
    }

    if (udp) {
        registry->sh->changes++;
    }

    ngx_zltunnel_port_changed(port, udp);

    return NGX_OK;
}


void
ngx_zltunnel_port_close(ngx_zltunnel_registry_t *registry, in_port_t port,
    ngx_uint_t udp)
{
    ngx_zltunnel_listener_t  *l;

    /* who reads a UDP port looks whose it is */

    if (udp) {
        registry->sh->changes++;
    }

    if (ngx_exiting || ngx_zltunnel_overlapping) {

        /*
         * It has closed its sockets, and the next sweep of another does it;
         * or another binary may serve the port, which shares the socket.
         */

        registry->sh->unclosed = 1;
        return;
    }

    for (l = ngx_zltunnel_port_find(registry, port, udp);
         l;
         l = ngx_zltunnel_listener_next(l))
    {
        ngx_zltunnel_listener_close(ngx_zltunnel_listening(l));
    }

    ngx_zltunnel_port_changed(port, udp);
}


void
ngx_zltunnel_port_drain(ngx_zltunnel_registry_t *registry, in_port_t port)
{
    ngx_zltunnel_listener_t  *l;

    for (l = ngx_zltunnel_port_find(registry, port, 1);
         l;
         l = ngx_zltunnel_listener_next(l))
    {
        ngx_zltunnel_listener_drain(ngx_zltunnel_listening(l));
    }
}


static ngx_int_t
ngx_zltunnel_listener_open(ngx_listening_t *ls)
{
    if (ngx_zltunnel_listener_listens(ls)) {
        return NGX_OK;
    }

    if (ls->type == SOCK_DGRAM) {
        return ngx_zltunnel_listener_disconnect(ls);
    }

    if (ngx_zltunnel_reuseaddr(ls, 1) == -1) {
        return NGX_ERROR;
    }

    if (listen(ls->fd, ls->backlog) == -1) {
        (void) ngx_zltunnel_reuseaddr(ls, 0);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_zltunnel_listener_close(ngx_listening_t *ls)
{
    if (ls->type == SOCK_DGRAM) {
        ngx_zltunnel_listener_connect(ls);
        ngx_zltunnel_listener_drain(ls);
        return;
    }

    (void) shutdown(ls->fd, SHUT_RD);
    (void) ngx_zltunnel_reuseaddr(ls, 0);
}


/* to itself, since somebody may come to any other address */

static void
ngx_zltunnel_listener_connect(ngx_listening_t *ls)
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
ngx_zltunnel_listener_disconnect(ngx_listening_t *ls)
{
    struct sockaddr  sa;

    /* a datagram may have been on its way into the queue at the close */

    ngx_zltunnel_listener_drain(ls);

    ngx_memzero(&sa, sizeof(struct sockaddr));
    sa.sa_family = AF_UNSPEC;

    return connect(ls->fd, &sa, sizeof(struct sockaddr)) == -1 ? NGX_ERROR
                                                               : NGX_OK;
}


static void
ngx_zltunnel_listener_drain(ngx_listening_t *ls)
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
ngx_zltunnel_reuseaddr(ngx_listening_t *ls, int value)
{
    return setsockopt(ls->fd, SOL_SOCKET, SO_REUSEADDR,
                      (const void *) &value, sizeof(int));
}


static ngx_uint_t
ngx_zltunnel_listener_listens(ngx_listening_t *ls)
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
ngx_zltunnel_port_update(ngx_zltunnel_registry_t *registry, in_port_t port,
    ngx_uint_t udp)
{
    ngx_uint_t                i;
    ngx_zltunnel_listener_t  *l;

    if (ngx_exiting) {
        return;
    }

    if (ngx_zltunnel_accepting) {
        ngx_post_event(&ngx_zltunnel_missed_event, &ngx_posted_events);
        return;
    }

    if (udp || port == 0) {
        ngx_zltunnel_carriers_recheck();
    }

    if (port) {
        for (l = ngx_zltunnel_port_find(registry, port, udp);
             l;
             l = ngx_zltunnel_listener_next(l))
        {
            ngx_zltunnel_listener_update(l);
        }

        return;
    }

    l = registry->listeners.elts;

    for (i = 0; i < registry->listeners.nelts; i++) {
        ngx_zltunnel_listener_update(&l[i]);
    }
}


static void
ngx_zltunnel_port_missed(ngx_event_t *ev)
{
    ngx_uint_t                 i;
    ngx_zltunnel_conf_t       *conf;
    ngx_zltunnel_registry_t  **registry;

    conf = (ngx_zltunnel_conf_t *) ngx_get_conf(ngx_cycle->conf_ctx,
                                                ngx_zltunnel_module);
    registry = conf->registries.elts;

    for (i = 0; i < conf->registries.nelts; i++) {
        ngx_zltunnel_port_update(registry[i], 0, 0);
    }
}


void
ngx_zltunnel_listener_update(ngx_zltunnel_listener_t *listener)
{
    ngx_listening_t  *ls;

    /*
     * The socket itself is asked and not the registry: a change is made to
     * both under the lock, and if another one follows so does its message.
     */

    ls = ngx_zltunnel_listening(listener);

    if ((listener->pass || ngx_zltunnel_listener_listens(ls))
        && (!listener->registry->gated || listener->served)
        && (!listener->udp || ngx_zltunnel_listener_read(listener)))
    {
        if (ls->connection == NULL) {

            if (listener->udp && !listener->pass) {
                ngx_zltunnel_udp_arm(listener);
            }

            ngx_zltunnel_listener_arm(ls, listener->udp
                                          ? ngx_zltunnel_port_receive
                                          : listener->pass
                                            ? ngx_event_accept
                                            : ngx_zltunnel_port_accept);
        }

    } else {
        ngx_zltunnel_listener_disarm(ls);
    }
}


/*
 * 1 if this worker is to read the UDP socket.  A port may be open without a
 * service during an upgrade: it is the older binary's yet.
 */

static ngx_uint_t
ngx_zltunnel_listener_read(ngx_zltunnel_listener_t *listener)
{
    ngx_uint_t  served;

    if (listener->pass) {
        return ngx_zltunnel_listener_mine(listener->index);
    }

    if (!ngx_zltunnel_listener_mine(listener->port)) {
        return 0;
    }

    ngx_zltunnel_lock_read(listener->registry);

    served = ngx_zltunnel_service_by_port(listener->registry->sh,
                                          listener->port, 1)
             != NULL;

    ngx_zltunnel_unlock(listener->registry);

    return served;
}


void
ngx_zltunnel_ports_tick(ngx_zltunnel_registry_t *registry)
{
    ngx_uint_t                i;
    ngx_listening_t          *ls;
    ngx_zltunnel_listener_t  *l;

    /*
     * A TCP socket that another binary has shut wakes us; a UDP socket that it
     * has connected does not.
     */

    l = registry->listeners.elts;

    for (i = registry->listeners.nelts; i-- && l[i].udp; /* void */ ) {
        ls = ngx_zltunnel_listening(&l[i]);

        if (ls->connection == NULL || ngx_zltunnel_listener_listens(ls)) {
            continue;
        }

        ngx_zltunnel_lock_read(registry);

        if (ngx_zltunnel_service_by_port(registry->sh, l[i].port, 1)) {
            (void) ngx_zltunnel_listener_open(ls);
        }

        ngx_zltunnel_unlock(registry);
    }
}


static void
ngx_zltunnel_listener_arm(ngx_listening_t *ls, ngx_event_handler_pt handler)
{
    ngx_uint_t         flags;
    ngx_event_t       *rev;
    ngx_connection_t  *c;

    c = ngx_get_connection(ls->fd, ngx_cycle->log);
    if (c == NULL) {
        /* the next tick tries again */
        return;
    }

    /* as ngx_event_process_init() does */

    c->type = ls->type;
    c->log = &ls->log;
    c->listening = ls;

    rev = c->read;
    rev->log = c->log;
    rev->accept = 1;
#if (NGX_HAVE_DEFERRED_ACCEPT)
    rev->deferred_accept = ls->deferred_accept;
#endif
    rev->handler = handler;

    ls->connection = c;

    if (ngx_use_accept_mutex && !ngx_accept_mutex_held) {
        return;
    }

    flags = 0;

#if (NGX_HAVE_EPOLLEXCLUSIVE)
    if (ngx_use_exclusive_accept) {
        flags = NGX_EXCLUSIVE_EVENT;
    }
#endif

    if (ngx_add_event(rev, NGX_READ_EVENT, flags) != NGX_OK) {
        ngx_zltunnel_listener_disarm(ls);
    }
}


static void
ngx_zltunnel_listener_disarm(ngx_listening_t *ls)
{
    ngx_event_t       *rev;
    ngx_connection_t  *c;

    c = ls->connection;

    if (c == NULL) {
        return;
    }

    rev = c->read;

    if (rev->posted) {
        ngx_delete_posted_event(rev);
    }

    if (rev->timer_set) {

        /*
         * After EMFILE core has disabled all listening sockets, and it is
         * on this event that it would enable them again.
         */

        ngx_del_timer(rev);
        (void) ngx_enable_accept_events((ngx_cycle_t *) ngx_cycle);
    }

    if (rev->active) {
        (void) ngx_del_event(rev, NGX_READ_EVENT, 0);
    }

    ngx_free_connection(c);

    c->fd = (ngx_socket_t) -1;
    ls->connection = NULL;
}


static void
ngx_zltunnel_port_receive(ngx_event_t *ev)
{
    ngx_zltunnel_accepting++;
    ngx_zltunnel_udp_receive(ev);
    ngx_zltunnel_accepting--;
}


static void
ngx_zltunnel_port_accept(ngx_event_t *ev)
{
    ngx_uint_t                open;
    ngx_listening_t          *ls;
    ngx_connection_t         *lc;
    ngx_zltunnel_listener_t  *listener;

    lc = ev->data;
    ls = lc->listening;

    if (ngx_zltunnel_listener_listens(ls)) {
        ngx_zltunnel_accepting++;
        ngx_event_accept(ev);
        ngx_zltunnel_accepting--;
        return;
    }

    if (ev->timedout) {
        ev->timedout = 0;
        (void) ngx_enable_accept_events((ngx_cycle_t *) ngx_cycle);
    }

    /*
     * It was shut: by us, because its service has gone, or by another binary
     * with which we share the socket during an upgrade.
     */

    listener = ngx_zltunnel_listener_of(ls);
    open = 0;

    if (listener) {
        ngx_zltunnel_lock_read(listener->registry);

        if (ngx_zltunnel_service_by_port(listener->registry->sh,
                                         listener->port, 0)
            && ngx_zltunnel_listener_open(ls) == NGX_OK)
        {
            open = 1;
        }

        ngx_zltunnel_unlock(listener->registry);
    }

    if (!open) {
        ngx_zltunnel_listener_disarm(ls);
    }
}


static ngx_zltunnel_listener_t *
ngx_zltunnel_listener_of(ngx_listening_t *ls)
{
    ngx_uint_t                 i, k, index;
    ngx_zltunnel_conf_t       *conf;
    ngx_zltunnel_listener_t   *l;
    ngx_zltunnel_registry_t  **registry;

    index = ls - (ngx_listening_t *) ngx_cycle->listening.elts;

    conf = (ngx_zltunnel_conf_t *) ngx_get_conf(ngx_cycle->conf_ctx,
                                                ngx_zltunnel_module);
    registry = conf->registries.elts;

    for (i = 0; i < conf->registries.nelts; i++) {
        l = registry[i]->listeners.elts;

        for (k = 0; k < registry[i]->listeners.nelts; k++) {

            if (l[k].index == index) {
                return &l[k];
            }
        }
    }

    return NULL;
}


void
ngx_zltunnel_ports_reconcile(ngx_zltunnel_registry_t *registry,
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

        if (ngx_zltunnel_service_by_port(registry->sh, l[i].port, l[i].udp)
            || (freed && !ngx_zltunnel_port_freed(registry->sh, l[i].port,
                                                  l[i].udp)))
        {
            continue;
        }

        ls = ngx_zltunnel_listening(&l[i]);

        if (ngx_zltunnel_listener_listens(ls)) {
            ngx_zltunnel_listener_close(ls);
            ngx_zltunnel_port_changed(l[i].port, l[i].udp);
            registry->sh->changes++;
        }
    }
}
