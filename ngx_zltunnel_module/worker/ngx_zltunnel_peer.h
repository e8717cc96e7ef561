
/*
 * Copyright (C) zltunnel authors
 */

/* What this worker holds of a tunnel. */


#ifndef _NGX_ZLTUNNEL_PEER_H_INCLUDED_
#define _NGX_ZLTUNNEL_PEER_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_transport.h"


struct ngx_zltunnel_link_s {
    ngx_queue_t                  queue;       /* peer->links */
    ngx_zltunnel_peer_t         *peer;
    void                       (*cut)(ngx_zltunnel_link_t *link);

    /* the rate of the peer was "old", bytes a second, and is another now; it
       stays linked.  NULL: nothing of it waits for its time. */
    void                       (*paced)(ngx_zltunnel_link_t *link,
                                        uint64_t old);
};


struct ngx_zltunnel_peer_s {
    ngx_rbtree_node_t            node;
    u_char                       id[ZLT_ID_SIZE];
    u_char                       token[32];   /* SHA-256 */
    ngx_str_t                    name;        /* the token's */
    time_t                       expires;     /* the token; 0: never */
    ngx_zltunnel_pace_t          pace;        /* .. its rate */
    ngx_zltunnel_rate_t          rate;        /* .. and clock */
    ngx_zltunnel_share_t        *share;       /* of its token, or NULL */
    ngx_zltunnel_registry_t     *registry;
    ngx_zltunnel_control_t      *control;     /* NULL: elsewhere */
    ngx_queue_t                  idle;        /* ngx_zltunnel_channel_t */
    ngx_uint_t                   nidle;
    void                        *shared;      /* the channel with lanes, or
                                                 NULL */
    ngx_queue_t                  waiting;     /* dials, to ask for a channel */
    ngx_uint_t                   nasking;     /* .. that have asked */
    ngx_msec_t                   served;      /* when the last got one, or 0 */
    ngx_uint_t                   nfirst;      /* of those, for the first lane */
    ngx_uint_t                   ngot;        /* .. that have got a channel */
    ngx_msec_t                   first;       /* .. since they began to */
    ngx_queue_t                  turn;        /* of peers, while due */
    void                       (*turns)(ngx_zltunnel_peer_t *peer);
                                              /* of those that wait, now that a
                                                 channel is there; or NULL */
    ngx_uint_t                   due;         /* some that wait need not */
    ngx_queue_t                  links;       /* relays, bridges, dials: cut
                                                 when the token goes */
};


ngx_zltunnel_peer_t *ngx_zltunnel_peer_find(ngx_zltunnel_registry_t *registry,
    u_char *tunnel_id);
/* the first one, or the one behind that key: whatever is done with a peer may
   release others */
ngx_zltunnel_peer_t *ngx_zltunnel_peer_next(ngx_zltunnel_registry_t *registry,
    ngx_rbtree_key_t *after);
ngx_zltunnel_peer_t *ngx_zltunnel_peer_get(ngx_zltunnel_registry_t *registry,
    u_char *tunnel_id, u_char *token, ngx_str_t *name);
/* what its token says now; NULL: it is gone */
void ngx_zltunnel_peer_token(ngx_zltunnel_peer_t *peer,
    ngx_zltunnel_token_t *token);
/* how fast bytes of it may move; NULL: peer is, or "beside" has the same */
ngx_zltunnel_pace_t *ngx_zltunnel_peer_pace(ngx_zltunnel_peer_t *peer,
    ngx_zltunnel_peer_t *beside);
/* frees it if nothing is left in it */
void ngx_zltunnel_peer_release(ngx_zltunnel_peer_t *peer);
void ngx_zltunnel_peer_link(ngx_zltunnel_peer_t *peer,
    ngx_zltunnel_link_t *link);
void ngx_zltunnel_peer_unlink(ngx_zltunnel_link_t *link);
/* the token of a tunnel is gone: cut everything of it here */
void ngx_zltunnel_peer_cut(ngx_zltunnel_peer_t *peer);


#endif /* _NGX_ZLTUNNEL_PEER_H_INCLUDED_ */
