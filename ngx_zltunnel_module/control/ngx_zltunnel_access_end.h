
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_ACCESS_END_H_INCLUDED_
#define _NGX_ZLTUNNEL_ACCESS_END_H_INCLUDED_


#include "ngx_zltunnel.h"


/* every second: ends what is over, or no longer allowed */
void ngx_zltunnel_access_end_check(ngx_zltunnel_control_t *control);
/* sessions of agents that are away: the token set has changed */
void ngx_zltunnel_access_end_away(ngx_zltunnel_registry_t *registry);
/* the administrator ends one; NGX_DECLINED: there is no such session */
ngx_int_t ngx_zltunnel_access_end_now(ngx_zltunnel_registry_t *registry,
    u_char *id);
/* those who hold connections of sessions that are gone need not wait */
void ngx_zltunnel_access_end_notify(ngx_zltunnel_registry_t *registry);


#endif /* _NGX_ZLTUNNEL_ACCESS_END_H_INCLUDED_ */
