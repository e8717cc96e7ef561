
/*
 * Copyright (C) zltunnel authors
 */


#ifndef _NGX_ZLTUNNEL_LENT_H_INCLUDED_
#define _NGX_ZLTUNNEL_LENT_H_INCLUDED_


#include "ngx_zltunnel.h"


/* c reads and writes the messages of that end, whose channel it was lent */
void ngx_zltunnel_lent_functions(ngx_connection_t *c, ngx_zltunnel_end_t *end);


#endif /* _NGX_ZLTUNNEL_LENT_H_INCLUDED_ */
