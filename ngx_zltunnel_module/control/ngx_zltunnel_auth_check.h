
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_AUTH_CHECK_H_INCLUDED_
#define _NGX_ZLTUNNEL_AUTH_CHECK_H_INCLUDED_


#include "ngx_zltunnel.h"


/* Answers it, and ends the control channel. */
void ngx_zltunnel_auth_check(ngx_zltunnel_control_t *control,
    ngx_zltunnel_token_t *token);


#endif /* _NGX_ZLTUNNEL_AUTH_CHECK_H_INCLUDED_ */
