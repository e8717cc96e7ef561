
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_CHANNEL_ANSWER_H_INCLUDED_
#define _NGX_ZLTUNNEL_CHANNEL_ANSWER_H_INCLUDED_


#include "ngx_zltunnel.h"


/* what is to go with the next Connect, within a millisecond; answer is from
   ngx_alloc() and no longer the caller's */
void ngx_zltunnel_channel_answer_hold(ngx_zltunnel_channel_t *channel,
    ngx_str_t *answer);
/* sends the 101 if it has waited: NGX_OK, NGX_ERROR */
ngx_int_t ngx_zltunnel_channel_answer_flush(ngx_zltunnel_channel_t *channel);
/* it has been sent, or will never be */
void ngx_zltunnel_channel_answer_drop(ngx_zltunnel_channel_t *channel);


#endif /* _NGX_ZLTUNNEL_CHANNEL_ANSWER_H_INCLUDED_ */
