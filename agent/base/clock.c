
/*
 * Copyright (C) zltunnel authors
 */

/* Deadlines of access sessions, and how they are told. */


#include <stdio.h>
#include <time.h>

#include "clock.h"


uint64_t
zlt_clock_boot(void)
{
    struct timespec  ts;

    if (clock_gettime(CLOCK_BOOTTIME, &ts) == 0) {
        return (uint64_t) ts.tv_sec * 1000 + (uint64_t) ts.tv_nsec / 1000000;
    }

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000 + (uint64_t) ts.tv_nsec / 1000000;
}


const char *
zlt_clock_until(char *buf, uint64_t seconds)
{
    time_t     now, then;
    struct tm  today, tm;

    now = time(NULL);
    then = now + (time_t) seconds;

    if (localtime_r(&now, &today) == NULL || localtime_r(&then, &tm) == NULL) {
        (void) snprintf(buf, ZLT_CLOCK_TEXT, "?");
        return buf;
    }

    (void) strftime(buf, ZLT_CLOCK_TEXT,
                    today.tm_year == tm.tm_year && today.tm_yday == tm.tm_yday
                    ? "%H:%M:%S" : "%Y-%m-%d %H:%M:%S", &tm);

    return buf;
}
