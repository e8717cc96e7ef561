
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_AUTH_H_INCLUDED_
#define _NGX_ZLTUNNEL_AUTH_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_ask.h"


void ngx_zltunnel_auth_message(ngx_zltunnel_control_t *control, zlt_msg_t *m,
    u_char *data, size_t len);
void ngx_zltunnel_auth_probed(ngx_zltunnel_control_t *control);
/* what zltunnel_auth says of its token; reason: of a refusal, or NULL */
void ngx_zltunnel_auth_asked(ngx_zltunnel_control_t *control,
    ngx_zltunnel_ask_verdict_e verdict, const char *reason);


#endif /* _NGX_ZLTUNNEL_AUTH_H_INCLUDED_ */
