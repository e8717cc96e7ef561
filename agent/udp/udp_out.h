
/*
 * Copyright (C) zltunnel authors
 */

/* What goes to the server on a datagram channel. */


#ifndef ZLT_UDP_OUT_H_INCLUDED
#define ZLT_UDP_OUT_H_INCLUDED


#include "types.h"
#include "udp_peer.h"


#define ZLT_UDP_OUT  (160 * 1024)      /* one write, two largest frames */


/* A datagram: copied. */
void zlt_udp_out_forward(zlt_udp_peer_t *p, const uint8_t *data, size_t len);

/* A frame that must not be lost. */
void zlt_udp_out_control(zlt_udp_t *u, const uint8_t *frame, size_t len);

/* Writes what there is, the queue too, as far as it goes. */
void zlt_udp_out_write(zlt_udp_t *u);


#endif /* ZLT_UDP_OUT_H_INCLUDED */
