
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_RELEASE_H_INCLUDED_
#define _NGX_ZLTUNNEL_RELEASE_H_INCLUDED_


#include "ngx_zltunnel.h"


/* The connection that it carried is over, by a reset or not: the channel is
   idle again, now or soon, or it is closed.  counter: NULL, or of the connection:
   it is put and set to NULL if the lock is taken anyway. */
void ngx_zltunnel_release(ngx_zltunnel_channel_t *channel,
    ngx_uint_t reset, ngx_zltunnel_sh_counter_t **counter);
/* It has ended on both sides, or there was none: idle in this worker, or closed
   if it is not wanted. */
void ngx_zltunnel_release_idle(ngx_zltunnel_channel_t *channel,
    ngx_zltunnel_sh_counter_t **counter);


#endif /* _NGX_ZLTUNNEL_RELEASE_H_INCLUDED_ */
