
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A client at a port, or at a socket of stream whose clients come to a service.
 *
 * A worker accepts those only that it can serve.  While it has no connection
 * left for their channels, or none of the share of their tenant, it takes the
 * socket out of epoll: clients stay in its queue, or another worker takes them.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_accept.h"
#include "ngx_zltunnel_config.h"
#include "ngx_zltunnel_listener.h"
#include "ngx_zltunnel_module.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_room.h"
#include "ngx_zltunnel_share.h"


#define NGX_ZLTUNNEL_ACCEPT_PAUSE  20    /* ms, while there is no room */


static void ngx_zltunnel_accept_port(ngx_event_t *ev);
static void ngx_zltunnel_accept_pass(ngx_event_t *ev);
static void ngx_zltunnel_accept_take(ngx_event_t *ev);
static void ngx_zltunnel_accept_pause(ngx_zltunnel_listener_t *listener,
    ngx_listening_t *ls);
static void ngx_zltunnel_accept_resume(ngx_event_t *ev);


ngx_uint_t               ngx_zltunnel_accept_under_way;

static ngx_event_t       ngx_zltunnel_accept_pause_event;
static ngx_connection_t  ngx_zltunnel_accept_dummy;


ngx_event_handler_pt
ngx_zltunnel_accept_handler(ngx_zltunnel_listener_t *listener)
{
    return listener->pass ? ngx_zltunnel_accept_pass
                          : ngx_zltunnel_accept_port;
}


static void
ngx_zltunnel_accept_port(ngx_event_t *ev)
{
    ngx_uint_t                open;
    ngx_listening_t          *ls;
    ngx_connection_t         *lc;
    ngx_zltunnel_listener_t  *listener;

    lc = ev->data;
    ls = lc->listening;
    listener = ngx_zltunnel_listener_of(ls);

    if (ngx_zltunnel_port_socket_listens(ls)) {

        if (ngx_zltunnel_accept_waits(listener)) {
            ngx_zltunnel_accept_pause(listener, ls);
            return;
        }

        ngx_zltunnel_accept_take(ev);
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

    open = 0;

    if (listener) {
        ngx_zltunnel_zone_lock_read(listener->registry);

        if (ngx_zltunnel_port_open(listener->registry->sh, listener->port, 0)
            && ngx_zltunnel_port_socket_listen(ls) == NGX_OK)
        {
            open = 1;
        }

        ngx_zltunnel_zone_unlock(listener->registry);
    }

    if (!open) {
        ngx_zltunnel_listener_disarm(ls);
    }
}


static void
ngx_zltunnel_accept_pass(ngx_event_t *ev)
{
    ngx_connection_t         *lc;
    ngx_zltunnel_listener_t  *listener;

    lc = ev->data;
    listener = ngx_zltunnel_listener_of(lc->listening);

    if (ngx_zltunnel_accept_waits(listener)) {
        ngx_zltunnel_accept_pause(listener, lc->listening);
        return;
    }

    ngx_zltunnel_accept_take(ev);
}


/*
 * One client.  With "multi_accept" nginx would take all that there are, and ask
 * for none of them whether there is room.
 */

static void
ngx_zltunnel_accept_take(ngx_event_t *ev)
{
    ngx_flag_t         multi;
    ngx_event_conf_t  *ecf;

    ecf = ngx_event_get_conf(ngx_cycle->conf_ctx, ngx_event_core_module);

    multi = ecf->multi_accept;
    ecf->multi_accept = 0;

    ngx_zltunnel_accept_under_way++;
    ngx_event_accept(ev);
    ngx_zltunnel_accept_under_way--;

    ecf->multi_accept = multi;
}


ngx_uint_t
ngx_zltunnel_accept_waits(ngx_zltunnel_listener_t *listener)
{
    return ngx_zltunnel_room_none()
           || (listener && listener->share
               && ngx_zltunnel_share_full(listener->registry,
                                          listener->share));
}


static void
ngx_zltunnel_accept_pause(ngx_zltunnel_listener_t *listener,
    ngx_listening_t *ls)
{
    ngx_event_t  *rev;

    if (ngx_zltunnel_room_scarce()) {
        ngx_zltunnel_log_complain(ngx_cycle->log,
                                  "clients wait to be accepted: limit of %s",
                                  "worker_connections");

    } else {
        ngx_zltunnel_log_complain(ngx_cycle->log,
                                  "clients of token \"%s\" wait to be "
                                  "accepted: limit of its share of "
                                  "worker_connections",
                                  (char *) listener->share->name.data);
    }

    if (listener) {
        listener->paused = 1;
    }

    rev = ls->connection->read;

    if (rev->timedout) {
        rev->timedout = 0;
        (void) ngx_enable_accept_events((ngx_cycle_t *) ngx_cycle);
    }

    ngx_zltunnel_listener_disarm(ls);
    ngx_zltunnel_accept_later();
}


void
ngx_zltunnel_accept_later(void)
{
    ngx_event_t  *ev;

    ev = &ngx_zltunnel_accept_pause_event;

    if (ev->timer_set) {
        return;
    }

    ngx_zltunnel_accept_dummy.fd = (ngx_socket_t) -1;

    ev->data = &ngx_zltunnel_accept_dummy;
    ev->log = ngx_cycle->log;
    ev->handler = ngx_zltunnel_accept_resume;
    ev->cancelable = 1;

    ngx_add_timer(ev, NGX_ZLTUNNEL_ACCEPT_PAUSE);
}


static void
ngx_zltunnel_accept_resume(ngx_event_t *ev)
{
    if (ngx_exiting) {
        return;
    }

    if (ngx_zltunnel_room_none()) {
        ngx_zltunnel_accept_later();
        return;
    }

    ngx_zltunnel_listener_resume();
    ngx_zltunnel_accept_streams((ngx_cycle_t *) ngx_cycle, 1);
}


/*
 * Other sockets of stream whose clients may come to a service, by an upstream
 * with zltunnel_service: nginx would accept as long as it has connections, and
 * have none left for their channels.
 */

void
ngx_zltunnel_accept_streams(ngx_cycle_t *cycle, ngx_uint_t again)
{
    ngx_uint_t            i, *index;
    ngx_listening_t      *ls;
    ngx_zltunnel_conf_t  *conf;

    conf = (ngx_zltunnel_conf_t *) ngx_get_conf(cycle->conf_ctx,
                                                ngx_zltunnel_module);
    index = conf->streams.elts;

    for (i = 0; i < conf->streams.nelts; i++) {
        ls = (ngx_listening_t *) cycle->listening.elts + index[i];

#if (NGX_HAVE_REUSEPORT)
        if (ls->reuseport && ls->worker != ngx_worker) {
            continue;
        }
#endif

        if (ls->connection) {
            ls->connection->read->handler = ngx_zltunnel_accept_pass;

        } else if (again) {

            if (!ngx_zltunnel_room_scarce()) {
                ngx_zltunnel_listener_arm(ls, ngx_zltunnel_accept_pass);
            }

            if (ls->connection == NULL) {
                ngx_zltunnel_accept_later();
            }
        }
    }
}
