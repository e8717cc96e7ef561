
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_CHANNEL_DROP_H_INCLUDED_
#define _NGX_ZLTUNNEL_CHANNEL_DROP_H_INCLUDED_


#include "ngx_zltunnel.h"


void ngx_zltunnel_channel_drop(ngx_zltunnel_registry_t *registry,
    u_char *tunnel_id, uint64_t epoch);


#endif /* _NGX_ZLTUNNEL_CHANNEL_DROP_H_INCLUDED_ */
