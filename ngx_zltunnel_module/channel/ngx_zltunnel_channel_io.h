
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_CHANNEL_IO_H_INCLUDED_
#define _NGX_ZLTUNNEL_CHANNEL_IO_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_transport.h"


/* One frame: NGX_OK, and *m points into the channel until the next call;
   NGX_AGAIN, also if the budget of the event is spent; NGX_ERROR at EOF,
   reset, or a frame that is not allowed. */
ngx_int_t ngx_zltunnel_channel_io_read(ngx_zltunnel_channel_t *channel,
    zlt_msg_t *m, ngx_zltunnel_budget_t *budget);
/* puts unparsed bytes in front of what will be read */
ngx_int_t ngx_zltunnel_channel_io_unread(ngx_zltunnel_channel_t *channel,
    u_char *data, size_t len);
/* hands the relay what a dial has read behind ConnectAck */
ngx_int_t ngx_zltunnel_channel_io_rest(ngx_zltunnel_channel_t *channel,
    ngx_zltunnel_relay_t *relay);
/* a message on an idle channel: NGX_OK, NGX_ERROR */
ngx_int_t ngx_zltunnel_channel_io_write(ngx_zltunnel_channel_t *channel,
    zlt_msg_t *m);


#endif /* _NGX_ZLTUNNEL_CHANNEL_IO_H_INCLUDED_ */
