
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_RELAY_H_INCLUDED_
#define _NGX_ZLTUNNEL_RELAY_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_flow.h"


typedef enum {
    NGX_ZLTUNNEL_RELAY_DONE = 0,   /* both directions ended cleanly */
    NGX_ZLTUNNEL_RELAY_CLIENT,     /* side[0] was reset or failed */
    NGX_ZLTUNNEL_RELAY_CHANNEL,    /* side[1] was reset or failed */
    NGX_ZLTUNNEL_RELAY_TIMEOUT,
    NGX_ZLTUNNEL_RELAY_ABORTED     /* by us: revocation, shutdown, memory */
} ngx_zltunnel_relay_end_e;


typedef void (*ngx_zltunnel_relay_pt)(ngx_zltunnel_relay_t *relay,
    ngx_zltunnel_relay_end_e how);


/* Bytes that were read from side[from], or its end: 0.  NGX_DONE: the relay has
   ended well, and NGX_ERROR: by a failure of that side. */
typedef ngx_int_t (*ngx_zltunnel_relay_look_pt)(ngx_zltunnel_relay_t *relay,
    ngx_uint_t from, u_char *data, size_t len);


/* The peer of side[0] has closed, and what it sent before waits.  NGX_ERROR: that
   is cut off, or ends by a reset, and nobody need wait for it. */
typedef ngx_int_t (*ngx_zltunnel_relay_closed_pt)(ngx_zltunnel_relay_t *relay);


struct ngx_zltunnel_relay_s {
    ngx_zltunnel_end_t          *side[2];     /* 0 client, 1 channel */
    ngx_zltunnel_flow_t          flow[2];     /* [i]: from side[i] */

    ngx_msec_t                   timeout;       /* 0: none */
    ngx_msec_t                   half_timeout;  /* half-closed; 0: none */
    ngx_msec_t                   dead;          /* side[1] is, which has said
                                                   nothing; 0: in a minute */

    ngx_zltunnel_relay_pt        handler;     /* called once, at the end */
    ngx_zltunnel_relay_look_pt   look;        /* at what is read; or NULL */
    ngx_zltunnel_relay_closed_pt closed;      /* or NULL: the socket tells */
    void                        *data;

    /* optional counters, written as bytes move: [i] from side[i] */
    uint64_t                    *count[2];
    uint64_t                    *also[2];       /* the same once more */
    uint64_t                    *spliced;

    /* of the relay */
    void                        *saved[2];    /* connection->data */
    ngx_event_t                  event;       /* timer, or next turn */
    ngx_msec_t                   active;      /* last time bytes moved */
    ngx_msec_t                   started;
    ngx_log_t                   *log;
    ngx_zltunnel_relay_end_e     how;         /* of what has failed */
    unsigned                     kept:1;      /* keepalive is on */
    unsigned                     finished:1;
    unsigned                     paced:1;     /* a flow has a rate now */
    unsigned                     lost:1;      /* side[gone] was reset: what it
                                                 had sent is on its way */
    unsigned                     gone:1;
    ngx_msec_t                   stalled;     /* when the other side took, or
                                                 acknowledged, something last */
    ngx_msec_t                   again;       /* ms, until .. is looked at */
    size_t                       outq;        /* .. what it has not */
    ngx_uint_t                   unacked[2];  /* watch of side[i] */
    ngx_msec_t                   unacked_since[2];
};


/* NGX_ERROR, because of side[i] */
#define ngx_zltunnel_relay_failed(relay, i)                                   \
    ((relay)->how = (i) ? NGX_ZLTUNNEL_RELAY_CHANNEL                          \
                        : NGX_ZLTUNNEL_RELAY_CLIENT,                          \
     NGX_ERROR)


/*
 * Relays until both directions have ended.  The caller fills side, timeouts,
 * handler, data and counts, zeroes the rest; bytes that were read from one
 * side already go in with ngx_zltunnel_relay_put() before the start.
 *
 * While it runs, the connections' handlers and data are the relay's; before
 * handler is called they are put back (data) and both sockets are prepared
 * for what must follow (ngx_zltunnel_end_abort() unless DONE).  handler owns
 * both connections again and closes them, or, of a channel, has it released
 * by ngx_zltunnel_release().  May end before start returns.
 */
void ngx_zltunnel_relay_start(ngx_zltunnel_relay_t *relay);
/* bytes of side[from], to be written first; copied.  At most 65536. */
ngx_int_t ngx_zltunnel_relay_put(ngx_zltunnel_relay_t *relay,
    ngx_uint_t from, u_char *data, size_t len);
/* 1: bytes have come from that side that the other one has not got */
ngx_uint_t ngx_zltunnel_relay_left(ngx_zltunnel_relay_t *relay,
    ngx_uint_t from);
/* a rate of its flows was "old", and is another now */
void ngx_zltunnel_relay_pace(ngx_zltunnel_relay_t *relay, uint64_t old,
    uint64_t rate);
/* ends it: handler is called with ABORTED before this returns */
void ngx_zltunnel_relay_abort(ngx_zltunnel_relay_t *relay);
/* frees pooled buffers and pipes, at exit of the process */
void ngx_zltunnel_relay_cleanup(void);


#endif /* _NGX_ZLTUNNEL_RELAY_H_INCLUDED_ */
