
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A rate that many share, without a lock: one clock, which says when all that
 * was reserved will have gone.
 *
 * Who wants to move bytes reserves them.  That moves the clock on by the time
 * which they take at the rate, and tells the time at which it was before: then
 * they may go.  So who asks first is first, and who asks again is behind all
 * others that have asked meanwhile.  A clock that has fallen behind is as far
 * behind as ZLT_PACE_BURST at most: so much may go at once after a pause, and a
 * sleeper that wakes up late catches up.
 *
 * Time is in nanoseconds, of a clock that does not jump; a rate in bytes a
 * second.  Processes may share the word.  Plain C11: no I/O, no allocation.
 */


#ifndef ZLT_PACE_H_INCLUDED
#define ZLT_PACE_H_INCLUDED


#include "zlt_types.h"


#define ZLT_PACE_BURST    150000000ULL      /* ns */
#define ZLT_PACE_AHEAD    60000000000ULL    /* ns: none waits for longer */
#define ZLT_PACE_LEAST    16384             /* bytes, of a reservation .. */
#define ZLT_PACE_CROWDED  2048              /* .. where others wait for long */
#define ZLT_PACE_MOST     (256 * 1024)


/* When n bytes may go: at once, if that is not above now. */
uint64_t zlt_pace_reserve(uint64_t *clock, uint64_t rate, size_t n,
    uint64_t now);

/* n of the bytes that were reserved do not go. */
void zlt_pace_give_back(uint64_t *clock, uint64_t rate, size_t n);

/* What is ahead of now at the old rate is so many bytes: when they will have gone
   at the new one.  0: no limit. */
uint64_t zlt_pace_rescale(uint64_t at, uint64_t old, uint64_t rate,
    uint64_t now);

/* The same for a clock. */
void zlt_pace_change(uint64_t *clock, uint64_t old, uint64_t rate,
    uint64_t now);

/* How many bytes to reserve at a time: some milliseconds of the rate, and
   enough to be bulk, unless others have to wait for that; a second of it at
   most. */
size_t zlt_pace_portion(const uint64_t *clock, uint64_t rate, uint64_t now);


#endif /* ZLT_PACE_H_INCLUDED */
