
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_VISIT_TCP_H_INCLUDED_
#define _NGX_ZLTUNNEL_VISIT_TCP_H_INCLUDED_


#include "ngx_zltunnel.h"


/* data: bytes of its client that came behind the request */
void ngx_zltunnel_visit_tcp_start(ngx_zltunnel_visit_t *visit, u_char *data,
    size_t len);
/* answers ConnectFail, and waits for the visitor to close */
void ngx_zltunnel_visit_tcp_refuse(ngx_zltunnel_visit_t *visit,
    ngx_uint_t code, const char *reason);


#endif /* _NGX_ZLTUNNEL_VISIT_TCP_H_INCLUDED_ */
