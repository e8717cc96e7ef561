
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A data channel within a WebSocket: translates between the bytes of a raw
 * channel and its WebSocket messages, so that whoever uses the channel sees
 * no difference.
 *
 *   raw channel                        in binary messages, one each
 *   frames, until Connect/ConnectAck   the same
 *   bytes                              Data
 *   the end of the bytes               Eof
 *   a reset                            Reset, or the end without Eof
 *
 * No I/O, no allocation.  What is received never becomes longer, so that it
 * is decoded where it lies; fragments, and messages of any length, pass in
 * the pieces in which they come.
 */


#ifndef ZLT_WSD_H_INCLUDED
#define ZLT_WSD_H_INCLUDED


#include "zlt_types.h"
#include "zlt_ws.h"


#define ZLT_WSD_MAX_MESSAGE  (1024 * 1024 + ZLT_HEADER_SIZE)

/* what goes before the payload of a message */
#define ZLT_WSD_HEADER       (ZLT_WS_MAX_HEADER + ZLT_HEADER_SIZE)

/* an answer to a Ping, masked */
#define ZLT_WSD_PONG         (2 + 4 + ZLT_WS_MAX_CONTROL)

/* an Eof or a Reset, a Pong before it and a Close behind it */
#define ZLT_WSD_END          (ZLT_WSD_PONG + ZLT_WSD_HEADER + 8)


/* a direction */

typedef enum {
    ZLT_WSD_FRAMED = 0,    /* frames, until the one that turns it */
    ZLT_WSD_BYTES,         /* Data */
    ZLT_WSD_EITHER         /* what the first message says; received only */
} zlt_wsd_phase_t;


/* what has been received */

typedef enum {
    ZLT_WSD_OPEN = 0,
    ZLT_WSD_EOF,           /* Eof */
    ZLT_WSD_CLOSED,        /* Close, while frames were due */
    ZLT_WSD_RESET,         /* Reset, or Close without Eof */
    ZLT_WSD_BROKEN         /* not what may come: w->error */
} zlt_wsd_how_t;


/* 4 bytes that nobody can predict */
typedef void (*zlt_wsd_random_pt)(uint8_t mask[4]);


struct zlt_wsd_s {
    zlt_ws_parser_t    parser;

    /* receiving */
    zlt_wsd_how_t      how;
    const char        *error;
    uint8_t            rx;             /* zlt_wsd_phase_t */
    uint8_t            rx_turn;        /* type of the frame that turns it */
    uint8_t            type;           /* of the message that is open */
    uint8_t            head;           /* bytes of its header that came */
    uint32_t           left;           /* of its payload still to come */

    /* sending */
    uint8_t            tx;             /* zlt_wsd_phase_t */
    uint8_t            tx_turn;
    uint8_t            tx_type;
    uint8_t            tx_head;        /* bytes in tx_header */
    uint8_t            tx_header[ZLT_HEADER_SIZE];
    uint8_t            mask[4];
    uint8_t            mask_pos;
    uint32_t           tx_left;        /* of the payload still to be sent */
    zlt_wsd_random_pt  random;         /* NULL: a server, nothing is masked */

    uint8_t            pong[ZLT_WS_MAX_CONTROL];
    uint8_t            pong_len;
    unsigned           ponging:1;      /* a Ping waits for its answer */
    unsigned           finished:1;     /* Eof was made */
    unsigned           ended:1;        /* Close or Reset was made */
};


/*
 * random is given by a client, whose frames are masked; NULL makes a server
 * of it, which turns its frames to bytes by Connect and expects ConnectAck.
 */
void zlt_wsd_init(zlt_wsd_t *w, zlt_wsd_random_pt random, zlt_wsd_phase_t rx,
    zlt_wsd_phase_t tx);

/* The channel of a visitor, right after the init: it is the server who turns
   its frames by ConnectAck. */
void zlt_wsd_visit(zlt_wsd_t *w);

/*
 * Decodes len bytes in place and returns how many bytes of the channel they
 * were; these are at data.  w->how says whether more can come; bytes behind
 * what has ended it are lost.  A w->ponging is to be seen to afterwards.
 */
size_t zlt_wsd_decode(zlt_wsd_t *w, uint8_t *data, size_t len);

/*
 * Encodes bytes of the channel into dst, as far as there is room: size bytes,
 * at least ZLT_WSD_PONG + ZLT_WSD_HEADER + 1.  Returns the bytes made; *used
 * are those taken, which must not be offered again.
 */
size_t zlt_wsd_encode(zlt_wsd_t *w, uint8_t *dst, size_t size,
    const uint8_t *src, size_t len, size_t *used);

/*
 * For a server, which need not copy: while zlt_wsd_plain(), makes what goes
 * before len bytes, 1 to 1 MiB, that follow as they are; at most
 * ZLT_WSD_PONG + ZLT_WSD_HEADER bytes, 0 while w->tx_left bytes of an earlier
 * message are due.  zlt_wsd_sent() counts what follows.
 */
#define zlt_wsd_plain(w)  ((w)->random == NULL && (w)->tx == ZLT_WSD_BYTES)
size_t zlt_wsd_begin(zlt_wsd_t *w, uint8_t *dst, size_t len);
#define zlt_wsd_sent(w, n)  ((w)->tx_left -= (uint32_t) (n))

/* The answer to a Ping, if it can go now: at most ZLT_WSD_PONG bytes. */
size_t zlt_wsd_pong(zlt_wsd_t *w, uint8_t *dst);

/*
 * The end of what is sent: Eof, with Close behind it if the peer has ended,
 * too; Close alone, while there are frames; or Reset.  No bytes may follow.
 * At most ZLT_WSD_END bytes; 0 if a message has not been sent whole, or the
 * end has been made.
 */
size_t zlt_wsd_eof(zlt_wsd_t *w, uint8_t *dst);
size_t zlt_wsd_reset(zlt_wsd_t *w, uint8_t *dst);

/* 1 if no message is in the middle, either way */
int zlt_wsd_between(const zlt_wsd_t *w);


#endif /* ZLT_WSD_H_INCLUDED */
