
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_WITHDRAW_H_INCLUDED_
#define _NGX_ZLTUNNEL_WITHDRAW_H_INCLUDED_


#include "ngx_zltunnel.h"


#define NGX_ZLTUNNEL_WITHDRAW_REASON                                          \
    "The token does not allow the service any more"


/* the token set has changed, or another node's services have displaced some here:
   rights are checked anew; the control channel may be gone after it */
void ngx_zltunnel_withdraw_rights(ngx_zltunnel_control_t *control);
/* under the lock: the token still allows it, by name, protocol, port and hosts */
ngx_uint_t ngx_zltunnel_withdraw_allowed(ngx_zltunnel_registry_t *registry,
    ngx_zltunnel_sh_service_t *service, ngx_zltunnel_token_t *token);


#endif /* _NGX_ZLTUNNEL_WITHDRAW_H_INCLUDED_ */
