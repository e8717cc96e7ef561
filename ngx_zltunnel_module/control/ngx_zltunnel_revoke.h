
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


#endif /* _NGX_ZLTUNNEL_REVOKE_H_INCLUDED_ */
