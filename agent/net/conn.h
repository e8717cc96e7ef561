
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A stream connection, plain or under TLS, within a WebSocket or not: the same
 * five verbs for all.
 */


#ifndef ZLT_CONN_H_INCLUDED
#define ZLT_CONN_H_INCLUDED


#include <sys/types.h>
#include <openssl/ssl.h>

#include "io.h"
#include "types.h"
#include "zlt_frames.h"
#include "zlt_unsent.h"


#define ZLT_CONN_AGAIN  -1
#define ZLT_CONN_ERROR  -2


/* bytes that could not be written yet; freed when they are */

typedef struct {
    uint32_t         pos;
    uint32_t         last;
    uint8_t          room[ZLT_FRAMES_ROOM];
    uint8_t          data[];
} zlt_buf_t;


/* a connection whose bytes come and go as messages, on a channel that stays */

typedef struct {
    zlt_frames_t     frames;
    zlt_buf_t       *rest;         /* came behind the end, or NULL */
} zlt_framed_t;

typedef struct zlt_wsc_s  zlt_wsc_t;


/* what is beneath a connection that has no descriptor: a lane */

typedef struct {
    ssize_t  (*read)(zlt_conn_t *c, void *buf, size_t size);
    ssize_t  (*write)(zlt_conn_t *c, const void *buf, size_t size);
    int      (*failed)(const zlt_conn_t *c);

    /* The server is told, unless it knows that the lane is over. */
    void     (*close)(zlt_conn_t *c);

    /* The server has left the lane, and we may, between two messages. */
    void     (*moved)(zlt_conn_t *c);
} zlt_conn_ops_t;


struct zlt_conn_s {
    zlt_io_t         io;           /* first: handlers get its address */
    SSL             *ssl;          /* NULL: plain */
    zlt_unsent_t    *out;          /* TLS: records, or NULL */
    zlt_framed_t    *framed;       /* NULL: raw */
    zlt_wsc_t       *ws;           /* within a WebSocket; or NULL */
    zlt_lane_t      *lane;         /* of a shared channel, and no descriptor;
                                      or NULL */
    const zlt_conn_ops_t  *ops;    /* .. and its */

    /* TLS may have to write in order to read, and the reverse */
    uint8_t          read_wants;   /* ZLT_IO_READ or ZLT_IO_WRITE */
    uint8_t          write_wants;

    uint8_t          more;         /* there may be bytes that were received,
                                      or an end, of which no event tells */

    uint8_t          shut;         /* our direction has been ended */
    uint8_t          speaks;       /* ACKs wait for the first bytes */
};


/* malloc() and free(), for proto/ */
extern const zlt_memory_t  zlt_conn_memory;


void zlt_conn_init(zlt_conn_t *c);

/*
 * A nonblocking socket on its way to the address, registered with the loop;
 * it is connected once it is ready for writing and zlt_conn_connected() says
 * so.  "speaks": it will be written to at once, so the last packet of the
 * handshake can wait for that.  0, or -1 with errno set, and nothing left open.
 */
int zlt_conn_connect(zlt_conn_t *c, const struct sockaddr *sa,
    socklen_t socklen, int speaks, zlt_io_pt handler);

/*
 * On loopback and the like the connection is there when connect(2) returns,
 * though it says EINPROGRESS.  This lets the next zlt_conn_write() find out,
 * and save a turn; ZLT_CONN_AGAIN from that: it takes its time after all.
 */
#define zlt_conn_presume(c)  ((c)->io.ready |= ZLT_IO_WRITE)

/* ZLT_CONN_AGAIN, 0, or ZLT_CONN_ERROR with errno set. */
int zlt_conn_connected(zlt_conn_t *c);

/*
 * Bytes read, 0 for a clean end, ZLT_CONN_AGAIN, or ZLT_CONN_ERROR: reset,
 * or truncated under TLS.  Reads no more than there is without waiting; a
 * plain connection is read once, TLS until size is full or nothing is left.
 */
ssize_t zlt_conn_read(zlt_conn_t *c, void *buf, size_t size);

/*
 * Bytes written, at least one, ZLT_CONN_AGAIN or ZLT_CONN_ERROR.  After
 * AGAIN the same bytes must come first in the next call.  On a framed one the
 * header of a message is put into the ZLT_FRAMES_ROOM bytes before buf.
 */
ssize_t zlt_conn_write(zlt_conn_t *c, const void *buf, size_t size);

/*
 * Under TLS, or within a WebSocket, what was written may be kept here, as
 * records or frames, until there is room, and so are messages on a framed
 * one: to be called when the connection is writable, before anything else is
 * written.  0, ZLT_CONN_AGAIN or ZLT_CONN_ERROR.
 */
#define zlt_conn_flush(c)                                                     \
    (zlt_conn_pending(c) ? zlt_conn_flush_pending(c) : 0)
int zlt_conn_flush_pending(zlt_conn_t *c);

/* 1 if something is kept */
int zlt_conn_pending(const zlt_conn_t *c);

/* 1 if the bytes on the socket are those that are read and written */
#define zlt_conn_raw(c)                                                       \
    ((c)->ssl == NULL && (c)->ws == NULL && (c)->lane == NULL)

/* zlt_conn_read() and write beneath a WebSocket. */
ssize_t zlt_conn_read_under(zlt_conn_t *c, void *buf, size_t size);
ssize_t zlt_conn_write_under(zlt_conn_t *c, const void *buf, size_t size);

/* Reading and writing beneath the messages. */
ssize_t zlt_conn_pull(zlt_conn_t *c, void *buf, size_t size);
ssize_t zlt_conn_push(zlt_conn_t *c, const void *buf, size_t size);

/* The same on the socket itself, beneath TLS. */
ssize_t zlt_conn_recv(zlt_conn_t *c, void *buf, size_t size);
ssize_t zlt_conn_send(zlt_conn_t *c, const void *buf, size_t size);

/* 1 if a read, or a write, has a chance to do something */
#define zlt_conn_readable(c)                                                  \
    ((c)->more || ((c)->io.ready & (c)->read_wants))
#define zlt_conn_writable(c)  ((c)->io.ready & (c)->write_wants)

/* 1 if it was reset, found without reading from it; the error is the caller's
   then. */
int zlt_conn_failed(zlt_conn_t *c);

/* Ends our direction, after all that was written: FIN, close_notify or Eof.
   0, ZLT_CONN_AGAIN or ZLT_CONN_ERROR. */
int zlt_conn_shutdown(zlt_conn_t *c);

/* Closes; both may be called on what is closed already.  "reset" makes the
   peer see a reset, whatever has been sent or not. */
void zlt_conn_close(zlt_conn_t *c);
void zlt_conn_reset(zlt_conn_t *c);

/* What is beneath a connection becomes that of another one, which is closed.
   0, or -1, and nothing has changed. */
int zlt_conn_move(zlt_conn_t *c, zlt_conn_t *from, zlt_io_pt handler);

/* keepalive: 60 s idle, every 10 s, 5 times; for a lane and a UNIX socket it
   does nothing */
void zlt_conn_keepalive(zlt_conn_t *c);

/* The kernel is to hold little of what it cannot send yet, behind which all
   waits that comes later. */
void zlt_conn_prompt(zlt_conn_t *c);

/* The round trip of the connection beneath, ms, at least 1. */
uint32_t zlt_conn_rtt(const zlt_conn_t *c);

/* 1 if the peer has not acknowledged all that was sent. */
int zlt_conn_unacked(const zlt_conn_t *c);

/*
 * 1 if what was sent has not been acknowledged for so many milliseconds,
 * though it was sent more than once.  A peer that answers and merely has no
 * room is alive.
 */
int zlt_conn_dead(zlt_conn_t *c, unsigned ms);


/* 1 if the bytes that are read, or written, are no messages */
#define zlt_conn_raw_in(c)                                                    \
    ((c)->framed == NULL || (c)->framed->frames.in.end == ZLT_FRAMES_RAW)
#define zlt_conn_raw_out(c)                                                   \
    ((c)->framed == NULL || (c)->framed->frames.out.end == ZLT_FRAMES_RAW)


#endif /* ZLT_CONN_H_INCLUDED */
