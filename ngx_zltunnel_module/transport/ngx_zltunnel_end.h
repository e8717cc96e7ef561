
/*
 * Copyright (C) zltunnel authors
 */

/* One end of a relay, and its peculiarities. */


#ifndef _NGX_ZLTUNNEL_END_H_INCLUDED_
#define _NGX_ZLTUNNEL_END_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_ws.h"

#include "zlt_unsent.h"


#define NGX_ZLTUNNEL_REST_SIZE        64       /* behind an end marker */


typedef enum {
    NGX_ZLTUNNEL_PLAIN = 0,
    NGX_ZLTUNNEL_TLS,
    NGX_ZLTUNNEL_BRIDGE,     /* a socketpair to the worker with the channel */
    NGX_ZLTUNNEL_PAIR,       /* a socketpair to an upstream connection here */
    NGX_ZLTUNNEL_LANE        /* of a shared channel */
} ngx_zltunnel_kind_e;


/* what carries the bytes of an end that is no socket: a lane */

typedef struct {
    ssize_t                    (*recv)(ngx_zltunnel_end_t *end, u_char *buf,
                                       size_t size);
    ssize_t                    (*send)(ngx_zltunnel_end_t *end, u_char *buf,
                                       size_t size);
    void                       (*close)(ngx_zltunnel_end_t *end);
} ngx_zltunnel_end_ops_t;


struct ngx_zltunnel_end_s {
    ngx_connection_t            *connection;
    ngx_zltunnel_kind_e          kind;
    ngx_zltunnel_ws_t           *ws;          /* within a WebSocket; or NULL */
    ngx_zltunnel_lane_t         *lane;        /* or NULL */
    const ngx_zltunnel_end_ops_t  *ops;       /* of a lane, or NULL */

    unsigned                     eof:1;       /* read */
    unsigned                     shut:1;      /* EOF has been passed on */

    zlt_unsent_t                *records;     /* of TLS; or NULL */

    zlt_frames_t                *frames;      /* of a framed channel, or NULL */
    unsigned                     lent:1;      /* connection is not its own */
    size_t                       nrest;       /* read behind its end */
    u_char                       rest[NGX_ZLTUNNEL_REST_SIZE];
};


/* whether a direction is bytes, not or no longer messages */

#define ngx_zltunnel_end_raw_in(e)                                            \
    ((e)->frames == NULL || (e)->frames->in.end == ZLT_FRAMES_RAW)


#define ngx_zltunnel_end_raw_out(e)                                           \
    ((e)->frames == NULL || (e)->frames->out.end == ZLT_FRAMES_RAW)


/* whether recv() has something to tell: an end marker raises no event */

#define ngx_zltunnel_end_readable(e)                                          \
    ((e)->connection->read->ready                                             \
     || ((e)->frames && (e)->frames->in.end != ZLT_FRAMES_OPEN                \
         && (e)->frames->in.end != ZLT_FRAMES_RAW))


/* the bytes on the descriptor can be those of the relay: splice() may be used.
   There is TLS behind a bridge, so its bytes are messages to the end. */
#define ngx_zltunnel_end_raw(end)                                             \
    (((end)->kind == NGX_ZLTUNNEL_PLAIN || (end)->kind == NGX_ZLTUNNEL_PAIR)  \
     && (end)->ws == NULL)


/* bytes were taken beneath the messages, and wait to be sent */
#define ngx_zltunnel_end_kept(end)                                            \
    ((end)->records || ((end)->ws && ngx_zltunnel_ws_pending(end)))


/* there is something that waits to be sent, though it was taken */
#define ngx_zltunnel_end_pending(end)                                         \
    (ngx_zltunnel_end_kept(end)                                               \
     || ((end)->frames && zlt_frames_pending(&(end)->frames->out)))


/* the most that ngx_zltunnel_end_state() makes, bytes */
#define NGX_ZLTUNNEL_END_STATE        NGX_ZLTUNNEL_WS_STATE


/* Sets an end's socket up for relaying: TCP_NODELAY; for TLS, a FIN without
   close_notify becomes an error and writes may be retried from elsewhere. */
void ngx_zltunnel_end_init(ngx_zltunnel_end_t *end, ngx_connection_t *c,
    ngx_zltunnel_kind_e kind);
/* keepalive 60/10/5 s; or so that a dead peer is found in "dead"
   ms; not TCP_USER_TIMEOUT, see there */
void ngx_zltunnel_end_keepalive(ngx_connection_t *c, ngx_msec_t dead);
/* the kernel holds little of what it cannot send yet, behind which all waits
   that comes later */
void ngx_zltunnel_end_prompt(ngx_connection_t *c);
/* the round trip of the connection beneath, ms, at least 1 */
ngx_msec_t ngx_zltunnel_end_rtt(ngx_zltunnel_end_t *end);
/* the same for channels of datagrams, of which the kernel is to hold few */
void ngx_zltunnel_end_datagrams(ngx_zltunnel_end_t *end);
/*
 * Read and write as c->recv() and c->send() do; for TLS they fill the buffer
 * and log no louder than the connection is to.  Within a WebSocket, or of many
 * bytes under TLS, what was written may be kept here: ngx_zltunnel_end_flush().
 * What was offered and not taken must be offered again.  On a framed end the
 * header of a message is put into the ZLT_FRAMES_ROOM bytes before what is
 * sent.
 */
ssize_t ngx_zltunnel_end_recv(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
ssize_t ngx_zltunnel_end_send(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
/* the same beneath the messages of a framed end */
ssize_t ngx_zltunnel_end_pull(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
ssize_t ngx_zltunnel_end_push(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
/* .. and beneath the WebSocket */
ssize_t ngx_zltunnel_end_read(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
ssize_t ngx_zltunnel_end_write(ngx_zltunnel_end_t *end, u_char *buf,
    size_t size);
/* What another worker has to know, beside the descriptor, of an end without
   messages of which nothing is pending: at buf, and its length, 0 if there is
   nothing.  What restores it may be without memory: NGX_ERROR. */
size_t ngx_zltunnel_end_state(ngx_zltunnel_end_t *end, u_char *buf);
ngx_int_t ngx_zltunnel_end_restore(ngx_zltunnel_end_t *end, u_char *state,
    size_t len);
/* 1: what has come is not all that was read, or the middle of a message */
ngx_uint_t ngx_zltunnel_end_amid(ngx_zltunnel_end_t *end);
/* NGX_ERROR if the connection was reset, found without reading from it. */
ngx_int_t ngx_zltunnel_end_test(ngx_zltunnel_end_t *end);
/* NGX_OK: nothing is unacknowledged; NGX_AGAIN: something is, the peer lives;
   NGX_ERROR: it has not answered for 60 s, or "dead" ms, and three
   attempts. */
ngx_int_t ngx_zltunnel_end_alive(ngx_zltunnel_end_t *end, ngx_msec_t dead);
/* the same of a connection of TCP */
ngx_int_t ngx_zltunnel_end_acked(ngx_connection_t *c, ngx_msec_t dead);
/* Passes EOF on, after every byte: FIN, close_notify, or Eof.
   NGX_OK, NGX_AGAIN (call again when writable), NGX_ERROR. */
ngx_int_t ngx_zltunnel_end_shutdown(ngx_zltunnel_end_t *end);
/* Whether the end of this process is a reset: SO_LINGER 0, which is to be on
   as long as bytes may follow, and off before a clean close. */
void ngx_zltunnel_end_linger(ngx_connection_t *c, ngx_uint_t reset);
/* Makes the close that follows a reset: SO_LINGER 0, no close_notify. */
void ngx_zltunnel_end_abort(ngx_zltunnel_end_t *end);
/* Closes a channel's or bridge's connection and its pool, without blocking
   and without sending more than is sent. */
void ngx_zltunnel_end_close(ngx_zltunnel_end_t *end);
ngx_int_t ngx_zltunnel_end_flush(ngx_zltunnel_end_t *end);


#endif /* _NGX_ZLTUNNEL_END_H_INCLUDED_ */
