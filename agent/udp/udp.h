
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A datagram channel and its sessions.
 *
 *   udp.c            the channel, and what comes on it
 *   udp_out.c        .. and what goes out
 *   udp_peer.c       its sessions by number, and what comes for them
 *   udp_session.c    those of a service, each with a socket
 *   udp_pass.c       .. what comes from there, and its errors
 *   udp_service.c    .. all of one service: which is idle, what is counted
 *   visit_client.c   those of a visitor, which share a socket, in access/
 *   udp_socket.c     a socket, many datagrams a system call
 */


#ifndef ZLT_UDP_H_INCLUDED
#define ZLT_UDP_H_INCLUDED


#include "task.h"
#include "types.h"
#include "udp_out.h"
#include "udp_peer.h"
#include "udp_service.h"
#include "udp_session.h"
#include "udp_socket.h"
#include "zlt_dgram.h"


struct zlt_udp_s {
    zlt_channel_t       *channel;
    zlt_owner_t         *owner;
    const zlt_udp_role_t  *role;
    zlt_list_t           link;         /* all of them */
    zlt_task_t           task;         /* the end of the turn; frees it */

    zlt_dgram_reader_t   reader;
    uint8_t             *rest;         /* the beginning of a frame */
    size_t               rest_len;

    /* sessions by their numbers, which rise */
    zlt_udp_peer_t     **buckets;
    uint32_t             mask;
    unsigned             npeers;
    zlt_list_t           peers;
    uint32_t             last;         /* the highest that was opened */
    zlt_udp_peer_t      *recent;       /* found last, or NULL */

    zlt_list_t           staged;       /* sessions with datagrams to deliver */
    unsigned             nstaged;      /* datagrams */

    zlt_queue_t          to_local;
    zlt_queue_t          to_server;

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
    unsigned             unread:1;     /* .. and first what is in "rest" */
    unsigned             whole:1;      /* out starts with a frame */
    unsigned             blocked:1;    /* the server does not keep up */
    unsigned             ended:1;
};


/*
 * Makes a datagram channel of it, for a role; data is what has come already.
 * NULL without memory.  The channel owns it from then on.
 */
zlt_udp_t *zlt_udp_begin(zlt_channel_t *ch, const zlt_udp_role_t *role,
    const uint8_t *data, size_t len);
void zlt_udp_free(zlt_udp_t *u);

/* To be called each second. */
void zlt_udp_tick(void);

/* Seconds, of zlt_udp_tick(). */
extern uint32_t  zlt_udp_now;


#endif /* ZLT_UDP_H_INCLUDED */
