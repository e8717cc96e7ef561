
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_SWEEP_H_INCLUDED_
#define _NGX_ZLTUNNEL_SWEEP_H_INCLUDED_


#include "ngx_zltunnel.h"


/* what has expired, and what the dead have left; at most once a second */
void ngx_zltunnel_sweep(ngx_zltunnel_registry_t *registry);


#endif /* _NGX_ZLTUNNEL_SWEEP_H_INCLUDED_ */
