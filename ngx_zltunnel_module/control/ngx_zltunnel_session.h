
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_SESSION_H_INCLUDED_
#define _NGX_ZLTUNNEL_SESSION_H_INCLUDED_


#include "ngx_zltunnel.h"

#include "zlt_proto.h"


/* the token set has changed: rights are checked anew */
void ngx_zltunnel_control_rights(ngx_zltunnel_control_t *control);
void ngx_zltunnel_session_auth(ngx_zltunnel_control_t *control, zlt_msg_t *m,
    u_char *data, size_t len);
void ngx_zltunnel_session_probed(ngx_zltunnel_control_t *control);
void ngx_zltunnel_session_message(ngx_zltunnel_control_t *control,
    zlt_msg_t *m);
void ngx_zltunnel_session_heard(ngx_zltunnel_control_t *control);
/* the control channel is gone: its tunnel's grace begins */
void ngx_zltunnel_session_down(ngx_zltunnel_control_t *control);


#endif /* _NGX_ZLTUNNEL_SESSION_H_INCLUDED_ */
