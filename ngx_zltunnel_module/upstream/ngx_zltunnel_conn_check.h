
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_CONN_CHECK_H_INCLUDED_
#define _NGX_ZLTUNNEL_CONN_CHECK_H_INCLUDED_


#include "ngx_zltunnel.h"


/* one that is bound, to be looked at from now on */
void ngx_zltunnel_conn_check_add(ngx_zltunnel_conn_t *conn);
/* every second: closes kept connections to services that are gone */
void ngx_zltunnel_conn_check(void);


#endif /* _NGX_ZLTUNNEL_CONN_CHECK_H_INCLUDED_ */
