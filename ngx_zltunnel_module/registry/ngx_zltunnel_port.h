
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_PORT_H_INCLUDED_
#define _NGX_ZLTUNNEL_PORT_H_INCLUDED_


#include "ngx_zltunnel.h"


/* whose it is; while that waits for its agent, or its node is not reached, the same of
   another node, if there is one with the same port; or NULL */
ngx_zltunnel_sh_service_t *ngx_zltunnel_port_service(ngx_zltunnel_sh_t *sh,
    in_port_t port, ngx_uint_t udp);
/* it has one that is not down with its port closed */
ngx_uint_t ngx_zltunnel_port_open(ngx_zltunnel_sh_t *sh, in_port_t port,
    ngx_uint_t udp);
/* it had one, and has none now, or one that is */
ngx_uint_t ngx_zltunnel_port_freed(ngx_zltunnel_sh_t *sh, in_port_t port,
    ngx_uint_t udp);
/* frees the entries of ports that have rested */
void ngx_zltunnel_port_sweep(ngx_zltunnel_registry_t *registry);
/* Finds the service a port, the one that it asks for or another (preferred: the
   one to take if it is free, or 0), and opens it.  NGX_OK, also where there is
   none to assign; or *code is ZLT_E_*, *reason a static text. */
ngx_int_t ngx_zltunnel_port_choose(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel, ngx_zltunnel_token_t *token,
    ngx_zltunnel_sh_service_t *service, in_port_t preferred,
    ngx_uint_t *code, const char **reason);
/* its port is that token's, at another node: so it rests for that one */
void ngx_zltunnel_port_lose(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service, ngx_str_t *token);
/* a service of another node has the port that it has there, if nobody else does
   and this server offers it; one of its token that is here has it back */
void ngx_zltunnel_port_borrow(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service);
/* the service goes: its port rests, and is closed */
void ngx_zltunnel_port_free(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service);


#endif /* _NGX_ZLTUNNEL_PORT_H_INCLUDED_ */
