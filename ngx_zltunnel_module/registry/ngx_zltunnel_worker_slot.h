
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_WORKER_SLOT_H_INCLUDED_
#define _NGX_ZLTUNNEL_WORKER_SLOT_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_shm.h"


/* under the lock: takes a slot for this process in the registry; NGX_ERROR:
   there is no memory for more of them, or no worker can have another */
ngx_int_t ngx_zltunnel_worker_slot_take(ngx_zltunnel_registry_t *registry,
    ngx_uint_t generation);
ngx_uint_t ngx_zltunnel_worker_slot_alive(ngx_zltunnel_sh_worker_t *worker);


#endif /* _NGX_ZLTUNNEL_WORKER_SLOT_H_INCLUDED_ */
