
/*
 * Copyright (C) zltunnel authors
 */

/* The directives of names of hosts: where they are. */


#ifndef _NGX_ZLTUNNEL_DOMAIN_H_INCLUDED_
#define _NGX_ZLTUNNEL_DOMAIN_H_INCLUDED_


#include "ngx_zltunnel.h"


/* "domain": sets registry->domain, in the form of zlt_host_name() */
char *ngx_zltunnel_domain(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
/* "public_url": sets registry->public_url, in which "*" stands for the host */
char *ngx_zltunnel_domain_url(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
/* writes where that host is, at most ZLT_MAX_HOST and NGX_ZLTUNNEL_DOMAIN_URL
   bytes; the end of it */
u_char *ngx_zltunnel_domain_of(ngx_zltunnel_registry_t *registry, u_char *p,
    ngx_str_t *host);


#define NGX_ZLTUNNEL_DOMAIN_URL  32


#endif /* _NGX_ZLTUNNEL_DOMAIN_H_INCLUDED_ */
