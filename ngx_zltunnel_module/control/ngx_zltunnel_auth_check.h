
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_AUTH_CHECK_H_INCLUDED_
#define _NGX_ZLTUNNEL_AUTH_CHECK_H_INCLUDED_


#include "ngx_zltunnel.h"

#include "zlt_msg.h"


/* Answers it, and ends the control channel.  held: the agent is here already,
   for the log. */
void ngx_zltunnel_auth_check(ngx_zltunnel_control_t *control,
    ngx_zltunnel_token_t *token, ngx_uint_t held);
/* Puts into an AuthOk who this server is. */
void ngx_zltunnel_auth_check_node(ngx_zltunnel_control_t *control,
    zlt_msg_t *m);
/* 1 if the agent says in its Auth that it is here already */
ngx_uint_t ngx_zltunnel_auth_check_held(ngx_zltunnel_control_t *control,
    zlt_msg_t *m);


#endif /* _NGX_ZLTUNNEL_AUTH_CHECK_H_INCLUDED_ */
