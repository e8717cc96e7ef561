
/*
 * Copyright (C) zltunnel authors
 */

/* A connection to a host that no agent has, or that has failed at once. */


#ifndef _NGX_ZLTUNNEL_SEARCH_H_INCLUDED_
#define _NGX_ZLTUNNEL_SEARCH_H_INCLUDED_


#include "ngx_zltunnel_conn.h"


/* conn->up->absent says why nothing was chosen: it fails, in a later event, or
   is dialled when an agent has come */
void ngx_zltunnel_search(ngx_zltunnel_conn_t *conn);
/* its dial has failed, and it fails in a later event */
void ngx_zltunnel_search_failed(ngx_zltunnel_conn_t *conn);
void ngx_zltunnel_search_end(ngx_zltunnel_conn_t *conn);


#endif /* _NGX_ZLTUNNEL_SEARCH_H_INCLUDED_ */
