
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Channels and dials: how a client of this worker gets a data channel to a
 * service, and what the parts that bring it about say to each other.
 */


#ifndef _NGX_ZLTUNNEL_DIAL_H_INCLUDED_
#define _NGX_ZLTUNNEL_DIAL_H_INCLUDED_


#include "ngx_zltunnel_shm.h"


/*
 * A data channel while it is framed: idle, or sent Connect and not answered
 * yet.  It belongs to peer->idle, to a dial, or to a bridge.
 */

struct ngx_zltunnel_channel_s {
    ngx_queue_t                  queue;      /* peer->idle */
    ngx_queue_t                  all;        /* of this worker */
    ngx_zltunnel_end_t           end;
    ngx_zltunnel_registry_t     *registry;
    ngx_zltunnel_peer_t         *peer;       /* while idle */
    ngx_zltunnel_dial_t         *dial;       /* while asked */
    u_char                       tunnel_id[ZLT_ID_SIZE];
    uint64_t                     epoch;      /* the tunnel's when it came */
    ngx_event_t                  timer;      /* heartbeats; draining */
    zlt_frames_t                 frames;     /* of the end, while framed */
    size_t                       drained;    /* bytes */

    u_char                      *frame;      /* small, or allocated */
    size_t                       have;
    size_t                       used;       /* by the frame given out */
    size_t                       size;
    u_char                       small[48];

    ngx_str_t                    answer;     /* the 101, until it is sent */
    ngx_queue_t                  held;       /* while there is one */

    unsigned                     idle:1;     /* counted in the registry */
    unsigned                     waiting:1;  /* for a HeartbeatAck */
    unsigned                     fresh:1;    /* answers a Connect */
    unsigned                     draining:1; /* until the agent's end */
    unsigned                     websocket:1;/* within one: not framed */
#if (NGX_DEBUG)
    unsigned                     delayed:1;  /* by debug_delay */
#endif
    unsigned                     allocated:1;/* frame */
};


typedef void (*ngx_zltunnel_dial_pt)(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_dial_e rc);


struct ngx_zltunnel_dial_s {
    ngx_rbtree_node_t            node;
    u_char                       id[ZLT_ID_SIZE];     /* connection_id */
    u_char                       tunnel_id[ZLT_ID_SIZE];
    u_char                       service_id[ZLT_ID_SIZE];

    /* set by the caller */
    ngx_zltunnel_registry_t     *registry;
    ngx_pool_t                  *pool;
    ngx_log_t                   *log;
    ngx_str_t                    client_addr;
    ngx_msec_t                   timeout;    /* 0: connect_timeout */
    ngx_str_t                    target;     /* of an open service, or empty */
    unsigned                     local:1;    /* the client is on this host */
    unsigned                     datagrams:1;/* only the channel is wanted */
    unsigned                     greedy:1;   /* bytes behind ConnectAck may
                                                be read: channel_rest() */
    unsigned                     framed:1;   /* the channel can be used again:
                                                channel_release() */
    unsigned                     lanes:1;    /* .. or be a lane of one */
    unsigned                     corked:1;   /* Connect waits for bytes to go
                                                with, in this turn only */
    ngx_zltunnel_dial_pt         handler;
    void                        *data;

    /* results */
    ngx_zltunnel_channel_t      *channel;    /* the one that answered */
    ngx_str_t                    service;
    ngx_str_t                    tunnel;     /* the token's name */
    ngx_zltunnel_sh_counter_t   *counter;
    ngx_msec_t                   connect_time;
    ngx_uint_t                   code;       /* ZLT_E_* of ConnectFail */

    /* client bytes that may have to be sent again: buf, to last */
    u_char                      *buf;
    size_t                       last;

    /* state */
    ngx_zltunnel_link_t          link;
    ngx_zltunnel_relay_t        *relay;      /* cut with the tunnel */
    ngx_zltunnel_channel_t      *asked[2];   /* the first, and the repeat */
    size_t                       sent[2];    /* of buf, on each */
    ngx_event_t                  timer;
    ngx_event_t                  uncork;     /* posted while Connect waits */
    ngx_msec_t                   started;
    ngx_uint_t                   repeats;
    ngx_uint_t                   taken;      /* tries at other workers */
    ngx_uint_t                   unanswered; /* Connects on control channels */

    unsigned                     due:2;      /* Connect, on each */
    unsigned                     running:1;
    unsigned                     searching:1;/* no channel is on its way to
                                                the agent yet */
    unsigned                     pending:1;  /* has an entry in the registry */
    unsigned                     silent:1;   /* the first did not answer */
    unsigned                     taking:1;   /* another worker was asked */
    unsigned                     announced:1;/* Connect went on a control
                                                channel */
    unsigned                     lost:1;     /* a channel ended on which the
                                                agent may have acted */
    unsigned                     channels:1; /* not an agent of version 1 */
};


#define ngx_zltunnel_dial_of(l)                                               \
    ((ngx_zltunnel_dial_t *) ((u_char *) (l)                                  \
                              - offsetof(ngx_zltunnel_dial_t, link)))


/*
 * Dials a service: by the port that the client came to, by name (token: the
 * name of the token that must have it, or NULL), or by its id.  handler is
 * called once, perhaps before this returns; on NGX_ZLTUNNEL_DIAL_OK
 * dial->channel is the caller's.  Whatever came of it,
 * ngx_zltunnel_dial_done() must follow.
 */
void ngx_zltunnel_dial_port(ngx_zltunnel_dial_t *dial, in_port_t port);
void ngx_zltunnel_dial_name(ngx_zltunnel_dial_t *dial, ngx_str_t *name,
    ngx_str_t *token);
/* by its ids; with dial->datagrams it is not counted as a connection, and there
   is no Connect on the channel */
void ngx_zltunnel_dial_service(ngx_zltunnel_dial_t *dial, u_char *tunnel_id,
    u_char *service_id);
/* Dials a service that the caller has found under the lock, which is let go
   here.  NULL: there is none. */
void ngx_zltunnel_dial_found(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_sh_service_t *service);
/* room for the client's early bytes: where to, and how many; 0: full */
size_t ngx_zltunnel_dial_room(ngx_zltunnel_dial_t *dial, u_char **to);
/* n bytes have been put there */
void ngx_zltunnel_dial_put(ngx_zltunnel_dial_t *dial, size_t n);
/* cancels it if it runs, frees what it has, counts the connection out */
void ngx_zltunnel_dial_done(ngx_zltunnel_dial_t *dial);
const char *ngx_zltunnel_dial_error(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_dial_e rc);

/* what comes from other workers and from the control channel */
void ngx_zltunnel_dial_given(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, ngx_socket_t fd, u_char *data);
void ngx_zltunnel_dial_none(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg);
void ngx_zltunnel_dial_failed(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg);
void ngx_zltunnel_dial_up(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg);

/* every second: ends those whose tunnel or service is gone */
void ngx_zltunnel_dials_check(ngx_zltunnel_registry_t *registry);

void ngx_zltunnel_dial_refused(ngx_zltunnel_dial_t *dial,
    const u_char *reason, size_t len);

/* what comes from a channel that was asked */
void ngx_zltunnel_dial_answer(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_channel_t *channel, zlt_msg_t *m);
/* acted: the agent may have read Connect on it, and acted on it */
void ngx_zltunnel_dial_dead(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_channel_t *channel, ngx_uint_t acted);
void ngx_zltunnel_dial_writable(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_channel_t *channel);
/* a fresh channel for a dial of this worker; NGX_DECLINED: nobody waits */
ngx_int_t ngx_zltunnel_dial_fresh(ngx_zltunnel_channel_t *channel,
    u_char *connection_id);


/* ngx_zltunnel_dial.c, _dial_ask.c and _dial_told.c for one another */

#define ngx_zltunnel_dial_worker(dial)                                        \
    (&(dial)->registry->sh->workers[(dial)->registry->slot])

/* looks for a channel; fresh: that the agent is to open */
void ngx_zltunnel_dial_next(ngx_zltunnel_dial_t *dial,
    ngx_uint_t fresh);
/* a channel was found, in that way: asks on it */
void ngx_zltunnel_dial_use(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_channel_t *channel, ngx_uint_t way);
/* waits for one that the agent opens, and asks for it again after a while */
void ngx_zltunnel_dial_insist(ngx_zltunnel_dial_t *dial);
/* the tunnel is cut; it marks the link of a dial */
void ngx_zltunnel_dial_cut(ngx_zltunnel_link_t *link);
/* it is not counted among those without a channel any more */
void ngx_zltunnel_dial_unpend(ngx_zltunnel_dial_t *dial);
/* calls the handler */
void ngx_zltunnel_dial_finish(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_dial_e rc);
ngx_zltunnel_dial_t *ngx_zltunnel_dial_find(u_char *id);
/* whether there is any, of all registries */
ngx_uint_t ngx_zltunnel_dials_running(void);
/* ms, until its timeout */
ngx_msec_t ngx_zltunnel_dial_left(ngx_zltunnel_dial_t *dial);


/* ngx_zltunnel_channel.c */

/* 1 if this worker may have one more: max_channel_share */
ngx_uint_t ngx_zltunnel_channel_allowed(ngx_zltunnel_registry_t *registry);
/* one idle channel less of that tunnel in this worker */
void ngx_zltunnel_idle_out(ngx_zltunnel_registry_t *registry,
    u_char *tunnel_id);
ngx_zltunnel_channel_t *ngx_zltunnel_channel_create(
    ngx_zltunnel_registry_t *registry, ngx_connection_t *c,
    ngx_zltunnel_kind_e kind);
/* the most recent idle channel of the peer, no longer idle; or NULL.  lanes:
   only one that can have lanes. */
ngx_zltunnel_channel_t *ngx_zltunnel_channel_pop(ngx_zltunnel_peer_t *peer,
    ngx_uint_t lanes);
/* reads the answer for that dial from now on */
void ngx_zltunnel_channel_ask(ngx_zltunnel_channel_t *channel,
    ngx_zltunnel_dial_t *dial);
/* an idle channel that the registry has counted already; NGX_ERROR: it had to
   be closed */
ngx_int_t ngx_zltunnel_channel_list(ngx_zltunnel_channel_t *channel,
    u_char *token, ngx_str_t *name);
void ngx_zltunnel_channel_close(ngx_zltunnel_channel_t *channel);
void ngx_zltunnel_channel_close_idle(ngx_zltunnel_channel_t *channel);
void ngx_zltunnel_channels_drop(ngx_zltunnel_registry_t *registry,
    u_char *tunnel_id, uint64_t epoch);
void ngx_zltunnel_channels_exit(void);


/* ngx_zltunnel_channel_io.c */

/* One frame: NGX_OK, and *m points into the channel until the next call;
   NGX_AGAIN; NGX_ERROR at EOF, reset, or a frame that is not allowed. */
ngx_int_t ngx_zltunnel_channel_read(ngx_zltunnel_channel_t *channel,
    zlt_msg_t *m);
/* puts unparsed bytes in front of what will be read */
ngx_int_t ngx_zltunnel_channel_unread(ngx_zltunnel_channel_t *channel,
    u_char *data, size_t len);
/* hands the relay what a greedy dial has read behind ConnectAck */
ngx_int_t ngx_zltunnel_channel_rest(ngx_zltunnel_channel_t *channel,
    ngx_zltunnel_relay_t *relay);
/* a message on an idle channel: NGX_OK, NGX_ERROR */
ngx_int_t ngx_zltunnel_channel_write(ngx_zltunnel_channel_t *channel,
    zlt_msg_t *m);
/* what is to go with the next Connect, within a millisecond; answer is from
   ngx_alloc() and no longer the caller's */
void ngx_zltunnel_channel_hold(ngx_zltunnel_channel_t *channel,
    ngx_str_t *answer);
/* sends the 101 if it has waited: NGX_OK, NGX_ERROR */
ngx_int_t ngx_zltunnel_channel_flush(ngx_zltunnel_channel_t *channel);
/* it has been sent, or will never be */
void ngx_zltunnel_channel_answered(ngx_zltunnel_channel_t *channel);


/* ngx_zltunnel_release.c */

/* The connection that it carried is over, by a reset or not: the channel is
   idle again, now or soon, or it is closed. */
void ngx_zltunnel_channel_release(ngx_zltunnel_channel_t *channel,
    ngx_uint_t reset);
/* It has ended on both sides, or there was none: idle in this worker, or closed
   if it is not wanted. */
void ngx_zltunnel_channel_again(ngx_zltunnel_channel_t *channel);


/* ngx_zltunnel_shared.c, ngx_zltunnel_lane.c: channels that are shared */

/* A channel that is a lane of the peer's shared one, or of "of", which is made
   so and shall be idle; or NULL. */
ngx_zltunnel_channel_t *ngx_zltunnel_lane_open(ngx_zltunnel_peer_t *peer,
    ngx_zltunnel_channel_t *of);
/* the connection has ended in both directions, and so the lane */
void ngx_zltunnel_lane_over(ngx_zltunnel_channel_t *channel);
/* no answer came on it: if it is a lane, no others are opened beside it until
   something comes */
void ngx_zltunnel_lane_silent(ngx_zltunnel_channel_t *channel);
/* no more lanes on one of an older epoch: closed with its last one */
void ngx_zltunnel_shared_drop(ngx_zltunnel_peer_t *peer, uint64_t epoch);
void ngx_zltunnel_shareds_exit(void);


/* ngx_zltunnel_bridge.c: channels for the dials of other workers */

/* answers a TAKE */
void ngx_zltunnel_channel_give(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg);
/* gives a channel that is in nobody's list to the dial of another worker:
   moved if it is plain, over a bridge if not */
void ngx_zltunnel_channel_send(ngx_zltunnel_channel_t *channel,
    ngx_uint_t slot, u_char *connection_id, u_char *tunnel_id);


/* ngx_zltunnel_control.c */

/* data: the target, if the message says that there is one */
ngx_int_t ngx_zltunnel_control_connect(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, u_char *data);
void ngx_zltunnel_control_probe(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg);
void ngx_zltunnel_control_replaced(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg);
/* the worker exits: agents are to connect anew */
void ngx_zltunnel_controls_quit(void);
void ngx_zltunnel_controls_exit(void);
/* the token set has changed: rights are checked anew */
void ngx_zltunnel_control_rights(ngx_zltunnel_control_t *control);
/* ends the tunnel with Disconnect; action is ZLT_D_* */
void ngx_zltunnel_control_stop(ngx_zltunnel_control_t *control,
    ngx_uint_t action, const char *reason);


/* ngx_zltunnel_module.c */

void ngx_zltunnel_exiting(void);
/* the registry had to be emptied: agents are to come again, at once */
void ngx_zltunnel_lost(ngx_zltunnel_registry_t *registry);


#endif /* _NGX_ZLTUNNEL_DIAL_H_INCLUDED_ */
