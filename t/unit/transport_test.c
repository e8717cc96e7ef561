
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects: when the agent takes to WebSocket for its data channels, and when
 * it comes back; hints of a trouble that passes do not suffice.
 */


#include "tap.h"
#include "log.h"
#include "transport.h"


#define HOUR  3600000


static zlt_transport_t  t;
static uint64_t         now;
static unsigned         told;


void
zlt_log_link(const char *label, zlt_log_level_e level, const char *fmt, ...)
{
    (void) fmt;

    check(strcmp(label, "label: ") == 0);
    told += (level == ZLT_LOG_INFO);
}


static void
setup(zlt_transport_e mode)
{
    zlt_transport_init(&t, mode, "label: ");

    now = 1000;
    told = 0;
}


static void
failed(int websocket, unsigned doubt)
{
    now += 100;
    zlt_transport_failed(&t, websocket, doubt, "why", now);
}


static void
test_proof(void)
{
    setup(ZLT_TRANSPORT_AUTO);
    check(zlt_transport_pick(&t, 1, now) == 0);

    failed(0, ZLT_TRANSPORT_PROOF);
    check(zlt_transport_pick(&t, 1, now) == 1);
    check(told == 0);

    /* one that was opened before the turn */
    failed(0, ZLT_TRANSPORT_PROOF);
    check(zlt_transport_pick(&t, 1, now) == 1);

    zlt_transport_opened(&t, 1, now);
    check(told == 1);
    zlt_transport_opened(&t, 1, now);
    check(told == 1);
}


static void
test_hints(void)
{
    setup(ZLT_TRANSPORT_AUTO);

    failed(0, ZLT_TRANSPORT_HINT);
    failed(0, ZLT_TRANSPORT_HINT);
    check(zlt_transport_pick(&t, 1, now) == 0);

    zlt_transport_opened(&t, 0, now);
    failed(0, ZLT_TRANSPORT_HINT);
    failed(0, ZLT_TRANSPORT_HINT);
    failed(0, ZLT_TRANSPORT_PROOF);
    check(zlt_transport_pick(&t, 1, now) == 0);

    tap_note("what has worked takes twice as much");
    failed(0, ZLT_TRANSPORT_HINT);
    check(zlt_transport_pick(&t, 1, now) == 1);

    tap_note("but not on another way");
    setup(ZLT_TRANSPORT_AUTO);
    zlt_transport_opened(&t, 0, now);
    zlt_transport_anew(&t);
    failed(0, ZLT_TRANSPORT_PROOF);
    check(zlt_transport_pick(&t, 1, now) == 1);
}


static void
test_together(void)
{
    unsigned  i;

    setup(ZLT_TRANSPORT_AUTO);

    for (i = 0; i < 30; i++) {
        zlt_transport_failed(&t, 0, ZLT_TRANSPORT_HINT, "why", now);
    }

    check(zlt_transport_pick(&t, 1, now) == 0);
}


static void
test_back(void)
{
    setup(ZLT_TRANSPORT_AUTO);

    failed(0, ZLT_TRANSPORT_PROOF);
    failed(1, ZLT_TRANSPORT_PROOF);
    check(zlt_transport_pick(&t, 1, now) == 0);
    failed(0, ZLT_TRANSPORT_PROOF);
    check(zlt_transport_pick(&t, 1, now) == 1);
    check(told == 0);
}


static void
test_probe(void)
{
    setup(ZLT_TRANSPORT_AUTO);

    failed(0, ZLT_TRANSPORT_PROOF);
    zlt_transport_opened(&t, 1, now);

    now += HOUR - 1;
    zlt_transport_anew(&t);
    check(zlt_transport_pick(&t, 1, now) == 1);

    now += 1;
    tap_note("no client's connection is the one to try");
    check(zlt_transport_pick(&t, 0, now) == 1);
    check(zlt_transport_pick(&t, 1, now) == 0);
    tap_note("one is enough");
    check(zlt_transport_pick(&t, 1, now) == 1);

    failed(0, ZLT_TRANSPORT_PROOF);
    check(zlt_transport_pick(&t, 1, now) == 1);
    check(told == 1);

    now += HOUR;
    check(zlt_transport_pick(&t, 1, now) == 0);
    zlt_transport_opened(&t, 0, now);
    check(told == 2);
    check(zlt_transport_pick(&t, 0, now) == 0);
}


static void
test_modes(void)
{
    unsigned  i;

    setup(ZLT_TRANSPORT_RAW);

    for (i = 0; i < 10; i++) {
        failed(0, ZLT_TRANSPORT_PROOF);
        check(zlt_transport_pick(&t, 1, now) == 0);
    }

    setup(ZLT_TRANSPORT_WEBSOCKET);
    zlt_transport_opened(&t, 1, now);
    now += 2 * HOUR;

    for (i = 0; i < 10; i++) {
        failed(1, ZLT_TRANSPORT_PROOF);
        check(zlt_transport_pick(&t, 1, now) == 1);
    }

    check(told == 0);
}


int
main(void)
{
    tap_run(test_proof, "an answer that is not the server's");
    tap_run(test_hints, "hints");
    tap_run(test_together, "those that fail together");
    tap_run(test_back, "neither works");
    tap_run(test_probe, "after an hour");
    tap_run(test_modes, "chosen");

    return tap_done();
}
