
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


/* a channel with lanes, one at most of each tunnel in a worker */

typedef struct {
    ngx_zltunnel_channel_t      *channel;     /* NULL: it has ended */
    ngx_zltunnel_link_t          link;        /* cut with the token */
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
} ngx_zltunnel_shared_t;


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
/* something has not been answered: takes no lanes until something comes */
void ngx_zltunnel_shared_silent(ngx_zltunnel_shared_t *shared);
/* its round trip, ms, and the shortest so far */
ngx_msec_t ngx_zltunnel_shared_rtt(ngx_zltunnel_shared_t *shared);
ngx_msec_t ngx_zltunnel_shared_least_rtt(ngx_zltunnel_shared_t *shared);
void ngx_zltunnel_shared_failed(ngx_zltunnel_shared_t *shared);
/* a lane is gone */
void ngx_zltunnel_shared_release(ngx_zltunnel_shared_t *shared);


#endif /* _NGX_ZLTUNNEL_SHARED_H_INCLUDED_ */
