
/*
 * Copyright (C) zltunnel authors
 */


#ifndef ZLT_CONTROL_REGISTER_H_INCLUDED
#define ZLT_CONTROL_REGISTER_H_INCLUDED


#include "control_state.h"


/* told by the server */

void zlt_control_register_ok(zlt_control_t *c, const zlt_msg_t *m);
void zlt_control_register_fail(zlt_control_t *c, const zlt_msg_t *m);
void zlt_control_register_withdrawn(zlt_control_t *c, const zlt_msg_t *m);

/* Unregisters whatever this or an earlier control channel has registered. */
void zlt_control_register_leave(zlt_control_t *c);

/* No answer to a Register is waited for any more. */
void zlt_control_register_lost(zlt_control_t *c);


#endif /* ZLT_CONTROL_REGISTER_H_INCLUDED */
