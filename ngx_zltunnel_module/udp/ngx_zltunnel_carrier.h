
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_CARRIER_H_INCLUDED_
#define _NGX_ZLTUNNEL_CARRIER_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_channel.h"
#include "ngx_zltunnel_worker.h"

#include "zlt_queue.h"


#define NGX_ZLTUNNEL_CARRIER_SHARE  "a service's share of max_channel_share"


struct ngx_zltunnel_carrier_s {
    ngx_rbtree_node_t            node;       /* by service id */
    u_char                       id[ZLT_ID_SIZE];     /* the service's */
    u_char                       tunnel_id[ZLT_ID_SIZE];
    ngx_zltunnel_registry_t     *registry;
    ngx_str_t                    service;    /* names, allocated with it */
    ngx_str_t                    tunnel;
    ngx_zltunnel_link_t          link;
    ngx_zltunnel_sh_counter_t   *counter;    /* while there are sessions */
    uint64_t                     dropped[NGX_ZLTUNNEL_DROPS]; /* without it */

    ngx_zltunnel_dial_t          dial;
    ngx_pool_t                  *dial_pool;
    ngx_zltunnel_channel_t      *channel;
    ngx_zltunnel_datagrams_t     frames;     /* on it */
    ngx_msec_t                   failed;     /* when none was to be had */

    ngx_queue_t                  sessions;
    ngx_uint_t                   nsessions;
    ngx_zltunnel_udp_t         **numbers;    /* hash of the open ones */
    ngx_uint_t                   nnumbers;   /* a power of two */
    uint32_t                     number;     /* the last one given */
    ngx_msec_t                   full;       /* at max_udp_sessions, since */

    zlt_queue_t                  queue;      /* datagrams that wait */
    ngx_zltunnel_portion_t       portion[2];   /* 0 from clients, 1 to them */

    ngx_event_t                  tick;       /* 1 s, cancelable */
    ngx_msec_t                   unused;     /* without sessions since */

    unsigned                     capable:1;  /* its agent carries datagrams */
    unsigned                     dialling:1;
    unsigned                     isfull:1;
    unsigned                     dead:1;
};


ngx_zltunnel_carrier_t *ngx_zltunnel_carrier_find(u_char *service_id);
/* under the lock; NULL: no memory */
ngx_zltunnel_carrier_t *ngx_zltunnel_carrier_create(
    ngx_zltunnel_registry_t *registry, ngx_zltunnel_sh_service_t *service);
/* 1 if a new session would be one too many */
ngx_uint_t ngx_zltunnel_carrier_full(ngx_zltunnel_carrier_t *carrier);
/* 1 if it has its share of the sessions that there may be in this worker */
ngx_uint_t ngx_zltunnel_carrier_crowds(ngx_zltunnel_carrier_t *carrier);
/* counts a datagram; udp may be NULL; cause is NGX_ZLTUNNEL_DROP_* */
void ngx_zltunnel_carrier_drop(ngx_zltunnel_carrier_t *carrier,
    ngx_zltunnel_udp_t *udp, ngx_uint_t cause);
/* 0: it is above the rate of the token, and was counted as dropped.  side: 0 from
   clients, 1 to them */
ngx_uint_t ngx_zltunnel_carrier_paced(ngx_zltunnel_carrier_t *carrier,
    ngx_zltunnel_udp_t *udp, ngx_uint_t side, size_t len);
/* so many the kernel has dropped */
void ngx_zltunnel_carrier_lose(ngx_zltunnel_carrier_t *carrier, uint32_t n);
/* looks for a channel, unless that is under way or has just failed */
void ngx_zltunnel_carrier_dial(ngx_zltunnel_carrier_t *carrier,
    ngx_zltunnel_udp_t *udp);
/* the channel has ended, or must */
void ngx_zltunnel_carrier_lost(ngx_zltunnel_carrier_t *carrier);
/* ends what belongs to services that are gone */
void ngx_zltunnel_carrier_check(ngx_zltunnel_registry_t *registry);
/* the same, soon: for who may have been called by a session */
void ngx_zltunnel_carrier_recheck(void);
/* the worker exits: ends every session, closes the channels */
void ngx_zltunnel_carrier_exit(void);


#endif /* _NGX_ZLTUNNEL_CARRIER_H_INCLUDED_ */
