
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The bytes of a connection on a channel that will carry another one after
 * it: docs/protocol.md, "The bytes of a connection".
 *
 * Each direction is a row of Data messages with an end marker behind them,
 * Eof or Reset, or Moved if it is a lane; or Raw, after which there are no
 * more messages and the channel ends with the connection.  Plain C11: no I/O,
 * no allocation.
 */


#ifndef ZLT_FRAMES_H_INCLUDED
#define ZLT_FRAMES_H_INCLUDED


#include "zlt_types.h"


#define ZLT_FRAMES_ROOM      40      /* bytes in front of what is sent */


typedef enum {
    ZLT_FRAMES_OPEN = 0,
    ZLT_FRAMES_EOF,
    ZLT_FRAMES_RESET,
    ZLT_FRAMES_RAW,
    ZLT_FRAMES_MOVED         /* of a lane, to another channel */
} zlt_frames_end_e;


/* what is read; all zero at the start of a connection */

typedef struct {
    uint32_t         left;         /* bytes of the present Data */
    uint8_t          have;         /* of the next header */
    uint8_t          end;          /* zlt_frames_end_e */
    uint8_t          header[ZLT_HEADER_SIZE];
} zlt_frames_in_t;


/* what is sent; all zero at the start of a connection */

typedef struct {
    uint32_t         left;         /* of the Data that was announced */
    uint8_t          pos;          /* in head: what goes before them */
    uint8_t          last;
    uint8_t          end;          /* zlt_frames_end_e */
    uint8_t          head[ZLT_FRAMES_ROOM];
} zlt_frames_out_t;


struct zlt_frames_s {
    zlt_frames_in_t  in;
    zlt_frames_out_t out;
};


/*
 * Takes len bytes as they came, and leaves the payload among them at the
 * start of buf.  Returns its length, which may be 0; in->end tells of an end
 * marker, and *rest is the number of bytes behind that, which are still at
 * the end of buf.  Or a protocol error, ZLT_ERR_*.
 */
ssize_t zlt_frames_decode(zlt_frames_in_t *in, uint8_t *buf, size_t len,
    size_t *rest);

/* A message that goes before whatever is sent next; there must be room for
   it in head.  Copied. */
void zlt_frames_put(zlt_frames_out_t *out, const uint8_t *data, size_t len);

/* Announces Data of that many bytes if none is under way.  Returns how many
   of them may be sent now, behind head: at least one. */
size_t zlt_frames_data(zlt_frames_out_t *out, size_t size);

/* Eof, Reset or Raw, after all that was announced. */
void zlt_frames_end(zlt_frames_out_t *out, zlt_frames_end_e end);

/* bytes of head that have not been sent */
#define zlt_frames_pending(out)  ((size_t) ((out)->last - (out)->pos))

/* 1 if an end marker could go now: no Data is half sent */
#define zlt_frames_whole(out)    ((out)->left == 0)

/* 1 if both directions have ended with a message, and all of it was sent */
#define zlt_frames_over(f)                                                    \
    ((f)->in.end != ZLT_FRAMES_OPEN && (f)->in.end != ZLT_FRAMES_RAW          \
     && (f)->out.end != ZLT_FRAMES_OPEN && (f)->out.end != ZLT_FRAMES_RAW     \
     && zlt_frames_pending(&(f)->out) == 0)

/* Copies head to where it ends at buf: ZLT_FRAMES_ROOM bytes are enough.
   Returns where it begins. */
uint8_t *zlt_frames_prefix(const zlt_frames_out_t *out, uint8_t *buf);

/* That many bytes were sent, those of head first.  Returns how many of them
   were payload. */
size_t zlt_frames_sent(zlt_frames_out_t *out, size_t n);


#endif /* ZLT_FRAMES_H_INCLUDED */
