
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The registry as it lies in shared memory: tunnels, services, ports, counters.
 *
 * Everything here is read and written under the slab pool's own mutex, which
 * nginx unlocks when a worker dies inside it; the exceptions are a counter's
 * byte counts, which only its worker writes, a tunnel's "heard", "rtt", and the
 * clock of a rate.  A
 * change is bracketed by "dirty": who finds it set after taking the lock
 * knows that a worker died within a change, and empties the registry, upon
 * which agents register again.  One that died while it only read leaves
 * nothing behind; what is stored at once, as a number, is no change.
 *
 * Nothing slow and no logging happens under the lock.
 */


#ifndef _NGX_ZLTUNNEL_SHM_H_INCLUDED_
#define _NGX_ZLTUNNEL_SHM_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_shm_cluster.h"
#include "ngx_zltunnel_shm_service.h"
#include "ngx_zltunnel_shm_worker.h"


#define NGX_ZLTUNNEL_V1_GRACE         70000    /* ms, agents of version 1 */
#define NGX_ZLTUNNEL_SLOTS         64     /* of workers, in one table */
#define NGX_ZLTUNNEL_MAX_SLOTS     NGX_MAX_PROCESSES
#define NGX_ZLTUNNEL_TABLES        (NGX_ZLTUNNEL_MAX_SLOTS / NGX_ZLTUNNEL_SLOTS)
#define NGX_ZLTUNNEL_AGENT_NAME    64     /* of an agent's name, version */
#define NGX_ZLTUNNEL_ERROR_TEXT    96     /* of a tunnel's last error */
#define NGX_ZLTUNNEL_NO_SLOT       ((ngx_uint_t) -1)
#define NGX_ZLTUNNEL_PORT_REST     600000 /* ms before a freed port goes to
                                             another token by itself */
#define NGX_ZLTUNNEL_STALE_TIME    10000  /* ms to register again in */


/* names of hosts: a hash table that grows by a bucket at a time, see
   ngx_zltunnel_host.c */

#define NGX_ZLTUNNEL_HOST_SEGMENT   256    /* buckets */
#define NGX_ZLTUNNEL_HOST_SEGMENTS  256
#define NGX_ZLTUNNEL_HOST_RESTS     64     /* lists, by tenant */

typedef struct {
    ngx_zltunnel_sh_host_t     **segments[NGX_ZLTUNNEL_HOST_SEGMENTS];
    ngx_uint_t                   nbuckets;
    ngx_uint_t                   mask;        /* 2^n - 1 >= nbuckets - 1 */
    ngx_uint_t                   n;           /* names */
    ngx_uint_t                   nwild;       /* .. that begin with "*." */
    ngx_uint_t                   added;       /* times that a service got one */
    ngx_queue_t                  resting[NGX_ZLTUNNEL_HOST_RESTS];
                                              /* .. that no service has, as they
                                                 became so */
} ngx_zltunnel_sh_hosts_t;


/* whose agents are kept out: free if that is over */

#define NGX_ZLTUNNEL_KEPT           64

typedef struct {
    time_t                       until;
    uint8_t                      len;
    u_char                       name[NGX_ZLTUNNEL_TOKEN_NAME];
} ngx_zltunnel_sh_kept_t;


/* a token that zltunnel_auth has let in, or not any more */

typedef struct {
    ngx_rbtree_node_t            node;
    ngx_queue_t                  queue;       /* grants_new */
    ngx_queue_t                  turn;        /* grants_turn */
    u_char                       hash[32];    /* SHA-256 of it */
    uint64_t                     change;      /* its last one */
    time_t                       fresh;       /* see ngx_zltunnel_granted.h */
    time_t                       until;
    uint8_t                      over;
    uint8_t                      lapsed;
    uint16_t                     len;
    u_char                      *text;        /* "NAME key=value ..." */
} ngx_zltunnel_sh_grant_t;


/* a tunnel that has gone */

typedef struct {
    u_char                       id[ZLT_ID_SIZE];
    u_char                       name[NGX_ZLTUNNEL_TOKEN_NAME];
    u_char                       agent[NGX_ZLTUNNEL_AGENT_NAME];
    u_char                       address[NGX_SOCKADDR_STRLEN];
    u_char                       error[NGX_ZLTUNNEL_ERROR_TEXT];
    uint8_t                      name_len;
    uint8_t                      agent_len;
    uint8_t                      address_len;
    uint8_t                      error_len;
    uint8_t                      kept;        /* its agents were kept out by
                                                 it; of a copy: they are now */
    time_t                       since;
    time_t                       heard;
    time_t                       left;
    time_t                       failed;      /* last error; 0: none */
    uint64_t                     total;
    uint64_t                     bytes[2];
} ngx_zltunnel_sh_past_t;


/* another node, whose services are reached through it */

typedef struct {
    ngx_queue_t                  queue;       /* sh->nodes */
    u_char                       id[ZLT_ID_SIZE];
    socklen_t                    socklen;
    ngx_sockaddr_t               sockaddr;
    uint8_t                      failing;     /* it was not reached, or has
                                                 refused: */
    ngx_msec_t                   failed;      /* .. the last time */
} ngx_zltunnel_sh_remote_t;


/* the clock of a token's rate; its memory is used for another, never freed */

struct ngx_zltunnel_sh_rate_s {
    ngx_rbtree_node_t            node;        /* in sh->rates */
    ngx_queue_t                  queue;       /* sh->rate_list */
    uint64_t                     hash;        /* of the token's name */
    uint64_t                     clock;       /* moved without the lock */
    uint64_t                     rate;        /* .. to which it was changed
                                                 last; 0: never */
};


/* who this server is among several, and was in former configurations */

#define NGX_ZLTUNNEL_NODE_IDS       8

typedef struct {
    u_char                       drawn[ZLT_ID_SIZE];  /* where nobody says it */
    u_char                       ids[NGX_ZLTUNNEL_NODE_IDS][ZLT_ID_SIZE];
    ngx_uint_t                   n;           /* of those, ever */
} ngx_zltunnel_sh_node_t;


/* channels that were for other nodes */

typedef struct {
    uint64_t                     total;
    ngx_uint_t                   lately;      /* of them, from .. on */
    time_t                       since;
    time_t                       said;        /* in the log; 0: never */
} ngx_zltunnel_sh_astray_t;


/* no more than a page */

struct ngx_zltunnel_sh_s {
    ngx_zltunnel_sh_node_t       node;
    ngx_zltunnel_sh_astray_t     astray;
    ngx_uint_t                   generation;  /* raised by init_module */
    ngx_uint_t                   manned;      /* the last that had a worker */
    ngx_uint_t                   dirty;
    ngx_msec_t                   started;     /* ngx_current_msec */
    ngx_uint_t                   expecting;   /* there was another one before,
                                                 whose agents will come */
    ngx_msec_t                   swept;

    ngx_uint_t                   nslots;      /* never less than before */
    ngx_zltunnel_sh_worker_t    *slots[NGX_ZLTUNNEL_TABLES];
    ngx_zltunnel_sh_worker_t     gone;        /* totals of dead workers */

    ngx_rbtree_t                 tunnels;     /* by id */
    ngx_rbtree_t                 names;       /* services, by name */
    ngx_rbtree_t                 ids;         /* services, by id */
    ngx_rbtree_t                 ports;
    ngx_zltunnel_sh_hosts_t      hosts;
    ngx_rbtree_t                 pendings;    /* by connection id */
    ngx_rbtree_t                 accesses;    /* access sessions, by id */
    ngx_rbtree_t                 rates;       /* by hash of the token's name */
    ngx_rbtree_node_t            sentinel;

    ngx_rbtree_t                 grants;      /* by hash of the token */
    ngx_queue_t                  grants_new;  /* .. the last changed last */
    ngx_queue_t                  grants_turn; /* .. as they are looked at */
    uint64_t                     grants_changes;
    ngx_queue_t                  list;        /* of all tunnels */
    ngx_queue_t                  orphans;     /* counters without service */
    ngx_queue_t                  rate_list;   /* to look for unused ones */
    ngx_queue_t                  nodes;       /* other ones */
    ngx_uint_t                   ntunnels;    /* of agents here */
    ngx_uint_t                   nremote;     /* .. and of other nodes */
    ngx_uint_t                   remote_lost; /* raised when services of those
                                                 went that nobody has ended */
    uint64_t                     turn;        /* of services by name */
    ngx_uint_t                   resets;      /* times it was emptied */
    ngx_uint_t                   unsettled;   /* a port may listen that has
                                                 no service */
    uint64_t                     changes;     /* of whose a UDP port is */
    ngx_uint_t                   unclosed;    /* one does that was freed */
    ngx_zltunnel_sh_kept_t      *kept;        /* NGX_ZLTUNNEL_KEPT, or NULL */
    ngx_zltunnel_sh_past_t      *past;        /* a ring, or NULL */
    ngx_uint_t                   past_size;
    ngx_uint_t                   npast;       /* that went, in all */
    ngx_atomic_t                 events;      /* that were told, in all */
    ngx_uint_t                   lost;        /* services that are to go, in
                                                 tunnels that are live */
    ngx_zltunnel_sh_cluster_t   *cluster;     /* NULL: there was none yet */
};


typedef enum {
    NGX_ZLTUNNEL_LIVE = 0,
    NGX_ZLTUNNEL_GRACE                        /* its control channel is gone */
} ngx_zltunnel_state_e;


struct ngx_zltunnel_sh_tunnel_s {
    ngx_rbtree_node_t            node;
    ngx_queue_t                  queue;
    u_char                       id[ZLT_ID_SIZE];
    u_char                       data_key[ZLT_KEY_SIZE];
    u_char                       resume_key[ZLT_KEY_SIZE];
    u_char                       token[32];   /* SHA-256 of it */
    u_char                       name[NGX_ZLTUNNEL_TOKEN_NAME];
    u_char                       agent[NGX_ZLTUNNEL_AGENT_NAME];
    u_char                       address[NGX_SOCKADDR_STRLEN];
    uint8_t                      name_len;
    uint8_t                      agent_len;
    uint8_t                      address_len;
    uint8_t                      extended;    /* 0: an agent of version 1 */
    uint8_t                      draining;    /* nobody new comes to it */
    ngx_zltunnel_sh_remote_t    *remote;      /* where its agents are, which is
                                                 not here; or NULL */
    u_char                       remote_id[ZLT_ID_SIZE];    /* .. of it */
    ngx_uint_t                   nwanting;    /* .. services that wait for their
                                                 port */
    uint32_t                     features;
    uint16_t                     max_connections;   /* of all tunnels of the */
    uint16_t                     max_udp_sessions;  /* token; 0: no limit */

    ngx_zltunnel_state_e         state;
    ngx_uint_t                   slot;        /* of the control's owner */
    uint64_t                     epoch;       /* raised at every takeover */
    time_t                       since;       /* of the control channel */
    time_t                       failed;      /* the last error; 0: none */
    uint8_t                      error_len;
    u_char                       error[NGX_ZLTUNNEL_ERROR_TEXT];
    time_t                       left;        /* when it went; 0: it is
                                                 there */
    ngx_msec_t                   heard;       /* last time, of the agent */
    ngx_msec_t                   rtt;         /* of the last heartbeat, and 1;
                                                 0: there was none */
    ngx_msec_t                   expires;     /* GRACE: end of it */
    ngx_msec_t                   stale;       /* end of the time to register
                                                 again, 0: none are stale */

    ngx_queue_t                  services;
    ngx_uint_t                   nservices;
    ngx_uint_t                   active[2];   /* connections of theirs; UDP
                                                 sessions */
    ngx_uint_t                   lists;       /* bytes that their allow takes */
    ngx_uint_t                   nhosts;      /* names that they have */
    ngx_queue_t                  accesses;    /* sessions of a visitor */
    ngx_uint_t                   naccesses;
    ngx_uint_t                   visits;      /* connections of those */
    ngx_uint_t                   npending;    /* dials without a channel */
    ngx_uint_t                   nidle;
    uint16_t                    *idle;        /* of each slot */
};


#define ngx_zltunnel_turn(sh)      (++(sh)->turn)


/* the worker of a slot below sh->nslots; it stays where it is */

#define ngx_zltunnel_slot(sh, n)                                              \
    (&(sh)->slots[(n) / NGX_ZLTUNNEL_SLOTS][(n) % NGX_ZLTUNNEL_SLOTS])


/* whether a tunnel is of the token of that name */

#define ngx_zltunnel_tunnel_of(tunnel, token)                                 \
    ((tunnel)->name_len == (token)->len                                       \
     && ngx_memcmp((tunnel)->name, (token)->data, (token)->len) == 0)


/* of a token's or a service's name */

#define ngx_zltunnel_name_hash(data, len)                                     \
    ((uint64_t) ngx_murmur_hash2(data, len) << 32 | ngx_crc32_long(data, len))


#endif /* _NGX_ZLTUNNEL_SHM_H_INCLUDED_ */
