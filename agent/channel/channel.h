
/*
 * Copyright (C) zltunnel authors
 */

/* What the files of a data channel have in common: channel*.c. */


#ifndef ZLT_CHANNEL_H_INCLUDED
#define ZLT_CHANNEL_H_INCLUDED


#include "link.h"


#define ZLT_CHANNEL_SILENCE  60        /* s; the server heartbeats every 25 */

#define ZLT_CHANNEL_SMALL    64        /* any message that we send but Fail */
#define ZLT_CHANNEL_FAIL     512

enum {
    ZLT_CHANNEL_OPENING = 0,
    ZLT_CHANNEL_IDLE,
    ZLT_CHANNEL_TAKEN,
    ZLT_CHANNEL_RELAY,
    ZLT_CHANNEL_CLOSING,
    ZLT_CHANNEL_DATAGRAMS,
    ZLT_CHANNEL_SHARED,
    ZLT_CHANNEL_MOVING,
    ZLT_CHANNEL_ENDING
};

/* whether the connection of a Connect is framed */
#define zlt_channel_framed(m)                                                 \
    (((m)->ext & ZLT_X_FLAGS) && ((m)->flags & ZLT_C_FRAMED))


/* channel.c */

void zlt_channel_idle(zlt_io_t *io);
void zlt_channel_frames(zlt_channel_t *ch, const uint8_t *p, size_t len);
int zlt_channel_early(zlt_channel_t *ch, const uint8_t *data, size_t len);
void zlt_channel_datagrams(zlt_channel_t *ch, const uint8_t *p, size_t len);

/* A lane of that channel, idle; its connection has nothing beneath it yet.
   NULL without descriptors or memory. */
zlt_channel_t *zlt_channel_lane(zlt_channel_t *of);
int zlt_channel_send(zlt_channel_t *ch, const zlt_msg_t *m, size_t size);
unsigned zlt_channel_timeout(zlt_channel_t *ch);

/* An idle channel is of no use any more. */
void zlt_channel_lost(zlt_channel_t *ch, const char *why);
void zlt_channel_log(zlt_channel_t *ch, const char *what);


/* shared.c */

/* Makes a channel with lanes of it; data is what has come already.  0, or -1
   without memory.  The channel owns it from then on. */
int zlt_shared_start(zlt_channel_t *ch, const uint8_t *data, size_t len);
void zlt_shared_free(zlt_shared_t *sh);

/* Takes no more lanes; the server closes it with the last one. */
void zlt_shared_retire(zlt_channel_t *ch);

/* It fails when the loop comes to it. */
void zlt_shared_broken(zlt_shared_t *sh);


/* channel_open.c: the way to the server, up to the 101 */

int zlt_channel_connect(zlt_channel_t *ch, const zlt_addr_t *addr);
void zlt_channel_connecting(zlt_io_t *io);
void zlt_channel_answer(zlt_io_t *io);
const zlt_pool_param_t *zlt_channel_param(zlt_channel_t *ch);
void zlt_channel_shut(zlt_channel_t *ch);
void zlt_channel_given_up(zlt_channel_t *ch, const char *why);


/* channel_dial.c: the way to the service, and the relay */

int zlt_channel_proxy(zlt_channel_t *ch, const zlt_msg_t *m);
int zlt_channel_target(zlt_channel_t *ch, const zlt_msg_t *m);
void zlt_channel_wait(zlt_io_t *io);
void zlt_channel_dial(zlt_channel_t *ch, const uint8_t *service_id);
void zlt_channel_join(zlt_channel_t *ch);


/* move.c: a connection leaves its lane */

/* Move has come on ch; no bytes may be behind it. */
void zlt_channel_move(zlt_channel_t *ch, const zlt_msg_t *m, size_t behind);

/* Moved has come on the lane of ch, and there may be room for ours. */
void zlt_channel_leave_lane(zlt_channel_t *ch);


/* channel_end.c */

void zlt_channel_close(zlt_channel_t *ch);
void zlt_channel_fail(zlt_channel_t *ch, unsigned code, const char *reason);


#endif /* ZLT_CHANNEL_H_INCLUDED */
