
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_REPLY_H_INCLUDED_
#define _NGX_ZLTUNNEL_REPLY_H_INCLUDED_


#include "ngx_zltunnel.h"


/* Sends a datagram to the client, with others at ngx_zltunnel_reply_flush():
   data must stay until then. */
void ngx_zltunnel_reply(ngx_zltunnel_udp_t *udp, const u_char *data,
    size_t len);
void ngx_zltunnel_reply_flush(void);


#endif /* _NGX_ZLTUNNEL_REPLY_H_INCLUDED_ */
