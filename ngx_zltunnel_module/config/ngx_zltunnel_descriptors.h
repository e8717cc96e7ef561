
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_DESCRIPTORS_H_INCLUDED_
#define _NGX_ZLTUNNEL_DESCRIPTORS_H_INCLUDED_


#include "ngx_zltunnel.h"


/*
 * Raises the limit of descriptors as far as it may be.  NGX_ERROR, with a
 * message, if the workers could not start with that; a warning if they could
 * not have all the connections that they are to have.  To be called once all of
 * the configuration has been read.
 */
ngx_int_t ngx_zltunnel_descriptors_check(ngx_cycle_t *cycle);


#endif /* _NGX_ZLTUNNEL_DESCRIPTORS_H_INCLUDED_ */
