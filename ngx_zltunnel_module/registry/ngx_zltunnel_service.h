
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_SERVICE_H_INCLUDED_
#define _NGX_ZLTUNNEL_SERVICE_H_INCLUDED_


#include "ngx_zltunnel.h"


ngx_zltunnel_sh_service_t *ngx_zltunnel_service_by_id(
    ngx_zltunnel_sh_tunnel_t *tunnel, u_char *id);
/* the same in whichever tunnel it is now: it may have moved to another one */
ngx_zltunnel_sh_service_t *ngx_zltunnel_service_find(ngx_zltunnel_sh_t *sh,
    ngx_str_t *name, u_char *id);
/* its agent carries connections, or datagrams if it is for these */
ngx_uint_t ngx_zltunnel_service_carries(ngx_zltunnel_sh_service_t *service);
/* its agent is away, or is back and has not registered it again */
ngx_uint_t ngx_zltunnel_service_waits(ngx_zltunnel_sh_service_t *service);
/* to another tunnel of its token's name, with its id and port */
void ngx_zltunnel_service_move(ngx_zltunnel_sh_service_t *service,
    ngx_zltunnel_sh_tunnel_t *tunnel);
/* of those with it the one whose turn it is: of an agent that can carry, and
   of those of one that is there.  token: only of tokens of that name, or
   NULL */
ngx_zltunnel_sh_service_t *ngx_zltunnel_service_by_name(ngx_zltunnel_sh_t *sh,
    ngx_str_t *name, ngx_uint_t udp, ngx_str_t *token);
/* whether it is its turn before that of the best one so far, or NULL; never of
   a tunnel that is drained */
ngx_uint_t ngx_zltunnel_service_before(ngx_zltunnel_sh_service_t *service,
    ngx_zltunnel_sh_service_t *best);
/* of the services with that name and of that token the first, or the one
   after prev; NULL: there is none */
ngx_zltunnel_sh_service_t *ngx_zltunnel_service_named(ngx_zltunnel_sh_t *sh,
    ngx_str_t *name, ngx_uint_t udp, ngx_str_t *token,
    ngx_zltunnel_sh_service_t *prev);
/* the same without regard to protocol and token, and with those that are
   open, which the others leave out: they are reached with a target only */
ngx_zltunnel_sh_service_t *ngx_zltunnel_service_next(ngx_zltunnel_sh_t *sh,
    ngx_str_t *name, ngx_zltunnel_sh_service_t *prev);
/* bytes of the zone that a list of so many takes */
size_t ngx_zltunnel_service_list_size(size_t len);
/* the tokens whose visitors may reach it, copied to the zone for
   ngx_zltunnel_service_allow(), which sets them; NULL: any.  NGX_ERROR: zone
   full */
ngx_int_t ngx_zltunnel_service_list(ngx_zltunnel_registry_t *registry,
    zlt_msg_t *m, u_char **list);
void ngx_zltunnel_service_allow(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service, u_char *list, size_t len);
/* Adds a service with its port, chosen as design.md says and opened.  NULL:
   *code is ZLT_E_*, *reason a static text. */
ngx_zltunnel_sh_service_t *ngx_zltunnel_service_add(
    ngx_zltunnel_registry_t *registry, ngx_zltunnel_sh_tunnel_t *tunnel,
    zlt_msg_t *m, ngx_zltunnel_token_t *token, u_char *id,
    ngx_uint_t *code, const char **reason);
/* .. into the tables, once all of it is there but its port and hosts */
void ngx_zltunnel_service_insert(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service);
/* of all, by id: the one behind prev, or the first that is not below key */
ngx_zltunnel_sh_service_t *ngx_zltunnel_service_after(ngx_zltunnel_sh_t *sh,
    ngx_rbtree_key_t key, ngx_zltunnel_sh_service_t *prev);
/* that of an agent here with the id */
ngx_zltunnel_sh_service_t *ngx_zltunnel_service_own(ngx_zltunnel_sh_t *sh,
    const u_char *id);
/* .. while its tunnel stays, which is told, with the reason */
void ngx_zltunnel_service_withdraw(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service, const char *reason);
void ngx_zltunnel_service_remove(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service);
/* whether an agent has that service, and takes nobody new; token may be empty;
   takes the lock */
ngx_uint_t ngx_zltunnel_service_drained(ngx_zltunnel_registry_t *registry,
    ngx_str_t *name, ngx_str_t *token);


#endif /* _NGX_ZLTUNNEL_SERVICE_H_INCLUDED_ */
