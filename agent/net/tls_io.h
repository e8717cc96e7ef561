
/*
 * Copyright (C) zltunnel authors
 */

/* The bytes of a connection through OpenSSL. */


#ifndef ZLT_TLS_IO_H_INCLUDED
#define ZLT_TLS_IO_H_INCLUDED


#include <stddef.h>
#include <sys/types.h>
#include <openssl/bio.h>

#include "types.h"


/* as those of conn.h without TLS */
ssize_t zlt_tls_io_read(zlt_conn_t *c, void *buf, size_t size);
ssize_t zlt_tls_io_write(zlt_conn_t *c, const void *buf, size_t size);
int zlt_tls_io_flush(zlt_conn_t *c);
int zlt_tls_io_shutdown(zlt_conn_t *c);

/* Ends TLS, without a word; the descriptor stays open. */
void zlt_tls_io_free(zlt_conn_t *c);

/* c has got the session of another connection, and its descriptor. */
void zlt_tls_io_moved(zlt_conn_t *c);

/* Through which OpenSSL reaches the connection; NULL without memory. */
BIO *zlt_tls_io_bio(zlt_conn_t *c);


#endif /* ZLT_TLS_IO_H_INCLUDED */
