
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_CONTROL_MESSAGE_H_INCLUDED_
#define _NGX_ZLTUNNEL_CONTROL_MESSAGE_H_INCLUDED_


#include "ngx_zltunnel.h"


void ngx_zltunnel_control_message(ngx_zltunnel_control_t *control,
    zlt_msg_t *m);
void ngx_zltunnel_control_message_heard(ngx_zltunnel_control_t *control);
/* the control channel is gone: its tunnel's grace begins */
void ngx_zltunnel_control_message_down(ngx_zltunnel_control_t *control);


#endif /* _NGX_ZLTUNNEL_CONTROL_MESSAGE_H_INCLUDED_ */
