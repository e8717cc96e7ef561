
/*
 * Copyright (C) zltunnel authors
 */

/* The names of hosts in a Register. */


#ifndef _NGX_ZLTUNNEL_REGISTER_HOST_H_INCLUDED_
#define _NGX_ZLTUNNEL_REGISTER_HOST_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_host.h"

#include "zlt_host.h"
#include "zlt_msg.h"


#define NGX_ZLTUNNEL_REGISTER_HOSTS  64   /* names of one service */


typedef struct {
    ngx_uint_t                   n;
    ngx_zltunnel_host_name_t     names[NGX_ZLTUNNEL_REGISTER_HOSTS];
    u_char                       text[NGX_ZLTUNNEL_REGISTER_HOSTS]
                                     [ZLT_MAX_HOST];
} ngx_zltunnel_register_host_t;


/* both: 0, or ZLT_E_* and *reason, which stays until the next call */

/* takes them apart, and looks whether the token allows them */
ngx_uint_t ngx_zltunnel_register_host_check(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_token_t *token, zlt_msg_t *m,
    ngx_zltunnel_register_host_t *hosts, const char **reason);
/* under the lock: the service has those names from now on */
ngx_uint_t ngx_zltunnel_register_host_claim(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_token_t *token, ngx_zltunnel_sh_service_t *service,
    ngx_zltunnel_register_host_t *hosts, const char **reason);


#endif /* _NGX_ZLTUNNEL_REGISTER_HOST_H_INCLUDED_ */
