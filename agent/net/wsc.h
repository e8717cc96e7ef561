
/*
 * Copyright (C) zltunnel authors
 */

/*
 * A connection within a WebSocket: for conn.c, which asks here first where
 * there is one, and is then what is beneath.
 */


#ifndef ZLT_WSC_H_INCLUDED
#define ZLT_WSC_H_INCLUDED


#include "conn.h"
#include "zlt_ws_stream.h"


struct zlt_wsc_s {
    zlt_ws_stream_t  stream;
    const char      *label;        /* of the link, for the log */
    zlt_unsent_t    *out;          /* or NULL */
};


/*
 * The server has accepted a WebSocket; *len bytes of it that came already are
 * at data, and *len bytes of the stream are there afterwards.  0, or -1
 * without memory.  label: zlt_log_link(), it outlives the connection.
 */
int zlt_wsc_start(zlt_conn_t *c, const char *label, uint8_t *data,
    size_t *len);

/* for conn.c */
ssize_t zlt_wsc_read(zlt_conn_t *c, void *buf, size_t size);
ssize_t zlt_wsc_write(zlt_conn_t *c, const void *buf, size_t size);
int zlt_wsc_flush(zlt_conn_t *c);

/* Close, behind all that was written; then as zlt_wsc_flush(). */
int zlt_wsc_close(zlt_conn_t *c);

void zlt_wsc_free(zlt_conn_t *c);


#endif /* ZLT_WSC_H_INCLUDED */
