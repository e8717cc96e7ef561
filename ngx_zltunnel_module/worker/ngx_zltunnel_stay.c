
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The last workers of a registry.
 *
 * After a binary upgrade, or a reload with another size of the zone, the workers
 * that exit have a registry to which nobody will come any more.  Their clients
 * may yet want a channel, and the only ones are those that are idle in one of
 * these workers.  So a worker that has such channels stays as long as another
 * one has clients.  nginx exits when no timer is left that it waits for, and the
 * tick of the registry is made one.  worker_shutdown_timeout ends that, as it
 * ends the clients.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_stay.h"
#include "ngx_zltunnel_registry.h"


static ngx_uint_t ngx_zltunnel_stay_needed(ngx_zltunnel_registry_t *registry);
static ngx_uint_t ngx_zltunnel_stay_clients(ngx_zltunnel_registry_t *registry);


void
ngx_zltunnel_stay_begin(ngx_zltunnel_registry_t *registry)
{
    ngx_zltunnel_sh_worker_t  *w;

    if (registry->slot == NGX_ZLTUNNEL_NO_SLOT) {
        return;
    }

    w = ngx_zltunnel_slot(registry->sh, registry->slot);

    w->clients = 1;
    w->exiting = 1;

    /* the others may not have been told yet: the next tick sees */

    if (registry->nidle && w->generation == registry->sh->generation) {
        registry->tick.cancelable = 0;
    }
}


void
ngx_zltunnel_stay_look(ngx_zltunnel_registry_t *registry)
{
    if (registry->slot == NGX_ZLTUNNEL_NO_SLOT) {
        return;
    }

    ngx_zltunnel_slot(registry->sh, registry->slot)->clients =
                                          ngx_zltunnel_stay_clients(registry);

    registry->tick.cancelable = !(registry->nidle
                                  && ngx_zltunnel_stay_needed(registry));
}


ngx_uint_t
ngx_zltunnel_stay_last(ngx_zltunnel_registry_t *registry)
{
    ngx_uint_t                 i;
    ngx_zltunnel_sh_t         *sh;
    ngx_zltunnel_sh_worker_t  *w;

    if (!ngx_exiting || registry->slot == NGX_ZLTUNNEL_NO_SLOT) {
        return 0;
    }

    sh = registry->sh;

    if (sh->manned != sh->generation) {

        /* those of a reload do not have their slots yet */

        return 0;
    }

    for (i = 0; i < sh->nslots; i++) {
        w = ngx_zltunnel_slot(sh, i);

        if (i != registry->slot && !w->exiting
            && ngx_zltunnel_worker_slot_alive(w))
        {
            return 0;
        }
    }

    return 1;
}


/* 1: another of the last ones has clients */

static ngx_uint_t
ngx_zltunnel_stay_needed(ngx_zltunnel_registry_t *registry)
{
    ngx_uint_t                 i;
    ngx_zltunnel_sh_worker_t  *w;

    if (!ngx_zltunnel_stay_last(registry)) {
        return 0;
    }

    for (i = 0; i < registry->sh->nslots; i++) {
        w = ngx_zltunnel_slot(registry->sh, i);

        if (i != registry->slot && w->clients
            && ngx_zltunnel_worker_slot_alive(w))
        {
            return 1;
        }
    }

    return 0;
}


/* as nginx sees it: 1 if it waits for a timer other than a tick */

static ngx_uint_t
ngx_zltunnel_stay_clients(ngx_zltunnel_registry_t *registry)
{
    ngx_event_t        *ev;
    ngx_rbtree_t       *tree;
    ngx_rbtree_node_t  *node;

    tree = &ngx_event_timer_rbtree;

    if (tree->root == tree->sentinel) {
        return 0;
    }

    for (node = ngx_rbtree_min(tree->root, tree->sentinel);
         node;
         node = ngx_rbtree_next(tree, node))
    {
        ev = ngx_rbtree_data(node, ngx_event_t, timer);

        if (!ev->cancelable && ev->handler != registry->tick.handler) {
            return 1;
        }
    }

    return 0;
}
