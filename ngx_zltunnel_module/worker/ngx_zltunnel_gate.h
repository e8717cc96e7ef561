
/*
 * Copyright (C) zltunnel authors
 */

/* Who accepts clients while a registry begins anew. */


#ifndef _NGX_ZLTUNNEL_GATE_H_INCLUDED_
#define _NGX_ZLTUNNEL_GATE_H_INCLUDED_


#include "ngx_zltunnel.h"


void ngx_zltunnel_gate_init(ngx_cycle_t *cycle);
/* every second, and when a service was registered */
void ngx_zltunnel_gate_update(ngx_zltunnel_registry_t *registry);
/* the registry has begun anew, and agents will come back to it */
ngx_uint_t ngx_zltunnel_gate_expecting(ngx_zltunnel_registry_t *registry);
/* the registry begins anew under this worker */
void ngx_zltunnel_gate_lower(ngx_zltunnel_registry_t *registry);


#endif /* _NGX_ZLTUNNEL_GATE_H_INCLUDED_ */
