
/*
 * Copyright (C) zltunnel authors
 */

/* Names of hosts, and the services that have them.  Under the zone's lock. */


#ifndef _NGX_ZLTUNNEL_HOST_H_INCLUDED_
#define _NGX_ZLTUNNEL_HOST_H_INCLUDED_


#include "ngx_zltunnel.h"


typedef enum {
    NGX_ZLTUNNEL_HOST_OK = 0,
    NGX_ZLTUNNEL_HOST_TAKEN,        /* another token's, or was of late */
    NGX_ZLTUNNEL_HOST_LIMIT,        /* the token has as many as it may */
    NGX_ZLTUNNEL_HOST_FULL          /* the zone is full */
} ngx_zltunnel_host_e;


/* a name that a service is to have, in the form of zlt_host_name() */

typedef struct {
    ngx_str_t                    name;
    ngx_uint_t                   automatic;   /* the server has made it up */
} ngx_zltunnel_host_name_t;


/* the host that a request for that name is for: of the name, else of the longest
   wildcard that covers it, that a service has; of those that rest, the first, if
   no other is its tenant's; NULL: there is none */
ngx_zltunnel_sh_host_t *ngx_zltunnel_host_match(ngx_zltunnel_sh_t *sh,
    ngx_str_t *name);
/* the services that have it and are that token's (or anybody's, if it is empty),
   one after another; *q: NULL at first */
ngx_zltunnel_sh_service_t *ngx_zltunnel_host_next(ngx_zltunnel_sh_host_t *host,
    ngx_str_t *token, ngx_queue_t **q);
/* of these the one whose turn it is, as ngx_zltunnel_service_by_name() has it */
ngx_zltunnel_sh_service_t *ngx_zltunnel_host_service(ngx_zltunnel_sh_t *sh,
    ngx_str_t *name, ngx_str_t *token);
/* whether the tenant, by ngx_zltunnel_host_tenant(), may have it now */
ngx_uint_t ngx_zltunnel_host_free(ngx_zltunnel_sh_t *sh, ngx_str_t *name,
    uint64_t tenant);
uint64_t ngx_zltunnel_host_tenant(ngx_str_t *token);
/*
 * The service has those n names from now on, and no others; or nothing has
 * changed, and *failed is one that it cannot have.  max: how many a tenant may
 * have in all.
 */
ngx_zltunnel_host_e ngx_zltunnel_host_claim(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service, ngx_str_t *token,
    ngx_zltunnel_host_name_t *names, ngx_uint_t n, ngx_uint_t max,
    ngx_str_t *failed);
/* a name of its is that token's, at another node: so it is kept for that one */
void ngx_zltunnel_host_lose(ngx_zltunnel_sh_service_t *service,
    ngx_str_t *name, ngx_str_t *token);
/* the service goes: its names are kept for its tenant for a while */
void ngx_zltunnel_host_leave(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service);
/* agents may come that have names nobody knows of yet: the registry is new, or
   another binary is here as well */
ngx_uint_t ngx_zltunnel_host_expected(ngx_zltunnel_registry_t *registry);
/* nobody has that name, or a wildcard that covers it, and such agents may */
ngx_uint_t ngx_zltunnel_host_awaited(ngx_zltunnel_registry_t *registry,
    ngx_str_t *name);
/* every second: frees those that were kept long enough */
void ngx_zltunnel_host_sweep(ngx_zltunnel_registry_t *registry);


#endif /* _NGX_ZLTUNNEL_HOST_H_INCLUDED_ */
