
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_ACCESS_CONTROL_H_INCLUDED_
#define _NGX_ZLTUNNEL_ACCESS_CONTROL_H_INCLUDED_


#include "ngx_zltunnel.h"


/* AccessOpen, AccessRenew, AccessClose */
void ngx_zltunnel_access_control(ngx_zltunnel_control_t *control,
    zlt_msg_t *m);


#endif /* _NGX_ZLTUNNEL_ACCESS_CONTROL_H_INCLUDED_ */
