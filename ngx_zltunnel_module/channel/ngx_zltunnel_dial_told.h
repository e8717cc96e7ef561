
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_DIAL_TOLD_H_INCLUDED_
#define _NGX_ZLTUNNEL_DIAL_TOLD_H_INCLUDED_


#include "ngx_zltunnel.h"


/* what comes from other workers and from the control channel */
void ngx_zltunnel_dial_told_given(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg, ngx_socket_t fd, u_char *data);
void ngx_zltunnel_dial_told_none(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg);
void ngx_zltunnel_dial_told_failed(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg);
void ngx_zltunnel_dial_told_up(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_ipc_t *msg);
/* every second: ends those whose tunnel or service is gone */
void ngx_zltunnel_dial_told_check(ngx_zltunnel_registry_t *registry);
/* a fresh channel for a dial of this worker; NGX_DECLINED: nobody waits */
ngx_int_t ngx_zltunnel_dial_told_fresh(ngx_zltunnel_channel_t *channel,
    u_char *connection_id);


#endif /* _NGX_ZLTUNNEL_DIAL_TOLD_H_INCLUDED_ */
