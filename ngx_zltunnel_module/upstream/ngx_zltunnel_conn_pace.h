
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_CONN_PACE_H_INCLUDED_
#define _NGX_ZLTUNNEL_CONN_PACE_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_conn.h"


/* 1: its token has a rate */
#define ngx_zltunnel_conn_paced(conn)                                         \
    ((conn)->dial.link.peer && (conn)->dial.link.peer->pace.rate              \
     && !(conn)->settles)


/* ways: what is sent to the service, what is received */

#define NGX_ZLTUNNEL_CONN_SENDS     0
#define NGX_ZLTUNNEL_CONN_RECEIVES  1


/* How many bytes may go that way now.  0: its event is posted when they may, and
   is not ready until then. */
size_t ngx_zltunnel_conn_pace_ask(ngx_zltunnel_conn_t *conn, ngx_uint_t way);
/* so many went; more: it goes on at once, as long as it may */
void ngx_zltunnel_conn_pace_used(ngx_zltunnel_conn_t *conn, ngx_uint_t way,
    size_t n, ngx_uint_t more);
/* so many went that nobody had asked for */
void ngx_zltunnel_conn_pace_spend(ngx_zltunnel_conn_t *conn, size_t n);
/* of a connection that is linked: the rate is another now */
void ngx_zltunnel_conn_pace_change(ngx_zltunnel_link_t *link, uint64_t old);
/* it waits for nothing any more */
void ngx_zltunnel_conn_pace_end(ngx_zltunnel_conn_t *conn);


#endif /* _NGX_ZLTUNNEL_CONN_PACE_H_INCLUDED_ */
