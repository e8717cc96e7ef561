
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Protects: what is taken for bulk.  Three large reads in a row are, however
 * many follow, and a small one begins anew; a lane is, when much goes one way
 * for long, and requests and answers in turn are not.
 */


#include "tap.h"

#include "zlt_bulk.h"


static void
test_reads(void)
{
    uint8_t   run;
    unsigned  i;

    run = 0;

    check(zlt_bulk_read(&run, ZLT_BULK_READ) < ZLT_BULK_RUN);
    check(zlt_bulk_read(&run, 100000) < ZLT_BULK_RUN);
    check(zlt_bulk_read(&run, ZLT_BULK_READ - 1) == 0);
    check(zlt_bulk_read(&run, ZLT_BULK_READ) < ZLT_BULK_RUN);
    check(zlt_bulk_read(&run, ZLT_BULK_READ) < ZLT_BULK_RUN);

    for (i = 3; i < 1000; i++) {
        tap_note("%u in a row", i);
        check(zlt_bulk_read(&run, ZLT_BULK_READ) >= ZLT_BULK_RUN);
    }

    check(zlt_bulk_read(&run, 1) == 0);
}


/* So much each way by turns, each "ms"; after how many ms it is bulk, or 0. */

static unsigned
after(size_t sent, size_t received, unsigned ms, uint32_t rtt)
{
    unsigned    t;
    zlt_bulk_t  b;

    memset(&b, 0, sizeof(b));

    for (t = 1; t < 100000; t += ms) {

        if (sent) {
            zlt_bulk_went(&b, sent, 1, t);
        }

        if (received) {
            zlt_bulk_went(&b, received, 0, t);
        }

        if (zlt_bulk_lasts(&b, rtt)) {
            return t;
        }
    }

    return 0;
}


static void
test_lanes(void)
{
    check(after(20000, 0, 10, 1) >= 32);
    check(after(20000, 0, 10, 1) < 32 + 50);
    check(after(0, 20000, 10, 100) >= 3200);
    check(after(0, 20000, 10, 100) < 3200 + 100);

    /* a request, a large answer, and nothing in between that lasts */

    check(after(200, 1000, 10, 1) == 0);
    check(after(200, 30000, 10, 1) == 0);

    /* so slow that each round trip has had little, but in one direction */

    check(after(0, 100, 1, 1) != 0);
}


/* What was under way before is forgotten where small messages follow. */

static void
test_again(void)
{
    unsigned    i;
    zlt_bulk_t  b;

    memset(&b, 0, sizeof(b));

    for (i = 0; i < 40; i++) {
        zlt_bulk_went(&b, 10000, 0, 1 + i);
        check(zlt_bulk_lasts(&b, 2) == 0);
    }

    check(b.lasted >= 32);

    for (i = 0; i < 1000; i++) {
        zlt_bulk_went(&b, 1000, i & 1, 100);
        check(zlt_bulk_lasts(&b, 2) == 0);
    }

    check(b.lasted == 0);

    /* the clock goes round */

    memset(&b, 0, sizeof(b));
    zlt_bulk_went(&b, 10000, 0, UINT32_MAX - 9);
    zlt_bulk_went(&b, 60000, 0, 90);
    check(b.lasted == 100);
    check(zlt_bulk_lasts(&b, 3) == 1);
    check(zlt_bulk_lasts(&b, 3) == 0);
}


int
main(void)
{
    tap_run(test_reads, "large reads in a row");
    tap_run(test_lanes, "lanes, by what goes there");
    tap_run(test_again, "a lane that changes");

    return tap_done();
}
