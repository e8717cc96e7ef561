
/*
 * Copyright (C) zltunnel authors
 */

/* Channels that meet another node than that of their tunnel (421). */


#ifndef ZLT_CHANNEL_ASTRAY_H_INCLUDED
#define ZLT_CHANNEL_ASTRAY_H_INCLUDED


#include "channel.h"


/* Has it met another one?  answer may be NULL. */
int zlt_channel_astray(const zlt_http_answer_t *answer);

/* It has: 1 if it is to be tried again at once.  param is what it was opened
   with, or NULL if that has gone. */
int zlt_channel_astray_again(zlt_channel_t *ch, const zlt_pool_param_t *param,
    const zlt_http_answer_t *answer);

/* It has met its own. */
void zlt_channel_astray_home(zlt_channel_t *ch);


#endif /* ZLT_CHANNEL_ASTRAY_H_INCLUDED */
