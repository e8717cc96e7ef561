
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Where what other nodes have goes: the registry, if it takes services of other
 * nodes.  If not, they are counted, and nothing else.
 */


#ifndef _NGX_ZLTUNNEL_GATHER_DOOR_H_INCLUDED_
#define _NGX_ZLTUNNEL_GATHER_DOOR_H_INCLUDED_


#include "ngx_zltunnel.h"

#if __has_include("ngx_zltunnel_remote.h")

#include "ngx_zltunnel_remote.h"

#else

typedef struct {
    u_char                       id[ZLT_ID_SIZE];
    ngx_str_t                    name;
    ngx_str_t                    token;
    ngx_str_t                    hosts;
    ngx_uint_t                   protocol;
    ngx_uint_t                   flags;
    ngx_uint_t                   down;
    in_port_t                    port;
} ngx_zltunnel_remote_service_t;

#define ngx_zltunnel_remote_node(registry, node, addr)           NGX_OK
#define ngx_zltunnel_remote_service(registry, node, s, why)      NGX_OK
#define ngx_zltunnel_remote_service_end(registry, node, id)
#define ngx_zltunnel_remote_node_end(registry, node)
#define ngx_zltunnel_remote_tunnel(tunnel)                       0
#define ngx_zltunnel_remote_first(registry, node, id)            0
#define ngx_zltunnel_remote_next(registry, node, id)             0

#endif


#endif /* _NGX_ZLTUNNEL_GATHER_DOOR_H_INCLUDED_ */
