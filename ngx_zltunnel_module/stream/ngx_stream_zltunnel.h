
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_STREAM_ZLTUNNEL_H_INCLUDED_
#define _NGX_STREAM_ZLTUNNEL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_stream.h>

#include "ngx_zltunnel_dial.h"


extern ngx_module_t  ngx_stream_zltunnel_module;


/* the registry of a server with zltunnel_ports, or NULL */
ngx_zltunnel_registry_t *ngx_stream_zltunnel_of(void **srv_conf,
    ngx_uint_t *reserved);
/* of a server with zltunnel_pass, or NULL; service is empty if it has
   variables */
ngx_zltunnel_registry_t *ngx_stream_zltunnel_pass_of(void **srv_conf,
    ngx_str_t *service, ngx_str_t *token);
/* finds the listening sockets of such servers, and refuses those that cannot
   be assigned ports; called when all of the configuration has been read */
char *ngx_stream_zltunnel_listen(ngx_cycle_t *cycle);


/* ngx_stream_zltunnel_upstream.c */

/* of a session that went to a tunnelled service by an upstream, or NULL */
ngx_zltunnel_dial_t *ngx_stream_zltunnel_upstream_dial(
    ngx_stream_session_t *s);


#endif /* _NGX_STREAM_ZLTUNNEL_H_INCLUDED_ */
