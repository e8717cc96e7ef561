
/*
 * Copyright (C) zltunnel authors
 */

/* Connect has come: on an idle channel, or for a fresh one. */


#ifndef ZLT_CHANNEL_CONNECT_H_INCLUDED
#define ZLT_CHANNEL_CONNECT_H_INCLUDED


#include "channel.h"


/* The step of an idle channel. */
void zlt_channel_connect_idle(zlt_io_t *io);

/* What has come on an idle channel. */
void zlt_channel_connect_frames(zlt_channel_t *ch, const uint8_t *p,
    size_t len);

/* The first frame says that the channel is for datagrams, or the Connect that
   asked for it did. */
void zlt_channel_connect_datagrams(zlt_channel_t *ch, const uint8_t *p,
    size_t len);

/* zlt_channel_connect_early() has failed, errno says why: what is no message
   ends the channel, and for want of memory its connection is refused. */
void zlt_channel_connect_spoilt(zlt_channel_t *ch);


#endif /* ZLT_CHANNEL_CONNECT_H_INCLUDED */
