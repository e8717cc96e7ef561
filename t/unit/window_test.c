
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects: the windows of lanes.  No more may come than was promised; who
 * reads gives it back in time; a window grows with what is read within a round
 * trip, and not with what takes longer; and all that windows promise together
 * stays within its bounds, whatever becomes of the lanes.
 */


#include "tap.h"

#include "zlt_window.h"


#define MS  10                 /* a round trip */


/* A sender that has as much to send as it may, n round trips long; what came.
   Half of the bytes come in the first half of each, and are read at once. */

static size_t
run(zlt_window_t *w, unsigned trips, uint32_t *now)
{
    size_t    all;
    uint32_t  credit, left, part;
    unsigned  i;

    left = w->open;
    all = 0;

    while (trips--) {
        credit = 0;

        for (i = 0; i < 2; i++) {
            part = i ? left - left / 2 : left / 2;

            check(zlt_window_came(w, part) == 0);
            zlt_window_read(w, part, *now, MS);

            all += part;
            *now += MS / 2;

            part = zlt_window_due(w);
            zlt_window_given(w, part);
            credit += part;
        }

        left = credit;
    }

    return all;
}


static void
test_fixed(void)
{
    uint32_t      now;
    zlt_window_t  w;

    zlt_window_start(&w, NULL);
    check(w.open == ZLT_WINDOW_FIRST);

    check(zlt_window_came(&w, ZLT_WINDOW_FIRST + 1) == -1);
    check(zlt_window_came(&w, ZLT_WINDOW_FIRST) == 0);
    check(zlt_window_came(&w, 1) == -1);
    check(zlt_window_due(&w) == 0);

    /* a quarter is worth a message */

    zlt_window_read(&w, ZLT_WINDOW_FIRST / 4 - 1, 1, MS);
    check(zlt_window_due(&w) == 0);

    zlt_window_read(&w, 1, 2, MS);
    check(zlt_window_due(&w) == ZLT_WINDOW_FIRST / 4);
    check(zlt_window_came(&w, 1) == -1);

    zlt_window_given(&w, zlt_window_due(&w));
    check(zlt_window_due(&w) == 0);
    check(zlt_window_came(&w, ZLT_WINDOW_FIRST / 4 + 1) == -1);
    check(zlt_window_came(&w, ZLT_WINDOW_FIRST / 4) == 0);

    zlt_window_read(&w, ZLT_WINDOW_FIRST, 3, MS);
    check(zlt_window_due(&w) == ZLT_WINDOW_FIRST);
    zlt_window_given(&w, ZLT_WINDOW_FIRST);

    now = 100;
    check(run(&w, 20, &now) == 20 * ZLT_WINDOW_FIRST);
    check(w.size == ZLT_WINDOW_FIRST);

    zlt_window_end(&w);
}


static void
test_grows(void)
{
    size_t              last, n;
    uint32_t            now;
    unsigned            trips;
    zlt_window_t        w;
    zlt_window_share_t  all = { 0, ZLT_WINDOW_CHANNEL, NULL };

    now = 1000;
    zlt_window_start(&w, &all);

    /* as a path takes more and more: twice as much each round trip at least */

    last = run(&w, 1, &now);
    check(last == ZLT_WINDOW_FIRST);

    for (trips = 1; w.size < ZLT_WINDOW_LANE; trips++) {

        if (!check(trips < 10)) {
            return;
        }

        n = run(&w, 1, &now);
        check(n >= 2 * last || w.size == ZLT_WINDOW_LANE);
        last = n;
    }

    check(all.used == ZLT_WINDOW_LANE - ZLT_WINDOW_FIRST);

    /* no more than that */

    (void) run(&w, 100, &now);
    check(w.size == ZLT_WINDOW_LANE);
    check(all.used == ZLT_WINDOW_LANE - ZLT_WINDOW_FIRST);

    zlt_window_end(&w);
    check(all.used == 0);
}


/* Many small answers, or one that the service has no more of, one a round trip
   or even less: the window is never what they wait for. */

static void
test_small(void)
{
    unsigned            i;
    uint32_t            now, size;
    zlt_window_t        w;
    zlt_window_share_t  all = { 0, ZLT_WINDOW_CHANNEL, NULL };

    for (size = 100; size < ZLT_WINDOW_FIRST / 4; size += 500) {
        tap_note("answers of %u", size);

        now = 1000;
        zlt_window_start(&w, &all);

        for (i = 0; i < 1000; i++) {

            if (!check(zlt_window_came(&w, size) == 0)) {
                return;
            }

            zlt_window_read(&w, size, now, MS);
            zlt_window_given(&w, zlt_window_due(&w));

            now += MS + 1;
        }

        check(w.size == ZLT_WINDOW_FIRST);
        check(all.used == 0);
        zlt_window_end(&w);
    }

    /* larger ones, up to a window: of the second on, none waits */

    for (size = 15000; size <= ZLT_WINDOW_FIRST; size += 100) {
        tap_note("answers of %u", size);

        now = 1000;
        zlt_window_start(&w, &all);

        for (i = 0; i < 100; i++) {

            if (!check(zlt_window_came(&w, size) == 0)) {
                return;
            }

            zlt_window_read(&w, size, now, MS);
            zlt_window_given(&w, zlt_window_due(&w));

            now += MS;
        }

        check(w.size <= 8 * ZLT_WINDOW_FIRST);
        zlt_window_end(&w);
        check(all.used == 0);
    }
}


/* One that is read slowly, however much there is, does not grow. */

static void
test_slow(void)
{
    unsigned            i;
    uint32_t            now;
    zlt_window_t        w;
    zlt_window_share_t  all = { 0, ZLT_WINDOW_CHANNEL, NULL };

    now = 1000;
    zlt_window_start(&w, &all);

    for (i = 0; i < 1000; i++) {
        check(zlt_window_came(&w, w.open) == 0);
        check(w.kept <= ZLT_WINDOW_FIRST);

        zlt_window_read(&w, 1000, now, MS);
        zlt_window_given(&w, zlt_window_due(&w));

        now++;
    }

    check(w.size == ZLT_WINDOW_FIRST);
    check(all.used == 0);
    zlt_window_end(&w);
}


/* Two channels of a process: each bounded, both together, too. */

static void
test_bounds(void)
{
    unsigned            i, round;
    uint32_t            now;
    zlt_window_t        w[40];
    zlt_window_share_t  all = { 0, 24 * 1024 * 1024, NULL };
    zlt_window_share_t  a = { 0, ZLT_WINDOW_CHANNEL, &all };
    zlt_window_share_t  b = { 0, ZLT_WINDOW_CHANNEL, &all };

    for (i = 0; i < 40; i++) {
        zlt_window_start(&w[i], i % 2 ? &a : &b);
    }

    now = 1000;

    for (round = 0; round < 50; round++) {
        for (i = 0; i < 40; i++) {
            (void) run(&w[(i + round) % 40], 1, &now);

            check(a.used <= ZLT_WINDOW_CHANNEL);
            check(b.used <= ZLT_WINDOW_CHANNEL);
            check(all.used == a.used + b.used && all.used <= all.most);
        }
    }

    check(all.used > all.most / 2);

    for (i = 0; i < 40; i++) {
        check(w[i].size >= ZLT_WINDOW_FIRST);
        zlt_window_end(&w[i]);
        zlt_window_end(&w[i]);
    }

    check(a.used == 0 && b.used == 0 && all.used == 0);
}


static void
test_sender(void)
{
    uint32_t  left;

    left = 1000;
    check(zlt_window_add(&left, ZLT_WINDOW_MOST - 999) == -1);
    check(zlt_window_add(&left, 0xffffffff) == -1);
    check(left == 1000);
    check(zlt_window_add(&left, 1) == 0);
    check(zlt_window_add(&left, ZLT_WINDOW_MOST - 1001) == 0);
    check(left == ZLT_WINDOW_MOST);
    check(zlt_window_add(&left, 1) == -1);
}


int
main(void)
{
    tap_run(test_fixed, "one that does not grow");
    tap_run(test_grows, "one that grows");
    tap_run(test_small, "answers of one size are not held up");
    tap_run(test_slow, "nor does one that is read slowly grow");
    tap_run(test_bounds, "the bounds of all");
    tap_run(test_sender, "credit at the sender");

    return tap_done();
}
