
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_TUNNEL_H_INCLUDED_
#define _NGX_ZLTUNNEL_TUNNEL_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_event.h"


ngx_zltunnel_sh_tunnel_t *ngx_zltunnel_tunnel_find(ngx_zltunnel_sh_t *sh,
    u_char *id);
/* the tunnels of a token's name that are of agents here, one after the other: prev is the last one,
   NULL at first */
ngx_zltunnel_sh_tunnel_t *ngx_zltunnel_tunnel_next(ngx_zltunnel_sh_t *sh,
    ngx_str_t *name, ngx_zltunnel_sh_tunnel_t *prev);
/* all tunnels, one after the other, of which any may come and go meanwhile:
   after is the key of the last one's node, NULL at first */
ngx_zltunnel_sh_tunnel_t *ngx_zltunnel_tunnel_after(ngx_zltunnel_sh_t *sh,
    ngx_rbtree_key_t *after);
/* the sum of a counter of theirs, an ngx_uint_t at that offset */
ngx_uint_t ngx_zltunnel_tunnel_sum(ngx_zltunnel_sh_t *sh, ngx_str_t *name,
    size_t offset);
/* where the agents of those are that are live, as text, not all if they are
   many; under the lock; the end of what was written, before last */
u_char *ngx_zltunnel_tunnel_addresses(ngx_zltunnel_sh_t *sh, ngx_str_t *name,
    u_char *p, u_char *last);
/* with new id and keys, state LIVE and owned by this worker; NULL: zone full */
ngx_zltunnel_sh_tunnel_t *ngx_zltunnel_tunnel_create(
    ngx_zltunnel_registry_t *registry, u_char *random);
/* with its services and their ports; type is the event by which it ends, reason
   its last error, or NULL */
void ngx_zltunnel_tunnel_remove(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel, ngx_zltunnel_event_e type,
    const char *reason);
/* room for so many slots in all tunnels; NGX_ERROR: zone full */
ngx_int_t ngx_zltunnel_tunnel_widen(ngx_zltunnel_registry_t *registry,
    ngx_uint_t nslots);
/* until when it would wait for its agent, if that went away now */
ngx_msec_t ngx_zltunnel_tunnel_grace(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel);
/* the control channel is gone, which is told; reason: its last error, or NULL */
void ngx_zltunnel_tunnel_down(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel, const char *reason);
/* what went wrong with it last */
void ngx_zltunnel_tunnel_error(ngx_zltunnel_sh_tunnel_t *tunnel,
    const char *text);
/* an idle channel of it came to this worker, or left: n is 1 or -1 */
void ngx_zltunnel_tunnel_idle(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_tunnel_t *tunnel, ngx_int_t n);
/* how many it has, without those of workers that exit */
ngx_uint_t ngx_zltunnel_tunnel_nidle(ngx_zltunnel_sh_t *sh,
    ngx_zltunnel_sh_tunnel_t *tunnel);


#endif /* _NGX_ZLTUNNEL_TUNNEL_H_INCLUDED_ */
