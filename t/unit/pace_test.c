
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects: a rate that many share.  Whoever asks in whatever portions, all of
 * them together get what the rate gives, and as much at once as
 * ZLT_PACE_BURST, after whatever pause; who asks first is first, and each gets
 * the same; what is given back is not lost; threads that ask at the same time
 * get no more.
 */


#include <pthread.h>

#include "tap.h"

#include "zlt_pace.h"


#define MS      1000000ULL            /* ns */
#define SECOND  1000000000ULL
#define RATE    10000000ULL           /* 10 bytes a microsecond */


static uint64_t
burst(uint64_t rate)
{
    return rate * (ZLT_PACE_BURST / MS) / 1000;
}


/* What "n" get in so many ms, if each asks again when its time has come, and the
   machine looks every "step" ms who is due; of each, in got. */

static uint64_t
run(uint64_t *clock, uint64_t *now, unsigned ms, size_t portion, unsigned n,
    unsigned step, uint64_t *got)
{
    uint64_t  due[64], all, end;
    unsigned  i, first;

    memset(got, 0, sizeof(uint64_t) * n);
    all = 0;

    for (i = 0; i < n; i++) {
        due[i] = zlt_pace_reserve(clock, RATE, portion, *now);
    }

    for (end = *now + ms * MS; *now < end; *now += step * MS) {

        for ( ;; ) {
            first = 0;

            for (i = 1; i < n; i++) {
                first = due[i] < due[first] ? i : first;
            }

            if (due[first] > *now) {
                break;
            }

            got[first] += portion;
            all += portion;

            due[first] = zlt_pace_reserve(clock, RATE, portion, *now);
        }
    }

    return all;
}


static void
test_rate(void)
{
    uint64_t  clock, now, all, want, got[64], least, most;
    unsigned  n, step, i;
    size_t    portion;

    for (n = 1; n <= 64; n *= 8) {

        for (step = 1; step <= 101; step += 50) {

            for (portion = 100; portion <= 200000; portion *= 10) {
                clock = 0;
                now = 1000 * SECOND;
                want = 5 * RATE;

                all = run(&clock, &now, 5000, portion, n, step, got);

                tap_note("%u, %zu bytes, every %u ms: %.0f", n, portion, step,
                         (double) all);

                check(all <= want + burst(RATE) + portion);
                check(all + burst(RATE) + portion >= want);

                least = got[0];
                most = got[0];

                for (i = 1; i < n; i++) {
                    least = got[i] < least ? got[i] : least;
                    most = got[i] > most ? got[i] : most;
                }

                check(most - least <= portion);
            }
        }
    }
}


static void
test_pause(void)
{
    uint64_t  clock, now, pause, got[1], all;

    clock = 0;
    now = 50 * MS;             /* a machine that has just started */

    for (pause = 0; pause < 100000 * SECOND; pause = pause * 7 + MS) {
        now += pause;
        tap_note("%.3f s", (double) pause / SECOND);

        all = run(&clock, &now, 100, 1000, 1, 1, got);

        check(all <= RATE / 10 + burst(RATE) + 1000);
        check(all + 1000 >= RATE / 10);
    }
}


/* one that has taken far too much does not stop the others for ever, and a clock
   that is not to be understood does not either */

static void
test_debt(void)
{
    uint64_t  clock, now, at;

    now = 100 * SECOND;
    clock = now;

    (void) zlt_pace_reserve(&clock, RATE, 4000 * (size_t) 1000000, now);
    at = zlt_pace_reserve(&clock, RATE, 1, now);
    check(at <= now + ZLT_PACE_AHEAD);

    clock = UINT64_MAX / 2;
    at = zlt_pace_reserve(&clock, RATE, 1, now);
    check(at <= now + ZLT_PACE_AHEAD);
}


static void
test_back(void)
{
    uint64_t  clock, now, at;
    unsigned  i;

    now = 100 * SECOND;
    clock = now;

    for (i = 0; i < 1000; i++) {
        (void) zlt_pace_reserve(&clock, RATE, 16384, now);
        zlt_pace_give_back(&clock, RATE, 16384);
    }

    at = zlt_pace_reserve(&clock, RATE, 1, now);
    check(at == now);

    /* a part of it */

    (void) zlt_pace_reserve(&clock, RATE, 20000, now);
    zlt_pace_give_back(&clock, RATE, 10000);
    at = zlt_pace_reserve(&clock, RATE, 1, now);
    check(at >= now + MS && at < now + MS + MS / 100);

    /* of a clock that is new, as after the registry was emptied, or at a rate
       that is lower now: nobody waits for that */

    clock = 0;
    zlt_pace_give_back(&clock, RATE, 20000);
    at = zlt_pace_reserve(&clock, RATE, 1, now);
    check(at <= now);

    zlt_pace_give_back(&clock, 1024, ZLT_PACE_MOST);
    at = zlt_pace_reserve(&clock, 1024, 1, now);
    check(at <= now);
}


static void
test_portion(void)
{
    uint64_t  clock, now;

    now = 100 * SECOND;
    clock = 0;

    check(zlt_pace_portion(&clock, 1, now) == 1);
    check(zlt_pace_portion(&clock, 20000, now) == ZLT_PACE_LEAST);
    check(zlt_pace_portion(&clock, RATE, now) == RATE / 256);
    check(zlt_pace_portion(&clock, 1ULL << 40, now) == ZLT_PACE_MOST);

    clock = now + SECOND;

    check(zlt_pace_portion(&clock, 20000, now) == ZLT_PACE_CROWDED);
    check(zlt_pace_portion(&clock, RATE, now) == RATE / 256);
}


/* 4 threads reserve as fast as they can: nothing of it is forgotten */

static uint64_t  shared;


static void *
thread(void *data)
{
    unsigned  i;

    (void) data;

    for (i = 0; i < 100000; i++) {
        (void) zlt_pace_reserve(&shared, RATE, 10, 100 * SECOND);

        if (i % 2) {
            zlt_pace_give_back(&shared, RATE, 10);
        }
    }

    return NULL;
}


static void
test_change(void)
{
    uint64_t  clock;

    /* ten seconds at the old rate are one at ten times that, and back */

    clock = 110 * SECOND;
    zlt_pace_change(&clock, 1000, 10000, 100 * SECOND);
    check(clock == 101 * SECOND);

    zlt_pace_change(&clock, 10000, 1000, 100 * SECOND);
    check(clock == 110 * SECOND);

    /* but for no longer than anybody waits; and no limit is no wait */

    zlt_pace_change(&clock, 1000, 1, 100 * SECOND);
    check(clock == 100 * SECOND + ZLT_PACE_AHEAD);

    zlt_pace_change(&clock, 1, 0, 100 * SECOND);
    check(clock == 100 * SECOND);

    /* the largest rates, and a clock that is behind, or had none */

    clock = 160 * SECOND;
    zlt_pace_change(&clock, 1ULL << 40, 1ULL << 40, 100 * SECOND);
    check(clock == 160 * SECOND);

    clock = 99 * SECOND;
    zlt_pace_change(&clock, 1000, 1, 100 * SECOND);
    check(clock == 99 * SECOND);
    check(zlt_pace_rescale(101 * SECOND, 0, 1, 100 * SECOND) == 101 * SECOND);
}


static void
test_threads(void)
{
    unsigned   i;
    pthread_t  t[4];

    shared = 100 * SECOND;

    for (i = 0; i < 4; i++) {
        check(pthread_create(&t[i], NULL, thread, NULL) == 0);
    }

    for (i = 0; i < 4; i++) {
        pthread_join(t[i], NULL);
    }

    check(shared == 100 * SECOND + 4 * 50000 * 1000ULL);
}


int
main(void)
{
    tap_run(test_rate, "all together get the rate, and each the same");
    tap_run(test_pause, "after a pause there is a burst, and no more");
    tap_run(test_debt, "nobody waits for ever");
    tap_run(test_back, "what is given back is not lost");
    tap_run(test_change, "a rate that is another is another for who waits");
    tap_run(test_portion, "how much is asked for at a time");
    tap_run(test_threads, "threads that ask at the same time");

    return tap_done();
}
