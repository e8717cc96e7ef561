
/*
 * Copyright (C) zltunnel authors
 */

/* The services of a link that are checked, and who is told of what is found. */


#ifndef ZLT_LINK_HEALTH_H_INCLUDED
#define ZLT_LINK_HEALTH_H_INCLUDED


#include "types.h"


/* Checks those that are to be checked and are not yet; one that is not to be
   any more is up. */
void zlt_link_health_start(zlt_link_t *l);

/* To be called each second: the server is to know of what it knows otherwise, of
   so many in a second. */
void zlt_link_health_tick(zlt_link_t *l);

/* The link stops. */
void zlt_link_health_stop(zlt_link_t *l);


#endif /* ZLT_LINK_HEALTH_H_INCLUDED */
