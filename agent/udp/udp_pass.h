
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

/* An error of the socket. */
zlt_udp_failed_e zlt_udp_pass_failed(zlt_udp_peer_t *p, int err);


#endif /* ZLT_UDP_PASS_H_INCLUDED */
