
/*
 * Copyright (C) zltunnel authors
 */

/* Deadlines of access sessions, and how they are told. */


#ifndef ZLT_CLOCK_H_INCLUDED
#define ZLT_CLOCK_H_INCLUDED


#include <stdint.h>
#include <time.h>


#define ZLT_CLOCK_TEXT  32
#define ZLT_CLOCK_UTC   24


/* Milliseconds that go on while the machine sleeps, and that nobody sets. */
uint64_t zlt_clock_boot(void);

/*
 * The wall time so many seconds from now: "15:04:05", and with the date where
 * that is not today: "2027-01-31 15:04:05".  buf has ZLT_CLOCK_TEXT bytes;
 * returns it.
 */
const char *zlt_clock_until(char *buf, uint64_t seconds);

/* "2027-01-31T15:04:05Z"; buf has ZLT_CLOCK_UTC bytes; returns it */
const char *zlt_clock_utc(char *buf, time_t t);


#endif /* ZLT_CLOCK_H_INCLUDED */
