
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_REVOKE_H_INCLUDED_
#define _NGX_ZLTUNNEL_REVOKE_H_INCLUDED_


#include "ngx_zltunnel.h"


/* the token set has changed: tunnels whose agent is away have no worker to look
   after them */
void ngx_zltunnel_revoke_away(ngx_zltunnel_registry_t *registry);
/* every second: what this worker holds of tunnels whose token, or which
   themselves, are gone ends; changed: the token set has */
void ngx_zltunnel_revoke_peers(ngx_zltunnel_registry_t *registry,
    ngx_uint_t changed);
/* what this worker holds of a tunnel that is out of the registry: its control
   channel as by ngx_zltunnel_control_stop(), all else is reset */
void ngx_zltunnel_revoke_end(ngx_zltunnel_registry_t *registry, u_char *id,
    ngx_uint_t action, ngx_msec_t later, const char *reason);


#endif /* _NGX_ZLTUNNEL_REVOKE_H_INCLUDED_ */
