
/*
 * Copyright (C) zltunnel authors
 */

/* Of ngx_zltunnel_shm.h: services, and what belongs to one. */


#ifndef _NGX_ZLTUNNEL_SHM_SERVICE_H_INCLUDED_
#define _NGX_ZLTUNNEL_SHM_SERVICE_H_INCLUDED_


#include "ngx_zltunnel.h"


struct ngx_zltunnel_sh_service_s {
    ngx_rbtree_node_t            node;        /* in sh->names */
    ngx_rbtree_node_t            by_id;       /* in sh->ids */
    ngx_queue_t                  queue;       /* in tunnel->services */
    ngx_zltunnel_sh_tunnel_t    *tunnel;
    u_char                       id[ZLT_ID_SIZE];
    in_port_t                    port;        /* host order; 0: none */
    in_port_t                    local_port;
    in_port_t                    remote_port; /* asked for */
    uint8_t                      udp;
    uint8_t                      flags;       /* ZLT_R_* */
    uint8_t                      lost;        /* see ngx_zltunnel_lost.c */
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


#endif /* _NGX_ZLTUNNEL_SHM_SERVICE_H_INCLUDED_ */
