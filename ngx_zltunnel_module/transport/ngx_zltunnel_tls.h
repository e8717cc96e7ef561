
/*
 * Copyright (C) zltunnel authors
 */

/* An end under TLS. */


#ifndef _NGX_ZLTUNNEL_TLS_H_INCLUDED_
#define _NGX_ZLTUNNEL_TLS_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_end.h"


#if (NGX_SSL)

extern const ngx_zltunnel_end_ops_t  ngx_zltunnel_tls_ops;

#endif


#endif /* _NGX_ZLTUNNEL_TLS_H_INCLUDED_ */
