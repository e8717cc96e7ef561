
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_HEARTBEAT_H_INCLUDED_
#define _NGX_ZLTUNNEL_HEARTBEAT_H_INCLUDED_


#include "ngx_zltunnel.h"

#include "zlt_types.h"


#define NGX_ZLTUNNEL_HEARTBEAT_SIZE  (ZLT_HEADER_SIZE + 8)


/* ms without a word on a channel that somebody waits on, after which it is asked
   for a sign of life */
ngx_msec_t ngx_zltunnel_heartbeat_quiet(ngx_zltunnel_registry_t *registry);


/* of one channel */

typedef struct {
    ngx_msec_t                   next;       /* one is due, or its answer */
    ngx_msec_t                   quiet;      /* ms between two looks at who is
                                                unheard; 0: none */
    unsigned                     asked:1;    /* for a sign of life */
    unsigned                     unheard:1;  /* nothing came since something
                                                was sent, or for long: one
                                                is due */
} ngx_zltunnel_heartbeat_t;


typedef enum {
    NGX_ZLTUNNEL_HEARTBEAT_WAIT = 0,
    NGX_ZLTUNNEL_HEARTBEAT_ASK,              /* one is to be sent */
    NGX_ZLTUNNEL_HEARTBEAT_DEAD              /* there was no answer */
} ngx_zltunnel_heartbeat_e;


void ngx_zltunnel_heartbeat_start(ngx_zltunnel_heartbeat_t *beat,
    ngx_zltunnel_registry_t *registry);
/* whatever comes is a sign of life: 1 if it was asked for */
ngx_uint_t ngx_zltunnel_heartbeat_heard(ngx_zltunnel_heartbeat_t *beat,
    ngx_zltunnel_registry_t *registry);
/* one is sent, to be answered from now on */
void ngx_zltunnel_heartbeat_ask(ngx_zltunnel_heartbeat_t *beat,
    ngx_zltunnel_registry_t *registry);
/* what is to be done now; where one is to be sent it is asked */
ngx_zltunnel_heartbeat_e ngx_zltunnel_heartbeat_tick(
    ngx_zltunnel_heartbeat_t *beat, ngx_zltunnel_registry_t *registry);
/* ms until the next look */
ngx_msec_t ngx_zltunnel_heartbeat_left(ngx_zltunnel_heartbeat_t *beat);
/* writes one, with the time of now, or the answer (type) to that timestamp, in
   room for NGX_ZLTUNNEL_HEARTBEAT_SIZE bytes: the end of it */
u_char *ngx_zltunnel_heartbeat_write(u_char *p, ngx_uint_t type,
    uint64_t timestamp);


#endif /* _NGX_ZLTUNNEL_HEARTBEAT_H_INCLUDED_ */
