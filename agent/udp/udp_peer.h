
/*
 * Copyright (C) zltunnel authors
 */


#ifndef ZLT_UDP_PEER_H_INCLUDED
#define ZLT_UDP_PEER_H_INCLUDED


#include <stddef.h>

#include "service.h"
#include "types.h"
#include "udp_socket.h"
#include "zlt_dgram.h"
#include "zlt_queue.h"


typedef struct zlt_udp_peer_s  zlt_udp_peer_t;


/* what an error of a socket means */

typedef enum {
    ZLT_UDP_SKIP,                      /* that datagram is lost */
    ZLT_UDP_AGAIN,                     /* the same once more */
    ZLT_UDP_WAIT,                      /* until there is room */
    ZLT_UDP_DEAD                       /* the session is closed */
} zlt_udp_failed_e;


/* Who is at the end of the channel: the agent that serves, or the visitor. */

typedef struct {

    /* DatagramOpen; NULL: the server does not send it here */
    void  (*open)(zlt_udp_t *u, const zlt_dgram_t *f);

    /* A datagram that came from the socket: on its way to the server. */
    void  (*forward)(zlt_udp_peer_t *p, const uint8_t *data, size_t len);

    /* The socket has failed, not for want of room. */
    zlt_udp_failed_e  (*failed)(zlt_udp_peer_t *p, int err);

    /* The session ends; "tell": the server did not ask for it. */
    void  (*close)(zlt_udp_peer_t *p, unsigned cause, int tell);

    /* The channel ends: without a word to the server. */
    void  (*drop)(zlt_udp_peer_t *p);

    void  (*complain)(zlt_udp_peer_t *p, const char *text);
} zlt_udp_role_t;


/* a session, as the channel sees it */

struct zlt_udp_peer_s {
    zlt_udp_t           *udp;
    zlt_udp_peer_t      *next;         /* of its bucket */
    zlt_list_t           link;         /* udp->peers */
    zlt_list_t           stage;        /* udp->staged */

    zlt_queue_flow_t     to_local;     /* to the service, or the client */
    zlt_queue_flow_t     to_server;

    const zlt_udp_role_t  *role;
    zlt_udp_socket_t    *socket;
    const struct sockaddr  *to;        /* NULL: it is connected */
    socklen_t            tolen;

    zlt_list_t           used;
    zlt_list_t          *users;        /* the longest idle first */
    uint32_t             active;       /* s */

    zlt_udp_count_t     *count;
    uint64_t            *bytes_in;     /* .. but for these */
    uint64_t            *bytes_out;
    uint32_t             number;
    uint16_t             first;        /* staged datagrams, by index */
    uint16_t             last;
    unsigned             ready:1;      /* there is where to send to */
    unsigned             closed:1;
};


/* 0, or -1 without memory. */
int zlt_udp_peer_init_all(zlt_udp_t *u);

/* Drops all of them. */
void zlt_udp_peer_free_all(zlt_udp_t *u);

/* Of a session that has no number yet, and whose counters, socket and users are
   set: it is the last of these. */
void zlt_udp_peer_init(zlt_udp_peer_t *p, const zlt_udp_role_t *role);

/* Something has come for it, or from it. */
void zlt_udp_peer_used(zlt_udp_peer_t *p);

/* Closes those of a list that were not used for so many ms. */
void zlt_udp_peer_idle(zlt_list_t *users, uint32_t timeout);

/* "cause" (ZLT_E_*) goes to the server, unless the server has asked. */
void zlt_udp_peer_close(zlt_udp_peer_t *p, unsigned cause, int tell);

/* NULL: there is none of that number. */
zlt_udp_peer_t *zlt_udp_peer_find(zlt_udp_t *u, uint32_t number);
void zlt_udp_peer_add(zlt_udp_t *u, zlt_udp_peer_t *p, uint32_t number);

/* With what waits for it. */
void zlt_udp_peer_remove(zlt_udp_peer_t *p);

/*
 * A datagram from the server.  Only noted: the data must stay until
 * zlt_udp_peer_deliver_all(), which sends all that was noted, by session.
 */
void zlt_udp_peer_stage(zlt_udp_peer_t *p, const uint8_t *data, size_t len);
void zlt_udp_peer_deliver_all(zlt_udp_t *u);

/* There is room in the socket again, or an address: sends what was queued, of
   one, or of all that share the socket (NULL); u may be NULL, too. */
void zlt_udp_peer_resume(zlt_udp_socket_t *socket, zlt_udp_t *u,
    zlt_udp_peer_t *one);

/* What has come from the socket, one datagram or many of one size. */
void zlt_udp_peer_receive(zlt_udp_peer_t *p, const zlt_udp_message_t *m);

/* One that cannot go to the server now: in a queue of zlt_udp_peer_to_server,
   in front of which "beside" bytes wait. */
void zlt_udp_peer_wait(zlt_udp_peer_t *p, zlt_queue_t *q, const uint8_t *data,
    size_t len, size_t beside);

extern const zlt_queue_ops_t  zlt_udp_peer_to_server;


#endif /* ZLT_UDP_PEER_H_INCLUDED */
