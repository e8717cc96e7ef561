
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_AUTH_H_INCLUDED_
#define _NGX_ZLTUNNEL_AUTH_H_INCLUDED_


#include "ngx_zltunnel.h"


void ngx_zltunnel_auth_message(ngx_zltunnel_control_t *control, zlt_msg_t *m,
    u_char *data, size_t len);
void ngx_zltunnel_auth_probed(ngx_zltunnel_control_t *control);


#endif /* _NGX_ZLTUNNEL_AUTH_H_INCLUDED_ */
