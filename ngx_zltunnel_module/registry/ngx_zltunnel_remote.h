
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Services of agents that are at other nodes, which a directory tells of.
 *
 * They are in the registry like those of agents here, in a tunnel for each node
 * and token: found by name, host and port, behind those of agents here.  Such a
 * tunnel has no control channel; a data channel of it is one to its node.
 */


#ifndef _NGX_ZLTUNNEL_REMOTE_H_INCLUDED_
#define _NGX_ZLTUNNEL_REMOTE_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_shm.h"


typedef struct {
    u_char                       id[ZLT_ID_SIZE];   /* at its node */
    ngx_str_t                    name;
    ngx_str_t                    token;       /* its name */
    ngx_str_t                    hosts;       /* separated by commas */
    ngx_uint_t                   protocol;    /* ZLT_PROTO_* */
    ngx_uint_t                   flags;       /* ZLT_R_* */
    ngx_uint_t                   down;        /* by its agent's check */
    in_port_t                    port;        /* 0: none */
} ngx_zltunnel_remote_service_t;


/* whether the agents of a tunnel are at another node */
#define ngx_zltunnel_remote_tunnel(tunnel)  ((tunnel)->remote != NULL)


/* all of these take the lock, but for those that say so */

/* A node is known from now on, or is elsewhere now: ADDRESS:PORT.
   NGX_DECLINED: that is no address; NGX_ERROR: zone full. */
ngx_int_t ngx_zltunnel_remote_node(ngx_zltunnel_registry_t *registry,
    const u_char *node, ngx_str_t *addr);
/* It has that service from now on, or has it changed.  NGX_DECLINED: its token
   may not, and why says what, a static text; NGX_ERROR: zone full, or no such
   node. */
ngx_int_t ngx_zltunnel_remote_service(ngx_zltunnel_registry_t *registry,
    const u_char *node, ngx_zltunnel_remote_service_t *s, ngx_str_t *why);
void ngx_zltunnel_remote_service_end(ngx_zltunnel_registry_t *registry,
    const u_char *node, const u_char *id);
void ngx_zltunnel_remote_node_end(ngx_zltunnel_registry_t *registry,
    const u_char *node);
/* All services of other nodes, one after another; 0: there are no more. */
ngx_uint_t ngx_zltunnel_remote_first(ngx_zltunnel_registry_t *registry,
    u_char *node, u_char *id);
ngx_uint_t ngx_zltunnel_remote_next(ngx_zltunnel_registry_t *registry,
    u_char *node, u_char *id);
/* a number that is another one when services have gone that nobody has ended:
   the token was revoked, or the registry emptied */
ngx_uint_t ngx_zltunnel_remote_lost(ngx_zltunnel_registry_t *registry);

/* under the lock: the node of that tunnel was not reached of late */
ngx_uint_t ngx_zltunnel_remote_failing(ngx_zltunnel_sh_tunnel_t *tunnel);
/* .. it was reached, or not, right now */
void ngx_zltunnel_remote_reached(ngx_zltunnel_sh_tunnel_t *tunnel,
    ngx_uint_t reached);
/* .. what is open to services of that token elsewhere */
ngx_uint_t ngx_zltunnel_remote_active(ngx_zltunnel_sh_t *sh, ngx_str_t *token,
    ngx_uint_t udp);
/* .. every second: ports that services of a tunnel wait for */
void ngx_zltunnel_remote_sweep(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel);


#endif /* _NGX_ZLTUNNEL_REMOTE_H_INCLUDED_ */
