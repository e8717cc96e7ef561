
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_WORKER_DEATH_H_INCLUDED_
#define _NGX_ZLTUNNEL_WORKER_DEATH_H_INCLUDED_


#include "ngx_zltunnel.h"


/* what a dead worker has left goes, and its slot is free; others may have the
   lock in between */
void ngx_zltunnel_worker_death(ngx_zltunnel_registry_t *registry,
    ngx_uint_t slot);


#endif /* _NGX_ZLTUNNEL_WORKER_DEATH_H_INCLUDED_ */
