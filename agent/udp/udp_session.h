
/*
 * Copyright (C) zltunnel authors
 */


#ifndef ZLT_UDP_SESSION_H_INCLUDED
#define ZLT_UDP_SESSION_H_INCLUDED


#include <stddef.h>
#include <stdint.h>

#include "types.h"


/* Makes a datagram channel of it, for the services of its owner; data is what
   has come already.  0, or -1 without memory. */
int zlt_udp_session_start(zlt_channel_t *ch, const uint8_t *data, size_t len);


#endif /* ZLT_UDP_SESSION_H_INCLUDED */
