
/*
 * Copyright (C) zltunnel authors
 */

/* What a change of the registry leaves to be said, once the lock is gone. */


#ifndef _NGX_ZLTUNNEL_NOTICE_H_INCLUDED_
#define _NGX_ZLTUNNEL_NOTICE_H_INCLUDED_


#include "ngx_zltunnel.h"


/* called without the lock */

typedef struct {
    /* a port was opened or closed; port 0: any of the registry's */
    void                       (*port)(ngx_zltunnel_registry_t *registry,
                                       in_port_t port, ngx_uint_t udp);
    /* it was found broken, and emptied */
    void                       (*emptied)(ngx_zltunnel_registry_t *registry);
} ngx_zltunnel_notice_handlers_t;


/* until then what is noted is forgotten: the master has nobody to tell */
void ngx_zltunnel_notice_init(ngx_cycle_t *cycle,
    const ngx_zltunnel_notice_handlers_t *handlers);
/* under the lock: the handlers are called at the end of this turn of the
   loop */
void ngx_zltunnel_notice_port(ngx_zltunnel_registry_t *registry,
    in_port_t port, ngx_uint_t udp);
void ngx_zltunnel_notice_emptied(ngx_zltunnel_registry_t *registry);
/* calls them now: the worker exits, and its loop has ended */
void ngx_zltunnel_notice_flush(void);


#endif /* _NGX_ZLTUNNEL_NOTICE_H_INCLUDED_ */
