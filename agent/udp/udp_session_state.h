
/*
 * Copyright (C) zltunnel authors
 */

/* A session of the agent that serves, for the parts of it. */


#ifndef ZLT_UDP_SESSION_STATE_H_INCLUDED
#define ZLT_UDP_SESSION_STATE_H_INCLUDED


#include "service.h"
#include "udp.h"


typedef struct {
    zlt_udp_peer_t       peer;
    zlt_udp_socket_t     socket;
    zlt_service_t       *service;
    zlt_waiter_t         waiter;
    zlt_task_t           task;         /* the next turn; frees it */

    uint8_t              address;      /* of the service, in use */
    uint8_t              tried;        /* addresses */
    unsigned             answered:1;
} zlt_udp_session_t;


#define zlt_udp_session_of(p)  zlt_list_data(p, zlt_udp_session_t, peer)


/* To the address that is next; 0, or -1: the session is closed. */
int zlt_udp_session_connect(zlt_udp_session_t *s);

/* Says that it "has failed", and why. */
void zlt_udp_session_lost(const zlt_udp_session_t *s, const char *how,
    const zlt_addr_t *addr, const char *why);


#endif /* ZLT_UDP_SESSION_STATE_H_INCLUDED */
