
/*
 * Copyright (C) zltunnel authors
 */

/*
 * WebSocket frames (RFC 6455), both roles, resumable: fed one byte at a time
 * or all at once, the parser gives the same result.  No I/O, no allocation:
 * payload is unmasked in place and handed out in the chunks in which it came;
 * whoever wants whole messages collects them.
 */


#ifndef ZLT_WS_H_INCLUDED
#define ZLT_WS_H_INCLUDED


#include "zlt_types.h"


#define ZLT_WS_SERVER        0    /* peer is a client: its frames are masked */
#define ZLT_WS_CLIENT        1

#define ZLT_WS_OP_CONT       0x0
#define ZLT_WS_OP_TEXT       0x1
#define ZLT_WS_OP_BINARY     0x2
#define ZLT_WS_OP_CLOSE      0x8
#define ZLT_WS_OP_PING       0x9
#define ZLT_WS_OP_PONG       0xa

#define ZLT_WS_MAX_HEADER    14   /* 2 + 8 + 4 bytes */
#define ZLT_WS_MAX_CONTROL   125  /* payload of a control frame */

/* close codes, RFC 6455 section 7.4.1 */
#define ZLT_WS_NORMAL        1000
#define ZLT_WS_GOING_AWAY    1001
#define ZLT_WS_PROTOCOL      1002
#define ZLT_WS_UNSUPPORTED   1003
#define ZLT_WS_NO_CODE       1005 /* never sent */
#define ZLT_WS_INVALID_DATA  1007
#define ZLT_WS_POLICY        1008
#define ZLT_WS_TOO_BIG       1009
#define ZLT_WS_INTERNAL      1011


typedef enum {
    ZLT_WS_AGAIN = 0,      /* all input was used, nothing to report */
    ZLT_WS_DATA,           /* a chunk of a binary message, see p->chunk */
    ZLT_WS_CONTROL,        /* a whole control frame: p->opcode, p->control */
    ZLT_WS_ERROR           /* p->close_code and p->error say what; final */
} zlt_ws_event_t;


typedef struct {
    /* results */
    uint8_t         *chunk;        /* ZLT_WS_DATA: in the input, unmasked */
    size_t           chunk_len;    /* may be 0 at the end of a message */
    uint8_t          chunk_mask;   /* its place within the mask */
    unsigned         message_end:1;/* ZLT_WS_DATA: the message is complete */

    uint8_t          opcode;       /* ZLT_WS_CONTROL */
    uint8_t          control[ZLT_WS_MAX_CONTROL];
    size_t           control_len;

    uint16_t         close_code;   /* ZLT_WS_ERROR */
    const char      *error;        /* static text */

    /* may be set after the initialization */
    unsigned         binary:1;     /* text is an error */
    unsigned         leave:1;      /* chunks are left as they are: the caller
                                      has something to do with them anyway,
                                      zlt_ws_mask_move() */

    /* state */
    unsigned         role:1;
    unsigned         fragmented:1; /* a message is open */
    unsigned         text:1;       /* it is text: discarded */
    unsigned         fin:1;
    unsigned         masked:1;
    unsigned         wide:1;       /* the length has 64 bits */
    uint8_t          state;
    uint8_t          op;           /* of the frame being read */
    uint8_t          need;         /* header bytes still to come */
    uint8_t          mask[4];
    uint8_t          mask_pos;
    uint64_t         left;         /* payload bytes still to come */
    uint64_t         message_len;  /* payload so far of the open message */
    uint64_t         max_message;
} zlt_ws_parser_t;


/*
 * max_message is the limit of a reassembled message in bytes, UINT64_MAX if
 * there is none; one above it is ZLT_WS_TOO_BIG, known from the header, before
 * any payload is taken.  Text messages are discarded up to the same limit and
 * refused above it.
 */
void zlt_ws_init(zlt_ws_parser_t *p, unsigned role, uint64_t max_message);

/* 1 if no frame has come in part; a message may be open */
#define zlt_ws_between(p)  ((p)->state == 0)

/*
 * Parses from *pos up to end, advances *pos past what was used.  To be called
 * again until it returns ZLT_WS_AGAIN.  The input is changed (unmasked).
 *
 * Protocol errors: reserved bits or opcodes, an unmasked frame from a client
 * or a masked one from a server, a control frame that is fragmented or longer
 * than 125 bytes, a continuation of nothing, a new message inside another, a
 * length not in its shortest form or with its top bit set.
 */
zlt_ws_event_t zlt_ws_parse(zlt_ws_parser_t *p, uint8_t **pos, uint8_t *end);

/*
 * Writes the header of one unfragmented frame; returns its size in bytes, at
 * most ZLT_WS_MAX_HEADER.  mask is NULL for a server; a client gives 4 random
 * bytes and masks the payload with zlt_ws_mask(data, len, mask, 0).
 */
size_t zlt_ws_header(uint8_t *dst, unsigned opcode, size_t payload_len,
    const uint8_t *mask);

/* Masks or unmasks len bytes in place, a word at a time; offset is the
   position of the first byte within the payload. */
void zlt_ws_mask(uint8_t *data, size_t len, const uint8_t mask[4],
    size_t offset);

/* The same, to dst, which does not overlap src or begins before it. */
void zlt_ws_mask_move(uint8_t *dst, const uint8_t *src, size_t len,
    const uint8_t mask[4], size_t offset);

/* Payload of a Close frame: code and reason, which may be NULL, cut at 123
   bytes on a character boundary.  Returns its size, at most
   ZLT_WS_MAX_CONTROL. */
size_t zlt_ws_close_payload(uint8_t *dst, uint16_t code, const char *reason);

/* The code in the payload of a Close frame from the peer: ZLT_WS_NO_CODE if
   it is empty, ZLT_WS_PROTOCOL or ZLT_WS_INVALID_DATA if it is malformed;
   either way the code of the Close that answers it is the same one, or an
   empty payload for ZLT_WS_NO_CODE, which must not be sent. */
uint16_t zlt_ws_close_code(const uint8_t *payload, size_t len);


#endif /* ZLT_WS_H_INCLUDED */
