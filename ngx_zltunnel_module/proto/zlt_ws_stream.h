
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A stream of bytes within a WebSocket, one side of it.  Bytes are sent in
 * binary messages, and where a message or a fragment begins or ends means
 * nothing.  Close is the end of the stream.  A Ping is noted, and answered
 * between two messages.
 *
 * No I/O, no allocation.  What is received never becomes longer, so that it
 * is decoded where it lies.
 */


#ifndef ZLT_WS_STREAM_H_INCLUDED
#define ZLT_WS_STREAM_H_INCLUDED


#include "zlt_types.h"
#include "zlt_ws.h"


/* bytes of an answer to a Ping, and of Close, masked */
#define ZLT_WS_STREAM_PONG   (2 + 4 + ZLT_WS_MAX_CONTROL)
#define ZLT_WS_STREAM_CLOSE  (2 + 4 + 2)

/* what goes before the bytes of a message: a Pong, and the header */
#define ZLT_WS_STREAM_HEAD   (ZLT_WS_STREAM_PONG + ZLT_WS_MAX_HEADER)


/* what has been received */

typedef enum {
    ZLT_WS_STREAM_OPEN = 0,
    ZLT_WS_STREAM_CLOSED,      /* Close */
    ZLT_WS_STREAM_BROKEN       /* what may not come: s->parser.error */
} zlt_ws_stream_end_e;


/* 4 bytes that nobody can predict */
typedef void (*zlt_ws_stream_random_pt)(uint8_t mask[4]);


typedef struct {
    zlt_ws_parser_t          parser;
    zlt_ws_stream_random_pt  random;   /* NULL: a server, nothing is masked */
    size_t                   left;     /* of the message that is being sent */
    uint8_t                  end;      /* zlt_ws_stream_end_e */
    uint8_t                  pong[ZLT_WS_MAX_CONTROL];
    uint8_t                  pong_len;
    unsigned                 ponging:1;    /* a Ping waits for its answer */
} zlt_ws_stream_t;


/* random is given by a client, whose frames are masked. */
void zlt_ws_stream_init(zlt_ws_stream_t *s, zlt_ws_stream_random_pt random);

/*
 * Decodes len bytes in place and returns how many bytes of the stream they
 * were; these are at data.  s->end says whether more can come; what is behind
 * a Close is lost.  Of several Pings the last one is answered alone.
 */
size_t zlt_ws_stream_decode(zlt_ws_stream_t *s, uint8_t *data, size_t len);

/*
 * Encodes bytes of the stream into dst, as far as there is room: size bytes,
 * more than ZLT_WS_STREAM_HEAD.  Returns the bytes made, a Pong that was due
 * among them; *used are those taken, at least one.
 */
size_t zlt_ws_stream_encode(zlt_ws_stream_t *s, uint8_t *dst, size_t size,
    const uint8_t *src, size_t len, size_t *used);

/*
 * For a server, which need not copy: makes what goes before a message of len
 * bytes, at most ZLT_WS_STREAM_HEAD; 0 while s->left bytes of an earlier one
 * are due.  zlt_ws_stream_sent() counts what follows.
 */
size_t zlt_ws_stream_begin(zlt_ws_stream_t *s, uint8_t *dst, size_t len);
#define zlt_ws_stream_sent(s, n)  ((s)->left -= (n))

/* The answer to a Ping, at most ZLT_WS_STREAM_PONG bytes; 0 if none is due,
   or a message is half sent. */
size_t zlt_ws_stream_pong(zlt_ws_stream_t *s, uint8_t *dst);

/* Close, ZLT_WS_STREAM_CLOSE bytes at most, after which nothing may be sent;
   0 if a message is half sent. */
size_t zlt_ws_stream_close(zlt_ws_stream_t *s, uint8_t *dst);

/* 1 if a frame has come in part */
#define zlt_ws_stream_amid(s)  (!zlt_ws_between(&(s)->parser))


#endif /* ZLT_WS_STREAM_H_INCLUDED */
