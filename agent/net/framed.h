
/*
 * Copyright (C) zltunnel authors
 */


#ifndef ZLT_FRAMED_H_INCLUDED
#define ZLT_FRAMED_H_INCLUDED


#include "conn.h"


/* Bytes are messages from here on, until zlt_framed_stop() or Raw. */
void zlt_framed_start(zlt_conn_t *c, zlt_framed_t *f);
void zlt_framed_stop(zlt_conn_t *c);

/*
 * Takes bytes that were read by zlt_conn_pull(): the payload among them is at
 * the start of buf then.  Its length, or ZLT_CONN_ERROR.
 */
ssize_t zlt_framed_take(zlt_conn_t *c, uint8_t *buf, size_t len);

/*
 * Reads behind the server's Eof, while our direction goes on: what is of the
 * next connection is kept, and what is beneath it has an answer.  -1: the
 * channel has ended, which is a reset.
 */
int zlt_framed_behind(zlt_conn_t *c);

/* for conn.c */
ssize_t zlt_framed_read(zlt_conn_t *c, uint8_t *buf, size_t size);
ssize_t zlt_framed_write(zlt_conn_t *c, const uint8_t *buf, size_t size);
int zlt_framed_flush(zlt_conn_t *c);

/* The last bytes and Eof in one, if they can go so; there must be room for
   that behind them, too.  As zlt_conn_write(). */
ssize_t zlt_framed_write_last(zlt_conn_t *c, uint8_t *buf, size_t size);

/* Eof, Reset or Raw: 0, ZLT_CONN_AGAIN (zlt_conn_flush() sends it), or
   ZLT_CONN_ERROR. */
int zlt_framed_end(zlt_conn_t *c, zlt_frames_end_e end);


#endif /* ZLT_FRAMED_H_INCLUDED */
