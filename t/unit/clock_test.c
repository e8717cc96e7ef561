
/*
 * Copyright (C) zltunnel authors
 */

/* Protects: how the end of an access session is told. */


#include "tap.h"
#include "../../agent/clock.c"


static void
spans(void)
{
    unsigned  i;
    char      buf[ZLT_CLOCK_TEXT];

    static const struct {
        uint64_t     seconds;
        const char  *text;
    } list[] = {
        { 0, "0s" }, { 59, "59s" }, { 60, "1m 0s" }, { 3599, "59m 59s" },
        { 3600, "1h 0m" }, { 3659, "1h 0m" }, { 5400, "1h 30m" },
        { 86399, "23h 59m" }, { 86400, "1d 0h" }, { 90000, "1d 1h" },
        { 4294967295u, "49710d 6h" }
    };

    for (i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        tap_note("%llu", (unsigned long long) list[i].seconds);
        check(strcmp(zlt_clock_span(buf, list[i].seconds), list[i].text)
              == 0);
    }
}


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
    tap_run(spans, "spans");
    tap_run(until, "times of day");
    tap_run(boot, "milliseconds go on");

    return tap_done();
}
