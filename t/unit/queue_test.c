
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects: the queue of datagrams of nginx and the agent: bounds in bytes and
 * in age, order within a session, sessions in turn, and that who floods loses
 * its own.
 */


#include <stdlib.h>

#include "tap.h"
#include "zlt_queue.h"


static zlt_queue_t       q;
static zlt_queue_flow_t  flows[8];
static uint64_t          full[8], late[8], gone[8];
static int               poor;


static void *
alloc(size_t size)
{
    return poor ? NULL : malloc(size);
}


static void
drop(zlt_queue_flow_t *f, zlt_queue_item_t *item, zlt_queue_drop_e why)
{
    uint64_t  *counts[] = { full, late, gone };

    counts[why][f - flows]++;
    free(item);
}


static void
setup(void)
{
    unsigned  i;

    static const zlt_queue_ops_t  ops = { alloc, drop };

    zlt_queue_init(&q, &ops);

    for (i = 0; i < 8; i++) {
        full[i] = 0;
        late[i] = 0;
        gone[i] = 0;
        zlt_queue_flow_init(&flows[i]);
    }
}


static int
put_beside(unsigned i, uint8_t mark, size_t len, size_t beside, uint64_t now)
{
    static uint8_t  data[65536];

    memset(data, mark, len);

    return zlt_queue_put(&q, &flows[i], data, len, beside, now);
}


static void
put(unsigned i, uint8_t mark, size_t len, uint64_t now)
{
    (void) put_beside(i, mark, len, 0, now);
}


/* the mark of the next of a session, -1: none */

static int
get(unsigned i, uint64_t now)
{
    int                mark;
    zlt_queue_item_t  *item;

    item = zlt_queue_get(&q, &flows[i], now);

    if (item == NULL) {
        return -1;
    }

    mark = item->len ? item->data[0] : 0;
    free(item);

    return mark;
}


static void
empty(const char *what)
{
    unsigned  i;

    for (i = 0; i < 8; i++) {
        zlt_queue_purge(&q, &flows[i]);
    }

    tap_note("%s: nothing is left", what);
    check(q.bytes == 0 && q.nflows == 0 && zlt_list_empty(&q.flows));
}


static void
test_order(void)
{
    zlt_queue_item_t  *a, *b;

    setup();

    put(0, 1, 10, 0);
    put(1, 2, 10, 0);
    put(0, 3, 0, 0);
    put(0, 4, 10, 0);

    tap_note("a session's are in order, empty ones too");
    check(get(0, 0) == 1);
    check(get(0, 0) == 0);
    check(get(0, 0) == 4);
    check(get(0, 0) == -1);
    tap_note("whatever the others do");
    check(get(1, 0) == 2);

    put(0, 1, 10, 0);
    put(0, 2, 10, 0);
    put(0, 3, 10, 0);

    a = zlt_queue_get(&q, &flows[0], 0);
    b = zlt_queue_get(&q, &flows[0], 0);
    zlt_queue_unget(&q, &flows[0], b);
    zlt_queue_unget(&q, &flows[0], a);
    put(0, 4, 10, 0);

    tap_note("what is put back comes first");
    check(get(0, 0) == 1);
    check(get(0, 0) == 2);
    check(get(0, 0) == 3);
    check(get(0, 0) == 4);

    put(0, 5, 10, 0);
    a = zlt_queue_get(&q, &flows[0], 0);
    zlt_queue_unget(&q, &flows[0], a);
    put(0, 6, 10, 0);

    tap_note("into an empty one as well");
    check(get(0, 0) == 5 && get(0, 0) == 6);

    empty("order");
}


static void
test_turns(void)
{
    unsigned           i, n, wrong;
    zlt_queue_flow_t  *f;
    zlt_queue_item_t  *item;

    setup();

    for (i = 0; i < 30; i++) {
        put(0, 0, 10, 0);
    }

    for (i = 0; i < 3; i++) {
        put(1, 0, 10, 0);
        put(2, 0, 10, 0);
    }

    wrong = 0;

    for (n = 0; n < 9; n++) {
        item = zlt_queue_next(&q, &f, 0);
        wrong += (f != &flows[n % 3]);
        free(item);
    }

    tap_note("sessions take turns");
    check(wrong == 0);

    item = zlt_queue_next(&q, &f, 0);
    tap_note("those that have something");
    check(f == &flows[0] && q.nflows == 1);

    put(3, 0, 10, 0);
    zlt_queue_unget(&q, f, item);
    item = zlt_queue_next(&q, &f, 0);
    tap_note("who could not be sent has its turn still");
    check(f == &flows[0]);
    free(item);

    put(4, 0, 10, 150);
    item = zlt_queue_next(&q, &f, 150);
    tap_note("who has late ones only is passed over");
    check(f == &flows[4] && late[0] == 26 && late[3] == 1);
    free(item);

    empty("turns");
    tap_note("an empty queue has no turn");
    check(zlt_queue_next(&q, &f, 0) == NULL);
}


static void
test_age(void)
{
    setup();

    put(0, 1, 10, 1000);
    put(0, 2, 10, 1050);
    put(0, 3, 10, 1101);

    tap_note("101 ms is too old, 51 is not");
    check(get(0, 1101) == 2);
    tap_note("it is counted as late");
    check(late[0] == 1 && full[0] == 0);
    tap_note("100 ms is not");
    check(get(0, 1201) == 3);
    tap_note("no more");
    check(get(0, 1201) == -1);

    put(0, 1, 10, 0);
    put(0, 2, 10, 0);
    tap_note("all of them may be");
    check(get(0, 500) == -1 && late[0] == 3);

    put(0, 1, 10, 1000);
    put(0, 2, 10, 1500);
    zlt_queue_opened(&q, 1500);
    put(0, 3, 10, 1501);

    tap_note("what waited for the channel has a second");
    check(get(0, 2001) == 2 && late[0] == 4);
    tap_note("what comes then has not");
    check(get(0, 2001) == -1 && late[0] == 5);

    empty("age");
}


static void
test_memory(void)
{
    setup();

    put(0, 1, 10, 0);

    poor = 1;
    tap_note("without memory a datagram is not taken");
    check(put_beside(0, 2, 10, 0, 0) == -1);
    check(put_beside(1, 2, 10, 0, 0) == -1 && q.nflows == 1);
    poor = 0;

    tap_note("the others stay");
    check(get(0, 0) == 1 && get(0, 0) == -1);

    put(0, 1, 10, 0);
    put(0, 2, 10, 0);
    put(1, 3, 10, 0);
    zlt_queue_purge(&q, &flows[0]);

    tap_note("a session goes with what it has, and nothing else");
    check(gone[0] == 2 && full[0] == 0 && late[0] == 0);
    check(q.nflows == 1 && get(1, 0) == 3);

    empty("memory");
}


static void
test_bounds(void)
{
    int       i, first;
    size_t    most;
    unsigned  n;

    setup();
    most = 0;

    for (i = 0; i < 1000; i++) {
        put(0, (uint8_t) i, 1200, 0);

        if (q.bytes > most) {
            most = q.bytes;
        }
    }

    tap_note("%lu bytes at the most", (unsigned long) most);
    check(most <= ZLT_QUEUE_BYTES && most > ZLT_QUEUE_BYTES - 2400);

    n = (unsigned) (1000 - full[0]);
    first = get(0, 0);
    tap_note("the oldest are dropped");
    check(first == (uint8_t) full[0]);

    for (n--; n > 1; n--) {
        (void) get(0, 0);
    }

    tap_note("the newest is there");
    check(get(0, 0) == (uint8_t) 999 && get(0, 0) == -1);
    empty("bytes");

    setup();

    for (i = 0; i < 100000; i++) {
        put(0, 0, 0, 0);
    }

    tap_note("empty ones are not free of charge");
    check(full[0] > 80000);
    empty("empty ones");

    setup();

    for (i = 0; i < 100; i++) {
        put((unsigned) i % 8, 0, 65527 + 9, 0);
    }

    tap_note("the largest fit, three of them");
    check(q.bytes <= ZLT_QUEUE_BYTES && q.nflows == 3);
    empty("large ones");

    setup();

    for (i = 0; i < 1000; i++) {
        put_beside(0, 0, 1200, 200000, 0);
    }

    tap_note("what waits elsewhere counts");
    check(q.bytes <= ZLT_QUEUE_BYTES - 200000);
    check(q.bytes > ZLT_QUEUE_BYTES - 202400);

    put_beside(1, 7, 1200, ZLT_QUEUE_BYTES, 0);
    tap_note("but the last that came is taken");
    check(q.nflows == 1 && get(1, 0) == 7);
    empty("beside");
}


static void
test_shares(void)
{
    unsigned  i, n;

    /* a flood beside seven that send little */

    setup();

    for (i = 0; i < 7000; i++) {
        put(0, 0, 1200, 0);

        if (i % 1000 == 999) {
            for (n = 1; n < 8; n++) {
                put(n, (uint8_t) (i / 1000), 500, 0);
            }
        }
    }

    tap_note("a flood loses its own");
    check(full[0] > 6000);

    for (i = 1, n = 0; i < 8; i++) {
        n += (unsigned) full[i];
    }

    tap_note("the others lose nothing");
    check(n == 0);
    tap_note("and have theirs in order");
    check(get(5, 0) == 0 && get(5, 0) == 1);
    empty("a flood");

    /* the flood came first and fills the queue; then someone joins */

    setup();

    for (i = 0; i < 1000; i++) {
        put(0, 0, 1200, 0);
    }

    n = (unsigned) full[0];

    for (i = 0; i < 50; i++) {
        put(1, 0, 1200, 0);
    }

    tap_note("who joins takes from the flood");
    check(full[1] == 0 && full[0] == n + 50);
    empty("joining");

    /* two floods share evenly */

    setup();

    for (i = 0; i < 4000; i++) {
        put(i % 2, 0, 1200, 0);
    }

    tap_note("two floods share evenly");
    check(flows[0].bytes <= flows[1].bytes + 3000);
    check(flows[1].bytes <= flows[0].bytes + 3000);
    empty("two floods");
}


int
main(void)
{
    tap_run(test_order, "order within a session");
    tap_run(test_turns, "sessions in turn");
    tap_run(test_age, "age");
    tap_run(test_memory, "memory");
    tap_run(test_bounds, "bytes");
    tap_run(test_shares, "a flood and the others");

    return tap_done();
}
