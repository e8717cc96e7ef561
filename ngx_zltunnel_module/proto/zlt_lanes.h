
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A data channel that many connections share: docs/protocol.md, "Lanes".
 *
 * Each connection has a lane, which is to it what a channel of its own would
 * be.  Plain C11: no I/O, no allocation.
 */


#ifndef ZLT_LANES_H_INCLUDED
#define ZLT_LANES_H_INCLUDED


#include "zlt_frames.h"


#define ZLT_LANE_HEADER      (ZLT_HEADER_SIZE + 4)   /* of Lane; all of
                                                        LaneEnd */
#define ZLT_LANE_CREDIT_SIZE (ZLT_HEADER_SIZE + 8)
#define ZLT_LANE_MAX         32768      /* bytes in one Lane */
#define ZLT_LANE_SMALL       4096       /* .. that may go before bulk */


/* what is read; all zero at the start */

typedef struct {
    uint32_t         left;         /* bytes of the present Lane */
    uint32_t         lane;
    uint8_t          have;         /* of the next header */
    uint8_t          need;
    uint8_t          header[ZLT_HEADER_SIZE + 8];
} zlt_lanes_in_t;


typedef struct {
    uint8_t          type;         /* ZLT_LANE, _CREDIT, _END, ZLT_HEARTBEAT,
                                      _ACK or ZLT_RETIRE */
    uint32_t         lane;
    uint32_t         credit;
    uint64_t         timestamp;
    const uint8_t   *data;         /* of Lane, within what was given */
    size_t           len;
} zlt_lanes_msg_t;


/*
 * Takes the next message, or the next part of a Lane, and sets *used to what
 * it took.  ZLT_OK; ZLT_AGAIN, and everything was taken; or a protocol error.
 */
int zlt_lanes_decode(zlt_lanes_in_t *in, zlt_lanes_msg_t *m,
    const uint8_t *data, size_t len, size_t *used);

/* The header of so many bytes, 1 to ZLT_LANE_MAX. */
void zlt_lanes_header(uint8_t header[ZLT_LANE_HEADER], uint32_t lane,
    size_t len);
void zlt_lanes_end(uint8_t message[ZLT_LANE_HEADER], uint32_t lane);
void zlt_lanes_credit(uint8_t message[ZLT_LANE_CREDIT_SIZE], uint32_t lane,
    uint32_t credit);


#endif /* ZLT_LANES_H_INCLUDED */
