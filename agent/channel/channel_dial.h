
/*
 * Copyright (C) zltunnel authors
 */

/* The way to the service, and the relay. */


#ifndef ZLT_CHANNEL_DIAL_H_INCLUDED
#define ZLT_CHANNEL_DIAL_H_INCLUDED


#include "channel.h"


/* Keeps what Connect says for zlt_channel_dial(): 0, or -1 without memory. */
int zlt_channel_dial_prepare(zlt_channel_t *ch, const zlt_msg_t *m);

void zlt_channel_dial(zlt_channel_t *ch, const uint8_t *service_id);

/* What comes meanwhile stays in the socket, and the bits say that it came. */
void zlt_channel_dial_wait(zlt_io_t *io);

/* The service's addresses that may be dialled; their number. */
unsigned zlt_channel_dial_permitted(const zlt_channel_t *ch, zlt_addrs_t *to);

/* Server and service are both there: answer, and relay. */
void zlt_channel_dial_join(zlt_channel_t *ch);


#endif /* ZLT_CHANNEL_DIAL_H_INCLUDED */
