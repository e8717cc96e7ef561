
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_HEALTH_CONTROL_H_INCLUDED_
#define _NGX_ZLTUNNEL_HEALTH_CONTROL_H_INCLUDED_


#include "ngx_zltunnel_control.h"


/* Health has come */
void ngx_zltunnel_health_control(ngx_zltunnel_control_t *control,
    zlt_msg_t *m);
/* Register has, and the service is there: under the lock */
void ngx_zltunnel_health_control_register(ngx_zltunnel_control_t *control,
    ngx_zltunnel_sh_service_t *service, zlt_msg_t *m);


#endif /* _NGX_ZLTUNNEL_HEALTH_CONTROL_H_INCLUDED_ */
