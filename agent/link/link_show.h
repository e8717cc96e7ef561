
/*
 * Copyright (C) zltunnel authors
 */

/* Where the services of a link are, for who started the agent. */


#ifndef ZLT_LINK_SHOW_H_INCLUDED
#define ZLT_LINK_SHOW_H_INCLUDED


#include "types.h"


/* All services of a range are registered: a line for each, unless it has been
   shown, and has not moved. */
void zlt_link_show(zlt_link_t *l, zlt_range_t *r);


#endif /* ZLT_LINK_SHOW_H_INCLUDED */
