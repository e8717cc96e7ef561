
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_SHARED_H_INCLUDED_
#define _NGX_ZLTUNNEL_SHARED_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_heartbeat.h"
#include "ngx_zltunnel_worker.h"

#include "zlt_lanes.h"
#include "zlt_window.h"


typedef struct ngx_zltunnel_shared_s  ngx_zltunnel_shared_t;


/* Who plays the agent on a shared channel: lanes are opened by the other side. */

typedef struct {
    /* The first bytes of one have come: ngx_zltunnel_lane_accept(); else the
       other side learns that nobody acts on it.  Calls no handler. */
    ngx_int_t                  (*open)(ngx_zltunnel_shared_t *shared,
                                       uint32_t number);
    /* the channel is about to be closed; lanes that are left have ended */
    void                       (*closed)(ngx_zltunnel_shared_t *shared);
} ngx_zltunnel_shared_ops_t;


/* A channel with lanes: one at most of each tunnel in a worker, or of another
   node, which has any number. */

struct ngx_zltunnel_shared_s {
    ngx_zltunnel_channel_t      *channel;     /* NULL: it has ended */
    ngx_zltunnel_link_t          link;        /* cut with the token */
    const ngx_zltunnel_shared_ops_t  *ops;    /* NULL: we open the lanes */
    ngx_queue_t                  queue;       /* all of this worker */

    ngx_rbtree_t                 lanes;       /* by number */
    ngx_rbtree_node_t            sentinel;
    ngx_uint_t                   nlanes;      /* also without a number yet */
    uint32_t                     number;      /* the last one */

    zlt_window_share_t           share;       /* of the lanes' windows */
    ngx_msec_t                   rtt;         /* 0: not known */
    ngx_msec_t                   rtt_since;
    ngx_msec_t                   least;       /* the shortest of them: without
                                                 what queues on the way */

    zlt_lanes_in_t               in;

    u_char                      *out;         /* borrowed, or NULL */
    size_t                       pos;
    size_t                       last;
    ngx_queue_t                  waiting;     /* lanes, for room in it */

    ngx_event_t                  flush;       /* posted */
    ngx_event_t                  timer;       /* heartbeats */
    ngx_zltunnel_heartbeat_t     beat;

    unsigned                     silent:1;    /* a dial was not answered */
    unsigned                     retired:1;   /* no more lanes */
};


/* lanes wait for room */
#define ngx_zltunnel_shared_waited(shared)                                    \
    ((shared)->out && !ngx_queue_empty(&(shared)->waiting))


/* no more lanes on one of an older epoch: closed with its last one */
void ngx_zltunnel_shared_drop(ngx_zltunnel_peer_t *peer, uint64_t epoch);
void ngx_zltunnel_shared_exit(void);
/* The one of this peer, or made of that channel, or an idle one; or NULL, and
   the channel is still the caller's. */
ngx_zltunnel_shared_t *ngx_zltunnel_shared_get(ngx_zltunnel_peer_t *peer,
    ngx_zltunnel_channel_t *channel);
/* The other side has made this channel a shared one, and that has come on it.
   NULL: the channel is closed. */
ngx_zltunnel_shared_t *ngx_zltunnel_shared_accept(
    ngx_zltunnel_channel_t *channel, const ngx_zltunnel_shared_ops_t *ops,
    const u_char *data, size_t len);
/* Nobody acts on that lane, which the other side has opened, and it is to open no
   more; NGX_ERROR: there is no room to say so. */
ngx_int_t ngx_zltunnel_shared_decline(ngx_zltunnel_shared_t *shared,
    uint32_t number);
/* the worker begins to exit: the other sides are to open no more lanes */
void ngx_zltunnel_shared_quit(void);
/* something has not been answered: takes no lanes until something comes */
void ngx_zltunnel_shared_silent(ngx_zltunnel_shared_t *shared);
/* its round trip, ms, and the shortest so far */
ngx_msec_t ngx_zltunnel_shared_rtt(ngx_zltunnel_shared_t *shared);
ngx_msec_t ngx_zltunnel_shared_least_rtt(ngx_zltunnel_shared_t *shared);
void ngx_zltunnel_shared_failed(ngx_zltunnel_shared_t *shared);
/* a lane is gone */
void ngx_zltunnel_shared_release(ngx_zltunnel_shared_t *shared);


#endif /* _NGX_ZLTUNNEL_SHARED_H_INCLUDED_ */
