
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Lanes: connections of nginx's http upstreams that share a data channel,
 * docs/protocol.md, "Lanes".
 *
 * A lane is the inside of a ngx_zltunnel_channel_t whose end has the table of
 * ngx_zltunnel_lane.c: to a dial, and to what is lent, it is a framed channel
 * like any other.  It has a connection of its own, with events but without a
 * descriptor, and lasts for one connection to a service.
 */


#ifndef _NGX_ZLTUNNEL_LANE_H_INCLUDED_
#define _NGX_ZLTUNNEL_LANE_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_shared.h"

#include "zlt_bulk.h"
#include "zlt_lanebox.h"


struct ngx_zltunnel_lane_s {
    ngx_rbtree_node_t            node;        /* key: the number, 0: none */
    ngx_zltunnel_shared_t       *shared;

    ngx_connection_t             connection;
    ngx_event_t                  read;
    ngx_event_t                  write;
    ngx_log_t                    log;

    zlt_lanebox_t                box;
    zlt_bulk_t                   bulk;

    ngx_queue_t                  turn;        /* shared->waiting */
    unsigned                     waits:1;
    unsigned                     over:1;      /* both directions have ended:
                                                 nothing is to be said */
};


/* A channel that is a lane of the peer's shared one, or of "of", which is made
   so and shall be idle; or NULL. */
ngx_zltunnel_channel_t *ngx_zltunnel_lane_open(ngx_zltunnel_peer_t *peer,
    ngx_zltunnel_channel_t *of);
/* For who plays the agent: the end is the one that the other side has opened by
   that number.  NGX_ERROR: there is no memory. */
ngx_int_t ngx_zltunnel_lane_accept(ngx_zltunnel_shared_t *shared,
    uint32_t number, ngx_zltunnel_end_t *end);
/* the connection has ended in both directions, and so the lane: its close says
   nothing */
void ngx_zltunnel_lane_over(ngx_zltunnel_end_t *end);
/* .. since nobody has acted on its connection, which the other side says elsewhere;
   it opens no other lane beside it */
void ngx_zltunnel_lane_decline(ngx_zltunnel_end_t *end);
/* no answer came on it: if it is a lane, no others are opened beside it until
   something comes */
void ngx_zltunnel_lane_silent(ngx_zltunnel_channel_t *channel);
/* whether it carries large messages, now that a lot has passed: asked again
   when as much has */
ngx_uint_t ngx_zltunnel_lane_bulky(ngx_zltunnel_lane_t *lane);
/* what has come for it; NGX_ERROR: more than was allowed */
ngx_int_t ngx_zltunnel_lane_deliver(ngx_zltunnel_lane_t *lane,
    const u_char *data, size_t len);
/* the agent lets it send so much more; NGX_ERROR: that is too much */
ngx_int_t ngx_zltunnel_lane_credit(ngx_zltunnel_lane_t *lane,
    uint32_t credit);
/* it may have room to write again */
void ngx_zltunnel_lane_writable(ngx_zltunnel_lane_t *lane);
void ngx_zltunnel_lane_ended(ngx_zltunnel_lane_t *lane);
void ngx_zltunnel_lane_break(ngx_zltunnel_lane_t *lane);


#endif /* _NGX_ZLTUNNEL_LANE_H_INCLUDED_ */
