
/*
 * Copyright (C) zltunnel authors
 */

/* zltunnel_notify: who is told of events. */


#ifndef _NGX_HTTP_ZLTUNNEL_NOTIFY_H_INCLUDED_
#define _NGX_HTTP_ZLTUNNEL_NOTIFY_H_INCLUDED_


#include "ngx_http_zltunnel.h"


/* zltunnel_notify URI */
char *ngx_http_zltunnel_notify(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
/* the location is known as a whole: the registry is told by it */
char *ngx_http_zltunnel_notify_check(ngx_conf_t *cf,
    ngx_http_zltunnel_loc_conf_t *zlcf);
ngx_int_t ngx_http_zltunnel_notify_init_process(ngx_cycle_t *cycle);
/* what has not been sent is not: it is counted, and said */
void ngx_http_zltunnel_notify_exit(ngx_cycle_t *cycle);


#endif /* _NGX_HTTP_ZLTUNNEL_NOTIFY_H_INCLUDED_ */
