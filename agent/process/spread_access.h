
/*
 * Copyright (C) zltunnel authors
 */

/* Which of the links of a tunnel has its access sessions. */


#ifndef ZLT_SPREAD_ACCESS_H_INCLUDED
#define ZLT_SPREAD_ACCESS_H_INCLUDED


#include <stdint.h>

#include "types.h"


/* To be called each second: another one, if that which has them is lost for
   longer. */
void zlt_spread_access_tick(zlt_spread_t *sp, uint64_t now);

/* The link goes, and others stay. */
void zlt_spread_access_leave(zlt_link_t *l);

/* Before a reload: of n configurations from "first" on, which are those of the
   links of sp in their order, the one gets them whose link has them. */
void zlt_spread_access_reload(const zlt_spread_t *sp, zlt_config_t *config,
    unsigned first, unsigned n);


#endif /* ZLT_SPREAD_ACCESS_H_INCLUDED */
