
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_CONTROL_H_INCLUDED_
#define _NGX_ZLTUNNEL_CONTROL_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_access_end.h"
#include "ngx_zltunnel_ask.h"
#include "ngx_zltunnel_drain.h"
#include "ngx_zltunnel_kick.h"
#include "ngx_zltunnel_revoke.h"
#include "ngx_zltunnel_transport.h"

#include "zlt_ws.h"


#define NGX_ZLTUNNEL_AUTH_TIMEOUT     10000    /* ms */


typedef enum {
    NGX_ZLTUNNEL_CONTROL_AUTH = 0,     /* waits for Auth */
    NGX_ZLTUNNEL_CONTROL_ASKING,       /* is the token let in? */
    NGX_ZLTUNNEL_CONTROL_PROBING,      /* is the tunnel's holder alive? */
    NGX_ZLTUNNEL_CONTROL_OPEN,
    NGX_ZLTUNNEL_CONTROL_REPLACED,     /* taken over; the worker exits */
    NGX_ZLTUNNEL_CONTROL_CLOSING       /* what was sent is being read */
} ngx_zltunnel_control_state_e;


/* its Auth waits for something else to answer */

#define ngx_zltunnel_control_waits(control)                                   \
    ((control)->state == NGX_ZLTUNNEL_CONTROL_ASKING                          \
     || (control)->state == NGX_ZLTUNNEL_CONTROL_PROBING)


struct ngx_zltunnel_control_s {
    ngx_queue_t                    queue;     /* of this worker */
    ngx_zltunnel_end_t             end;
    ngx_zltunnel_registry_t       *registry;
    ngx_zltunnel_peer_t           *peer;      /* from AuthOk on */
    ngx_zltunnel_control_state_e   state;
    ngx_str_t                      host;      /* what the agent called us */
    const char                    *why;       /* it is to end, or NULL */

    u_char                         tunnel_id[ZLT_ID_SIZE];
    uint64_t                       epoch;
    uint32_t                       features;

    ngx_zltunnel_budget_t          budget;    /* of the event that is handled */
    size_t                         early;     /* bytes before Auth */
    ngx_uint_t                     asked;     /* requests, see _charge() */
    ngx_msec_t                     asked_at;

    zlt_ws_parser_t                parser;
    u_char                        *in;        /* of a message, so far */
    size_t                         in_len;
    size_t                         in_size;

    u_char                        *out;       /* not written yet */
    size_t                         out_len;
    size_t                         out_pos;
    size_t                         out_size;

    void                          *place;     /* until Auth */
    ngx_queue_t                    place_queue;

    ngx_event_t                    timer;
    ngx_msec_t                     acked;     /* last HeartbeatAck */
    ngx_msec_t                     beaten;    /* last Heartbeat sent */
    ngx_msec_t                     rtt;       /* of the last that was answered,
                                                 and 1; 0: none was */

    ngx_str_t                      held;      /* read, and not parsed yet */

    /* zltunnel_auth */
    ngx_zltunnel_ask_conf_t       *asks;      /* NULL: is not where it came in */
    ngx_zltunnel_ask_t            *ask;       /* it waits for */
    ngx_zltunnel_asked_pt          verdict;   /* .. gets it; or NULL */
    ngx_queue_t                    ask_queue;
    ngx_msec_t                     ask_at;    /* .. again */
    ngx_str_t                      secret;    /* its token, allocated; empty: it
                                                 is in the token file */
    ngx_str_t                      agent;     /* .. and its name, behind it */

    /* an Auth that waits */
    u_char                         token[32];
    ngx_str_t                      auth;      /* the message, allocated */
    ngx_msec_t                     heard;     /* of the holder, before */

    unsigned                       beating:1; /* .. and not answered */
    unsigned                       extended:1;
    unsigned                       probed:1;  /* the holder, by this one */
    unsigned                       leaving:1; /* Disconnect was sent */
    unsigned                       failed:1;  /* nothing more can be sent */
    ngx_uint_t                     busy;      /* handlers that run */
    unsigned                       dead:1;    /* freed when that is done */
};


/*
 * Takes over a connection on which a WebSocket has just been accepted: c is
 * detached from http, its handlers and data are ours from here on, its pool
 * lives as long as it does.  data: bytes that came behind the request.  host:
 * what the agent called us (copied).  asks: zltunnel_auth, or NULL.  May close c
 * before it returns.
 */
void ngx_zltunnel_control_start(ngx_zltunnel_registry_t *registry,
    ngx_connection_t *c, ngx_str_t *host, ngx_zltunnel_ask_conf_t *asks,
    u_char *data, size_t len);
/* 1 if the limit of channels that have not sent Auth is not reached, or one of
   another address could be closed */
ngx_uint_t ngx_zltunnel_control_allowed(ngx_zltunnel_registry_t *registry,
    struct sockaddr *sa);
/* its connection has ended, or is to: freed when the handlers that run return */
void ngx_zltunnel_control_close(ngx_zltunnel_control_t *control);
/* data: the target, if the message says that there is one */
ngx_int_t ngx_zltunnel_control_connect(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, u_char *data);
void ngx_zltunnel_control_probe(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg);
void ngx_zltunnel_control_replaced(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg);
/* the worker exits: agents are to connect anew */
void ngx_zltunnel_control_quit_all(void);
void ngx_zltunnel_control_exit(void);
/* ends the tunnel with Disconnect; action is ZLT_D_*; later: of ZLT_D_LATER, so
   many milliseconds and up to as many more */
void ngx_zltunnel_control_stop(ngx_zltunnel_control_t *control,
    ngx_uint_t action, ngx_msec_t later, const char *reason);
/*
 * Around whatever writes more than one message: what is queued in between is
 * written by leave(), which frees the control channel if that fails, or if it
 * has ended meanwhile.  Until then it is there, though its peer may be gone.
 */
void ngx_zltunnel_control_enter(ngx_zltunnel_control_t *control);
void ngx_zltunnel_control_leave(ngx_zltunnel_control_t *control);
/* sends Close, then closes once the agent has, or in a few seconds */
void ngx_zltunnel_control_end(ngx_zltunnel_control_t *control, uint16_t code,
    const char *reason);
/* One more request: NGX_ERROR if there were too many of late.  It is not to be
   answered then; the tunnel ends. */
ngx_int_t ngx_zltunnel_control_charge(ngx_zltunnel_control_t *control);


#endif /* _NGX_ZLTUNNEL_CONTROL_H_INCLUDED_ */
