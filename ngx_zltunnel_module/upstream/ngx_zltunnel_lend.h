
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_LEND_H_INCLUDED_
#define _NGX_ZLTUNNEL_LEND_H_INCLUDED_


#include "ngx_zltunnel.h"


/*
 * The upstream code is done with the connection: if it is a channel that was
 * lent, that can carry another connection, this one is freed, and its pool,
 * and NGX_OK returned.  reset: it was not used to its end.
 */
ngx_int_t ngx_zltunnel_lend_return(ngx_zltunnel_conn_t *conn,
    ngx_uint_t reset);
/* gives the dial's channel to the connection, which is writable then */
void ngx_zltunnel_lend(ngx_zltunnel_conn_t *conn);
void ngx_zltunnel_lend_attach(ngx_zltunnel_conn_t *conn,
    ngx_zltunnel_channel_t *channel);
/* the connection is closed by its owner, and the channel with it */
void ngx_zltunnel_lend_close(ngx_zltunnel_conn_t *conn);


#endif /* _NGX_ZLTUNNEL_LEND_H_INCLUDED_ */
