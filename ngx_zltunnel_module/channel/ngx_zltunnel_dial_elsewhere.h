
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_DIAL_ELSEWHERE_H_INCLUDED_
#define _NGX_ZLTUNNEL_DIAL_ELSEWHERE_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_dial.h"


/* The service was not reached at its node, which has acted on nothing: the dial
   goes to one of that name and token somewhere else.  NGX_DECLINED: there is
   none. */
ngx_int_t ngx_zltunnel_dial_elsewhere(ngx_zltunnel_dial_t *dial);


#endif /* _NGX_ZLTUNNEL_DIAL_ELSEWHERE_H_INCLUDED_ */
