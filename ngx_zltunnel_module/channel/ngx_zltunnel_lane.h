
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Lanes: connections of nginx's http upstreams that share a data channel,
 * docs/protocol.md, "Lanes".
 *
 * A lane is the inside of a ngx_zltunnel_channel_t whose end is of the kind
 * NGX_ZLTUNNEL_LANE: to a dial, and to what is lent, it is a framed channel
 * like any other.  It has a connection of its own, with events but without a
 * descriptor, and lasts for one connection to a service.
 */


#ifndef _NGX_ZLTUNNEL_LANE_H_INCLUDED_
#define _NGX_ZLTUNNEL_LANE_H_INCLUDED_


#include "ngx_zltunnel_dial.h"

#include "zlt_lanes.h"


/* a channel with lanes, one at most of each tunnel in a worker */

typedef struct {
    ngx_zltunnel_channel_t      *channel;     /* NULL: it has ended */
    ngx_zltunnel_link_t          link;        /* cut with the token */
    ngx_queue_t                  queue;       /* all of this worker */

    ngx_rbtree_t                 lanes;       /* by number */
    ngx_rbtree_node_t            sentinel;
    ngx_uint_t                   nlanes;      /* also without a number yet */
    uint32_t                     number;      /* the last one */

    zlt_lanes_in_t               in;

    u_char                      *out;         /* borrowed, or NULL */
    size_t                       pos;
    size_t                       last;
    ngx_queue_t                  waiting;     /* lanes, for room in it */

    ngx_event_t                  flush;       /* posted */
    ngx_event_t                  timer;       /* heartbeats */
    ngx_msec_t                   beat;        /* the next, at the latest */

    unsigned                     unheard:1;   /* nothing came since something
                                                 was sent */
    unsigned                     asked:1;     /* .. that was a heartbeat */
    unsigned                     silent:1;    /* .. or a dial */
    unsigned                     retired:1;   /* no more lanes */
} ngx_zltunnel_shared_t;


struct ngx_zltunnel_lane_s {
    ngx_rbtree_node_t            node;        /* key: the number, 0: none */
    ngx_zltunnel_shared_t       *shared;
    ngx_zltunnel_channel_t      *channel;

    ngx_connection_t             connection;
    ngx_event_t                  read;
    ngx_event_t                  write;
    ngx_log_t                    log;

    u_char                      *in;          /* received, or NULL */
    size_t                       pos;
    size_t                       last;
    size_t                       size;
    size_t                       taken;       /* no credit given for yet */
    size_t                       window;      /* may be sent */

    size_t                       bytes;       /* since it was looked at last */
    ngx_uint_t                   turns;       /* changes of direction, .. */
    unsigned                     sends:1;     /* the last one */

    ngx_queue_t                  turn;        /* shared->waiting */
    unsigned                     waits:1;
    unsigned                     ended:1;     /* by the agent, or with the
                                                 channel */
    unsigned                     broken:1;    /* by us: the agent is told when
                                                 it is closed */
    unsigned                     over:1;      /* both directions have ended:
                                                 nothing is to be said */
};


/* ngx_zltunnel_shared.c */

/* The one of this peer, or made of that channel, or an idle one; or NULL, and
   the channel is still the caller's. */
ngx_zltunnel_shared_t *ngx_zltunnel_shared_get(ngx_zltunnel_peer_t *peer,
    ngx_zltunnel_channel_t *channel);
/* Room for a message behind what is to be sent, so many bytes: where it goes,
   or NULL if there is none now.  It is sent at the end of this turn. */
u_char *ngx_zltunnel_shared_room(ngx_zltunnel_shared_t *shared, size_t size);
/* how many there is room for */
size_t ngx_zltunnel_shared_left(ngx_zltunnel_shared_t *shared);
/* lanes wait for room */
#define ngx_zltunnel_shared_waited(shared)                                    \
    ((shared)->out && !ngx_queue_empty(&(shared)->waiting))
/* something has not been answered: takes no lanes until something comes */
void ngx_zltunnel_shared_silent(ngx_zltunnel_shared_t *shared);
void ngx_zltunnel_shared_failed(ngx_zltunnel_shared_t *shared);
/* a lane is gone */
void ngx_zltunnel_shared_release(ngx_zltunnel_shared_t *shared);


/* ngx_zltunnel_lane.c */

/* whether it carries large messages, now that a lot has passed: asked again
   when as much has */
ngx_uint_t ngx_zltunnel_lane_bulky(ngx_zltunnel_lane_t *lane);
/* what has come for it; NGX_ERROR: more than was allowed */
ngx_int_t ngx_zltunnel_lane_deliver(ngx_zltunnel_lane_t *lane,
    const u_char *data, size_t len);
/* it may have room to write again */
void ngx_zltunnel_lane_writable(ngx_zltunnel_lane_t *lane);
void ngx_zltunnel_lane_ended(ngx_zltunnel_lane_t *lane);
void ngx_zltunnel_lane_break(ngx_zltunnel_lane_t *lane);


#endif /* _NGX_ZLTUNNEL_LANE_H_INCLUDED_ */
