
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The places of control channels that have not sent Auth.
 *
 * There are max_unauthenticated of them in a worker, and anybody may take one
 * for ten seconds by saying nothing.  So they are counted by address, too, of
 * IPv6 by the network of 64 bits.  As long as there is room an address may have
 * as many as it likes: all agents of a house come from one.  When there is none
 * a newcomer takes the place of the oldest one of the address that has most, if
 * its own has fewer.  An agent needs its place for a round trip, so who has
 * been silent for longest is hardly ever one.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_control_place.h"
#include "ngx_zltunnel_control.h"
#include "ngx_zltunnel_config.h"


#define NGX_ZLTUNNEL_PLACE_ADDR  9       /* bytes: the family, and 8 of it */


/* all of one address */

typedef struct {
    ngx_rbtree_node_t            node;
    ngx_zltunnel_registry_t     *registry;
    u_char                       addr[NGX_ZLTUNNEL_PLACE_ADDR];
    ngx_queue_t                  controls;   /* the oldest first */
    ngx_uint_t                   n;
} ngx_zltunnel_control_place_t;


static void ngx_zltunnel_control_place_addr(struct sockaddr *sa,
    u_char addr[NGX_ZLTUNNEL_PLACE_ADDR]);
static ngx_zltunnel_control_place_t *ngx_zltunnel_control_place_find(
    ngx_zltunnel_registry_t *registry, u_char addr[NGX_ZLTUNNEL_PLACE_ADDR]);
static ngx_zltunnel_control_place_t *ngx_zltunnel_control_place_most(
    ngx_zltunnel_registry_t *registry);


static ngx_rbtree_t       ngx_zltunnel_control_places;
static ngx_rbtree_node_t  ngx_zltunnel_control_places_sentinel;


ngx_zltunnel_control_t *
ngx_zltunnel_control_place_yield(ngx_zltunnel_registry_t *registry,
    struct sockaddr *sa)
{
    u_char                         addr[NGX_ZLTUNNEL_PLACE_ADDR];
    ngx_queue_t                   *q;
    ngx_zltunnel_control_place_t  *most, *own;

    ngx_zltunnel_control_place_addr(sa, addr);

    own = ngx_zltunnel_control_place_find(registry, addr);
    most = ngx_zltunnel_control_place_most(registry);

    if (most == NULL || most->n <= (own ? own->n : 0) + 1) {
        return NULL;
    }

    q = ngx_queue_head(&most->controls);

    return ngx_queue_data(q, ngx_zltunnel_control_t, place_queue);
}


static void
ngx_zltunnel_control_place_addr(struct sockaddr *sa,
    u_char addr[NGX_ZLTUNNEL_PLACE_ADDR])
{
    struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    ngx_memzero(addr, NGX_ZLTUNNEL_PLACE_ADDR);

    switch (sa->sa_family) {

#if (NGX_HAVE_INET6)
    case AF_INET6:
        sin6 = (struct sockaddr_in6 *) sa;

        if (IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr)) {
            addr[0] = 4;
            ngx_memcpy(addr + 1, (u_char *) &sin6->sin6_addr + 12, 4);
            break;
        }

        addr[0] = 6;
        ngx_memcpy(addr + 1, &sin6->sin6_addr, 8);
        break;
#endif

    case AF_INET:
        sin = (struct sockaddr_in *) sa;

        addr[0] = 4;
        ngx_memcpy(addr + 1, &sin->sin_addr, 4);
        break;

    default: /* AF_UNIX: all are one */
        break;
    }
}


static ngx_zltunnel_control_place_t *
ngx_zltunnel_control_place_find(ngx_zltunnel_registry_t *registry,
    u_char addr[NGX_ZLTUNNEL_PLACE_ADDR])
{
    uint32_t                       key;
    ngx_rbtree_node_t             *node;
    ngx_zltunnel_control_place_t  *place;

    if (ngx_zltunnel_control_places.root == NULL) {
        ngx_rbtree_init(&ngx_zltunnel_control_places,
                        &ngx_zltunnel_control_places_sentinel,
                        ngx_rbtree_insert_value);
    }

    key = ngx_crc32_short(addr, NGX_ZLTUNNEL_PLACE_ADDR);
    node = ngx_zltunnel_control_places.root;

    while (node != &ngx_zltunnel_control_places_sentinel) {
        place = (ngx_zltunnel_control_place_t *) node;

        if (node->key == key && place->registry == registry
            && ngx_memcmp(place->addr, addr, NGX_ZLTUNNEL_PLACE_ADDR) == 0)
        {
            return place;
        }

        node = (key < node->key) ? node->left : node->right;
    }

    return NULL;
}


/* there are no more of them than places, and it is asked only when all are
   taken */

static ngx_zltunnel_control_place_t *
ngx_zltunnel_control_place_most(ngx_zltunnel_registry_t *registry)
{
    ngx_rbtree_node_t             *node;
    ngx_zltunnel_control_place_t  *place, *most;

    most = NULL;

    if (ngx_zltunnel_control_places.root
        == &ngx_zltunnel_control_places_sentinel)
    {
        return NULL;
    }

    for (node = ngx_rbtree_min(ngx_zltunnel_control_places.root,
                               &ngx_zltunnel_control_places_sentinel);
         node;
         node = ngx_rbtree_next(&ngx_zltunnel_control_places, node))
    {
        place = (ngx_zltunnel_control_place_t *) node;

        if (place->registry == registry && (most == NULL || place->n > most->n))
        {
            most = place;
        }
    }

    return most;
}


ngx_int_t
ngx_zltunnel_control_place_enter(ngx_zltunnel_control_t *control)
{
    u_char                         addr[NGX_ZLTUNNEL_PLACE_ADDR];
    ngx_zltunnel_control_place_t  *place;

    ngx_zltunnel_control_place_addr(control->end.connection->sockaddr, addr);

    place = ngx_zltunnel_control_place_find(control->registry, addr);

    if (place == NULL) {
        place = ngx_calloc(sizeof(ngx_zltunnel_control_place_t),
                           ngx_cycle->log);
        if (place == NULL) {
            return NGX_ERROR;
        }

        place->registry = control->registry;
        ngx_memcpy(place->addr, addr, NGX_ZLTUNNEL_PLACE_ADDR);
        ngx_queue_init(&place->controls);

        place->node.key = ngx_crc32_short(addr, NGX_ZLTUNNEL_PLACE_ADDR);
        ngx_rbtree_insert(&ngx_zltunnel_control_places, &place->node);
    }

    ngx_queue_insert_tail(&place->controls, &control->place_queue);
    place->n++;

    control->place = place;
    control->registry->unauthenticated++;

    return NGX_OK;
}


void
ngx_zltunnel_control_place_leave(ngx_zltunnel_control_t *control)
{
    ngx_zltunnel_control_place_t  *place;

    place = control->place;

    if (place == NULL) {
        return;
    }

    control->place = NULL;
    control->registry->unauthenticated--;

    ngx_queue_remove(&control->place_queue);

    if (--place->n == 0) {
        ngx_rbtree_delete(&ngx_zltunnel_control_places, &place->node);
        ngx_free(place);
    }
}
