
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Whether a connection is under way on a channel, for who passes its messages on
 * and has nothing to do with them: docs/protocol.md, "Data channels".  Plain
 * C11: no I/O, no allocation.
 */


#ifndef ZLT_TRACK_H_INCLUDED
#define ZLT_TRACK_H_INCLUDED


#include "zlt_types.h"


/* from whom */

#define ZLT_TRACK_SERVER     0
#define ZLT_TRACK_AGENT      1


/* all zero: an idle channel, between two messages */

typedef struct {
    struct {
        uint32_t     left;         /* bytes of the present payload */
        uint8_t      have;         /* of the next header */
        uint8_t      open;         /* the connection has not ended there */
        uint8_t      reset;        /* it ended by a Reset */
        uint8_t      header[ZLT_HEADER_SIZE];
    } way[2];

    uint8_t          retired;      /* will not be idle again .. */
    uint8_t          lost;         /* .. nor is there more to be seen */
} zlt_track_t;


/* A connection begins: the channel answers a Connect. */
void zlt_track_begin(zlt_track_t *t);

/* These bytes have come from there; they may begin and end anywhere. */
void zlt_track_bytes(zlt_track_t *t, unsigned from, const uint8_t *data,
    size_t len);

/* 1: a connection is under way */
int zlt_track_busy(const zlt_track_t *t);

/* 1: none is, nor is a message half there, and there may be others */
int zlt_track_idle(const zlt_track_t *t);

/* 0: if nothing more comes from there, the connection is cut off, or reset */
int zlt_track_whole(const zlt_track_t *t, unsigned from);


#endif /* ZLT_TRACK_H_INCLUDED */
