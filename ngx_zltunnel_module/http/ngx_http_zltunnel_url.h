
/*
 * Copyright (C) zltunnel authors
 */

/* By which URL the visitors of hosts come. */


#ifndef _NGX_HTTP_ZLTUNNEL_URL_H_INCLUDED_
#define _NGX_HTTP_ZLTUNNEL_URL_H_INCLUDED_


#include "ngx_zltunnel.h"


/* when the configuration has been read: sets registry->public_url from the servers
   of http, if there are any */
ngx_int_t ngx_http_zltunnel_url(ngx_cycle_t *cycle,
    ngx_zltunnel_registry_t *registry);


#endif /* _NGX_HTTP_ZLTUNNEL_URL_H_INCLUDED_ */
