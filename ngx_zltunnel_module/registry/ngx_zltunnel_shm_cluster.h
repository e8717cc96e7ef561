
/*
 * Copyright (C) zltunnel authors
 */

/* Of ngx_zltunnel_shm.h: what is known of a directory, see docs/cluster.md. */


#ifndef _NGX_ZLTUNNEL_SHM_CLUSTER_H_INCLUDED_
#define _NGX_ZLTUNNEL_SHM_CLUSTER_H_INCLUDED_


#include "ngx_zltunnel.h"


#define NGX_ZLTUNNEL_CLUSTER_TEXT  160        /* of an error */


/* what is wrong with the engine; each is told once a minute */

typedef enum {
    NGX_ZLTUNNEL_CLUSTER_AWAY = 0,
    NGX_ZLTUNNEL_CLUSTER_GARBAGE,
    NGX_ZLTUNNEL_CLUSTER_NOAUTH,
    NGX_ZLTUNNEL_CLUSTER_LOADING,
    NGX_ZLTUNNEL_CLUSTER_READONLY,
    NGX_ZLTUNNEL_CLUSTER_FULL,
    NGX_ZLTUNNEL_CLUSTER_MOVED,
    NGX_ZLTUNNEL_CLUSTER_REFUSED,             /* a command, with another text */
    NGX_ZLTUNNEL_CLUSTER_ERRORS
} ngx_zltunnel_cluster_error_e;


/* written by the worker that speaks to the engine, under the lock only where
   that is said */

typedef struct {
    ngx_pid_t                    pid;         /* who that is; 0: nobody;
                                                 under the lock */
    ngx_msec_t                   held;        /* .. and was, at that time */

    ngx_uint_t                   connected;
    time_t                       since;       /* of that */
    ngx_msec_t                   contact;     /* the engine's last answer, | 1;
                                                 0: there was none */
    time_t                       told[NGX_ZLTUNNEL_CLUSTER_ERRORS];
    time_t                       failed;      /* the last error; 0: none */
    uint8_t                      error_len;
    uint8_t                      engine_len;
    u_char                       error[NGX_ZLTUNNEL_CLUSTER_TEXT];
    u_char                       engine[NGX_SOCKADDR_STRLEN];

    ngx_uint_t                   nodes;       /* other ones */
    ngx_uint_t                   services;    /* of theirs */
    ngx_uint_t                   published;   /* of this one's */
    ngx_uint_t                   leases;
    ngx_msec_t                   lag;         /* of the last change, from here
                                                 to here by the engine */
    uint64_t                     errors;
    uint64_t                     lost;        /* leases */
    uint64_t                     sent;        /* changes */
    uint64_t                     heard;
    uint64_t                     bytes[2];    /* from the engine, to it */

    u_char                      *tokens;      /* the text of token_key=, or
                                                 NULL; under the lock */
    size_t                       tokens_len;
    uint64_t                     tokens_key;  /* hash of its name */
    u_char                       tokens_sum[40];   /* SHA-1 of it, as text */
    uint64_t                     tokens_change;   /* raised with each text */
} ngx_zltunnel_sh_cluster_t;


#endif /* _NGX_ZLTUNNEL_SHM_CLUSTER_H_INCLUDED_ */
