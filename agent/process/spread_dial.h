
/*
 * Copyright (C) zltunnel authors
 */

/* One link more. */


#ifndef ZLT_SPREAD_DIAL_H_INCLUDED
#define ZLT_SPREAD_DIAL_H_INCLUDED


#include <stdint.h>

#include "control.h"
#include "types.h"


/* Begins the next one, if there is to be one now. */
void zlt_spread_dial_next(zlt_spread_t *sp, uint64_t now);

/* It is a link like the others from now on, behind them. */
void zlt_spread_dial_show(zlt_spread_t *sp);

/* It is not wanted; there need be none. */
void zlt_spread_dial_drop(zlt_spread_t *sp);

/* It has failed: 1 if it was dropped. */
int zlt_spread_dial_down(zlt_spread_t *sp, zlt_down_e how);

/* When the next one is due. */
void zlt_spread_dial_soon(zlt_spread_t *sp);


#endif /* ZLT_SPREAD_DIAL_H_INCLUDED */
