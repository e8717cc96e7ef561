
/*
 * Copyright (C) zltunnel authors
 */

/* Where the services of a link are. */


#ifndef ZLT_LINK_SHOW_H_INCLUDED
#define ZLT_LINK_SHOW_H_INCLUDED


#include "types.h"
#include "zlt_msg.h"


/* What RegisterOk says; told: it says so at all. */
void zlt_link_show_take(const zlt_link_t *l, const zlt_msg_t *m,
    zlt_service_t *service, int told);

/* All services of a range are registered: a line for each, unless it has been
   shown, and has not moved. */
void zlt_link_show(zlt_link_t *l, zlt_range_t *r);


#endif /* ZLT_LINK_SHOW_H_INCLUDED */
