
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The only place that tests nginx_version.
 */


#ifndef _NGX_ZLTUNNEL_COMPAT_H_INCLUDED_
#define _NGX_ZLTUNNEL_COMPAT_H_INCLUDED_


#include <nginx.h>


#if (nginx_version < 1022001)
#error zltunnel needs nginx 1.22.1 or newer
#endif


/*
 * Since 1.25.5 a stream address leads to its default server instead of to a
 * configuration context.
 */

#if (nginx_version >= 1025005)
#define ngx_zltunnel_addr_srv_conf(addr)  (addr)->default_server->ctx->srv_conf
#else
#define ngx_zltunnel_addr_srv_conf(addr)  (addr)->ctx->srv_conf
#endif


/* Since 1.23.0 a connection says whether its writes want to be flushed. */

#if (nginx_version >= 1023000)
#define ngx_zltunnel_need_flush_buf(c)  (c)->need_flush_buf = 1
#else
#define ngx_zltunnel_need_flush_buf(c)
#endif


/* Since 1.23.0 headers of one name are linked; before, the first one counts. */

#if (nginx_version >= 1023000)
#define ngx_zltunnel_header_next(h)  (h)->next
#else
#define ngx_zltunnel_header_next(h)  NULL
#endif


#endif /* _NGX_ZLTUNNEL_COMPAT_H_INCLUDED_ */
