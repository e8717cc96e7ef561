
/*
 * Copyright (C) zltunnel authors
 */


#ifndef ZLT_CONTROL_WS_H_INCLUDED
#define ZLT_CONTROL_WS_H_INCLUDED


#include "control_state.h"


/* Parses what there is between c->pos and c->last.  The connection may be
   closed afterwards (fd -1). */
void zlt_control_ws_input(zlt_control_t *c);
void zlt_control_ws_send(zlt_control_t *c, const zlt_msg_t *m);
void zlt_control_ws_frame(zlt_control_t *c, unsigned opcode,
    const uint8_t *payload, size_t len);

/* -1: the control channel has failed */
int zlt_control_ws_flush(zlt_control_t *c);


#endif /* ZLT_CONTROL_WS_H_INCLUDED */
