
/*
 * Copyright (C) zltunnel authors
 */


#ifndef ZLT_CONTROL_HEARTBEAT_H_INCLUDED
#define ZLT_CONTROL_HEARTBEAT_H_INCLUDED


#include "control_state.h"


/* AuthOk has come. */
void zlt_control_heartbeat_start(zlt_control_t *c, const zlt_msg_t *m);

/* To be called each second; the control channel may be gone afterwards. */
void zlt_control_heartbeat_tick(zlt_control_t *c, uint64_t now);

/* Heartbeat has come, or the answer to ours. */
void zlt_control_heartbeat_answer(zlt_control_t *c, const zlt_msg_t *m);
void zlt_control_heartbeat_answered(zlt_control_t *c, const zlt_msg_t *m);


#endif /* ZLT_CONTROL_HEARTBEAT_H_INCLUDED */
