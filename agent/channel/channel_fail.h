
/*
 * Copyright (C) zltunnel authors
 */

/* A connection that could not be made to its service. */


#ifndef ZLT_CHANNEL_FAIL_H_INCLUDED
#define ZLT_CHANNEL_FAIL_H_INCLUDED


#include "channel.h"


/* With that errno; the race for its addresses, if there is one, is over. */
void zlt_channel_fail(zlt_channel_t *ch, int err);

/* The time is over. */
void zlt_channel_fail_late(zlt_channel_t *ch);


#endif /* ZLT_CHANNEL_FAIL_H_INCLUDED */
