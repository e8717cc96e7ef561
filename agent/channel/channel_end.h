
/*
 * Copyright (C) zltunnel authors
 */

/* How a connection ends on a channel, and a channel. */


#ifndef ZLT_CHANNEL_END_H_INCLUDED
#define ZLT_CHANNEL_END_H_INCLUDED


#include "channel.h"


/* The connection has ended, and the channel will be idle again. */
void zlt_channel_end_connection(zlt_channel_t *ch);

/* The connection could not be made, for which there is a code (ZLT_E_*). */
void zlt_channel_end_fail(zlt_channel_t *ch, unsigned code,
    const char *reason);

/* The same where the log has more to say than the server needs to know: at
   which address it was. */
void zlt_channel_end_fail_told(zlt_channel_t *ch, unsigned code,
    const char *reason, const char *told);


#endif /* ZLT_CHANNEL_END_H_INCLUDED */
