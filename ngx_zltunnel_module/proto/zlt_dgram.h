
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Frames of a datagram channel, resumable: fed from a buffer that holds
 * whatever has come so far, the reader gives one frame a call, pointing into
 * that buffer.  No I/O, no allocation.
 *
 * One malformed frame costs its own session and nothing else.  As long as the
 * length in its header can be believed, the frame is stepped over and reported
 * as ZLT_DGRAM_BAD; only a header that makes no sense is an error, since after
 * it nobody knows where the next frame begins.
 */


#ifndef ZLT_DGRAM_H_INCLUDED
#define ZLT_DGRAM_H_INCLUDED


#include "zlt_types.h"


/* header and session number, in front of the bytes of a datagram */
#define ZLT_DGRAM_HEADER     (ZLT_HEADER_SIZE + 4)

#define ZLT_DGRAM_CLOSE_SIZE (ZLT_HEADER_SIZE + 5)

/* payload of UDP over IPv4, over IPv6; the larger one still fits a message */
#define ZLT_DGRAM_MAX4       65507
#define ZLT_DGRAM_MAX        (ZLT_MAX_PAYLOAD - 4)

/* what an address may be long, "[...%scope]:port" with much to spare */
#define ZLT_DGRAM_MAX_ADDR   255

/* a frame up to this length is stepped over, a longer one is an error */
#define ZLT_DGRAM_MAX_SKIP   (1024 * 1024)

/* cause of a DatagramClose: this, or ZLT_E_*; a receiver takes any value */
#define ZLT_DGRAM_ENDED      0

/* beside ZLT_OK, ZLT_AGAIN and ZLT_ERR_* */
#define ZLT_DGRAM_BAD        1


typedef struct {
    uint8_t         type;          /* see zlt_dgram_read() */
    uint8_t         cause;         /* DatagramClose */
    unsigned        has_session:1; /* session is set, also if malformed */
    uint32_t        session;       /* Datagram* */
    uint64_t        timestamp;     /* Heartbeat, HeartbeatAck: Unix ms */
    const uint8_t  *service_id;    /* DatagramOpen */
    zlt_str_t       client_addr;   /* DatagramOpen: "ip:port" */
    zlt_str_t       target;        /* DatagramOpen: "host:port", or empty */
    zlt_str_t       data;          /* Datagram: 0 to ZLT_DGRAM_MAX bytes */
} zlt_dgram_t;


/* To be zeroed at the beginning of a channel. */

typedef struct {
    size_t          need;          /* ZLT_AGAIN: bytes needed from *pos on */
    size_t          skip;          /* of an oversized frame, still to come */
} zlt_dgram_reader_t;


/*
 * Reads one frame at *pos, never past end, and advances *pos behind it.
 *
 * ZLT_OK: *f is filled; its type is one of DatagramOpen, Datagram,
 * DatagramClose, Heartbeat, HeartbeatAck and Retire, all others are errors
 * on this channel.  Whether its direction is right is up to the caller.
 *
 * ZLT_AGAIN: no frame is complete; what *pos points to is to be kept, and
 * r->need bytes from there on are needed to get further, at most
 * ZLT_MAX_MESSAGE_SIZE.  *pos may have been advanced nevertheless.
 *
 * ZLT_DGRAM_BAD: a frame that is too short for its fields, whose address is
 * not UTF-8 or too long, or that is longer than ZLT_MAX_PAYLOAD has been, or
 * will be, stepped over.  f->type is set, and f->session if f->has_session:
 * that session should end.
 *
 * ZLT_ERR_TYPE, ZLT_ERR_SIZE: the channel cannot be read any further.
 */
int zlt_dgram_read(zlt_dgram_reader_t *r, zlt_dgram_t *f, const uint8_t **pos,
    const uint8_t *end);

/*
 * Writes what precedes the bytes of a datagram, ZLT_DGRAM_HEADER bytes; len
 * is at most ZLT_DGRAM_MAX.  Returns the position behind it.
 */
uint8_t *zlt_dgram_header(uint8_t *p, uint32_t session, size_t len);

/* Writes a DatagramClose, ZLT_DGRAM_CLOSE_SIZE bytes. */
uint8_t *zlt_dgram_close(uint8_t *p, uint32_t session, unsigned cause);

/*
 * Writes a DatagramOpen.  Returns the position behind it, or NULL if it does
 * not fit before end or if the address is longer than ZLT_DGRAM_MAX_ADDR.
 */
uint8_t *zlt_dgram_open(uint8_t *p, const uint8_t *end, uint32_t session,
    const uint8_t *service_id, const char *addr, size_t addr_len);

/*
 * The same with a target, for a service that is open; an empty one is left
 * out.  NULL also if it is longer than ZLT_MAX_TARGET.
 */
uint8_t *zlt_dgram_open_target(uint8_t *p, const uint8_t *end,
    uint32_t session, const uint8_t *service_id, const char *addr,
    size_t addr_len, const zlt_str_t *target);


#endif /* ZLT_DGRAM_H_INCLUDED */
