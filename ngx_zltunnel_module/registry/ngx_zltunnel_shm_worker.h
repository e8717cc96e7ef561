
/*
 * Copyright (C) zltunnel authors
 */

/* Of ngx_zltunnel_shm.h: what each worker counts. */


#ifndef _NGX_ZLTUNNEL_SHM_WORKER_H_INCLUDED_
#define _NGX_ZLTUNNEL_SHM_WORKER_H_INCLUDED_


#include "ngx_zltunnel.h"


/* the ways in which a dial got its channel */

#define NGX_ZLTUNNEL_LOCAL         0
#define NGX_ZLTUNNEL_MOVED         1
#define NGX_ZLTUNNEL_BRIDGED       2
#define NGX_ZLTUNNEL_FRESH         3
#define NGX_ZLTUNNEL_LANED         4
#define NGX_ZLTUNNEL_WAYS          5


/* what became of an event that somebody was to be notified of */

#define NGX_ZLTUNNEL_SENT          0
#define NGX_ZLTUNNEL_FAILED        1
#define NGX_ZLTUNNEL_DROPPED       2
#define NGX_ZLTUNNEL_NOTIFIED      3


/* what zltunnel_auth said of a token */

#define NGX_ZLTUNNEL_ALLOWED       0
#define NGX_ZLTUNNEL_REFUSED       1
#define NGX_ZLTUNNEL_UNSAID        2      /* nobody could say */
#define NGX_ZLTUNNEL_ASKED         3


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
    uint64_t                     notified[NGX_ZLTUNNEL_NOTIFIED];
    uint64_t                     asked[NGX_ZLTUNNEL_ASKED];
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


#endif /* _NGX_ZLTUNNEL_SHM_WORKER_H_INCLUDED_ */
