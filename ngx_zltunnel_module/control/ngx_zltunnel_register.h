
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_REGISTER_H_INCLUDED_
#define _NGX_ZLTUNNEL_REGISTER_H_INCLUDED_


#include "ngx_zltunnel.h"


/* a Register or an Unregister has come */
void ngx_zltunnel_register(ngx_zltunnel_control_t *control, zlt_msg_t *m);
void ngx_zltunnel_register_remove(ngx_zltunnel_control_t *control,
    u_char *id);


#endif /* _NGX_ZLTUNNEL_REGISTER_H_INCLUDED_ */
