
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Data channels, and all that other folders need of how a client of this worker
 * gets one.
 */


#ifndef _NGX_ZLTUNNEL_CHANNEL_H_INCLUDED_
#define _NGX_ZLTUNNEL_CHANNEL_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_bridge.h"
#include "ngx_zltunnel_channel_answer.h"
#include "ngx_zltunnel_channel_drop.h"
#include "ngx_zltunnel_channel_io.h"
#include "ngx_zltunnel_channel_place.h"
#include "ngx_zltunnel_channel_start.h"
#include "ngx_zltunnel_channel_state.h"
#include "ngx_zltunnel_connect.h"
#include "ngx_zltunnel_datagrams.h"
#include "ngx_zltunnel_datagrams_out.h"
#include "ngx_zltunnel_dial.h"
#include "ngx_zltunnel_dial_connect.h"
#include "ngx_zltunnel_dial_search.h"
#include "ngx_zltunnel_dial_start.h"
#include "ngx_zltunnel_dial_told.h"
#include "ngx_zltunnel_heartbeat.h"
#include "ngx_zltunnel_lane.h"
#include "ngx_zltunnel_reach.h"
#include "ngx_zltunnel_release.h"
#include "ngx_zltunnel_shared.h"
#include "ngx_zltunnel_transport.h"

#include "zlt_frames.h"


#define NGX_ZLTUNNEL_ANSWER_SIZE      2048     /* of a 101 that waits */


/* what a channel is wanted for */

typedef enum {
    NGX_ZLTUNNEL_FOR_BYTES = 0,
    NGX_ZLTUNNEL_FOR_REQUESTS,               /* see dial->requests */
    NGX_ZLTUNNEL_FOR_LANES
} ngx_zltunnel_channel_for_e;


struct ngx_zltunnel_channel_s {
    ngx_queue_t                  queue;      /* peer->idle */
    ngx_queue_t                  all;        /* of this worker */
    ngx_zltunnel_end_t           end;
    ngx_zltunnel_registry_t     *registry;
    ngx_zltunnel_peer_t         *peer;       /* while idle */
    ngx_zltunnel_dial_t         *dial;       /* while asked */
    ngx_zltunnel_bridge_t       *bridge;     /* while bridged */
    u_char                       tunnel_id[ZLT_ID_SIZE];
    uint64_t                     epoch;      /* the tunnel's when it came */
    ngx_event_t                  timer;      /* heartbeats; draining */
    ngx_zltunnel_heartbeat_t     beat;       /* while it is idle */
    zlt_frames_t                 frames;     /* of the end, while framed */
    size_t                       drained;    /* bytes */

    u_char                      *frame;      /* small, or allocated */
    size_t                       have;
    size_t                       used;       /* by the frame given out */
    size_t                       size;
    u_char                       small[48];

    ngx_str_t                    answer;     /* the 101, until it is sent */
    ngx_queue_t                  held;       /* while there is one */

    ngx_zltunnel_channel_state_e  state;
    unsigned                     fresh:1;    /* answers a Connect */
    unsigned                     requests:1; /* a bridge, whose other worker
                                                was told so: dial->requests */
#if (NGX_DEBUG)
    unsigned                     delayed:1;  /* by debug_delay */
#endif
};


/* "ops": of its end, as ngx_zltunnel_end_init() wants it */
ngx_zltunnel_channel_t *ngx_zltunnel_channel_create(
    ngx_zltunnel_registry_t *registry, ngx_connection_t *c,
    const ngx_zltunnel_end_ops_t *ops);
/* the most recent idle channel of the peer that is good for this, no longer
   idle; or NULL */
ngx_zltunnel_channel_t *ngx_zltunnel_channel_pop(ngx_zltunnel_peer_t *peer,
    ngx_zltunnel_channel_for_e what);
/* the same under the lock, for a tunnel; the caller links its peer then, which
   may have nothing else */
ngx_zltunnel_channel_t *ngx_zltunnel_channel_take(
    ngx_zltunnel_registry_t *registry, ngx_zltunnel_sh_tunnel_t *tunnel,
    ngx_zltunnel_channel_for_e what);
/* an idle channel that the registry has counted already; NGX_ERROR: it had to
   be closed */
ngx_int_t ngx_zltunnel_channel_list(ngx_zltunnel_channel_t *channel,
    u_char *token, ngx_str_t *name);
void ngx_zltunnel_channel_close(ngx_zltunnel_channel_t *channel);
/* closes the oldest idle one of this worker, of that registry or, if it is NULL,
   of any; NGX_DECLINED: there is none */
ngx_int_t ngx_zltunnel_channel_evict(ngx_zltunnel_registry_t *registry);
void ngx_zltunnel_channel_exit(void);


#endif /* _NGX_ZLTUNNEL_CHANNEL_H_INCLUDED_ */
