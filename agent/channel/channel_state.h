
/*
 * Copyright (C) zltunnel authors
 */

/* What a data channel is. */


#ifndef ZLT_CHANNEL_STATE_H_INCLUDED
#define ZLT_CHANNEL_STATE_H_INCLUDED


#include "types.h"


typedef enum {
    ZLT_CHANNEL_OPENING = 0,   /* on its way to the server */
    ZLT_CHANNEL_SERVED,        /* .. and the service is there already */
    ZLT_CHANNEL_IDLE,          /* heartbeats, then Connect */
    ZLT_CHANNEL_TAKEN,         /* on its way to the service */
    ZLT_CHANNEL_RELAY,         /* at both, relay.c; a visitor's, from its 101
                                  on */
    ZLT_CHANNEL_CLOSING,       /* our end is sent, the server's is waited for */
    ZLT_CHANNEL_DATAGRAMS,     /* udp.c */
    ZLT_CHANNEL_SHARED,        /* shared.c */
    ZLT_CHANNEL_MOVING,        /* takes a connection from a lane, move.c */
    ZLT_CHANNEL_ENDING,        /* ConnectFail or Retire was sent */
    ZLT_CHANNEL_GONE           /* freed, at the end of this turn */
} zlt_channel_state_e;


/*
 * The only place where it changes.  A change that cannot be is logged, and cuts
 * the connection to the server, so that the channel ends as it does when that
 * is lost; with sanitizers it ends the program.
 */
void zlt_channel_state(zlt_channel_t *ch, zlt_channel_state_e state);


#endif /* ZLT_CHANNEL_STATE_H_INCLUDED */
