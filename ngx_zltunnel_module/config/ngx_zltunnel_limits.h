
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_LIMITS_H_INCLUDED_
#define _NGX_ZLTUNNEL_LIMITS_H_INCLUDED_


#include "ngx_zltunnel.h"


/* warns of what a block promises and cannot keep; sets registry->workers */
void ngx_zltunnel_limits_check(ngx_cycle_t *cycle,
    ngx_zltunnel_registry_t *registry);


#endif /* _NGX_ZLTUNNEL_LIMITS_H_INCLUDED_ */
