
/*
 * Copyright (C) zltunnel authors
 */

/*
 * What is bulk: docs/protocol.md.  A direction of a connection is not worth
 * messages any more when so many reads in a row have brought so much; and a
 * lane is not, when so much goes without a change of direction, for so long.
 * Plain C11: no I/O, no allocation.
 */


#ifndef ZLT_BULK_H_INCLUDED
#define ZLT_BULK_H_INCLUDED


#include "zlt_types.h"


#define ZLT_BULK_READ        16384   /* bytes */
#define ZLT_BULK_RUN         3       /* .. then Raw, and splice() */
#define ZLT_BULK_LOT         65536   /* bytes of a lane, both ways, after which
                                        it is looked at */
#define ZLT_BULK_LASTS       32      /* round trips */


/* of a lane; all zero at the start */

typedef struct {
    size_t           bytes;        /* since it was looked at last */
    uint32_t         turns;        /* changes of direction, .. */
    uint32_t         used;         /* ms, when bytes went last; 0: never */
    uint32_t         lasted;       /* ms, that bulk was under way */
    uint8_t          sends;        /* the last that went */
} zlt_bulk_t;


/* A read has brought n bytes: how many in a row were large, 255 at the most. */
unsigned zlt_bulk_read(uint8_t *run, size_t n);

/* So many bytes went; now in ms. */
void zlt_bulk_went(zlt_bulk_t *b, size_t n, int sends, uint32_t now);

/* 1 if the lane carries bulk, and has for ZLT_BULK_LASTS of rtt, ms; asked again
   when another ZLT_BULK_LOT has gone. */
int zlt_bulk_lasts(zlt_bulk_t *b, uint32_t rtt);


#endif /* ZLT_BULK_H_INCLUDED */
