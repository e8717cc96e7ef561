
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_DIAL_CONNECT_H_INCLUDED_
#define _NGX_ZLTUNNEL_DIAL_CONNECT_H_INCLUDED_


#include "ngx_zltunnel.h"


/* room for the client's early bytes: where to, and how many; 0: full */
size_t ngx_zltunnel_dial_connect_room(ngx_zltunnel_dial_t *dial, u_char **to);
/* n bytes have been put there */
void ngx_zltunnel_dial_connect_put(ngx_zltunnel_dial_t *dial, size_t n);
void ngx_zltunnel_dial_connect_refused(ngx_zltunnel_dial_t *dial,
    const u_char *reason, size_t len);
/* gives up those that were asked, on which nothing was sent but Connect */
void ngx_zltunnel_dial_connect_leave(ngx_zltunnel_dial_t *dial);
/* a channel was found, in that way: asks on it */
void ngx_zltunnel_dial_connect(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_channel_t *channel, ngx_uint_t way);
/* the same with one that is idle and has just come here: by a lane of it, if that
   will do */
void ngx_zltunnel_dial_connect_by(ngx_zltunnel_dial_t *dial,
    ngx_zltunnel_channel_t *channel, ngx_uint_t way);


#endif /* _NGX_ZLTUNNEL_DIAL_CONNECT_H_INCLUDED_ */
