
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

/* To be called each second, for each link: sessions that have been idle for
   too long. */
void zlt_udp_session_tick(zlt_owner_t *o);

/* Ends the sessions of a service that is removed, or leads elsewhere now. */
void zlt_udp_session_service_end(zlt_service_t *service);

/* Its counters, to the log. */
void zlt_udp_session_service_log(const zlt_owner_t *o,
    const zlt_service_t *service);


#endif /* ZLT_UDP_SESSION_H_INCLUDED */
