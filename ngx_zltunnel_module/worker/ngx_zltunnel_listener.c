
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The listening sockets of assigned ports in this worker: which are in epoll.
 *
 * How a port is opened and closed, by whoever changes the registry, is in
 * ngx_zltunnel_port_socket.c.  The other workers are told, and take the accept
 * event out of epoll or put it in.  What is done when it fires is in
 * ngx_zltunnel_accept.c.
 *
 * All workers share the queue of a UDP socket, and would tear the datagrams of
 * one client apart, so one worker alone reads it, the one that the port's
 * number says.
 *
 * An accept event is never disarmed from within ngx_event_accept(), which
 * uses ls->connection after its handler; what comes then is done afterwards.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_listener.h"
#include "ngx_zltunnel_accept.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_ipc.h"
#include "ngx_zltunnel_module.h"
#include "ngx_zltunnel_registry.h"


static void ngx_zltunnel_listener_init(ngx_cycle_t *cycle,
    ngx_zltunnel_listener_t *listener);
static void ngx_zltunnel_listener_receive(ngx_event_t *ev);
static void ngx_zltunnel_listener_missed(ngx_event_t *ev);
static ngx_int_t ngx_zltunnel_listener_index(ngx_cycle_t *cycle);
static ngx_uint_t ngx_zltunnel_listener_mine(ngx_uint_t n);
static ngx_uint_t ngx_zltunnel_listener_read(
    ngx_zltunnel_listener_t *listener);


static const ngx_zltunnel_listener_datagrams_t
                        *ngx_zltunnel_listener_datagrams;

static ngx_event_t       ngx_zltunnel_listener_missed_event;
static ngx_connection_t  ngx_zltunnel_listener_missed_dummy;

/* those of all registries, and of cycle->listening which is which */
static ngx_zltunnel_listener_t  **ngx_zltunnel_listeners;


void
ngx_zltunnel_listener_init_module(ngx_cycle_t *cycle)
{
    ngx_uint_t                 i, k;
    ngx_listening_t           *ls;
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

        l = registry[i]->passes.elts;

        for (k = 0; k < registry[i]->passes.nelts; k++) {
            ls = (ngx_listening_t *) cycle->listening.elts + l[k].index;

            /* it listens already */

            if (!l[k].udp && ls->fd != (ngx_socket_t) -1) {
                (void) listen(ls->fd, ngx_zltunnel_port_socket_backlog(ls));
            }
        }
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

    if (ngx_zltunnel_port_open(listener->registry->sh, listener->port,
                               listener->udp))
    {
        return;
    }

    /*
     * No service has it, or one that is down.  Core has called listen() if the socket is new or
     * its backlog has changed; a socket that it has left alone, inherited
     * from a binary that still serves, is in the state that it should be.
     */

    if ((listener->udp ? !ls->inherited : ls->listen)
        || !ngx_zltunnel_port_socket_listens(ls))
    {
        ngx_zltunnel_port_socket_shut(ls);
        return;
    }

    /* its agent has as long as the grace to register again */

    listener->registry->sh->unsettled = 1;
}


ngx_int_t
ngx_zltunnel_listener_init_process(ngx_cycle_t *cycle,
    const ngx_zltunnel_listener_datagrams_t *datagrams)
{
    ngx_uint_t                i, udp, *index;
    ngx_listening_t          *ls;
    ngx_zltunnel_conf_t      *conf;
    ngx_zltunnel_listener_t  *l;

    ngx_zltunnel_listener_datagrams = datagrams;

    ngx_zltunnel_listener_missed_dummy.fd = (ngx_socket_t) -1;
    ngx_zltunnel_listener_missed_event.data =
                                        &ngx_zltunnel_listener_missed_dummy;
    ngx_zltunnel_listener_missed_event.log = cycle->log;
    ngx_zltunnel_listener_missed_event.handler = ngx_zltunnel_listener_missed;

    if (ngx_zltunnel_listener_index(cycle) != NGX_OK) {
        return NGX_ERROR;
    }

    conf = (ngx_zltunnel_conf_t *) ngx_get_conf(cycle->conf_ctx,
                                                ngx_zltunnel_module);
    udp = conf->datagrams.nelts;

    for (i = 0; i < cycle->listening.nelts; i++) {
        l = ngx_zltunnel_listeners[i];
        udp += l ? l->udp : 0;
    }

    if (udp && datagrams->init(cycle) != NGX_OK) {
        return NGX_ERROR;
    }

    for (i = 0; i < cycle->listening.nelts; i++) {
        l = ngx_zltunnel_listeners[i];

        if (l == NULL) {
            continue;
        }

        ls = (ngx_listening_t *) cycle->listening.elts + i;

        if (l->udp) {
            ngx_zltunnel_listener_disarm(ls);
            ngx_zltunnel_listener_update(l);

        } else if (!l->pass && !ngx_zltunnel_port_socket_listens(ls)) {
            ngx_zltunnel_listener_disarm(ls);

        } else if (ls->connection) {
            ls->connection->read->handler = ngx_zltunnel_accept_handler(l);
        }
    }

    ngx_zltunnel_accept_streams(cycle, 0);

    /* UDP sockets with zltunnel_pass that several servers or workers have */

    index = conf->datagrams.elts;

    for (i = 0; i < conf->datagrams.nelts; i++) {
        ls = (ngx_listening_t *) cycle->listening.elts + index[i];

        if (ls->connection == NULL) {
            continue;
        }

#if (NGX_HAVE_REUSEPORT)
        if (ls->reuseport) {
            ls->connection->read->handler = datagrams->receive;
            continue;
        }
#endif

        if (ngx_zltunnel_listener_mine(index[i])) {
            ls->connection->read->handler = datagrams->receive;

        } else {
            ngx_zltunnel_listener_disarm(ls);
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_zltunnel_listener_index(ngx_cycle_t *cycle)
{
    ngx_uint_t                 i, k;
    ngx_zltunnel_conf_t       *conf;
    ngx_zltunnel_listener_t   *l;
    ngx_zltunnel_registry_t  **registry;

    ngx_zltunnel_listeners = ngx_pcalloc(cycle->pool, cycle->listening.nelts
                                         * sizeof(ngx_zltunnel_listener_t *));
    if (ngx_zltunnel_listeners == NULL) {
        return NGX_ERROR;
    }

    conf = (ngx_zltunnel_conf_t *) ngx_get_conf(cycle->conf_ctx,
                                                ngx_zltunnel_module);
    registry = conf->registries.elts;

    for (i = 0; i < conf->registries.nelts; i++) {
        l = registry[i]->listeners.elts;

        for (k = 0; k < registry[i]->listeners.nelts; k++) {
            ngx_zltunnel_listeners[l[k].index] = &l[k];
        }

        l = registry[i]->passes.elts;

        for (k = 0; k < registry[i]->passes.nelts; k++) {
            ngx_zltunnel_listeners[l[k].index] = &l[k];
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


/* a port was opened or closed under the lock: the other workers are told */

void
ngx_zltunnel_listener_changed(ngx_zltunnel_registry_t *registry,
    in_port_t port, ngx_uint_t udp)
{
    ngx_zltunnel_ipc_t  msg;

    ngx_memzero(&msg, sizeof(ngx_zltunnel_ipc_t));

    msg.type = NGX_ZLTUNNEL_IPC_PORT;
    msg.port = port;
    msg.code = udp;

    ngx_zltunnel_ipc_broadcast(registry, &msg);

    ngx_zltunnel_listener_update_port(registry, port, udp);
}


void
ngx_zltunnel_listener_update_port(ngx_zltunnel_registry_t *registry,
    in_port_t port, ngx_uint_t udp)
{
    ngx_uint_t                i;
    ngx_zltunnel_listener_t  *l;

    if (ngx_exiting) {
        return;
    }

    if (ngx_zltunnel_accept_under_way) {
        ngx_post_event(&ngx_zltunnel_listener_missed_event,
                       &ngx_posted_events);
        return;
    }

    if (udp || port == 0) {
        ngx_zltunnel_listener_datagrams->changed();
    }

    if (port) {
        for (l = ngx_zltunnel_port_socket_find(registry, port, udp);
             l;
             l = ngx_zltunnel_port_socket_next(l))
        {
            l->share = NULL;
            ngx_zltunnel_listener_update(l);
        }

        return;
    }

    l = registry->listeners.elts;

    for (i = 0; i < registry->listeners.nelts; i++) {
        l[i].share = NULL;
        ngx_zltunnel_listener_update(&l[i]);
    }
}


static void
ngx_zltunnel_listener_missed(ngx_event_t *ev)
{
    ngx_uint_t                 i;
    ngx_zltunnel_conf_t       *conf;
    ngx_zltunnel_registry_t  **registry;

    conf = (ngx_zltunnel_conf_t *) ngx_get_conf(ngx_cycle->conf_ctx,
                                                ngx_zltunnel_module);
    registry = conf->registries.elts;

    for (i = 0; i < conf->registries.nelts; i++) {
        ngx_zltunnel_listener_update_port(registry[i], 0, 0);
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

    ls = ngx_zltunnel_listener_socket(listener);
    listener->paused = 0;

    if ((listener->pass || ngx_zltunnel_port_socket_listens(ls))
        && (!listener->registry->gated || listener->served)
        && (!listener->udp || ngx_zltunnel_listener_read(listener)))
    {
        if (ls->connection == NULL) {

            if (!listener->udp && ngx_zltunnel_accept_waits(listener)) {
                listener->paused = 1;
                ngx_zltunnel_accept_later();
                return;
            }

            if (listener->udp && !listener->pass) {
                ngx_zltunnel_listener_datagrams->arm(listener);
            }

            ngx_zltunnel_listener_arm(ls, listener->udp
                                          ? ngx_zltunnel_listener_receive
                                          : ngx_zltunnel_accept_handler(
                                                                  listener));

            if (ls->connection == NULL && !listener->udp) {
                listener->paused = 1;
                ngx_zltunnel_accept_later();
            }
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

    ngx_zltunnel_zone_lock_read(listener->registry);

    served = ngx_zltunnel_port_service(listener->registry->sh,
                                       listener->port, 1)
             != NULL;

    ngx_zltunnel_zone_unlock(listener->registry);

    return served;
}


void
ngx_zltunnel_listener_tick(ngx_zltunnel_registry_t *registry)
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
        ls = ngx_zltunnel_listener_socket(&l[i]);

        if (ls->connection == NULL || ngx_zltunnel_port_socket_listens(ls)) {
            continue;
        }

        ngx_zltunnel_zone_lock_read(registry);

        if (ngx_zltunnel_port_service(registry->sh, l[i].port, 1)) {
            (void) ngx_zltunnel_port_socket_listen(ls);
        }

        ngx_zltunnel_zone_unlock(registry);
    }
}


void
ngx_zltunnel_listener_arm(ngx_listening_t *ls, ngx_event_handler_pt handler)
{
    ngx_uint_t         flags;
    ngx_event_t       *rev;
    ngx_connection_t  *c;

    c = ngx_get_connection(ls->fd, ngx_cycle->log);
    if (c == NULL) {
        /* tried again: TCP by who arms it, UDP by the next tick */
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


void
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
ngx_zltunnel_listener_receive(ngx_event_t *ev)
{
    ngx_zltunnel_accept_under_way++;
    ngx_zltunnel_listener_datagrams->receive(ev);
    ngx_zltunnel_accept_under_way--;
}


void
ngx_zltunnel_listener_served(ngx_zltunnel_registry_t *registry,
    ngx_listening_t *ls, ngx_zltunnel_share_t *share)
{
    ngx_zltunnel_listener_t  *listener;

    listener = ngx_zltunnel_listener_of(ls);

    /* a port has one tenant; behind a pass may be several, by its variable */

    if (listener && !listener->pass) {
        listener->share = share;
    }
}


void
ngx_zltunnel_listener_resume(void)
{
    ngx_uint_t  i;

    for (i = 0; i < ngx_cycle->listening.nelts; i++) {

        if (ngx_zltunnel_listeners[i] && ngx_zltunnel_listeners[i]->paused) {
            ngx_zltunnel_listener_update(ngx_zltunnel_listeners[i]);
        }
    }
}


ngx_zltunnel_listener_t *
ngx_zltunnel_listener_of(ngx_listening_t *ls)
{
    return ngx_zltunnel_listeners[ls - (ngx_listening_t *)
                                                 ngx_cycle->listening.elts];
}
