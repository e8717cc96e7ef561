
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A data channel with lanes, docs/protocol.md: many connections, each of which
 * is to the rest of the agent a framed channel of its own.
 */


#ifndef ZLT_SHARED_H_INCLUDED
#define ZLT_SHARED_H_INCLUDED


#include "types.h"
#include "zlt_msg.h"
#include "zlt_window.h"


/* what it tells of its lanes */

typedef struct {
    /* An idle channel to be one, with nothing beneath it yet; NULL: there is no
       memory, or no descriptor. */
    zlt_channel_t  *(*open)(zlt_channel_t *of);

    /* The server has left the lane of that channel, and we may. */
    void            (*leave)(zlt_channel_t *ch);
} zlt_shared_ops_t;


/* Makes a channel with lanes of it; data is what has come already.  0, or -1
   without memory.  The channel owns it from then on. */
int zlt_shared_start(zlt_channel_t *ch, const zlt_shared_ops_t *ops,
    const uint8_t *data, size_t len);
void zlt_shared_free(zlt_shared_t *sh);

/* Takes no more lanes; the server closes it with the last one. */
void zlt_shared_retire(zlt_channel_t *ch);


/* for its lanes */

void zlt_shared_add(zlt_shared_t *sh, zlt_lane_t *lane);
void zlt_shared_remove(zlt_shared_t *sh, zlt_lane_t *lane);

/* What their windows share. */
zlt_window_share_t *zlt_shared_windows(zlt_shared_t *sh);

/* The channel's round trip, ms. */
uint32_t zlt_shared_rtt(zlt_shared_t *sh);


#endif /* ZLT_SHARED_H_INCLUDED */
