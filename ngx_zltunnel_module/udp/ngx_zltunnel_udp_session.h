
/*
 * Copyright (C) zltunnel authors
 */

/* Sessions of UDP clients. */


#ifndef _NGX_ZLTUNNEL_UDP_SESSION_H_INCLUDED_
#define _NGX_ZLTUNNEL_UDP_SESSION_H_INCLUDED_


#include "ngx_zltunnel.h"

#include "zlt_queue.h"


typedef enum {
    NGX_ZLTUNNEL_UDP_DONE = 0,     /* as many answers as were expected */
    NGX_ZLTUNNEL_UDP_IDLE,         /* for longer than the timeout */
    NGX_ZLTUNNEL_UDP_AGENT,        /* the agent has ended it: udp->cause */
    NGX_ZLTUNNEL_UDP_CUT,          /* the service or its right is gone */
    NGX_ZLTUNNEL_UDP_EXIT          /* the worker exits */
} ngx_zltunnel_udp_end_e;


typedef void (*ngx_zltunnel_udp_pt)(ngx_zltunnel_udp_t *udp,
    ngx_zltunnel_udp_end_e how);


struct ngx_zltunnel_udp_s {
    /* set by the caller */
    ngx_zltunnel_registry_t     *registry;
    ngx_connection_t            *connection; /* the client's */
    ngx_str_t                    client_addr;/* "ip:port" */
    off_t                       *received;   /* to be counted up, in bytes */
    ngx_msec_t                   timeout;    /* 0: none */
    ngx_int_t                    responses;  /* to each datagram; -1: any */
    ngx_zltunnel_udp_pt          handler;    /* called once, at the end */
    void                        *data;
    unsigned                     local:1;    /* the client is on this host */

    /* results */
    uint64_t                     datagrams[2]; /* 0 from the client, 1 to it */
    uint64_t                     dropped;
    ngx_uint_t                   cause;      /* of DatagramClose */

    /* state */
    ngx_zltunnel_carrier_t      *carrier;
    ngx_queue_t                  queue;      /* carrier->sessions */
    ngx_zltunnel_udp_t          *next;       /* of the same number hash */
    uint32_t                     number;     /* on the channel; 0: not open */
    zlt_queue_flow_t             waiting;    /* for the channel */
    ngx_event_t                  timer;
    ngx_msec_t                   active;     /* last time of a datagram */
    ngx_zltunnel_udp_end_e       how;
    unsigned                     ending:1;
};


/* a message's space for an address of ours and for the size of segments */

typedef union {
    struct cmsghdr               cmsg;
    u_char                       space[CMSG_SPACE(sizeof(struct in6_pktinfo))
                                       + CMSG_SPACE(sizeof(uint16_t))];
} ngx_zltunnel_udp_control_t;


/*
 * Opens a session of the service that has the port, or the name.  On
 * NGX_ZLTUNNEL_DIAL_OK handler is called once when it ends, but not before
 * this returns; ngx_zltunnel_udp_session_close() must follow whoever ends it.
 */
ngx_zltunnel_dial_e ngx_zltunnel_udp_session_open_port(ngx_zltunnel_udp_t *udp,
    in_port_t port);
ngx_zltunnel_dial_e ngx_zltunnel_udp_session_open_name(ngx_zltunnel_udp_t *udp,
    ngx_str_t *name, ngx_str_t *token);
/* Takes a datagram of the client: written when the event loop comes round, or
   by ngx_zltunnel_datagrams_out_flush(); dropped where it cannot be. */
void ngx_zltunnel_udp_session_send(ngx_zltunnel_udp_t *udp, u_char *data,
    size_t len);
void ngx_zltunnel_udp_session_close(ngx_zltunnel_udp_t *udp);
/* the session ends soon: not from within the caller */
void ngx_zltunnel_udp_session_end(ngx_zltunnel_udp_t *udp,
    ngx_zltunnel_udp_end_e how);
/* the next datagram that waits, taken out of its queue; the caller frees it */
zlt_queue_item_t *ngx_zltunnel_udp_session_next(
    ngx_zltunnel_carrier_t *carrier, ngx_zltunnel_udp_t **udp);
/* of a carrier's queue */
extern const zlt_queue_ops_t  ngx_zltunnel_udp_session_queue;
/* the names of what it goes to */
ngx_str_t *ngx_zltunnel_udp_session_service(ngx_zltunnel_udp_t *udp);
ngx_str_t *ngx_zltunnel_udp_session_tunnel(ngx_zltunnel_udp_t *udp);


#endif /* _NGX_ZLTUNNEL_UDP_SESSION_H_INCLUDED_ */
