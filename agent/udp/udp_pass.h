
/*
 * Copyright (C) zltunnel authors
 */

/* The datagrams of a session of the agent that serves, both ways. */


#ifndef ZLT_UDP_PASS_H_INCLUDED
#define ZLT_UDP_PASS_H_INCLUDED


#include "udp_session_state.h"


/* From the service: the socket is ready, or there was more than one turn
   takes. */
void zlt_udp_pass_event(zlt_io_t *io);
void zlt_udp_pass_turn(zlt_task_t *task);

/* To the service; what it does not take now waits. */
void zlt_udp_pass_send(zlt_udp_peer_t *p, struct iovec *iov, unsigned n);

/* There is room, or an address: what was queued goes. */
void zlt_udp_pass_resume(zlt_udp_session_t *s);


#endif /* ZLT_UDP_PASS_H_INCLUDED */
