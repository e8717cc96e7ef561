
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_OVERLAP_H_INCLUDED_
#define _NGX_ZLTUNNEL_OVERLAP_H_INCLUDED_


#include "ngx_zltunnel.h"


/* what it said last */
extern ngx_uint_t  ngx_zltunnel_overlap;


/* whether the masters of two binaries live, beside one another */
ngx_uint_t ngx_zltunnel_overlap_look(void);


#endif /* _NGX_ZLTUNNEL_OVERLAP_H_INCLUDED_ */
