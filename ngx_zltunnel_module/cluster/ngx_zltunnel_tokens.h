
/*
 * Copyright (C) zltunnel authors
 */

/* The text of a token file in the engine, by "token_key=". */


#ifndef _NGX_ZLTUNNEL_TOKENS_H_INCLUDED_
#define _NGX_ZLTUNNEL_TOKENS_H_INCLUDED_


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_cluster.h"


/* four times a second, while the engine is there */
void ngx_zltunnel_tokens_tick(ngx_zltunnel_cluster_t *cluster);


#endif /* _NGX_ZLTUNNEL_TOKENS_H_INCLUDED_ */
