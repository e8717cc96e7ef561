
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A datagram channel: frames in, frames out, heartbeats.  Of whom they are, and
 * what is done with them, is known by its user: a carrier, or a visit, which
 * has one at each side.
 */


#ifndef _NGX_ZLTUNNEL_DATAGRAMS_H_INCLUDED_
#define _NGX_ZLTUNNEL_DATAGRAMS_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_heartbeat.h"
#include "ngx_zltunnel_transport.h"

#include "zlt_dgram.h"


typedef struct ngx_zltunnel_datagrams_s  ngx_zltunnel_datagrams_t;

/* what a handler of frames returns: NGX_ERROR, the channel must end */
typedef ngx_int_t (*ngx_zltunnel_datagrams_pt)(ngx_zltunnel_datagrams_t *d,
    zlt_dgram_t *f);


typedef struct {
    ngx_zltunnel_datagrams_pt    datagram;
    ngx_zltunnel_datagrams_pt    close;
    ngx_zltunnel_datagrams_pt    open;       /* NULL: it is an error */
    ngx_zltunnel_datagrams_pt    malformed;  /* was stepped over */

    /* what was read together has been given out; the buffer is used again */
    void                       (*end_of_read)(ngx_zltunnel_datagrams_t *d);

    /* 0: nothing is read now; NULL: always */
    ngx_uint_t                 (*wants)(ngx_zltunnel_datagrams_t *d);

    /* there is room for frames; 1: there are more than were put */
    ngx_uint_t                 (*writable)(ngx_zltunnel_datagrams_t *d);

    /* the channel has ended, or does not answer: to be stopped */
    void                       (*lost)(ngx_zltunnel_datagrams_t *d,
                                   ngx_uint_t silent);
} ngx_zltunnel_datagrams_use_t;


/* all zero while there is no channel */

struct ngx_zltunnel_datagrams_s {
    const ngx_zltunnel_datagrams_use_t  *use;
    void                        *data;       /* its user */
    ngx_zltunnel_registry_t     *registry;
    ngx_zltunnel_end_t          *end;

    u_char                      *out;        /* frames, begun to be written */
    size_t                       out_pos;
    size_t                       out_len;
    size_t                       out_size;

    u_char                      *in;         /* read, and not parsed: the
                                                beginning of a frame, or more */
    size_t                       in_len;
    size_t                       in_size;
    zlt_dgram_reader_t           reader;

    ngx_event_t                  timer;      /* heartbeats; cancelable */
    ngx_zltunnel_heartbeat_t     beat;

    unsigned                     more:1;     /* of what is in "in" */
};


/* bytes that were put and not taken by the socket */
#define ngx_zltunnel_datagrams_waiting(d)  ((d)->out_len - (d)->out_pos)


/*
 * Speaks frames on a channel from here on, which is the user's to close.  Where
 * that fails lost() is called, soon.
 */
void ngx_zltunnel_datagrams_start(ngx_zltunnel_datagrams_t *d,
    const ngx_zltunnel_datagrams_use_t *use, void *data,
    ngx_zltunnel_registry_t *registry, ngx_zltunnel_end_t *end);
/* the same with one that was idle, or dialled, which has to answer soon */
void ngx_zltunnel_datagrams_take(ngx_zltunnel_datagrams_t *d,
    const ngx_zltunnel_datagrams_use_t *use, void *data,
    ngx_zltunnel_channel_t *channel);
/* bytes to be parsed before what is read: copied */
ngx_int_t ngx_zltunnel_datagrams_keep(ngx_zltunnel_datagrams_t *d,
    const u_char *data, size_t len);
/* frees what it has, also before it was started */
void ngx_zltunnel_datagrams_stop(ngx_zltunnel_datagrams_t *d);


#endif /* _NGX_ZLTUNNEL_DATAGRAMS_H_INCLUDED_ */
