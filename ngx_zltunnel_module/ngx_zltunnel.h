
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Version, opaque types, and what a zltunnel{} block is.
 *
 * A registry is one zltunnel{} block.  What all workers must know of it is in
 * its shared memory zone (ngx_zltunnel_shm.h); what one worker holds of it,
 * descriptors above all, is here.
 *
 * An agent has one control channel, owned by the worker that accepted it, and
 * data channels, idle ones in any worker.  A dial gets a data channel to a
 * service for a client of this worker, whichever worker holds one, and a
 * relay moves the bytes.
 */


#ifndef _NGX_ZLTUNNEL_H_INCLUDED_
#define _NGX_ZLTUNNEL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "zlt_types.h"

#include "ngx_zltunnel_compat.h"


#define NGX_ZLTUNNEL_VERSION          "0.1.0"
#define NGX_ZLTUNNEL_TEXT_MAX         256      /* of a peer's strings */
#define NGX_ZLTUNNEL_TOKEN_NAME       ZLT_MAX_TOKEN_NAME


/* why a datagram was dropped */

#define NGX_ZLTUNNEL_DROP_QUEUE    0      /* too much waits for the channel */
#define NGX_ZLTUNNEL_DROP_AGE      1      /* has waited for too long */
#define NGX_ZLTUNNEL_DROP_LIMIT    2      /* too many sessions */
#define NGX_ZLTUNNEL_DROP_CHANNEL  3      /* there is no channel */
#define NGX_ZLTUNNEL_DROP_SESSION  4      /* its session has ended */
#define NGX_ZLTUNNEL_DROP_SEND     5      /* not taken by the client's side */
#define NGX_ZLTUNNEL_DROP_MALFORMED  6    /* a frame of the agent */
#define NGX_ZLTUNNEL_DROP_KERNEL   7      /* the socket's buffer was full */
#define NGX_ZLTUNNEL_DROP_RATE     8      /* above the token's rate */
#define NGX_ZLTUNNEL_DROPS         9


typedef struct ngx_zltunnel_registry_s    ngx_zltunnel_registry_t;
typedef struct ngx_zltunnel_cluster_conf_s  ngx_zltunnel_cluster_conf_t;
typedef struct ngx_zltunnel_token_s       ngx_zltunnel_token_t;
typedef struct ngx_zltunnel_tokens_s      ngx_zltunnel_tokens_t;
typedef struct ngx_zltunnel_listener_s    ngx_zltunnel_listener_t;
typedef struct ngx_zltunnel_json_s        ngx_zltunnel_json_t;
typedef zlt_ipc_t                         ngx_zltunnel_ipc_t;
typedef struct ngx_zltunnel_peer_s        ngx_zltunnel_peer_t;
typedef struct ngx_zltunnel_share_s       ngx_zltunnel_share_t;
typedef struct ngx_zltunnel_link_s        ngx_zltunnel_link_t;
typedef struct ngx_zltunnel_control_s     ngx_zltunnel_control_t;
typedef struct ngx_zltunnel_channel_s     ngx_zltunnel_channel_t;
typedef struct ngx_zltunnel_dial_s        ngx_zltunnel_dial_t;
typedef struct ngx_zltunnel_relay_s       ngx_zltunnel_relay_t;
typedef struct ngx_zltunnel_ws_s          ngx_zltunnel_ws_t;
typedef struct ngx_zltunnel_lane_s        ngx_zltunnel_lane_t;
typedef struct ngx_zltunnel_sh_s          ngx_zltunnel_sh_t;
typedef struct ngx_zltunnel_sh_tunnel_s   ngx_zltunnel_sh_tunnel_t;
typedef struct ngx_zltunnel_sh_service_s  ngx_zltunnel_sh_service_t;
typedef struct ngx_zltunnel_sh_host_s     ngx_zltunnel_sh_host_t;
typedef struct ngx_zltunnel_sh_access_s   ngx_zltunnel_sh_access_t;
typedef struct ngx_zltunnel_sh_counter_s  ngx_zltunnel_sh_counter_t;
typedef struct ngx_zltunnel_sh_rate_s     ngx_zltunnel_sh_rate_t;
typedef struct ngx_zltunnel_end_s         ngx_zltunnel_end_t;
typedef struct ngx_zltunnel_end_ops_s     ngx_zltunnel_end_ops_t;
typedef struct ngx_zltunnel_visit_s       ngx_zltunnel_visit_t;
typedef struct ngx_zltunnel_udp_s         ngx_zltunnel_udp_t;
typedef struct ngx_zltunnel_carrier_s     ngx_zltunnel_carrier_t;
typedef struct ngx_zltunnel_client_s      ngx_zltunnel_client_t;
typedef struct ngx_zltunnel_newcomer_s    ngx_zltunnel_newcomer_t;
typedef struct ngx_zltunnel_conn_s        ngx_zltunnel_conn_t;


struct ngx_zltunnel_registry_s {
    ngx_str_t                    name;        /* "default" without a name */
    uint32_t                     hash;        /* crc32 of it, for messages */
    unsigned                     defined:1;   /* its block was seen */

    u_char                      *file;        /* first reference, or block */
    ngx_uint_t                   line;

    /* directives of the block */
    ngx_shm_zone_t              *shm_zone;
    size_t                       zone_size;
    ngx_str_t                    token_file;
    ngx_uint_t                   asks;        /* there is a zltunnel_auth */
    ngx_msec_t                   heartbeat_interval;
    ngx_msec_t                   heartbeat_timeout;
    ngx_msec_t                   connect_timeout;
    ngx_msec_t                   reconnect_grace;
    ngx_uint_t                   max_tunnels;
    ngx_uint_t                   max_services;
    ngx_uint_t                   max_hosts;   /* of a token */
    ngx_str_t                    domain;      /* below which short names are;
                                                 empty: there is none */
    ngx_str_t                    public_url;  /* of hosts, with a star in place of
                                                 the name; empty: as http says */
    ngx_uint_t                   nodes;       /* behind one name; 0: not told */
    u_char                       node_id[ZLT_ID_SIZE];      /* if it is given */
    unsigned                     node_given:1;
    ngx_uint_t                   max_unauthenticated;
    ngx_uint_t                   max_idle_channels;
    ngx_uint_t                   max_pending;
    ngx_uint_t                   max_connections;
    ngx_uint_t                   max_udp_sessions;
    ngx_uint_t                   max_channel_share;  /* percent */
    ngx_zltunnel_cluster_conf_t *cluster;     /* NULL: this server is alone */
    ngx_uint_t                   workers;     /* of this configuration */
#if (NGX_DEBUG)
    ngx_msec_t                   debug_delay;  /* before an answer is read */
    ngx_str_t                    debug_stop;   /* see zone.c */
#endif

    ngx_array_t                  listeners;   /* ngx_zltunnel_listener_t,
                                                 sorted by udp, port */
    ngx_array_t                  passes;      /* the same of zltunnel_pass */
    ngx_array_t                  references;  /* ngx_zltunnel_reference_t */
    void                        *notify;      /* of http: who is told of events,
                                                 or NULL */

    /* of this worker */
    ngx_zltunnel_sh_t           *sh;
    ngx_slab_pool_t             *shpool;
    ngx_uint_t                   slot;        /* in the zone */
    ngx_zltunnel_tokens_t       *tokens;
    uint64_t                     tokens_seen; /* change of the zone's text */
    ngx_rbtree_t                 granted;     /* ngx_zltunnel_granted_t, by
                                                 hash */
    ngx_rbtree_node_t            granted_sentinel;
    uint64_t                     grants_seen;    /* changes of the zone's */
    ngx_uint_t                   grants_changed; /* not acted on yet */
    ngx_rbtree_t                 peers;       /* by tunnel id */
    ngx_rbtree_node_t            peers_sentinel;
    ngx_queue_t                  shares;      /* ngx_zltunnel_share_t */
    ngx_uint_t                   nchannels;   /* idle and busy, here */
    ngx_uint_t                   nidle;       /* connections that idle ones
                                                 have, here */
    ngx_uint_t                   nvisits;     /* .. of visitors */
    ngx_uint_t                   unauthenticated;
    ngx_uint_t                   gated;       /* see ngx_zltunnel_gate.c */
    ngx_event_t                  tick;        /* 1 s, cancelable */
};


typedef enum {
    NGX_ZLTUNNEL_DIAL_OK = 0,
    NGX_ZLTUNNEL_DIAL_NO_SERVICE,
    NGX_ZLTUNNEL_DIAL_LIMIT,        /* max_connections, max_pending, .. */
    NGX_ZLTUNNEL_DIAL_REFUSED,      /* ConnectFail */
    NGX_ZLTUNNEL_DIAL_TIMEOUT,
    NGX_ZLTUNNEL_DIAL_SHUTDOWN,     /* no channel is left, and none can come */
    NGX_ZLTUNNEL_DIAL_INCAPABLE,    /* the agent carries nothing of the kind */
    NGX_ZLTUNNEL_DIAL_ERROR,
    NGX_ZLTUNNEL_RESULTS            /* how many there are */
} ngx_zltunnel_dial_e;


/* the key in an rbtree: the last bytes, random in every kind of id */

static ngx_inline ngx_rbtree_key_t
ngx_zltunnel_id_key(u_char *id)
{
    ngx_rbtree_key_t  key;

    ngx_memcpy(&key, id + 8, sizeof(ngx_rbtree_key_t));

    return key;
}


#endif /* _NGX_ZLTUNNEL_H_INCLUDED_ */
