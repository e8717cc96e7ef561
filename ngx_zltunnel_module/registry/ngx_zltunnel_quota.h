
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_QUOTA_H_INCLUDED_
#define _NGX_ZLTUNNEL_QUOTA_H_INCLUDED_


#include "ngx_zltunnel.h"


/* What the token of a tunnel allows, noted where dials find it.  Under the
   lock. */
void ngx_zltunnel_quota_note(ngx_zltunnel_sh_tunnel_t *tunnel,
    ngx_zltunnel_token_t *token);
/* The limit that forbids one more connection of the service, or one more of
   its UDP sessions; or a visitor one more: its name, for the log, or NULL.
   Under the lock. */
const char *ngx_zltunnel_quota_service(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service);
const char *ngx_zltunnel_quota_visit(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *visitor);


#endif /* _NGX_ZLTUNNEL_QUOTA_H_INCLUDED_ */
