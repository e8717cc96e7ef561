
/*
 * Copyright (C) zltunnel authors
 */


#ifndef ZLT_FRAMED_H_INCLUDED
#define ZLT_FRAMED_H_INCLUDED


#include "conn.h"


/* Bytes are messages from here on, until zlt_framed_stop(), a close, or Raw.
   retires: see there; may be NULL. */
void zlt_framed_start(zlt_conn_t *c, zlt_framed_t *f,
    int (*retires)(const zlt_framed_t *f));
void zlt_framed_stop(zlt_conn_t *c);

/* zlt_conn_read() and zlt_conn_write() beneath the messages. */
ssize_t zlt_framed_pull(zlt_conn_t *c, void *buf, size_t size);
ssize_t zlt_framed_push(zlt_conn_t *c, const void *buf, size_t size);

/*
 * Takes bytes that were read by zlt_framed_pull(): the payload among them is at
 * the start of buf then.  Its length, or ZLT_CONN_ERROR.
 */
ssize_t zlt_framed_take(zlt_conn_t *c, uint8_t *buf, size_t len);


#endif /* ZLT_FRAMED_H_INCLUDED */
