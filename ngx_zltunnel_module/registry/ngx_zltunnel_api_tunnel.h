
/*
 * Copyright (C) zltunnel authors
 */

/* Tunnels, and what they have, as the API shows them: of the one that was
   copied last. */


#ifndef _NGX_ZLTUNNEL_API_TUNNEL_H_INCLUDED_
#define _NGX_ZLTUNNEL_API_TUNNEL_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_status_copy.h"


/* as an element of a list, with the number of its services */
void ngx_zltunnel_api_tunnel(ngx_zltunnel_status_t *st);
/* alone, with its services */
void ngx_zltunnel_api_tunnel_whole(ngx_zltunnel_status_t *st);
/* the same of one that has gone, which has none */
void ngx_zltunnel_api_tunnel_past(ngx_zltunnel_status_t *st,
    ngx_zltunnel_sh_past_t *past, ngx_uint_t whole);
/* its services, names of hosts, ports, each an element of a list */
void ngx_zltunnel_api_tunnel_services(ngx_zltunnel_status_t *st);
void ngx_zltunnel_api_tunnel_hosts(ngx_zltunnel_status_t *st);
void ngx_zltunnel_api_tunnel_ports(ngx_zltunnel_status_t *st);


#endif /* _NGX_ZLTUNNEL_API_TUNNEL_H_INCLUDED_ */
