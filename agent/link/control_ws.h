
/*
 * Copyright (C) zltunnel authors
 */


#ifndef ZLT_CONTROL_WS_H_INCLUDED
#define ZLT_CONTROL_WS_H_INCLUDED


#include "control_state.h"


/* Bytes from the connection; the session may be gone afterwards (fd -1). */
void zlt_session_input(zlt_session_t *s, uint8_t *data, size_t len);
void zlt_session_send(zlt_session_t *s, const zlt_msg_t *m);
void zlt_session_frame(zlt_session_t *s, unsigned opcode,
    const uint8_t *payload, size_t len);

/* Writes now, or keeps it: 0 or -1. */
int zlt_session_output(zlt_session_t *s, const void *data, size_t len);

/* -1: the session is gone */
int zlt_session_flush(zlt_session_t *s);

/* Appends to the message that is being received: 0 or -1. */
int zlt_session_keep(zlt_session_t *s, const uint8_t *data, size_t len);


#endif /* ZLT_CONTROL_WS_H_INCLUDED */
