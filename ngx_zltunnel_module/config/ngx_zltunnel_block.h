
/*
 * Copyright (C) zltunnel authors
 */

/* The directives of the zltunnel{} block. */


#ifndef _NGX_ZLTUNNEL_BLOCK_H_INCLUDED_
#define _NGX_ZLTUNNEL_BLOCK_H_INCLUDED_


#include "ngx_zltunnel.h"


extern ngx_command_t  ngx_zltunnel_block_commands[];


/* Nothing has been said of what the directives set. */
void ngx_zltunnel_block_unset(ngx_zltunnel_registry_t *registry);


#endif /* _NGX_ZLTUNNEL_BLOCK_H_INCLUDED_ */
