
/*
 * Copyright (C) zltunnel authors
 */

/* Datagrams that wait for room, by session. */


#include <string.h>

#include "zlt_queue.h"


/* what a datagram counts for; without the second part, empty ones would be
   free of charge */

#define zlt_queue_cost(len)  ((len) + sizeof(zlt_queue_item_t))


static void zlt_queue_shed(zlt_queue_t *q, zlt_queue_flow_t *f);
static zlt_queue_item_t *zlt_queue_shift(zlt_queue_t *q, zlt_queue_flow_t *f);


void
zlt_queue_init(zlt_queue_t *q, const zlt_queue_ops_t *ops)
{
    q->ops = ops;
    q->payer = &q->flows;
    q->nflows = 0;
    q->bytes = 0;
    q->opened = 0;

    zlt_list_init(&q->flows);
}


void
zlt_queue_flow_init(zlt_queue_flow_t *f)
{
    zlt_list_init(&f->link);
    f->first = NULL;
    f->last = &f->first;
    f->bytes = 0;
}


int
zlt_queue_put(zlt_queue_t *q, zlt_queue_flow_t *f, const uint8_t *data,
    size_t len, size_t beside, uint64_t now)
{
    size_t             cost;
    zlt_queue_item_t  *item;

    cost = zlt_queue_cost(len);

    while (!zlt_queue_empty(q) && q->bytes + beside + cost > ZLT_QUEUE_BYTES) {
        zlt_queue_shed(q, f);
    }

    item = q->ops->alloc(cost);
    if (item == NULL) {
        return -1;
    }

    item->next = NULL;
    item->since = now;
    item->len = (uint32_t) len;

    if (len) {
        memcpy(item->data, data, len);
    }

    if (zlt_queue_flow_empty(f)) {
        zlt_list_append(&q->flows, &f->link);
        q->nflows++;
    }

    *f->last = item;
    f->last = &item->next;
    f->bytes += cost;
    q->bytes += cost;

    return 0;
}


/*
 * The share is what each session has on average, so one of them has it.  The
 * search goes on where the last one ended, and leaves the turns as they are.
 */

static void
zlt_queue_shed(zlt_queue_t *q, zlt_queue_flow_t *f)
{
    size_t  share;

    share = q->bytes / q->nflows;

    while (zlt_queue_flow_empty(f) || f->bytes < share) {

        if (q->payer == &q->flows) {
            q->payer = q->flows.next;
        }

        f = zlt_list_data(q->payer, zlt_queue_flow_t, link);

        q->payer = q->payer->next;
    }

    q->ops->drop(f, zlt_queue_shift(q, f), ZLT_QUEUE_FULL);
}


/* Takes the first off. */

static zlt_queue_item_t *
zlt_queue_shift(zlt_queue_t *q, zlt_queue_flow_t *f)
{
    zlt_queue_item_t  *item;

    item = f->first;
    f->first = item->next;

    f->bytes -= zlt_queue_cost(item->len);
    q->bytes -= zlt_queue_cost(item->len);

    if (f->first == NULL) {
        f->last = &f->first;

        if (q->payer == &f->link) {
            q->payer = f->link.next;
        }

        zlt_list_remove(&f->link);
        q->nflows--;
    }

    return item;
}


void
zlt_queue_unget(zlt_queue_t *q, zlt_queue_flow_t *f, zlt_queue_item_t *item)
{
    if (zlt_queue_flow_empty(f)) {
        q->nflows++;
        f->last = &item->next;
    }

    zlt_list_remove(&f->link);
    zlt_list_prepend(&q->flows, &f->link);

    item->next = f->first;
    f->first = item;

    f->bytes += zlt_queue_cost(item->len);
    q->bytes += zlt_queue_cost(item->len);
}


zlt_queue_item_t *
zlt_queue_get(zlt_queue_t *q, zlt_queue_flow_t *f, uint64_t now)
{
    uint64_t           age;
    zlt_queue_item_t  *item;

    while (!zlt_queue_flow_empty(f)) {
        item = zlt_queue_shift(q, f);

        age = item->since < q->opened ? ZLT_QUEUE_FIRST : ZLT_QUEUE_AGE;

        if (now - item->since <= age) {
            return item;
        }

        q->ops->drop(f, item, ZLT_QUEUE_LATE);
    }

    return NULL;
}


zlt_queue_item_t *
zlt_queue_next(zlt_queue_t *q, zlt_queue_flow_t **f, uint64_t now)
{
    zlt_list_t        *link;
    zlt_queue_item_t  *item;

    while (!zlt_queue_empty(q)) {
        link = q->flows.next;

        zlt_list_remove(link);
        zlt_list_append(&q->flows, link);

        *f = zlt_list_data(link, zlt_queue_flow_t, link);

        item = zlt_queue_get(q, *f, now);

        if (item) {
            return item;
        }
    }

    return NULL;
}


void
zlt_queue_opened(zlt_queue_t *q, uint64_t now)
{
    /* what came in the same millisecond may have waited, too */

    q->opened = now + 1;
}


void
zlt_queue_purge(zlt_queue_t *q, zlt_queue_flow_t *f)
{
    while (!zlt_queue_flow_empty(f)) {
        q->ops->drop(f, zlt_queue_shift(q, f), ZLT_QUEUE_GONE);
    }
}
