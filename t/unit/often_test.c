
/*
 * Copyright (C) zltunnel authors
 */

/* Protects: what comes often is one line of the log, and then a count each
   minute, whatever somebody makes of it. */


#include <stdarg.h>
#include <stdint.h>

#include "tap.h"
#include "log.h"
#include "often.h"


static uint64_t  now;
static unsigned  warned;
static unsigned  debugged;
static char      last[2048];
static char      labelled[512];


/* in place of the loop and of the log */

uint64_t zlt_io_now(void);

uint64_t
zlt_io_now(void)
{
    return now;
}


void
zlt_log_link(const char *label, zlt_log_level_e level, const char *fmt, ...)
{
    va_list  ap;

    if (level == ZLT_LOG_DEBUG) {
        debugged++;
        return;
    }

    warned++;

    va_start(ap, fmt);
    (void) vsnprintf(last, sizeof(last), fmt, ap);
    va_end(ap);

    (void) snprintf(labelled, sizeof(labelled), "%s", label);
}


static void
reset(void)
{
    zlt_often_done();
    warned = 0;
    debugged = 0;
}


static void
flood(const char *label, const char *subject, unsigned n)
{
    while (n--) {
        zlt_often_warn(label, subject, "\"%s\" failed: %u", subject, n);
    }
}


static void
minutes(void)
{
    reset();
    flood("a: ", "web", 1000);

    check(warned == 1);
    check(debugged == 999);
    check(strcmp(last, "\"web\" failed: 999") == 0);

    now += 59 * 1000;
    zlt_often_tick();
    check(warned == 1);

    now += 1000;
    zlt_often_tick();
    check(warned == 2);
    check(strstr(last, "\"web\" failed: 0 (999 more") != NULL);
    check(strcmp(labelled, "a: ") == 0);

    /* it goes on, and is told once a minute */

    flood("a: ", "web", 3);
    check(warned == 2);

    now += 60 * 1000;
    zlt_often_tick();
    check(warned == 3);
    check(strstr(last, "(3 more") != NULL);

    /* a quiet minute ends it */

    now += 60 * 1000;
    zlt_often_tick();
    check(warned == 3);

    flood("a: ", "web", 1);
    check(warned == 4);
    check(strcmp(last, "\"web\" failed: 0") == 0);
}


static void
kinds(void)
{
    reset();
    flood("a: ", "web", 5);
    flood("a: ", "ssh", 5);
    flood("b: ", "web", 5);
    check(warned == 3);

    zlt_often_warn("a: ", "web", "another");
    check(warned == 4);

    zlt_often_done();
    check(warned == 7);
    check(strstr(last, "(4 more") != NULL);
}


/* Whoever can choose what the kinds are has no more lines of it. */

static void
bounded(void)
{
    char      subject[16];
    unsigned  i;

    reset();

    for (i = 0; i < 10000; i++) {
        (void) snprintf(subject, sizeof(subject), "s%u", i);
        flood("", subject, 2);
    }

    check(warned < 300);

    now += 60 * 1000;
    zlt_often_tick();
    check(warned < 600);
}


int
main(void)
{
    tap_run(minutes, "a line, and a count each minute");
    tap_run(kinds, "of each label, subject and place");
    tap_run(bounded, "as many kinds as one likes");

    zlt_often_done();

    return tap_done();
}
