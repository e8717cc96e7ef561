
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Bytes that were taken and for which the socket had no room, in memory of
 * their size.  Whoever has such bytes takes nothing more until they are sent,
 * but what must go behind them at once.  Plain C11: no I/O; the functions that
 * give and take memory are its user's.
 */


#ifndef ZLT_UNSENT_H_INCLUDED
#define ZLT_UNSENT_H_INCLUDED


#include "zlt_types.h"


typedef struct {
    uint32_t         pos;
    uint32_t         last;
    uint8_t          data[];
} zlt_unsent_t;                    /* a pointer to it; NULL: nothing */


#define zlt_unsent_next(u)  ((u)->data + (u)->pos)
#define zlt_unsent_left(u)  ((size_t) ((u)->last - (u)->pos))


/* Adds a copy of len bytes, at least one, behind what is there: 0, or -1
   without memory, and what was there is. */
int zlt_unsent_put(zlt_unsent_t **unsent, const zlt_memory_t *memory,
    const void *data, size_t len);

/* So many of what is left were sent: after the last one it is NULL. */
void zlt_unsent_sent(zlt_unsent_t **unsent, const zlt_memory_t *memory,
    size_t n);

/* Forgets all of it. */
void zlt_unsent_drop(zlt_unsent_t **unsent, const zlt_memory_t *memory);


#endif /* ZLT_UNSENT_H_INCLUDED */
