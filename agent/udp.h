
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Private to udp*.c: a datagram channel and its sessions.
 *
 *   udp.c            the channel: frames in, frames out
 *   udp_session.c    the sessions of a channel, each with a socket
 *   udp_socket.c     a socket, many datagrams a system call
 *   udp_queue.c      what waits, by session
 */


#ifndef ZLT_UDP_H_INCLUDED
#define ZLT_UDP_H_INCLUDED


#include "agent.h"
#include "udp_queue.h"
#include "udp_socket.h"
#include "zlt_dgram.h"


typedef struct zlt_udp_session_s  zlt_udp_session_t;


struct zlt_udp_s {
    zlt_channel_t       *channel;
    zlt_agent_t         *agent;
    zlt_list_t           link;         /* all of them */
    zlt_task_t           task;         /* the end of the turn; frees it */

    zlt_dgram_reader_t   reader;
    uint8_t             *rest;         /* the beginning of a frame */
    size_t               rest_len;

    /* sessions by their numbers, which rise */
    zlt_udp_session_t  **buckets;
    uint32_t             mask;
    unsigned             nsessions;
    zlt_list_t           sessions;
    uint32_t             last;         /* the highest that was opened */
    zlt_udp_session_t   *recent;       /* found last, or NULL */

    zlt_list_t           staged;       /* sessions with datagrams to deliver */
    unsigned             nstaged;      /* datagrams */

    zlt_udp_queue_t      to_service;
    zlt_udp_queue_t      to_server;

    /* frames on their way to the server: those of this turn, or what is left
       of one that went in part, and what must not be dropped */
    uint8_t             *out;
    size_t               out_pos;
    size_t               out_len;

    const char          *broken;       /* why it ends with this turn */
    uint32_t             heard;        /* s */
    uint32_t             active;       /* s, a datagram of either direction */
    unsigned             stopping;     /* s, since the agent was told to end */

    unsigned             opened:1;     /* "last" is valid */
    unsigned             again:1;      /* there is more to read */
    unsigned             whole:1;      /* out starts with a frame */
    unsigned             blocked:1;    /* the server does not keep up */
    unsigned             ended:1;
};


struct zlt_udp_session_s {
    zlt_udp_socket_t     socket;       /* first: its events are ours */
    zlt_udp_t           *udp;
    zlt_service_t       *service;
    zlt_waiter_t         waiter;
    zlt_task_t           task;         /* the next turn; frees it */

    zlt_udp_session_t   *next;         /* of its bucket */
    zlt_list_t           link;         /* udp->sessions */
    zlt_list_t           used;         /* service->sessions */
    zlt_list_t           stage;        /* udp->staged */

    zlt_udp_flow_t       to_service;
    zlt_udp_flow_t       to_server;

    uint32_t             number;
    uint32_t             active;       /* s */
    uint16_t             first;        /* staged datagrams, by index */
    uint16_t             last;
    uint8_t              address;      /* of the service, in use */
    uint8_t              tried;        /* addresses */
    unsigned             ready:1;      /* the socket is there */
    unsigned             answered:1;
    unsigned             waiting:1;    /* for room in the socket */
    unsigned             closed:1;
};


/* udp.c */

/* A datagram on its way to the server: copied. */
void zlt_udp_forward(zlt_udp_session_t *s, const uint8_t *data, size_t len);

/* A frame that must not be lost. */
void zlt_udp_control(zlt_udp_t *u, const uint8_t *frame, size_t len);

/* Seconds, of zlt_udp_tick(). */
extern uint32_t  zlt_udp_now;


/* udp_session.c */

int zlt_udp_sessions_init(zlt_udp_t *u);

/* Without a word to the server. */
void zlt_udp_sessions_free(zlt_udp_t *u);

/* NULL: there is none of that number. */
zlt_udp_session_t *zlt_udp_session_find(zlt_udp_t *u, uint32_t number);

void zlt_udp_session_open(zlt_udp_t *u, const zlt_dgram_t *f);

/* "cause" (ZLT_E_*) goes to the server, unless the server has asked. */
void zlt_udp_session_close(zlt_udp_session_t *s, unsigned cause, int tell);

/*
 * A datagram for the service.  Only noted: the data must stay until
 * zlt_udp_deliver(), which sends all that was noted, by session.
 */
void zlt_udp_stage(zlt_udp_session_t *s, const uint8_t *data, size_t len);
void zlt_udp_deliver(zlt_udp_t *u);

/* A complaint about a service, once a minute. */
void zlt_udp_complain(zlt_service_t *service, const char *fmt, ...)
    zlt_printf_like(2, 3);


#endif /* ZLT_UDP_H_INCLUDED */
