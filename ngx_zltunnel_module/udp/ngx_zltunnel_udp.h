
/*
 * Copyright (C) zltunnel authors
 */

/*
 * UDP sessions and the datagram channels that carry them.
 *
 * A client's address and port make a session, which is a session of nginx's
 * stream.  The sessions of one service share one data channel a worker, in
 * which they are numbered: a carrier.
 */


#ifndef _NGX_ZLTUNNEL_UDP_H_INCLUDED_
#define _NGX_ZLTUNNEL_UDP_H_INCLUDED_


#include "ngx_zltunnel_dial.h"
#include "zlt_dgram.h"


typedef struct ngx_zltunnel_udp_s      ngx_zltunnel_udp_t;
typedef struct ngx_zltunnel_carrier_s  ngx_zltunnel_carrier_t;


typedef enum {
    NGX_ZLTUNNEL_UDP_DONE = 0,     /* as many answers as were expected */
    NGX_ZLTUNNEL_UDP_IDLE,         /* for longer than the timeout */
    NGX_ZLTUNNEL_UDP_AGENT,        /* the agent has ended it: udp->cause */
    NGX_ZLTUNNEL_UDP_CUT,          /* the service or its right is gone */
    NGX_ZLTUNNEL_UDP_EXIT          /* the worker exits */
} ngx_zltunnel_udp_end_e;


typedef void (*ngx_zltunnel_udp_pt)(ngx_zltunnel_udp_t *udp,
    ngx_zltunnel_udp_end_e how);


/* a datagram that waits for the channel */

typedef struct ngx_zltunnel_datagram_s  ngx_zltunnel_datagram_t;

struct ngx_zltunnel_datagram_s {
    ngx_zltunnel_datagram_t     *next;
    ngx_msec_t                   since;
    size_t                       len;
    u_char                       data[1];    /* allocated to fit */
};


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
    ngx_queue_t                  turn;       /* carrier->turns, if waiting */
    ngx_zltunnel_udp_t          *next;       /* of the same number hash */
    uint32_t                     number;     /* on the channel; 0: not open */
    ngx_zltunnel_datagram_t     *first;      /* waiting for the channel */
    ngx_zltunnel_datagram_t     *last;
    size_t                       waiting;    /* bytes of those */
    ngx_event_t                  timer;
    ngx_msec_t                   active;     /* last time of a datagram */
    ngx_zltunnel_udp_end_e       how;
    unsigned                     ending:1;
};


struct ngx_zltunnel_carrier_s {
    ngx_rbtree_node_t            node;       /* by service id */
    u_char                       id[ZLT_ID_SIZE];     /* the service's */
    u_char                       tunnel_id[ZLT_ID_SIZE];
    ngx_zltunnel_registry_t     *registry;
    ngx_str_t                    service;    /* names, allocated with it */
    ngx_str_t                    tunnel;
    ngx_zltunnel_link_t          link;
    ngx_zltunnel_sh_counter_t   *counter;    /* while there are sessions */
    uint64_t                     dropped[NGX_ZLTUNNEL_DROPS]; /* without it */

    ngx_zltunnel_dial_t          dial;
    ngx_pool_t                  *dial_pool;
    ngx_zltunnel_channel_t      *channel;
    ngx_msec_t                   opened;     /* when the channel came */
    ngx_msec_t                   failed;     /* when none was to be had */

    ngx_queue_t                  sessions;
    ngx_uint_t                   nsessions;
    ngx_zltunnel_udp_t         **numbers;    /* hash of the open ones */
    ngx_uint_t                   nnumbers;   /* a power of two */
    uint32_t                     number;     /* the last one given */
    ngx_msec_t                   full;       /* at max_udp_sessions, since */

    ngx_queue_t                  turns;      /* sessions that wait */
    size_t                       waiting;    /* bytes in all of them */
    ngx_uint_t                   nturns;

    u_char                      *out;        /* frames, begun to be written */
    size_t                       out_pos;
    size_t                       out_len;
    size_t                       out_size;

    u_char                      *in;         /* the beginning of a frame */
    size_t                       in_len;
    size_t                       in_size;
    zlt_dgram_reader_t           reader;

    ngx_event_t                  tick;       /* 1 s, cancelable */
    ngx_msec_t                   unused;     /* without sessions since */
    ngx_msec_t                   heard;      /* last frame of the agent */
    ngx_msec_t                   beat;       /* when a heartbeat is due */
    ngx_msec_t                   limit;      /* .. or to be answered */

    unsigned                     capable:1;  /* its agent carries datagrams */
    unsigned                     dialling:1;
    unsigned                     asked:1;    /* for a sign of life */
    unsigned                     isfull:1;
    unsigned                     dead:1;
};


/* a message's space for an address of ours and for the size of segments */

typedef union {
    struct cmsghdr               cmsg;
    u_char                       space[CMSG_SPACE(sizeof(struct in6_pktinfo))
                                       + CMSG_SPACE(sizeof(uint16_t))];
} ngx_zltunnel_udp_control_t;


/* where a datagram came from, and to which of our addresses */

typedef struct {
    uint64_t                     word[5];
} ngx_zltunnel_client_key_t;


typedef struct ngx_zltunnel_client_s  ngx_zltunnel_client_t;

struct ngx_zltunnel_client_s {
    ngx_zltunnel_client_t       *next;
    uint64_t                     hash;
    ngx_zltunnel_client_key_t    key;
    ngx_connection_t            *connection;
    ngx_zltunnel_udp_t          *udp;        /* NULL: in nginx's hands yet */
};


/* ngx_zltunnel_udp_session.c */

/*
 * Opens a session of the service that has the port, or the name.  On
 * NGX_ZLTUNNEL_DIAL_OK handler is called once when it ends, but not before
 * this returns; ngx_zltunnel_udp_close() must follow whoever ends it.
 */
ngx_zltunnel_dial_e ngx_zltunnel_udp_open_port(ngx_zltunnel_udp_t *udp,
    in_port_t port);
ngx_zltunnel_dial_e ngx_zltunnel_udp_open_name(ngx_zltunnel_udp_t *udp,
    ngx_str_t *name, ngx_str_t *token);
/* Takes a datagram of the client: written when the event loop comes round, or
   by ngx_zltunnel_carry_flush(); dropped where it cannot be. */
void ngx_zltunnel_udp_send(ngx_zltunnel_udp_t *udp, u_char *data, size_t len);
void ngx_zltunnel_udp_close(ngx_zltunnel_udp_t *udp);
/* the session ends soon: not from within the caller */
void ngx_zltunnel_udp_end(ngx_zltunnel_udp_t *udp,
    ngx_zltunnel_udp_end_e how);
/* the next datagram that waits, taken out of its queue; the caller frees it */
ngx_zltunnel_datagram_t *ngx_zltunnel_carrier_next(
    ngx_zltunnel_carrier_t *carrier, ngx_zltunnel_udp_t **udp);


/* ngx_zltunnel_carrier.c */

ngx_zltunnel_carrier_t *ngx_zltunnel_carrier_find(u_char *service_id);
/* under the lock; NULL: no memory */
ngx_zltunnel_carrier_t *ngx_zltunnel_carrier_create(
    ngx_zltunnel_registry_t *registry, ngx_zltunnel_sh_service_t *service);
/* 1 if a new session would be one too many */
ngx_uint_t ngx_zltunnel_carrier_full(ngx_zltunnel_carrier_t *carrier);
/* counts a datagram; udp may be NULL; cause is NGX_ZLTUNNEL_DROP_* */
void ngx_zltunnel_carrier_drop(ngx_zltunnel_carrier_t *carrier,
    ngx_zltunnel_udp_t *udp, ngx_uint_t cause);
/* looks for a channel, unless that is under way or has just failed */
void ngx_zltunnel_carrier_dial(ngx_zltunnel_carrier_t *carrier,
    ngx_zltunnel_udp_t *udp);
/* gives the session its number on the channel; 0: there is none for it */
void ngx_zltunnel_carrier_number(ngx_zltunnel_carrier_t *carrier,
    ngx_zltunnel_udp_t *udp);
void ngx_zltunnel_carrier_unnumber(ngx_zltunnel_carrier_t *carrier,
    ngx_zltunnel_udp_t *udp);
ngx_zltunnel_udp_t *ngx_zltunnel_carrier_session(
    ngx_zltunnel_carrier_t *carrier, uint32_t number);
/* the channel has ended, or must */
void ngx_zltunnel_carrier_lost(ngx_zltunnel_carrier_t *carrier);
/* ends what belongs to services that are gone */
void ngx_zltunnel_carriers_check(ngx_zltunnel_registry_t *registry);
/* the same, soon: for who may have been called by a session */
void ngx_zltunnel_carriers_recheck(void);
/* the worker exits: ends every session, closes the channels */
void ngx_zltunnel_carriers_exit(void);


/* ngx_zltunnel_carry.c: a datagram channel, and what goes to the agent */

/* the channel, which is the carrier's from here on; what waits is written */
void ngx_zltunnel_carry_start(ngx_zltunnel_carrier_t *carrier,
    ngx_zltunnel_channel_t *channel);
/* gives it up, soon: ngx_zltunnel_carrier_lost() is called */
void ngx_zltunnel_carry_failed(ngx_zltunnel_carrier_t *carrier);
/* closes it */
void ngx_zltunnel_carry_stop(ngx_zltunnel_carrier_t *carrier);
/* 1 if frames go out as they come */
ngx_uint_t ngx_zltunnel_carry_ready(ngx_zltunnel_carrier_t *carrier);
/* frames, to be written by the flush; lost if the channel has failed */
void ngx_zltunnel_carry_datagram(ngx_zltunnel_carrier_t *carrier,
    ngx_zltunnel_udp_t *udp, u_char *data, size_t len);
void ngx_zltunnel_carry_close(ngx_zltunnel_carrier_t *carrier,
    uint32_t number, ngx_uint_t cause);
void ngx_zltunnel_carry_heartbeat(ngx_zltunnel_carrier_t *carrier);
void ngx_zltunnel_carry_beat(ngx_zltunnel_carrier_t *carrier, ngx_uint_t type,
    uint64_t timestamp);
/* writes what was taken since the last time */
void ngx_zltunnel_carry_flush(void);
/* writes what waits, as far as the channel takes it */
void ngx_zltunnel_carry_write(ngx_zltunnel_carrier_t *carrier);


/* ngx_zltunnel_carry_read.c */

void ngx_zltunnel_carry_read_handler(ngx_event_t *ev);
/* the beginning of a frame, for the next time: copied */
ngx_int_t ngx_zltunnel_carry_keep(ngx_zltunnel_carrier_t *carrier,
    const u_char *data, size_t len);


/* ngx_zltunnel_udp.c: sockets of clients */

#define NGX_ZLTUNNEL_UDP_BATCH  64     /* datagrams of one system call */

ngx_int_t ngx_zltunnel_udp_init_process(ngx_cycle_t *cycle);
/* the socket of an assigned port is about to be read */
void ngx_zltunnel_udp_arm(ngx_zltunnel_listener_t *listener);
/* reads datagrams of all clients of a listening socket */
void ngx_zltunnel_udp_receive(ngx_event_t *ev);
/* the connection for which nginx's handlers are called is gone */
void ngx_zltunnel_udp_forget(ngx_connection_t *c);
/* frees what the process has of it */
void ngx_zltunnel_udp_cleanup(void);


/* ngx_zltunnel_client.c: who is known */

void ngx_zltunnel_clients_init(void);
void ngx_zltunnel_clients_cleanup(void);
/* of a datagram from sa, to the address local */
void ngx_zltunnel_client_key(ngx_zltunnel_client_key_t *key,
    ngx_listening_t *ls, struct sockaddr *sa, struct sockaddr *local);
uint64_t ngx_zltunnel_client_hash(ngx_zltunnel_client_key_t *key);
ngx_zltunnel_client_t *ngx_zltunnel_client_find(
    ngx_zltunnel_client_key_t *key, uint64_t hash);
/* until c's pool is destroyed */
ngx_int_t ngx_zltunnel_client_insert(ngx_connection_t *c,
    ngx_zltunnel_client_key_t *key, uint64_t hash);
/* what comes from that client goes right to the session, or no longer */
void ngx_zltunnel_udp_attach(ngx_connection_t *c, ngx_zltunnel_udp_t *udp);

extern ngx_uint_t  ngx_zltunnel_nclients;


/* ngx_zltunnel_reply.c: datagrams to clients */

/* Sends a datagram to the client, with others at ngx_zltunnel_udp_flush():
   data must stay until then. */
void ngx_zltunnel_udp_reply(ngx_zltunnel_udp_t *udp, const u_char *data,
    size_t len);
void ngx_zltunnel_udp_flush(void);


#endif /* _NGX_ZLTUNNEL_UDP_H_INCLUDED_ */
