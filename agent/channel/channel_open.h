
/*
 * Copyright (C) zltunnel authors
 */

/* The way to the server, up to the 101. */


#ifndef ZLT_CHANNEL_OPEN_H_INCLUDED
#define ZLT_CHANNEL_OPEN_H_INCLUDED


#include "channel.h"


/* Dials the server, or its proxy: 0 or -1. */
int zlt_channel_open_start(zlt_channel_t *ch, const zlt_way_t *way);

/* For the pool; to answer a Connect of the control channel; and that of a
   service for datagrams. */
extern const zlt_channel_use_t  zlt_channel_use_idle;
extern const zlt_channel_use_t  zlt_channel_use_fresh;
extern const zlt_channel_use_t  zlt_channel_use_datagrams;


#endif /* ZLT_CHANNEL_OPEN_H_INCLUDED */
