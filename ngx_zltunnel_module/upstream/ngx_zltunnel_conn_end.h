
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_CONN_END_H_INCLUDED_
#define _NGX_ZLTUNNEL_CONN_END_H_INCLUDED_


#include "ngx_zltunnel.h"


/* A request is done with it; keep: it may be kept alive.  Marks one that has
   ended, or of which there is more to be read, as at its end. */
void ngx_zltunnel_conn_end_settle(ngx_zltunnel_conn_t *conn, ngx_uint_t keep);
/* whoever holds the connection finds it reset */
void ngx_zltunnel_conn_end_break(ngx_zltunnel_conn_t *conn);
/* .. as its tunnel's token is gone */
void ngx_zltunnel_conn_end_cut(ngx_zltunnel_link_t *link);
/* .. which is all of that that this does: for ngx_zltunnel_conn_state.c */
void ngx_zltunnel_conn_end_reset(ngx_zltunnel_conn_t *conn);
/* c->recv_chain() by c->recv() */
ssize_t ngx_zltunnel_conn_end_recv_chain(ngx_connection_t *c, ngx_chain_t *cl,
    off_t limit);


#endif /* _NGX_ZLTUNNEL_CONN_END_H_INCLUDED_ */
