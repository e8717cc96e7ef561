
/*
 * Copyright (C) zltunnel authors
 */

/* The way to the server, up to the 101. */


#ifndef ZLT_CHANNEL_OPEN_H_INCLUDED
#define ZLT_CHANNEL_OPEN_H_INCLUDED


#include "channel.h"


/* Dials the server, or its proxy: 0 or -1. */
int zlt_channel_open_start(zlt_channel_t *ch, const zlt_way_t *way);

/* The time is over, why says for what. */
void zlt_channel_open_late(zlt_channel_t *ch, const char *why);

/* why: NULL if the pool has been told */
void zlt_channel_open_given_up(zlt_channel_t *ch, const char *why);


#endif /* ZLT_CHANNEL_OPEN_H_INCLUDED */
