
/*
 * Copyright (C) zltunnel authors
 */

/* Events of a control channel. */


#ifndef _NGX_ZLTUNNEL_CONTROL_EVENT_H_INCLUDED_
#define _NGX_ZLTUNNEL_CONTROL_EVENT_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_registry.h"


/* without the lock: an event of its tunnel, see ngx_zltunnel_event_new() */
ngx_zltunnel_event_t *ngx_zltunnel_control_event(
    ngx_zltunnel_control_t *control, ngx_zltunnel_event_e type);
/* its agent is not let in; told at once */
void ngx_zltunnel_control_event_refused(ngx_zltunnel_control_t *control,
    ngx_uint_t code, const char *reason);


#endif /* _NGX_ZLTUNNEL_CONTROL_EVENT_H_INCLUDED_ */
