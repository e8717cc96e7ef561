
/*
 * Copyright (C) zltunnel authors
 */

/* Datagrams that wait, by session. */


#include <stdlib.h>

#include "udp_queue.h"


/* what a datagram counts for; without the second part, empty ones would be
   free of charge */

#define zlt_udp_cost(item)  ((item)->len + sizeof(zlt_udp_item_t))


static void zlt_udp_queue_trim(zlt_udp_queue_t *q, zlt_udp_flow_t *f,
    size_t cost);
static zlt_udp_item_t *zlt_udp_queue_shift(zlt_udp_queue_t *q,
    zlt_udp_flow_t *f);


void
zlt_udp_queue_init(zlt_udp_queue_t *q)
{
    zlt_list_init(&q->flows);
    q->nflows = 0;
    q->bytes = 0;
}


void
zlt_udp_queue_flow_init(zlt_udp_flow_t *f, uint64_t *full, uint64_t *late)
{
    zlt_list_init(&f->link);
    f->first = NULL;
    f->last = &f->first;
    f->bytes = 0;
    f->full = full;
    f->late = late;
}


zlt_udp_item_t *
zlt_udp_queue_item_alloc(size_t len)
{
    zlt_udp_item_t  *item;

    item = malloc(sizeof(zlt_udp_item_t) + len);

    if (item) {
        item->len = (uint32_t) len;
    }

    return item;
}


void
zlt_udp_queue_put(zlt_udp_queue_t *q, zlt_udp_flow_t *f,
    zlt_udp_item_t *item, uint64_t now)
{
    size_t  cost;

    item->next = NULL;
    item->since = now;

    cost = zlt_udp_cost(item);

    zlt_udp_queue_trim(q, f, cost);

    if (zlt_udp_queue_flow_empty(f)) {
        zlt_list_append(&q->flows, &f->link);
        q->nflows++;
    }

    *f->last = item;
    f->last = &item->next;
    f->bytes += cost;
    q->bytes += cost;
}


/*
 * Makes room.  The one that asks pays, if it has more than its share; else
 * someone else has, since the shares are all there is.
 */

static void
zlt_udp_queue_trim(zlt_udp_queue_t *q, zlt_udp_flow_t *f, size_t cost)
{
    size_t           share;
    zlt_list_t      *link;
    zlt_udp_flow_t  *victim;

    while (q->bytes + cost > ZLT_UDP_QUEUE) {

        share = ZLT_UDP_QUEUE
                / (q->nflows + (zlt_udp_queue_flow_empty(f) ? 1 : 0));
        victim = f;

        if (f->bytes + cost <= share || zlt_udp_queue_flow_empty(f)) {

            zlt_list_each(link, &q->flows) {
                victim = zlt_list_data(link, zlt_udp_flow_t, link);

                if (victim != f && victim->bytes > share) {
                    break;
                }
            }

            if (link == &q->flows) {
                /* all have their share, and this one is large */
                victim = zlt_list_data(q->flows.next, zlt_udp_flow_t, link);
            }
        }

        (*victim->full)++;
        free(zlt_udp_queue_shift(q, victim));
    }
}


/* Takes the first off. */

static zlt_udp_item_t *
zlt_udp_queue_shift(zlt_udp_queue_t *q, zlt_udp_flow_t *f)
{
    zlt_udp_item_t  *item;

    item = f->first;
    f->first = item->next;

    f->bytes -= zlt_udp_cost(item);
    q->bytes -= zlt_udp_cost(item);

    if (f->first == NULL) {
        f->last = &f->first;
        zlt_list_remove(&f->link);
        q->nflows--;
    }

    return item;
}


void
zlt_udp_queue_unget(zlt_udp_queue_t *q, zlt_udp_flow_t *f,
    zlt_udp_item_t *item)
{
    if (zlt_udp_queue_flow_empty(f)) {
        zlt_list_prepend(&q->flows, &f->link);
        q->nflows++;
        f->last = &item->next;
    }

    item->next = f->first;
    f->first = item;

    f->bytes += zlt_udp_cost(item);
    q->bytes += zlt_udp_cost(item);
}


zlt_udp_item_t *
zlt_udp_queue_get(zlt_udp_queue_t *q, zlt_udp_flow_t *f, uint64_t now)
{
    zlt_udp_item_t  *item;

    while (!zlt_udp_queue_flow_empty(f)) {
        item = zlt_udp_queue_shift(q, f);

        if (now - item->since <= ZLT_UDP_AGE) {
            return item;
        }

        (*f->late)++;
        free(item);
    }

    return NULL;
}


zlt_udp_flow_t *
zlt_udp_queue_turn(zlt_udp_queue_t *q)
{
    zlt_list_t  *link;

    if (zlt_udp_queue_empty(q)) {
        return NULL;
    }

    link = q->flows.next;

    zlt_list_remove(link);
    zlt_list_append(&q->flows, link);

    return zlt_list_data(link, zlt_udp_flow_t, link);
}


void
zlt_udp_queue_purge(zlt_udp_queue_t *q, zlt_udp_flow_t *f)
{
    while (!zlt_udp_queue_flow_empty(f)) {
        free(zlt_udp_queue_shift(q, f));
    }
}
