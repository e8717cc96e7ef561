
/*
 * Copyright (C) zltunnel authors
 */


#ifndef ZLT_CONTROL_MSG_H_INCLUDED
#define ZLT_CONTROL_MSG_H_INCLUDED


#include "control_state.h"


/* One whole message. */
void zlt_control_msg(zlt_control_t *c, const uint8_t *data, size_t len);
void zlt_control_msg_connect_fail(zlt_control_t *c, const uint8_t *id,
    unsigned code, const char *reason);


#endif /* ZLT_CONTROL_MSG_H_INCLUDED */
