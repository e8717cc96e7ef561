
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_ACCESS_STATUS_H_INCLUDED_
#define _NGX_ZLTUNNEL_ACCESS_STATUS_H_INCLUDED_


#include "ngx_zltunnel.h"


/* the list of a tunnel's sessions into an array of JSON: NGX_ERROR */
ngx_int_t ngx_zltunnel_access_status(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_json_t *j, u_char *tunnel_id);
/* the same as the API has it */
ngx_int_t ngx_zltunnel_access_status_api(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_json_t *j, u_char *tunnel_id);


#endif /* _NGX_ZLTUNNEL_ACCESS_STATUS_H_INCLUDED_ */
