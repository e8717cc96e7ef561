
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_TAKEN_H_INCLUDED_
#define _NGX_ZLTUNNEL_TAKEN_H_INCLUDED_


#include "ngx_zltunnel.h"


/* warns of ports of the registry that another program has; to be called before
   nginx opens its sockets */
void ngx_zltunnel_taken_check(ngx_cycle_t *cycle,
    ngx_zltunnel_registry_t *registry);


#endif /* _NGX_ZLTUNNEL_TAKEN_H_INCLUDED_ */
