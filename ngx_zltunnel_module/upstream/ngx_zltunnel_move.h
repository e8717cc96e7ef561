
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_MOVE_H_INCLUDED_
#define _NGX_ZLTUNNEL_MOVE_H_INCLUDED_


#include "ngx_zltunnel.h"


/* it carries bulk, and shall leave its lane */
void ngx_zltunnel_move_start(ngx_zltunnel_conn_t *conn);
/* goes on with that, if asked: between two messages, and to flush the last */
void ngx_zltunnel_move_leave(ngx_zltunnel_conn_t *conn);
/* where to write behind our Moved; NULL: nothing can be written yet */
ngx_zltunnel_end_t *ngx_zltunnel_move_target(ngx_zltunnel_conn_t *conn);
/* Moved has come: conn->lent is another channel; or NGX_ERROR */
ngx_int_t ngx_zltunnel_move_finish(ngx_zltunnel_conn_t *conn);
void ngx_zltunnel_move_cancel(ngx_zltunnel_conn_t *conn);
/* the upstream code is done with it */
void ngx_zltunnel_move_end(ngx_zltunnel_conn_t *conn);


#endif /* _NGX_ZLTUNNEL_MOVE_H_INCLUDED_ */
