
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The registry as it lies in shared memory: tunnels, services, ports, counters.
 *
 * Everything here is read and written under the slab pool's own mutex, which
 * nginx unlocks when a worker dies inside it; the exceptions are a counter's
 * byte counts, which only its worker writes, and a tunnel's "heard", "rtt".  A
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


/* the ways in which a dial got its channel */

#define NGX_ZLTUNNEL_LOCAL         0
#define NGX_ZLTUNNEL_MOVED         1
#define NGX_ZLTUNNEL_BRIDGED       2
#define NGX_ZLTUNNEL_FRESH         3
#define NGX_ZLTUNNEL_LANED         4
#define NGX_ZLTUNNEL_WAYS          5


/* times in ms: bucket[i] counts those up to ngx_zltunnel_figure_limits[i] and
   above the one before, the last bucket all others */

#define NGX_ZLTUNNEL_BUCKETS       15

typedef struct {
    uint64_t                     bucket[NGX_ZLTUNNEL_BUCKETS];
    uint64_t                     sum;
} ngx_zltunnel_sh_times_t;


/* of one worker, which alone writes it */

typedef struct {
    uint64_t                     dials[NGX_ZLTUNNEL_RESULTS];
    ngx_zltunnel_sh_times_t      connects;    /* of dials that succeeded */
    ngx_zltunnel_sh_times_t      heartbeats;  /* round trips */
} ngx_zltunnel_sh_figures_t;


typedef struct {
    ngx_pid_t                    pid;         /* 0: the slot is free */
    ngx_uint_t                   generation;
    ngx_uint_t                   worker;
    ngx_uint_t                   exiting;
    ngx_uint_t                   clients;     /* exiting: 1 if it has any */
    ngx_uint_t                   nidle;       /* idle channels there */
    uint64_t                     acquired[NGX_ZLTUNNEL_WAYS];
    uint64_t                     repeated;    /* Connects sent again */
    uint64_t                     reused;      /* channels idle again */
    uint64_t                     left;        /* connections, their lane */
    uint64_t                     spliced;     /* bytes */
    ngx_zltunnel_sh_figures_t   *figures;     /* NULL: the zone is full */
} ngx_zltunnel_sh_worker_t;


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
    uint8_t                      kept;        /* of a copy: its agents are
                                                 kept out */
    time_t                       since;
    time_t                       heard;
    time_t                       left;
    time_t                       failed;      /* last error; 0: none */
    uint64_t                     total;
    uint64_t                     bytes[2];
} ngx_zltunnel_sh_past_t;


struct ngx_zltunnel_sh_s {
    ngx_uint_t                   generation;  /* raised by init_module */
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
    ngx_rbtree_t                 ports;
    ngx_zltunnel_sh_hosts_t      hosts;
    ngx_rbtree_t                 pendings;    /* by connection id */
    ngx_rbtree_t                 accesses;    /* access sessions, by id */
    ngx_rbtree_node_t            sentinel;

    ngx_queue_t                  list;        /* of all tunnels */
    ngx_queue_t                  orphans;     /* counters without service */
    ngx_uint_t                   ntunnels;
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
    ngx_uint_t                   lists;       /* bytes that their allow takes */
    ngx_uint_t                   nhosts;      /* names that they have */
    ngx_queue_t                  accesses;    /* sessions of a visitor */
    ngx_uint_t                   naccesses;
    ngx_uint_t                   visits;      /* connections of those */
    ngx_uint_t                   npending;    /* dials without a channel */
    ngx_uint_t                   nidle;
    uint16_t                    *idle;        /* of each slot */
};


struct ngx_zltunnel_sh_service_s {
    ngx_rbtree_node_t            node;        /* in sh->names */
    ngx_queue_t                  queue;       /* in tunnel->services */
    ngx_zltunnel_sh_tunnel_t    *tunnel;
    u_char                       id[ZLT_ID_SIZE];
    in_port_t                    port;        /* host order; 0: none */
    in_port_t                    local_port;
    in_port_t                    remote_port; /* asked for */
    uint8_t                      udp;
    uint8_t                      flags;       /* ZLT_R_* */
    uint8_t                      stale;       /* not registered again yet */
    uint8_t                      health;      /* ZLT_H_*, by its agent's check */
    uint8_t                      shut;        /* .. so its port is closed */
    uint8_t                      ill_len;     /* the address that was tried,
                                                 and the error, while it is */
    u_char                      *ill;         /* down; NULL: no room */
    time_t                       ill_since;
    uint16_t                     allow_len;   /* names of tokens, separated */
    u_char                      *allow;       /* by commas; NULL: any */
    ngx_queue_t                  hosts;       /* ngx_zltunnel_sh_hosted_t */
    ngx_uint_t                   nhosts;
    uint64_t                     used;        /* for round robin */
    ngx_uint_t                   fails;       /* as an upstream, of late */
    ngx_msec_t                   failed;      /* .. the last time */
    time_t                       unreached;   /* the last time that it was not
                                                 reached, or 0 */
    uint8_t                      cause;       /* .. ZLT_E_*, 0xff: not said;
                                                 0: not in time */

    ngx_queue_t                  counters;    /* ngx_zltunnel_sh_counter_t */
    uint64_t                     total;       /* folded in from dead workers */
    uint64_t                     bytes[2];    /* 0 from clients, 1 to them */
    uint64_t                     datagrams[2];
    uint64_t                     dropped[NGX_ZLTUNNEL_DROPS];

    uint8_t                      name_len;
    u_char                       name[1];     /* allocated to fit */
};


struct ngx_zltunnel_sh_host_s {
    ngx_zltunnel_sh_host_t      *next;        /* in its bucket */
    uint64_t                     hash;
    ngx_queue_t                  services;    /* ngx_zltunnel_sh_hosted_t */
    ngx_queue_t                  rest;        /* in resting, if it is empty */
    uint64_t                     tenant;      /* hash of the token's name */
    ngx_msec_t                   freed;       /* resting, since */
    uint8_t                      len;
    u_char                       name[1];     /* allocated to fit */
};


/* one service has one name */

typedef struct {
    ngx_queue_t                  queue;       /* host->services */
    ngx_queue_t                  list;        /* service->hosts */
    ngx_zltunnel_sh_host_t      *host;
    ngx_zltunnel_sh_service_t   *service;
    uint8_t                      automatic;   /* "auto" was asked for */
} ngx_zltunnel_sh_hosted_t;


/* of one worker and one service or access session, written by that worker
   alone; what it counts for is gone if both are NULL */

struct ngx_zltunnel_sh_counter_s {
    ngx_queue_t                  queue;       /* service's, or orphans */
    ngx_zltunnel_sh_service_t   *service;
    ngx_zltunnel_sh_access_t    *access;
    ngx_uint_t                   slot;
    ngx_pid_t                    pid;
    ngx_uint_t                   active;      /* connections */
    ngx_uint_t                   busy;        /* requests to balance */
    uint64_t                     total;
    uint64_t                     bytes[2];
    uint64_t                     datagrams[2];
    uint64_t                     dropped[NGX_ZLTUNNEL_DROPS];
};


/* a port that is or was used; others have no entry */

typedef struct {
    ngx_rbtree_node_t            node;        /* port | udp << 16 */
    ngx_zltunnel_sh_service_t   *service;     /* NULL: free */
    in_port_t                    port;
    uint8_t                      udp;
    uint64_t                     tenant;      /* hash of the token's name */
    uint64_t                     user;        /* .. and of the service */
    ngx_msec_t                   freed;
} ngx_zltunnel_sh_port_t;


/* a Connect sent on a control channel: a fresh channel will answer it */

typedef struct {
    ngx_rbtree_node_t            node;        /* by connection id */
    u_char                       id[ZLT_ID_SIZE];
    u_char                       tunnel_id[ZLT_ID_SIZE];
    ngx_uint_t                   slot;        /* who waits */
    ngx_pid_t                    pid;
    ngx_msec_t                   expires;
    ngx_uint_t                   answered;    /* a channel is being opened */
    ngx_uint_t                   refused;     /* .. that was, for want of room */
    ngx_uint_t                   datagrams;   /* for UDP sessions */
    ngx_uint_t                   requests;    /* for answers that somebody waits
                                                 for */
} ngx_zltunnel_sh_pending_t;


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
