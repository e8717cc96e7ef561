
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_CONTROL_PLACE_H_INCLUDED_
#define _NGX_ZLTUNNEL_CONTROL_PLACE_H_INCLUDED_


#include "ngx_zltunnel.h"


/* All places are taken: the control channel that is to be dropped for one from sa,
   of another address, that has more of them.  NULL: there is none. */
ngx_zltunnel_control_t *ngx_zltunnel_control_place_yield(
    ngx_zltunnel_registry_t *registry, struct sockaddr *sa);
/* the control channel has not sent Auth yet, and counts as one of these;
   NGX_ERROR: there is no memory */
ngx_int_t ngx_zltunnel_control_place_enter(ngx_zltunnel_control_t *control);
/* it has, or ends; called for one that does not count it does nothing */
void ngx_zltunnel_control_place_leave(ngx_zltunnel_control_t *control);


#endif /* _NGX_ZLTUNNEL_CONTROL_PLACE_H_INCLUDED_ */
