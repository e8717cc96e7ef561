
/*
 * Copyright (C) zltunnel authors
 */

/* What goes out on a channel with lanes. */


#ifndef ZLT_SHARED_OUT_H_INCLUDED
#define ZLT_SHARED_OUT_H_INCLUDED


#include "types.h"


/* Room behind what is to be sent, which is at the end of the turn: where it
   goes, or NULL if there is none now. */
uint8_t *zlt_shared_out_room(zlt_shared_t *sh, size_t size);

/* How many there is room for now.  Large messages leave some to small ones,
   which wait behind what is there, and have their turn. */
size_t zlt_shared_out_left(const zlt_shared_t *sh, int large);

/* The lane waits for room: zlt_lane_writable() will be called. */
void zlt_shared_out_wait(zlt_shared_t *sh, zlt_lane_t *lane);

/* Says LaneEnd; the channel is broken if that cannot be said. */
void zlt_shared_out_end_lane(zlt_shared_t *sh, uint32_t number);

/* Bytes, and a message of the channel's own: 0, or -1 if there is no room. */
int zlt_shared_out_put(zlt_shared_t *sh, const uint8_t *data, size_t len);
int zlt_shared_out_say(zlt_shared_t *sh, unsigned type, uint64_t timestamp);

/* Sends what there is, and gives lanes that wait their turn. */
void zlt_shared_out_flush(zlt_shared_t *sh);

/* It fails when the loop comes to it. */
void zlt_shared_out_broken(zlt_shared_t *sh);


#endif /* ZLT_SHARED_OUT_H_INCLUDED */
