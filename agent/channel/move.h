
/*
 * Copyright (C) zltunnel authors
 */

/* A connection leaves its lane. */


#ifndef ZLT_MOVE_H_INCLUDED
#define ZLT_MOVE_H_INCLUDED


#include "channel.h"


/* Move has come on ch; no bytes may be behind it. */
void zlt_move_begin(zlt_channel_t *ch, const zlt_msg_t *m, size_t behind);

/* Moved has come on the lane of ch, and there may be room for ours. */
void zlt_move_leave_lane(zlt_channel_t *ch);


#endif /* ZLT_MOVE_H_INCLUDED */
