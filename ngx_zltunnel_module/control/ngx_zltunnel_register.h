
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_REGISTER_H_INCLUDED_
#define _NGX_ZLTUNNEL_REGISTER_H_INCLUDED_


#include "ngx_zltunnel.h"


/* the token set has changed: rights are checked anew */
void ngx_zltunnel_register_rights(ngx_zltunnel_control_t *control);
/* under the lock: the token still allows it, by name, protocol and port */
ngx_uint_t ngx_zltunnel_register_allowed(ngx_zltunnel_sh_service_t *service,
    ngx_zltunnel_token_t *token);
/* a Register or an Unregister has come */
void ngx_zltunnel_register(ngx_zltunnel_control_t *control, zlt_msg_t *m);
void ngx_zltunnel_register_remove(ngx_zltunnel_control_t *control,
    u_char *id);


#endif /* _NGX_ZLTUNNEL_REGISTER_H_INCLUDED_ */
