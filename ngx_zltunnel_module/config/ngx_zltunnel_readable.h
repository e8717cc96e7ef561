
/*
 * Copyright (C) zltunnel authors
 */

/* Whether the workers may read the token file. */


#ifndef _NGX_ZLTUNNEL_READABLE_H_INCLUDED_
#define _NGX_ZLTUNNEL_READABLE_H_INCLUDED_


#include "ngx_zltunnel.h"


/* NGX_OK, or NGX_ERROR, with what is to be done in the log */
ngx_int_t ngx_zltunnel_readable_check(ngx_conf_t *cf, ngx_str_t *name);


#endif /* _NGX_ZLTUNNEL_READABLE_H_INCLUDED_ */
