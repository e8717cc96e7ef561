
/*
 * Copyright (C) zltunnel authors
 */

/* One end of a relay, and the table of what is beneath its messages. */


#ifndef _NGX_ZLTUNNEL_END_H_INCLUDED_
#define _NGX_ZLTUNNEL_END_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_ws.h"

#include "zlt_unsent.h"


#define NGX_ZLTUNNEL_REST_SIZE        64       /* behind an end marker */


/*
 * What carries the bytes of an end, beneath its messages.  There is one table
 * for each kind, and nobody asks which: what differs is here.
 */

struct ngx_zltunnel_end_ops_s {
    /* as c->recv() and c->send(); what was offered and not taken must be
       offered again */
    ssize_t                    (*recv)(ngx_zltunnel_end_t *end, u_char *buf,
                                       size_t size);
    ssize_t                    (*send)(ngx_zltunnel_end_t *end, u_char *buf,
                                       size_t size);
    /* passes EOF on: NGX_OK, NGX_AGAIN, NGX_ERROR.  NULL: framed alone */
    ngx_int_t                  (*shutdown)(ngx_zltunnel_end_t *end);

    /* NULL: there is nothing to do, or never any */

    /* at first, and when a relay begins */
    void                       (*init)(ngx_zltunnel_end_t *end);
    /* sends what was taken and had no room; whether there is any */
    ngx_int_t                  (*flush)(ngx_zltunnel_end_t *end);
    ngx_uint_t                 (*kept)(ngx_zltunnel_end_t *end);
    /* what has come is not all that was read */
    ngx_uint_t                 (*amid)(ngx_zltunnel_end_t *end);
    /* ngx_zltunnel_end_state() */
    size_t                     (*state)(ngx_zltunnel_end_t *end, u_char *buf);
    /* makes a reset of the close that follows */
    void                       (*abort)(ngx_zltunnel_end_t *end);
    /* frees what it has; without a connection, says nothing */
    void                       (*close)(ngx_zltunnel_end_t *end);

    /* of a WebSocket: what that is within */
    const ngx_zltunnel_end_ops_t  *under;

    /* bytes to be offered at once: OpenSSL wants the same ones again */
    size_t                       most;

    /* the descriptor's bytes are the end's: splice() moves them, and a close
       ends them as a FIN does.  There is TLS behind a bridge, so not there. */
    ngx_uint_t                   raw;
    /* the peer may be dead and nobody know: kept alive, and watched */
    ngx_uint_t                   network;
    /* another worker can have the descriptor */
    ngx_uint_t                   moves;
    /* leads to the worker that has the channel */
    ngx_uint_t                   bridged;
    /* one of many on a channel, without a descriptor */
    ngx_uint_t                   shared;
};


#define NGX_ZLTUNNEL_END_ALL  NGX_MAX_SIZE_T_VALUE       /* most */


struct ngx_zltunnel_end_s {
    ngx_connection_t            *connection;
    const ngx_zltunnel_end_ops_t  *ops;
    ngx_zltunnel_ws_t           *ws;          /* within a WebSocket; or NULL */
    ngx_zltunnel_lane_t         *lane;        /* or NULL */

    unsigned                     eof:1;       /* read */
    unsigned                     shut:1;      /* EOF has been passed on */
    unsigned                     broken:1;    /* reset: an end that is read
                                                 now is none */

    zlt_unsent_t                *records;     /* of TLS; or NULL */

    zlt_frames_t                *frames;      /* of a framed channel, or NULL */
    unsigned                     lent:1;      /* connection is not its own */
    unsigned                     exact:1;     /* read not behind its end */
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


/* bytes were taken beneath the messages, and wait to be sent */
#define ngx_zltunnel_end_kept(end)                                            \
    ((end)->ops->kept && (end)->ops->kept(end))


/* there is something that waits to be sent, though it was taken */
#define ngx_zltunnel_end_pending(end)                                         \
    (ngx_zltunnel_end_kept(end)                                               \
     || ((end)->frames && zlt_frames_pending(&(end)->frames->out)))


/* read and write beneath the messages of a framed end */

#define ngx_zltunnel_end_pull(end, buf, size)                                 \
    (end)->ops->recv(end, buf, size)


#define ngx_zltunnel_end_push(end, buf, size)                                 \
    (end)->ops->send(end, buf, size)


/* the most that ngx_zltunnel_end_state() makes, bytes */
#define NGX_ZLTUNNEL_END_STATE        NGX_ZLTUNNEL_WS_STATE


/* "ops" NULL: of a connection that nginx has accepted, plain or under TLS.
   Sets its socket up: TCP_NODELAY. */
void ngx_zltunnel_end_init(ngx_zltunnel_end_t *end, ngx_connection_t *c,
    const ngx_zltunnel_end_ops_t *ops);
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
ngx_int_t ngx_zltunnel_end_flush(ngx_zltunnel_end_t *end);
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
/* Bytes that the peer has not acknowledged, and that a reset would lose; 0 where
   none can be lost so. */
size_t ngx_zltunnel_end_outq(ngx_zltunnel_end_t *end);
/* Passes EOF on, after every byte: FIN, close_notify, or Eof.
   NGX_OK, NGX_AGAIN (call again when writable), NGX_ERROR. */
ngx_int_t ngx_zltunnel_end_shutdown(ngx_zltunnel_end_t *end);
/* Makes the close that follows a reset: SO_LINGER 0, no close_notify. */
void ngx_zltunnel_end_abort(ngx_zltunnel_end_t *end);
/* Closes a channel's or bridge's connection and its pool, without blocking
   and without sending more than is sent. */
void ngx_zltunnel_end_close(ngx_zltunnel_end_t *end);


#endif /* _NGX_ZLTUNNEL_END_H_INCLUDED_ */
