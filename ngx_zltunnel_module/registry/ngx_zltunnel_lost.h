
/*
 * Copyright (C) zltunnel authors
 */

/* Services that have to go since another token has their port or a host of theirs
   at another node. */


#ifndef _NGX_ZLTUNNEL_LOST_H_INCLUDED_
#define _NGX_ZLTUNNEL_LOST_H_INCLUDED_


#include "ngx_zltunnel.h"


#define NGX_ZLTUNNEL_LOST_PORT                                                \
    "Another token has the port at another node"
#define NGX_ZLTUNNEL_LOST_HOST                                                \
    "Another token has one of its hosts at another node"


/* under the lock: the worker of its control channel ends it, within a second; at
   once if its agent is away.  host: which; NULL: it is the port.  holder: the
   token that has it */
void ngx_zltunnel_lost_service(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service, ngx_str_t *host, ngx_str_t *holder);
/* under the lock: it ends now; returns why, or NULL where it is not lost */
const char *ngx_zltunnel_lost_why(ngx_zltunnel_sh_service_t *service);
/* under the lock: this server has chosen the port that it loses, and finds it
   another one when its agent comes again */
ngx_uint_t ngx_zltunnel_lost_moves(ngx_zltunnel_sh_service_t *service);


#endif /* _NGX_ZLTUNNEL_LOST_H_INCLUDED_ */
