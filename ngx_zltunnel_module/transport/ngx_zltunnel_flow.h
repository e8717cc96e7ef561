
/*
 * Copyright (C) zltunnel authors
 */

/* One direction of a relay, for the relay. */


#ifndef _NGX_ZLTUNNEL_FLOW_H_INCLUDED_
#define _NGX_ZLTUNNEL_FLOW_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_pace.h"


#define NGX_ZLTUNNEL_FLOW_IDLE     1000           /* ms, then no pipe */


typedef struct {
    /* bytes read from the near side and not yet written to the far one:
       a buffer that is borrowed only while there are any, or a pipe */
    u_char                      *buffer;
    u_char                      *pos;
    u_char                      *last;
    int                          pipe[2];     /* -1: none */
    size_t                       pipe_size;
    size_t                       piped;
    uint8_t                      full_reads;
    unsigned                     cut:1;       /* a reset has been read, behind
                                                 all that there was */
    off_t                        bytes;       /* moved in all */
    ngx_zltunnel_pace_t         *pace[NGX_ZLTUNNEL_PACES];  /* or NULL */
    ngx_zltunnel_portion_t       portion;
} ngx_zltunnel_flow_t;


#define ngx_zltunnel_flow_residue(f)  ((f)->pos != (f)->last || (f)->piped)

/* has a pipe, and nothing in it */
#define ngx_zltunnel_flow_spare(f)                                            \
    ((f)->pipe_size && !ngx_zltunnel_flow_residue(f))


/* Moves what can be moved from side[i] in one turn.  NGX_OK: an event tells
   when to go on; NGX_BUSY: the turn is over; NGX_ERROR: the relay is,
   relay->how says why. */
ngx_int_t ngx_zltunnel_flow_run(ngx_zltunnel_relay_t *relay, ngx_uint_t i);
/* bytes that were read before it began count, too */
void ngx_zltunnel_flow_spend(ngx_zltunnel_relay_t *relay, ngx_uint_t i,
    size_t n);
/* gives pipes back that have not been needed for NGX_ZLTUNNEL_FLOW_IDLE */
void ngx_zltunnel_flow_rest(ngx_zltunnel_relay_t *relay);
/* .. and whatever it holds */
void ngx_zltunnel_flow_release(ngx_zltunnel_flow_t *f);


#endif /* _NGX_ZLTUNNEL_FLOW_H_INCLUDED_ */
