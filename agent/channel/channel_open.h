
/*
 * Copyright (C) zltunnel authors
 */

/* The way to the server, up to the 101. */


#ifndef ZLT_CHANNEL_OPEN_H_INCLUDED
#define ZLT_CHANNEL_OPEN_H_INCLUDED


#include "channel.h"


/* Dials the server, or its proxy: 0 or -1. */
int zlt_channel_connect(zlt_channel_t *ch, const zlt_addr_t *addr);

/* The steps that others have to start, or to know. */
void zlt_channel_connecting(zlt_io_t *io);
void zlt_channel_answer(zlt_io_t *io);

/* What its requests say who it belongs to; NULL: there is no tunnel. */
const zlt_pool_param_t *zlt_channel_param(zlt_channel_t *ch);

/* Closes the way to the server, and what was under way on it. */
void zlt_channel_shut(zlt_channel_t *ch);

/* why: NULL if the pool has been told */
void zlt_channel_given_up(zlt_channel_t *ch, const char *why);


#endif /* ZLT_CHANNEL_OPEN_H_INCLUDED */
