
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects the queue of datagrams: whatever is done, in whichever order, each
 * datagram comes out once or is dropped once, those of a session in their
 * order and none of them late; the bytes are those that are there, and no more
 * than there may be; nobody pays who has less than its share.
 *
 * An input is a row of steps of three bytes: what is done, to which session,
 * and how much of it.
 */


#include "fuzz.h"
#include "zlt_queue.h"


#define FLOWS  7


static zlt_queue_t       q;
static zlt_queue_flow_t  flows[FLOWS];
static uint32_t          put_last[FLOWS];    /* numbers of datagrams */
static uint32_t          got_last[FLOWS];
static unsigned          there[FLOWS];
static zlt_queue_flow_t *adding;             /* during a put */
static uint64_t          now;
static int               poor;


static void *
queue_alloc(size_t size)
{
    return poor ? NULL : malloc(size);
}


/* it is the oldest of its session; a number is never seen again */

static void
queue_gone(zlt_queue_flow_t *f, const zlt_queue_item_t *item)
{
    size_t    i;
    uint32_t  number;

    i = (size_t) (f - flows);
    must(i < FLOWS && there[i] > 0 && item->len >= sizeof(uint32_t));

    memcpy(&number, item->data, sizeof(uint32_t));
    must(number > got_last[i] && number <= put_last[i]);

    got_last[i] = number;
    there[i]--;
}


static void
queue_drop(zlt_queue_flow_t *f, zlt_queue_item_t *item, zlt_queue_drop_e why)
{
    size_t    had;
    unsigned  i, n;

    queue_gone(f, item);

    if (why == ZLT_QUEUE_FULL) {
        must(adding != NULL);

        /* the share is the average of those that have something */

        had = f->bytes + item->len + sizeof(zlt_queue_item_t);

        for (i = 0, n = 0; i < FLOWS; i++) {
            n += (there[i] > 0 || &flows[i] == f);
        }

        must(had * (n + 1) >= q.bytes);
    }

    if (why == ZLT_QUEUE_LATE) {
        must(now - item->since > ZLT_QUEUE_AGE);
    }

    free(item);
}


static void
queue_check(void)
{
    size_t             bytes, all;
    unsigned           i, n, nflows;
    zlt_queue_item_t  *item;

    all = 0;
    nflows = 0;

    for (i = 0; i < FLOWS; i++) {
        bytes = 0;
        n = 0;

        for (item = flows[i].first; item; item = item->next) {
            bytes += item->len + sizeof(zlt_queue_item_t);
            n++;
        }

        must(bytes == flows[i].bytes && n == there[i]);
        must(zlt_list_empty(&flows[i].link) == (n == 0));

        all += bytes;
        nflows += (n > 0);
    }

    must(all == q.bytes && nflows == q.nflows);
}


static void
queue_put(unsigned i, uint8_t much)
{
    int       rc;
    size_t    len, beside;
    uint32_t  number;

    static uint8_t  data[65536];

    len = sizeof(uint32_t) + (size_t) much * 250;
    beside = much & 1 ? (size_t) much * 1024 : 0;

    number = put_last[i] + 1;
    memcpy(data, &number, sizeof(uint32_t));

    adding = &flows[i];
    rc = zlt_queue_put(&q, &flows[i], data, len, beside, now);
    adding = NULL;

    must(rc == (poor ? -1 : 0));

    if (rc == 0) {
        put_last[i] = number;
        there[i]++;

        must(q.bytes + beside <= ZLT_QUEUE_BYTES
             || (q.nflows == 1 && there[i] == 1));
    }
}


/* takes the next of a session, or of whose turn it is, and may put it back */

static void
queue_take(unsigned i, int turn, int back)
{
    zlt_queue_flow_t  *f;
    zlt_queue_item_t  *item;

    f = &flows[i];
    item = turn ? zlt_queue_next(&q, &f, now) : zlt_queue_get(&q, f, now);

    if (item == NULL) {
        must(turn ? q.nflows == 0 : there[i] == 0);
        return;
    }

    must(now - item->since <= (item->since < q.opened ? ZLT_QUEUE_FIRST
                                                      : ZLT_QUEUE_AGE));

    if (back) {
        zlt_queue_unget(&q, f, item);
        must(f->first == item && q.flows.next == &f->link);
        return;
    }

    queue_gone(f, item);
    free(item);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned  i;

    static const zlt_queue_ops_t  ops = { queue_alloc, queue_drop };

    zlt_queue_init(&q, &ops);
    now = 1000;
    poor = 0;

    for (i = 0; i < FLOWS; i++) {
        zlt_queue_flow_init(&flows[i]);
        put_last[i] = 0;
        got_last[i] = 0;
        there[i] = 0;
    }

    for ( /* void */ ; size >= 3; data += 3, size -= 3) {
        i = data[1] % FLOWS;

        switch (data[0] % 8) {

        case 0:
        case 1:
            queue_put(i, data[2]);
            break;

        case 2:
            queue_take(i, 1, data[2] & 1);
            break;

        case 3:
            queue_take(i, 0, data[2] & 1);
            break;

        case 4:
            now += data[2];
            break;

        case 5:
            zlt_queue_purge(&q, &flows[i]);
            must(there[i] == 0);
            break;

        case 6:
            zlt_queue_opened(&q, now);
            break;

        case 7:
            poor = data[2] & 1;
            break;
        }

        queue_check();
    }

    for (i = 0; i < FLOWS; i++) {
        zlt_queue_purge(&q, &flows[i]);
    }

    queue_check();
    must(q.nflows == 0 && q.bytes == 0 && zlt_list_empty(&q.flows));

    return 0;
}
