
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What a change of the registry leaves to be said to the other workers.
 *
 * Whoever holds the lock may neither send nor take it again, so what is to be
 * said is noted, and said by handlers that the module hands in, from an event
 * at the end of this turn of the loop.  Two things are: a port was opened or
 * closed, and the registry was found broken and emptied.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_notice.h"


#define NGX_ZLTUNNEL_NOTICES  64


typedef struct {
    ngx_zltunnel_registry_t  *registry;
    in_port_t                 port;           /* 0: any of this registry */
    uint8_t                   udp;
    uint8_t                   emptied;
} ngx_zltunnel_notice_t;


static void ngx_zltunnel_notice_add(ngx_zltunnel_registry_t *registry,
    in_port_t port, ngx_uint_t udp, ngx_uint_t emptied);
static void ngx_zltunnel_notice_fold(ngx_zltunnel_registry_t *registry);
static void ngx_zltunnel_notice_handler(ngx_event_t *ev);


static ngx_zltunnel_notice_t           ngx_zltunnel_notices[
                                                       NGX_ZLTUNNEL_NOTICES];
static ngx_uint_t                      ngx_zltunnel_nnotices;
static ngx_zltunnel_notice_handlers_t  ngx_zltunnel_notice_handlers;
static ngx_event_t                     ngx_zltunnel_notice_event;
static ngx_connection_t                ngx_zltunnel_notice_dummy;


void
ngx_zltunnel_notice_init(ngx_cycle_t *cycle,
    const ngx_zltunnel_notice_handlers_t *handlers)
{
    ngx_zltunnel_notice_handlers = *handlers;

    ngx_zltunnel_notice_dummy.fd = (ngx_socket_t) -1;

    ngx_zltunnel_notice_event.handler = ngx_zltunnel_notice_handler;
    ngx_zltunnel_notice_event.data = &ngx_zltunnel_notice_dummy;
    ngx_zltunnel_notice_event.log = cycle->log;
}


void
ngx_zltunnel_notice_port(ngx_zltunnel_registry_t *registry, in_port_t port,
    ngx_uint_t udp)
{
    ngx_zltunnel_notice_add(registry, port, udp, 0);
}


void
ngx_zltunnel_notice_emptied(ngx_zltunnel_registry_t *registry)
{
    ngx_zltunnel_notice_add(registry, 0, 0, 1);
}


static void
ngx_zltunnel_notice_add(ngx_zltunnel_registry_t *registry, in_port_t port,
    ngx_uint_t udp, ngx_uint_t emptied)
{
    ngx_zltunnel_notice_t  *notice;

    if (ngx_zltunnel_notice_event.handler == NULL) {

        /* the master, before there are workers */

        return;
    }

    if (ngx_zltunnel_nnotices == NGX_ZLTUNNEL_NOTICES) {
        ngx_zltunnel_notice_fold(registry);
    }

    notice = &ngx_zltunnel_notices[ngx_zltunnel_nnotices++];

    notice->registry = registry;
    notice->port = port;
    notice->udp = udp;
    notice->emptied = emptied;

    ngx_post_event(&ngx_zltunnel_notice_event, &ngx_posted_events);
}


/* more than we remember: one for each registry, of all its ports */

static void
ngx_zltunnel_notice_fold(ngx_zltunnel_registry_t *registry)
{
    ngx_uint_t              i, k, n;
    ngx_zltunnel_notice_t  *notice;

    notice = ngx_zltunnel_notices;
    n = 0;

    for (i = 0; i < ngx_zltunnel_nnotices; i++) {

        for (k = 0; k < n; k++) {

            if (notice[k].registry == notice[i].registry
                && notice[k].emptied == notice[i].emptied)
            {
                break;
            }
        }

        if (k == n) {
            notice[n] = notice[i];
            notice[n].port = 0;
            n++;
        }
    }

    /* of as many registries as there are places the last one gives way */

    ngx_zltunnel_nnotices = ngx_min(n, NGX_ZLTUNNEL_NOTICES - 1);
}


static void
ngx_zltunnel_notice_handler(ngx_event_t *ev)
{
    ngx_zltunnel_notice_flush();
}


void
ngx_zltunnel_notice_flush(void)
{
    ngx_uint_t              i, n;
    ngx_zltunnel_notice_t   notices[NGX_ZLTUNNEL_NOTICES];

    /* a handler may take the lock, and so leave others */

    n = ngx_zltunnel_nnotices;
    ngx_zltunnel_nnotices = 0;

    ngx_memcpy(notices, ngx_zltunnel_notices,
               n * sizeof(ngx_zltunnel_notice_t));

    for (i = 0; i < n; i++) {

        if (notices[i].emptied) {
            ngx_zltunnel_notice_handlers.emptied(notices[i].registry);

        } else {
            ngx_zltunnel_notice_handlers.port(notices[i].registry,
                                              notices[i].port,
                                              notices[i].udp);
        }
    }
}
