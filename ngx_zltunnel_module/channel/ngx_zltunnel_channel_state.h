
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_CHANNEL_STATE_H_INCLUDED_
#define _NGX_ZLTUNNEL_CHANNEL_STATE_H_INCLUDED_


#include "ngx_zltunnel.h"


/* whose a channel is, and what for */

typedef enum {
    NGX_ZLTUNNEL_CHANNEL_TAKEN = 0, /* new, or on its way to somebody */
    NGX_ZLTUNNEL_CHANNEL_IDLE,      /* in its peer's list, and counted */
    NGX_ZLTUNNEL_CHANNEL_ASKED,     /* a dial's, until ConnectAck */
    NGX_ZLTUNNEL_CHANNEL_USED,      /* by a connection, or datagrams */
    NGX_ZLTUNNEL_CHANNEL_DRAINING,  /* until the agent's end of it */
    NGX_ZLTUNNEL_CHANNEL_SHARED,    /* by lanes */
    NGX_ZLTUNNEL_CHANNEL_BRIDGED,   /* to another worker */
    NGX_ZLTUNNEL_CHANNEL_CLOSED
} ngx_zltunnel_channel_state_e;


/* the only way to another state, see ngx_zltunnel_channel_state.c; the timer of
   the former one is gone then */
void ngx_zltunnel_channel_state(ngx_zltunnel_channel_t *channel,
    ngx_zltunnel_channel_state_e state);


#endif /* _NGX_ZLTUNNEL_CHANNEL_STATE_H_INCLUDED_ */
