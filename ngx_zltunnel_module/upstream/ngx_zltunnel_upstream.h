
/*
 * Copyright (C) zltunnel authors
 */

/* What http and stream need of upstreams. */


#ifndef _NGX_ZLTUNNEL_UPSTREAM_H_INCLUDED_
#define _NGX_ZLTUNNEL_UPSTREAM_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_balance.h"
#include "ngx_zltunnel_choice.h"
#include "ngx_zltunnel_conn.h"
#include "ngx_zltunnel_conn_pool.h"
#include "ngx_zltunnel_conn_check.h"
#include "ngx_zltunnel_conn_end.h"
#include "ngx_zltunnel_lend.h"
#include "ngx_zltunnel_upstream_conf.h"


#endif /* _NGX_ZLTUNNEL_UPSTREAM_H_INCLUDED_ */
