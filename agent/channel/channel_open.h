
/*
 * Copyright (C) zltunnel authors
 */

/* The way to the server, up to the 101. */


#ifndef ZLT_CHANNEL_OPEN_H_INCLUDED
#define ZLT_CHANNEL_OPEN_H_INCLUDED


#include "channel.h"


/* Dials the server, or its proxy: 0 or -1. */
int zlt_channel_open_start(zlt_channel_t *ch, const zlt_addr_t *addr);

/* The step in which the server's answer is waited for. */
void zlt_channel_open_answer(zlt_io_t *io);

/* why: NULL if the pool has been told */
void zlt_channel_open_given_up(zlt_channel_t *ch, const char *why);


#endif /* ZLT_CHANNEL_OPEN_H_INCLUDED */
