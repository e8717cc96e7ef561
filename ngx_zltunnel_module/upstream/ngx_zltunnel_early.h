
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_EARLY_H_INCLUDED_
#define _NGX_ZLTUNNEL_EARLY_H_INCLUDED_


#include "ngx_zltunnel.h"


/* the connection can be written to; peer.get is to return NGX_DONE */
void ngx_zltunnel_early_start(ngx_zltunnel_conn_t *conn);
/* its descriptor is about to be replaced */
void ngx_zltunnel_early_done(ngx_zltunnel_conn_t *conn);
void ngx_zltunnel_early_fail(ngx_zltunnel_conn_t *conn,
    ngx_zltunnel_dial_e rc);


#endif /* _NGX_ZLTUNNEL_EARLY_H_INCLUDED_ */
