
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A stream connection.  What carries its bytes is a stack of layers, and only
 * their files know which: a socket or a lane at the bottom, TLS and a WebSocket
 * above a socket, messages above all.  Each is a table of operations.
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


/* how a connection is over, for "stays" */

typedef enum {
    ZLT_CONN_ENDED = 0,            /* both directions have */
    ZLT_CONN_RESET,                /* by its peer */
    ZLT_CONN_RESETS                /* it is to be, by us */
} zlt_conn_over_e;


/* What a layer does.  They are called by the names below, zlt_conn_read() and
   so on, and by the layer above; NULL where that is said. */

typedef struct {
    ssize_t  (*read)(zlt_conn_t *c, void *buf, size_t size);
    ssize_t  (*write)(zlt_conn_t *c, const void *buf, size_t size);

    /* The last bytes and an end in one; NULL: that cannot be. */
    ssize_t  (*write_last)(zlt_conn_t *c, uint8_t *buf, size_t size);

    int      (*flush)(zlt_conn_t *c);
    int      (*pending)(zlt_conn_t *c);

    /* "closes": if all is well, the connection is closed next. */
    int      (*end)(zlt_conn_t *c, int closes);

    int      (*failed)(const zlt_conn_t *c);

    /* Undoes the layer, and those beneath; the descriptor is the caller's. */
    void     (*close)(zlt_conn_t *c);

    /* 1 if the bytes that are read (ZLT_IO_READ), or written, are those on the
       descriptor, for splice(2); NULL: never, and Raw is an error. */
    int      (*bare)(const zlt_conn_t *c, unsigned direction);

    /* Has what is written be those from here on: 1, 0 (it cannot), or
       ZLT_CONN_ERROR.  NULL: it cannot. */
    int      (*make_bare)(zlt_conn_t *c);

    /* Reads behind the peer's end, while our direction goes on: -1 if the
       connection was reset.  NULL: there can be nothing. */
    int      (*behind)(zlt_conn_t *c);

    /* 1 if what carries the connection stays, for the next one; NULL: no. */
    int      (*stays)(zlt_conn_t *c, zlt_conn_over_e how);

    /* What there was of another connection is c's now; NULL: cannot be moved,
       or has nothing to do for it. */
    void     (*moved)(zlt_conn_t *c);

    /* The server has left the lane, and we may, between two messages; NULL:
       not a lane. */
    void     (*leave)(zlt_conn_t *c);
} zlt_conn_ops_t;


/* bytes that could not be written yet; freed when they are */

typedef struct {
    uint32_t         pos;
    uint32_t         last;
    uint8_t          room[ZLT_FRAMES_ROOM];
    uint8_t          data[];
} zlt_buf_t;


/* a connection whose bytes come and go as messages, on a channel that stays */

typedef struct zlt_framed_s  zlt_framed_t;

struct zlt_framed_s {
    zlt_frames_t     frames;
    zlt_buf_t       *rest;         /* came behind the end, or NULL */
    const zlt_conn_ops_t  *under;

    /* 1: no other connection is to come, which goes with our end; or NULL */
    int            (*retires)(const zlt_framed_t *f);
    unsigned         retired:1;    /* it has */
};

typedef struct zlt_wsc_s  zlt_wsc_t;


struct zlt_conn_s {
    zlt_io_t         io;           /* first: handlers get its address */
    const zlt_conn_ops_t  *ops;    /* the layer on top; never NULL */

    /* of the layers, each for its own file */
    SSL             *ssl;
    zlt_unsent_t    *out;          /* TLS: records, or NULL */
    zlt_framed_t    *framed;
    zlt_wsc_t       *ws;
    zlt_lane_t      *lane;

    /* TLS may have to write in order to read, and the reverse */
    uint8_t          read_wants;   /* ZLT_IO_READ or ZLT_IO_WRITE */
    uint8_t          write_wants;

    uint8_t          more;         /* there may be bytes that were received,
                                      or an end, of which no event tells */

    uint8_t          shut;         /* our direction has been ended */
    uint8_t          speaks;       /* ACKs wait for the first bytes */
};


/* the bottom of all that have a descriptor */
extern const zlt_conn_ops_t  zlt_conn_socket;

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
 * What was written may be kept by a layer until there is room: to be called
 * when the connection is writable, before anything else is written.  0,
 * ZLT_CONN_AGAIN or ZLT_CONN_ERROR.
 */
#define zlt_conn_flush(c)    (c)->ops->flush(c)

/* 1 if something is kept */
#define zlt_conn_pending(c)  (c)->ops->pending(c)

/* For the layers: a read or write on the socket itself, whether that was reset,
   and 0 for those that keep nothing. */
ssize_t zlt_conn_recv(zlt_conn_t *c, void *buf, size_t size);
ssize_t zlt_conn_send(zlt_conn_t *c, const void *buf, size_t size);
int zlt_conn_socket_failed(const zlt_conn_t *c);
int zlt_conn_none(zlt_conn_t *c);

/* 1 if a read, or a write, has a chance to do something */
#define zlt_conn_readable(c)                                                  \
    ((c)->more || ((c)->io.ready & (c)->read_wants))
#define zlt_conn_writable(c)  ((c)->io.ready & (c)->write_wants)

/* 1 if it was reset, found without reading from it; the error is the caller's
   then. */
#define zlt_conn_failed(c)   (c)->ops->failed(c)

/* Ends our direction, after all that was written: FIN, close_notify, Close or
   Eof.  0, ZLT_CONN_AGAIN or ZLT_CONN_ERROR. */
#define zlt_conn_shutdown(c)  (c)->ops->end(c, 0)

/* 1 until it is closed */
#define zlt_conn_is_open(c)                                                   \
    ((c)->io.fd != -1 || (c)->ops != &zlt_conn_socket)

/* 1 if splice(2) may go on from it (ZLT_IO_READ), or to it */
#define zlt_conn_bare(c, direction)                                           \
    ((c)->ops->bare && (c)->ops->bare(c, direction))

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

/* The bytes that it has not, which a reset would lose; 0 for a lane and a UNIX
   socket. */
size_t zlt_conn_outq(const zlt_conn_t *c);

/*
 * 1 if what was sent has not been acknowledged for so many milliseconds,
 * though it was sent more than once.  A peer that answers and merely has no
 * room is alive.
 */
int zlt_conn_dead(zlt_conn_t *c, unsigned ms);


#endif /* ZLT_CONN_H_INCLUDED */
