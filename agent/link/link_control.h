
/*
 * Copyright (C) zltunnel authors
 */

/* The control channels of a link, one after the other. */


#ifndef ZLT_LINK_CONTROL_H_INCLUDED
#define ZLT_LINK_CONTROL_H_INCLUDED


#include "control.h"


/* To be called when the link may connect, and when it may have to wait no
   longer for the next attempt. */
void zlt_link_control_retry(zlt_link_t *l);

/* The machine has slept: what was waited for belongs to the time before, and
   the server may be there no more. */
void zlt_link_control_woken(zlt_link_t *l);

/* Another server, or other trust: ends the control channel and begins anew. */
void zlt_link_control_restart(zlt_link_t *l);

/* Another token, or other features: a new control channel takes the tunnel
   over. */
void zlt_link_control_move(zlt_link_t *l);

/* All services have been answered. */
void zlt_link_control_registered(zlt_link_t *l);


#endif /* ZLT_LINK_CONTROL_H_INCLUDED */
