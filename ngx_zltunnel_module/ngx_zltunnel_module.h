
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_MODULE_H_INCLUDED_
#define _NGX_ZLTUNNEL_MODULE_H_INCLUDED_


#include "ngx_zltunnel.h"


extern ngx_module_t  ngx_zltunnel_module;


#endif /* _NGX_ZLTUNNEL_MODULE_H_INCLUDED_ */
