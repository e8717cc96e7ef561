
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_SHARED_IN_H_INCLUDED_
#define _NGX_ZLTUNNEL_SHARED_IN_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_shared.h"
#include "ngx_zltunnel_transport.h"


/* Gives out what was read.  Calls no handler, but posts events.  NGX_DONE: the
   agent opens no more lanes there; NGX_ERROR: it breaks the rules. */
ngx_int_t ngx_zltunnel_shared_in_take(ngx_zltunnel_shared_t *shared,
    const u_char *data, size_t len, ngx_zltunnel_budget_t *budget);


#endif /* _NGX_ZLTUNNEL_SHARED_IN_H_INCLUDED_ */
