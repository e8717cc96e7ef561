
/*
 * Copyright (C) zltunnel authors
 */


#ifndef ZLT_VISIT_UDP_H_INCLUDED
#define ZLT_VISIT_UDP_H_INCLUDED


#include "types.h"


/* Serves a socket, which it takes over; NULL without memory. */
zlt_visit_udp_t *zlt_visit_udp_create(zlt_access_t *x, int fd);

/* Takes no more clients. */
void zlt_visit_udp_deaf(zlt_visit_udp_t *v);
/* The session is another link's by now: the channel ends, and the next datagram
   opens one there. */
void zlt_visit_udp_leave(zlt_visit_udp_t *v);

unsigned zlt_visit_udp_count(const zlt_visit_udp_t *v);
void zlt_visit_udp_destroy(zlt_visit_udp_t *v);

/* To be called each second. */
void zlt_visit_udp_tick(zlt_visit_udp_t *v);


#endif /* ZLT_VISIT_UDP_H_INCLUDED */
