
/*
 * Copyright (C) zltunnel authors
 */

/* Protects: how the end of an access session is told. */


#include <time.h>

#include "tap.h"
#include "clock.h"


static void
until(void)
{
    char        buf[ZLT_CLOCK_TEXT], want[ZLT_CLOCK_TEXT];
    time_t      then;
    struct tm   tm;

    /* far enough to be another day */

    check(strlen(zlt_clock_until(buf, 3 * 86400)) == 19);

    then = time(NULL) + 3 * 86400;
    check(localtime_r(&then, &tm) != NULL);
    (void) strftime(want, sizeof(want), "%Y-%m-%d", &tm);
    check(strncmp(buf, want, 10) == 0 || time(NULL) + 3 * 86400 != then);

    check(strlen(zlt_clock_until(buf, 0)) == 8);
}


static void
boot(void)
{
    uint64_t         a, b;
    struct timespec  nap = { 0, 20 * 1000 * 1000 };

    a = zlt_clock_boot();
    (void) nanosleep(&nap, NULL);
    b = zlt_clock_boot();

    check(b - a >= 19 && b - a < 10000);
}


int
main(void)
{
    tap_run(until, "times of day");
    tap_run(boot, "milliseconds go on");

    return tap_done();
}
