
/*
 * Copyright (C) zltunnel authors
 */

/* A connection within a WebSocket: a layer above a socket, or above TLS. */


#ifndef ZLT_WSC_H_INCLUDED
#define ZLT_WSC_H_INCLUDED


#include "conn.h"


/*
 * The server has accepted a WebSocket; *len bytes of it that came already are
 * at data, and *len bytes of the stream are there afterwards.  0, or -1
 * without memory.  label: zlt_log_link(), it outlives the connection.
 */
int zlt_wsc_start(zlt_conn_t *c, const char *label, uint8_t *data,
    size_t *len);


#endif /* ZLT_WSC_H_INCLUDED */
